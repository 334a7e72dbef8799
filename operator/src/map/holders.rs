//! The entry of one holder, as its `CacheMirror` and its node make it. Pure.

use granary_crds::CacheMirror;
use granary_placement::{Mirror, MirrorName, MirrorState, map::DEFAULT_WEIGHT};
use k8s_openapi::api::core::v1::Node;

use super::nodes;

/// Whether the holders keep their data in a path of their node.
pub fn on_host_path(cache_mirror: &CacheMirror) -> bool {
    cache_mirror.spec.storage.filesystem.host_path.is_some()
}

/// The names of a `CacheMirror`'s holders, in order of ordinal. An ordinal whose name would be no DNS label is left out.
pub fn names(cache_mirror: &str, replicas: i32) -> Vec<MirrorName> {
    let replicas = u32::try_from(replicas.clamp(0, granary_crds::cache_mirror::MAX_REPLICAS)).unwrap_or(0);
    (0..replicas).filter_map(|ordinal| MirrorName::of_holder(cache_mirror, ordinal).ok()).collect()
}

/// A holder's entry. `before` is its entry so far; `node` is the node that it is on, if that still exists.
pub fn entry(
    cache_mirror: &CacheMirror,
    namespace: &str,
    name: &MirrorName,
    before: Option<&Mirror>,
    pinned: Option<String>,
    node: Option<&Node>,
) -> Mirror {
    let spec = &cache_mirror.spec;
    // A node that is gone for now keeps its place in the world.
    let domain = |told: &Option<String>, label: &str, known: fn(&Mirror) -> &Option<String>| {
        told.clone().or_else(|| match node {
            Some(node) => nodes::domain(node, label),
            None => before.and_then(|before| known(before).clone()),
        })
    };
    let ordinal = name.holder().map(|(_, ordinal)| ordinal).unwrap_or_default();
    Mirror {
        name: name.clone(),
        disk: before.and_then(|before| before.disk.clone()),
        node: pinned,
        region: domain(&spec.region, nodes::REGION, |mirror| &mirror.region),
        zone: domain(&spec.zone, nodes::ZONE, |mirror| &mirror.zone),
        organization: spec.organization.clone(),
        weight: spec.storage.capacity.weight().unwrap_or(DEFAULT_WEIGHT),
        url: spec.url.as_ref().map(|url| url.replace("{ordinal}", &ordinal.to_string())),
        internal_url: format!("http://{name}.{namespace}.svc:80"),
        state: before.map_or(MirrorState::Joining, |before| before.state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{desired::tests::cache_mirror, nodes::tests::node};

    #[test]
    fn a_holder_stands_where_its_spec_says_else_where_its_node_is() {
        let mirror =
            cache_mirror("{name: north}", "{replicas: 2, url: 'http://n{ordinal}.example', region: us}");
        let name: MirrorName = "north-1".parse().unwrap();
        let entry = |before, node| entry(&mirror, "ns", &name, before, Some("n1".into()), node);
        let there = node("n1", "z1");
        let made = entry(None, Some(&there));
        assert_eq!((made.region.as_deref(), made.zone.as_deref()), (Some("us"), Some("z1")));
        assert_eq!(made.url.as_deref(), Some("http://n1.example"));
        assert_eq!(made.internal_url, "http://north-1.ns.svc:80");
        assert_eq!((made.weight, made.state), (1024, MirrorState::Joining));
        // The node object is deleted, later comes back without a label.
        assert_eq!(entry(Some(&made), None).zone.as_deref(), Some("z1"));
        let mut bare = node("n1", "z1");
        bare.metadata.labels = None;
        assert_eq!(entry(Some(&made), Some(&bare)).zone, None);
    }

    #[test]
    fn every_replica_has_a_name() {
        assert_eq!(
            names("north", 2).iter().map(MirrorName::as_str).collect::<Vec<_>>(),
            ["north-0", "north-1"]
        );
        assert_eq!(names("north", -1), []);
        assert_eq!(names("north", 1_000_000).len(), 16);
        assert_eq!(names("Not.A.Label", 1), []);
    }
}
