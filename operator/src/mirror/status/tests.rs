//! Stories: what a user reads when something happens.

mod nodes;
mod phases;
mod reported;

use std::{sync::Arc, time::Duration};

use granary_crds::find_condition;
use granary_placement::{
    MirrorMap, MirrorState,
    report::{PolicyReport, Report, UpstreamReport},
};
use k8s_openapi::api::core::v1::Node;

use super::*;
use crate::{
    kube_ext::nodes::tests::node,
    map::Note,
    mirror::{
        dereference::Seen,
        fixtures::{applied, map, mirror},
        validate::validate,
    },
    reports::{NoAnswer, Reports, tests::report},
};

/// Everything around one `CacheMirror`, with two replicas that have their nodes.
struct World {
    object: CacheMirror,
    map: MirrorMap,
    nodes: Vec<Node>,
    notes: Vec<Note>,
    reports: Reports,
    start: Instant,
}

fn synced(holder: &str) -> Report {
    let policy = PolicyReport {
        name: "stable".into(),
        catalog: None,
        catalog_error: None,
        assigned: 5,
        verified: 5,
        verified_bytes: 50,
        refused: 0,
        refusal: None,
        last_pass: None,
        synced: true,
    };
    let upstream = UpstreamReport { url: "https://up".into(), ok: true, message: None };
    let verified_at = Some("2026-11-23T12:00:00Z".into());
    Report {
        artifacts: 5,
        bytes: 50,
        verified_at,
        policies: vec![policy],
        upstreams: vec![upstream],
        ..report(holder, 4)
    }
}

impl World {
    /// All is well.
    fn good() -> Self {
        let mut map = map();
        map.mirrors[1].node = Some("metal-8".into());
        for entry in &mut map.mirrors {
            entry.state = MirrorState::Serving;
            entry.disk = Some(format!("disk-of-{}", entry.name));
        }
        let world = Self {
            object: mirror(),
            map,
            nodes: vec![node("metal-7", "True"), node("metal-8", "True")],
            notes: vec![],
            reports: Reports::default(),
            start: Instant::now(),
        };
        world.hears("blue-0", Ok(synced("blue-0")), 0);
        world.hears("blue-1", Ok(synced("blue-1")), 0);
        world
    }

    fn hears(&self, holder: &str, said: Result<Report, &str>, second: u64) {
        self.reports.note(
            "site",
            holder,
            said.map_err(|why| NoAnswer::Asked(why.to_owned())),
            self.start + Duration::from_secs(second),
        );
    }

    fn known(&self) -> Known {
        let seen = |name: &str| Seen { pod: None, observed: self.reports.get("site", name) };
        let holders = ["blue-0", "blue-1"].map(|name| (name.parse().unwrap(), seen(name)));
        Known {
            map: Some(Arc::new(self.map.clone())),
            holders: holders.into(),
            nodes: self.nodes.iter().cloned().map(Arc::new).collect(),
            notes: self.notes.clone(),
        }
    }

    /// Runs the pipeline without its writes, and keeps the status for the next time.
    fn status(&mut self, second: u64) -> (CacheMirrorStatus, Vec<News>) {
        let known = self.known();
        let now = Now {
            clock: Timestamp::from_second(1_000 + i64::try_from(second).unwrap()).unwrap(),
            instant: self.start + Duration::from_secs(second),
        };
        let status = match validate(&self.object, known.map.as_deref()) {
            _ if self.object.spec.suspend => status(&self.object, &Outcome::Suspended, &known, now),
            Err(faults) => status(&self.object, &Outcome::Invalid(&faults), &known, now),
            Ok(valid) => {
                let outcome = &Outcome::Applied(&applied(&valid));
                status(&self.object, outcome, &known, now)
            }
        };
        let told = news(self.object.status.as_ref(), &status);
        self.object.status = Some(status.clone());
        (status, told)
    }
}

fn condition<'a>(status: &'a CacheMirrorStatus, type_: &str) -> (&'a str, &'a str, &'a str) {
    let condition = find_condition(&status.conditions, type_).unwrap();
    (condition.status.as_str(), condition.reason.as_str(), condition.message.as_str())
}

fn reasons(told: &[News]) -> Vec<&str> {
    told.iter().map(|news| news.reason).collect()
}
