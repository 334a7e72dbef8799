use std::time::Duration;

use granary_placement::{
    CompiledMap,
    report::{PolicyReport, Report},
};
use proptest::prelude::*;

use super::*;
use crate::{
    map::{nodes::tests::node, note::Trouble},
    reports::tests::report,
};

pub(crate) fn cache_mirror(metadata: &str, spec: &str) -> CacheMirror {
    let mut spec: serde_json::Value = serde_yaml::from_str(spec).unwrap();
    let fields = spec.as_object_mut().unwrap();
    fields.entry("upstreams").or_insert(serde_json::json!([]));
    let storage = serde_json::json!({"filesystem": {"hostPath": "/srv/granary"}});
    fields.entry("storage").or_insert(storage);
    let metadata: serde_json::Value = serde_yaml::from_str(metadata).unwrap();
    serde_json::from_value(serde_json::json!({
        "apiVersion": "granary.dev/v1alpha1", "kind": "CacheMirror", "metadata": metadata, "spec": spec,
    }))
    .unwrap()
}

pub(crate) fn policy(name: &str, spec: &str) -> ReplicationPolicy {
    let spec: serde_json::Value = serde_yaml::from_str(spec).unwrap();
    serde_json::from_value(serde_json::json!({
        "apiVersion": "granary.dev/v1alpha1", "kind": "ReplicationPolicy", "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

pub(crate) fn mirror(name: &str) -> Mirror {
    Mirror::new(name.parse().unwrap(), format!("http://{name}.ns.svc:80"))
}

const ROOT: &str = "/nix/store/00000000000000000000000000000000-a";

fn everything(target: u8) -> ReplicationPolicy {
    policy(
        "all",
        &format!("{{mirrors: {{}}, copies: {{target: {target}}}, artifacts: {{storePaths: [{ROOT}]}}}}"),
    )
}

/// A namespace that is computed again and again.
struct Scene {
    before: MirrorMap,
    placement_epoch: u64,
    cache_mirrors: Vec<Arc<DeserializeGuard<CacheMirror>>>,
    policies: Vec<Arc<DeserializeGuard<ReplicationPolicy>>>,
    nodes: Vec<Arc<Node>>,
    pods: HashMap<String, String>,
    observed: HashMap<String, Observed>,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            before: MirrorMap {
                epoch: 3,
                namespace: "ns".into(),
                mirrors: vec![],
                policies: vec![],
                table_hash: String::new(),
            },
            placement_epoch: 3,
            cache_mirrors: vec![],
            policies: vec![Arc::new(DeserializeGuard(Ok(everything(2))))],
            nodes: ["n1", "n2", "n3"].map(|name| Arc::new(node(name, &name.replace('n', "z")))).to_vec(),
            pods: HashMap::new(),
            observed: HashMap::new(),
            now: Instant::now() + Duration::from_hours(1),
        }
    }

    fn with(mut self, name: &str, spec: &str) -> Self {
        self.cache_mirrors.retain(|object| object.name_any() != name);
        let object = cache_mirror(&format!("{{name: {name}}}"), spec);
        self.cache_mirrors.push(Arc::new(DeserializeGuard(Ok(object))));
        self
    }

    /// Makes the `CacheMirror` one that cannot be read.
    fn broken(mut self, name: &str) -> Self {
        self.cache_mirrors.retain(|object| object.name_any() != name);
        let text = format!("{{metadata: {{name: {name}}}, spec: 7}}");
        self.cache_mirrors.push(Arc::new(serde_yaml::from_str(&text).unwrap()));
        assert!(self.cache_mirrors.last().unwrap().0.is_err());
        self
    }

    fn reports(mut self, holder: &str, disk: &str) -> Self {
        let all = PolicyReport {
            name: "all".into(),
            catalog: None,
            catalog_error: None,
            assigned: 0,
            verified: 0,
            verified_bytes: 0,
            refused: 0,
            refusal: None,
            last_pass: None,
            synced: true,
        };
        let report = Report { disk: disk.into(), policies: vec![all], ..report(holder, 3) };
        let seen = Observed {
            report: Some(Arc::new(report)),
            last_success: Some(self.now),
            since: self.now,
            asked: Some(self.now),
            error: None,
        };
        self.observed.insert(holder.into(), seen);
        self
    }

    fn desired(&self) -> Desired {
        desired(&Inputs {
            namespace: "ns",
            before: &self.before,
            placement_epoch: self.placement_epoch,
            cache_mirrors: &self.cache_mirrors,
            policies: &self.policies,
            nodes: &self.nodes,
            pods: &self.pods,
            observed: &self.observed,
            now: self.now,
        })
    }

    /// The scene after the map was written.
    fn written(mut self) -> Self {
        self.before = self.desired().map;
        self
    }
}

fn nodes_of(map: &MirrorMap) -> Vec<(&str, Option<&str>)> {
    map.mirrors.iter().map(|mirror| (mirror.name.as_str(), mirror.node.as_deref())).collect()
}

#[test]
fn holders_get_nodes_in_different_zones_once_and_for_all() {
    let mut scene = Scene::new().with("north", "{replicas: 3}").written();
    let assigned = [("north-0", Some("n1")), ("north-1", Some("n2")), ("north-2", Some("n3"))];
    assert_eq!(nodes_of(&scene.before), assigned);
    assert_eq!(scene.before.policies[0].mirrors.len(), 3);
    // The nodes go and others come: who has a node stays there.
    scene.nodes = vec![Arc::new(node("n9", "z9"))];
    let after = scene.desired();
    assert_eq!(nodes_of(&after.map), assigned);
    assert_eq!(after.map, scene.before, "a node that is gone changes nothing");
}

#[test]
fn a_holder_without_a_node_is_told_and_gets_no_artifacts() {
    let scene = Scene::new().with("north", "{replicas: 4}");
    let Desired { map, notes } = scene.desired();
    assert_eq!(map.mirrors[3].node, None);
    assert_eq!(map.policies[0].mirrors.len(), 3);
    assert_eq!(notes.len(), 1);
    assert!(matches!((notes[0].holder.as_str(), &notes[0].trouble), ("north-3", Trouble::NoNode(_))));
    let none = Scene::new().with("north", "{nodes: {selector: {no: 'such'}}}").desired();
    assert_eq!(none.notes[0].trouble, Trouble::NoNode(assign::NoNode::NoCandidates));
}

#[test]
fn a_volume_takes_part_once_its_place_is_known() {
    let volume = "storage: {filesystem: {volumeClaim: {size: 1Gi}}}";
    let mut scene = Scene::new().with("v", &format!("{{{volume}}}"));
    assert!(scene.desired().map.policies[0].mirrors.is_empty());
    scene.pods.insert("v-0".into(), "n2".into());
    let map = scene.desired().map;
    assert_eq!((map.mirrors[0].zone.as_deref(), map.mirrors[0].node.as_deref()), (Some("z2"), None));
    assert_eq!(map.policies[0].mirrors.len(), 1);
    // Its pod goes for a while.
    scene.before = map.clone();
    scene.pods.clear();
    assert_eq!(scene.desired().map, map);
    let zoned = Scene::new().with("v", &format!("{{zone: told, {volume}}}")).desired().map;
    assert_eq!(zoned.policies[0].mirrors.len(), 1);
}

#[test]
fn what_is_suspended_or_cannot_be_read_stays_as_it_was() {
    let before = Scene::new().with("north", "{replicas: 2, zone: a}").with("south", "{zone: b}").written();
    let map = before.before.clone();
    let suspended = before.with("north", "{replicas: 1, zone: c, suspend: true}");
    assert_eq!(suspended.desired().map, map);
    assert_eq!(suspended.broken("south").desired().map, map);
    let new = Scene::new().with("north", "{suspend: true}").broken("south").desired();
    assert!(new.map.mirrors.is_empty() && new.notes.is_empty());
}

#[test]
fn a_suspended_policy_keeps_its_entry_but_not_mirrors_that_are_gone() {
    let mut scene = Scene::new().with("north", "{}").with("south", "{}").written();
    let mut changed = everything(1);
    changed.spec.suspend = true;
    scene.policies = vec![Arc::new(DeserializeGuard(Ok(changed.clone())))];
    assert_eq!(scene.desired().map, scene.before);
    scene.cache_mirrors.pop();
    let map = scene.desired().map;
    assert_eq!((map.policies[0].target, map.policies[0].mirrors.len()), (2, 1));
    changed.spec.suspend = false;
    scene.policies = vec![Arc::new(DeserializeGuard(Ok(changed)))];
    assert_eq!(scene.desired().map.policies[0].target, 1);
    scene.policies.clear();
    assert!(scene.desired().map.policies.is_empty());
}

#[test]
fn deletion_and_scaling_down_take_holders_out() {
    let mut scene = Scene::new().with("north", "{replicas: 3}").with("south", "{}").written();
    scene.cache_mirrors.retain(|object| object.name_any() != "south");
    let scene = scene.with("north", "{replicas: 1}");
    assert_eq!(nodes_of(&scene.desired().map), [("north-0", Some("n1"))]);
}

#[test]
fn one_bad_entry_does_not_spoil_the_map() {
    let good = Scene::new().with("north", "{url: 'http://ok.example'}").with("south", "{}").written();
    let bad = good.with("north", "{url: 'ftp://no'}").desired();
    assert_eq!(bad.map.mirror("north-0").unwrap().url.as_deref(), Some("http://ok.example"));
    assert!(matches!(&bad.notes[0].trouble, Trouble::Refused(why) if why.contains("ftp://no")));
    assert!(bad.map.mirror("south-0").is_some());
    bad.map.check().unwrap();
}

#[test]
fn a_disk_is_learned_and_its_change_is_told() {
    let scene = Scene::new().with("north", "{}").written().reports("north-0", "d1").written();
    let known = scene.before.mirror("north-0").unwrap();
    assert_eq!((known.disk.as_deref(), known.state), (Some("d1"), MirrorState::Serving));
    let swapped = scene.reports("north-0", "d2").desired();
    assert_eq!(swapped.notes[0].trouble, Trouble::DiskChanged { was: "d1".into(), is: "d2".into() });
    let entry = swapped.map.mirror("north-0").unwrap();
    assert_eq!((entry.disk.as_deref(), entry.state), (Some("d2"), MirrorState::Joining));
}

#[test]
fn one_disk_is_one_mirror() {
    let scene = Scene::new().with("a", "{}").with("b", "{}").written();
    let scene = scene.reports("a-0", "same").reports("b-0", "same").written();
    let states = |map: &MirrorMap| map.mirrors.iter().map(|mirror| mirror.state).collect::<Vec<_>>();
    assert_eq!(states(&scene.before), [MirrorState::Serving, MirrorState::Joining]);
    let again = scene.desired();
    assert_eq!(again.map, scene.before);
    assert_eq!(again.notes.len(), 1);
    assert!(matches!(&again.notes[0].trouble, Trouble::SharedDisk(other) if other.as_str() == "a-0"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever there is, the map can be built, computing it again changes nothing, and nobody loses a node.
    #[test]
    fn the_map_is_sound_and_stable(
        mirrors in prop::collection::vec((0..4_usize, 0..5_i32, any::<bool>(), any::<bool>()), 0..5),
        steps in prop::collection::vec((0..4_usize, 0..5_i32, any::<bool>(), 0..9_usize), 0..6),
        target in 1..=8_u8,
    ) {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let mut scene = Scene::new();
        scene.policies = vec![Arc::new(DeserializeGuard(Ok(everything(target))))];
        for (name, replicas, suspend, volume) in mirrors {
            let storage = if volume { "storage: {filesystem: {volumeClaim: {size: 1Gi}}}, " } else { "" };
            scene = scene.with(NAMES[name], &format!("{{{storage}replicas: {replicas}, suspend: {suspend}}}"));
        }
        for (name, replicas, report, gone) in steps {
            let before = scene.before.clone();
            // Twice: a mirror with a new disk joins, and serves only in the next map.
            scene = scene.written().written();
            prop_assert_eq!(&scene.desired().map, &scene.before);
            prop_assert!(CompiledMap::build(scene.before.clone()).is_ok());
            for mirror in &before.mirrors {
                if let (Some(node), Some(after)) = (&mirror.node, scene.before.mirror(mirror.name.as_str())) {
                    prop_assert_eq!(Some(node), after.node.as_ref());
                }
            }
            let taken: Vec<_> = scene.before.mirrors.iter().filter_map(|mirror| {
                mirror.node.clone().map(|node| (mirror.name.holder().unwrap().0.to_owned(), node))
            }).collect();
            prop_assert!(taken.iter().enumerate().all(|(at, one)| !taken[..at].contains(one)));
            if report {
                scene = scene.reports(&format!("{}-0", NAMES[name]), &format!("disk{gone}"));
            }
            if gone < scene.nodes.len() {
                scene.nodes.remove(gone);
            }
            scene = scene.with(NAMES[name], &format!("{{replicas: {replicas}}}"));
        }
    }
}
