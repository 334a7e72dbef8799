//! A map that is lost or cannot be read, put together again from what else is known. Pure.
//!
//! Two things must not be lost with it: which node each holder's data is on, and how far the epochs have come, since a mirror
//! never goes back to a lower one.

use std::sync::Arc;

use granary_crds::{CacheMirror, ReplicationPolicy};
use granary_placement::{Mirror, MirrorMap, MirrorName, MirrorState, map::DEFAULT_WEIGHT};
use kube::core::DeserializeGuard;

/// Epochs above this are nobody's: at one a second it would take a hundred million years to get there.
const MAX_EPOCH: u64 = 1 << 52;

/// The highest epoch among these, leaving out what no operator can have written.
pub fn highest(epochs: impl Iterator<Item = u64>) -> u64 {
    epochs.filter(|epoch| *epoch <= MAX_EPOCH).max().unwrap_or(0)
}

/// The map as far as the status of the namespace's objects tells it. Its epoch is the highest that they tell of, 0 when there
/// never was a map.
pub fn from_status(
    namespace: &str,
    cache_mirrors: &[Arc<DeserializeGuard<CacheMirror>>],
    policies: &[Arc<DeserializeGuard<ReplicationPolicy>>],
) -> MirrorMap {
    let mirrors = || {
        let readable = cache_mirrors.iter().filter_map(|object| object.0.as_ref().ok());
        readable.filter_map(|mirror| Some((mirror, mirror.status.as_ref()?)))
    };
    let statuses = policies.iter().filter_map(|object| object.0.as_ref().ok()?.status.as_ref());
    let epochs = mirrors()
        .flat_map(|(_, status)| {
            let each = status.mirrors.iter().map(|mirror| mirror.epoch);
            each.chain([status.epoch])
        })
        .chain(statuses.map(|status| status.epoch));
    let epoch = highest(epochs.filter_map(|epoch| u64::try_from(epoch).ok()));
    let holders = mirrors().flat_map(|(cache_mirror, status)| {
        let pinned = super::holders::on_host_path(cache_mirror);
        status.mirrors.iter().filter_map(move |mirror| {
            let name: MirrorName = mirror.name.parse().ok()?;
            Some(Mirror {
                internal_url: format!("http://{name}.{namespace}.svc:80"),
                name,
                disk: mirror.disk.clone(),
                node: mirror.node.clone().filter(|_| pinned),
                region: mirror.region.clone(),
                zone: mirror.zone.clone(),
                organization: cache_mirror.spec.organization.clone(),
                weight: cache_mirror.spec.storage.capacity.weight().unwrap_or(DEFAULT_WEIGHT),
                url: None,
                state: MirrorState::Joining,
            })
        })
    });
    let mut map = MirrorMap {
        epoch,
        namespace: namespace.to_owned(),
        mirrors: holders.collect(),
        policies: Vec::new(),
        table_hash: String::new(),
    };
    map.canonicalize();
    map
}

#[cfg(test)]
mod tests {
    use granary_crds::cache_mirror::{CacheMirrorStatus, MirrorStatus};

    use super::*;
    use crate::map::desired::tests::cache_mirror;

    #[test]
    fn nodes_disks_and_the_highest_epoch_come_back() {
        let holder = |name: &str, node: &str, epoch| MirrorStatus {
            name: name.into(),
            node: Some(node.into()),
            disk: Some(format!("disk-{name}")),
            epoch,
            ..MirrorStatus::default()
        };
        let mut north = cache_mirror("{name: north}", "{replicas: 2}");
        north.status = Some(CacheMirrorStatus {
            epoch: 4,
            mirrors: vec![holder("north-1", "n2", 9), holder("north-0", "n1", 4)],
            ..CacheMirrorStatus::default()
        });
        let mut volume = cache_mirror("{name: v}", "{storage: {filesystem: {volumeClaim: {size: 1Gi}}}}");
        volume.status =
            Some(CacheMirrorStatus { mirrors: vec![holder("v-0", "n3", 0)], ..CacheMirrorStatus::default() });
        let objects = [north, volume].map(|object| Arc::new(DeserializeGuard(Ok(object))));
        let map = from_status("ns", &objects, &[]);
        assert_eq!(map.epoch, 9);
        let nodes: Vec<_> =
            map.mirrors.iter().map(|mirror| (mirror.name.as_str(), mirror.node.as_deref())).collect();
        // A pod with a volume may go elsewhere: it is not pinned.
        assert_eq!(nodes, [("north-0", Some("n1")), ("north-1", Some("n2")), ("v-0", None)]);
        assert_eq!(map.mirrors[1].disk.as_deref(), Some("disk-north-1"));
        assert_eq!(from_status("ns", &[], &[]).epoch, 0);
    }

    #[test]
    fn an_epoch_that_nobody_can_have_written_is_left_out() {
        assert_eq!(highest([3, u64::MAX, 7].into_iter()), 7);
        assert_eq!(highest(std::iter::empty()), 0);
    }
}
