//! The StatefulSet of one holder: one replica, because a mirror's identity is its disk.

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec},
        core::v1::{
            PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::{Settings, of_holder, pod};
use crate::mirror::{
    names,
    validate::{Disk, Holder, ValidatedMirror},
};

pub(super) fn build(
    mirror: &ValidatedMirror,
    holder: &Holder,
    settings: &Settings,
    config_hash: &str,
) -> StatefulSet {
    let selector = names::select_holder(&mirror.name, &holder.name);
    let mut annotations = names::Labels::from([(names::CONFIG_HASH.to_owned(), config_hash.to_owned())]);
    annotations.extend(pod::security_note(mirror).map(|note| (names::POD_SECURITY.to_owned(), note)));
    StatefulSet {
        metadata: of_holder(mirror, holder),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(holder.name.to_string()),
            selector: names::selector(selector),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(names::of_holder(&mirror.name, &holder.name)),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod::build(mirror, holder, settings)),
            },
            volume_claim_templates: claim(mirror),
            // The copies outlive the mirror: whoever wants them gone deletes the claim.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn claim(mirror: &ValidatedMirror) -> Option<Vec<PersistentVolumeClaim>> {
    let Disk::Volume { class, size } = &mirror.storage else { return None };
    Some(vec![PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(pod::DATA.to_owned()),
            // Immutable, as the selectors.
            labels: Some(names::select_all(&mirror.name)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(size.clone()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }])
}

#[cfg(test)]
mod tests {
    use crate::mirror::{build::tests::built, names};

    #[test]
    fn a_changed_configuration_changes_the_template() {
        let hash = |change: &str| {
            let sets = built(change).stateful_sets;
            let template = sets[0].spec.as_ref().unwrap().template.metadata.clone().unwrap();
            template.annotations.unwrap()[names::CONFIG_HASH].clone()
        };
        assert_eq!(hash("{}"), hash("{}"));
        assert_ne!(hash("{}"), hash("{publish: {narinfo: Never}}"));
    }

    #[test]
    fn a_volume_is_claimed_and_kept() {
        let sets = built("{storage: {filesystem: {hostPath: null, volumeClaim: {size: 5Gi}}}}").stateful_sets;
        let spec = sets[0].spec.as_ref().unwrap();
        let claim = &spec.volume_claim_templates.as_ref().unwrap()[0];
        assert_eq!(claim.metadata.name.as_deref(), Some("data"));
        let request = claim.spec.as_ref().unwrap().resources.as_ref().unwrap().requests.as_ref().unwrap();
        assert_eq!(request["storage"].0, "5Gi");
        let kept = spec.persistent_volume_claim_retention_policy.as_ref().unwrap();
        assert_eq!(
            (kept.when_deleted.as_deref(), kept.when_scaled.as_deref()),
            (Some("Retain"), Some("Retain"))
        );
    }
}
