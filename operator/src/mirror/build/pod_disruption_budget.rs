//! The PodDisruptionBudget: a drain takes down one holder at a time.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::of_mirror;
use crate::mirror::{names, validate::ValidatedMirror};

pub(super) fn build(mirror: &ValidatedMirror) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: of_mirror(mirror),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(names::selector(names::select_all(&mirror.name))),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
