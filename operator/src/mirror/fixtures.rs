//! What the tests of this module begin with. The names differ from the product's and from each other, so that a mixed-up label
//! or name shows.

use std::marker::PhantomData;

use granary_crds::CacheMirror;
use granary_placement::{Mirror, MirrorMap, MirrorState};

use super::{
    build::{Settings, build},
    resources::{Applied, Resources},
    validate::ValidatedMirror,
};

const KEY: &str = "some.key-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";

/// Two replicas on host paths.
pub fn mirror() -> CacheMirror {
    let text = "
apiVersion: granary.dev/v1alpha1
kind: CacheMirror
metadata: {name: blue, namespace: site, uid: 0f0f, generation: 3}
spec:
  url: https://blue-{ordinal}.example.org
  replicas: 2
  upstreams: [{url: 'https://up.example.org', publicKeys: [K]}]
  storage: {filesystem: {hostPath: /data/nix}}
";
    serde_yaml::from_str(&text.replace("[K]", &format!("['{KEY}']"))).unwrap()
}

/// The object with its spec changed by a merge patch; `K` stands for a good key.
pub fn with(object: &CacheMirror, change: &str) -> CacheMirror {
    let mut json = serde_json::to_value(object).unwrap();
    let change: serde_json::Value =
        serde_yaml::from_str(&change.replace("[K]", &format!("['{KEY}']"))).unwrap();
    merge(&mut json["spec"], change);
    serde_json::from_value(json).unwrap()
}

fn merge(target: &mut serde_json::Value, change: serde_json::Value) {
    match change {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                merge(&mut target[key], value);
            }
        }
        value => *target = value,
    }
}

/// A map in which only the first replica has its node.
pub fn map() -> MirrorMap {
    let entry = |name: &str, node: Option<&str>| Mirror {
        name: name.parse().unwrap(),
        disk: None,
        node: node.map(str::to_owned),
        region: Some("eu".into()),
        zone: node.map(|node| format!("zone-of-{node}")),
        organization: None,
        weight: 1024,
        url: None,
        internal_url: format!("http://{name}.site.svc:80"),
        state: MirrorState::Joining,
    };
    MirrorMap {
        epoch: 4,
        namespace: "site".into(),
        mirrors: vec![entry("blue-0", Some("metal-7")), entry("blue-1", None)],
        policies: vec![],
        table_hash: String::new(),
    }
}

/// What is built, as if the API server had answered with just that.
pub fn applied(valid: &ValidatedMirror) -> Resources<Applied> {
    let settings =
        Settings { image: "images.example/mirror:7".into(), map_url: "http://maps.example:8080".into() };
    let Resources {
        config_maps,
        holder_services,
        service,
        network_policy,
        disruption_budget,
        stateful_sets,
        stage: _,
    } = build(valid, &settings).unwrap();
    Resources {
        config_maps,
        holder_services,
        service,
        network_policy,
        disruption_budget,
        stateful_sets,
        stage: PhantomData,
    }
}
