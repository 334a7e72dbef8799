//! Objects that the API server must refuse: each is a good one with one thing changed, and the words that it must be told.

use serde_json::{Map, Value, json};

const KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
const PATH: &str = "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60";
const CHANNEL: &str = "https://channels.nixos.org/nixos-26.05";

/// A bad object and a part of the refusal.
pub struct Bad {
    pub object: Value,
    pub words: &'static str,
}

/// A good `CacheMirror` with a change, which is a JSON merge patch.
pub fn mirror(name: &str, change: &Value) -> Value {
    let good = json!({
        "apiVersion": "granary.dev/v1alpha1",
        "kind": "CacheMirror",
        "metadata": {"name": name},
        "spec": {
            "url": "https://north.example.org",
            "upstreams": [upstream("https://cache.nixos.org")],
            "storage": {"filesystem": {"hostPath": "/srv/granary"}},
        },
    });
    merge(good, change)
}

/// A good `ReplicationPolicy` with a change, which is a JSON merge patch.
pub fn policy(name: &str, change: &Value) -> Value {
    let good = json!({
        "apiVersion": "granary.dev/v1alpha1",
        "kind": "ReplicationPolicy",
        "metadata": {"name": name},
        "spec": {
            "mirrors": {},
            "artifacts": {"storePaths": [PATH]},
            "copies": {"target": 2},
            "spread": [{"topologyKey": "zone", "min": 2}],
        },
    });
    merge(good, change)
}

fn upstream(url: &str) -> Value {
    json!({"url": url, "publicKeys": [KEY]})
}

/// A mirror with this change of its spec.
fn spec(name: &str, change: &Value, words: &'static str) -> Bad {
    Bad { object: mirror(name, &json!({"spec": change})), words }
}

/// About the way to the upstreams.
fn ways() -> [Bad; 4] {
    [
        spec("proxy-scheme", &json!({"proxy": {"url": "https://proxy:3128"}}), "not the URL of a proxy"),
        spec("proxy-password", &json!({"proxy": {"url": "http://u:p@proxy:3128"}}), "not the URL of a proxy"),
        spec(
            "proxy-except",
            &json!({"proxy": {"url": "http://proxy:3128", "except": ["http://minio"]}}),
            "not a host: write names such as minio.example.edu",
        ),
        spec(
            "authorities",
            &json!({"upstreams": [{"url": "https://a", "publicKeys": [KEY], "caConfigMapRef": {"name": "a", "key": "../b"}}]}),
            "not a key of a ConfigMap",
        ),
    ]
}

pub fn mirrors() -> Vec<Bad> {
    let spec = |name: &str, change: Value, words| spec(name, &change, words);
    let host_path = |name, path: &str| {
        spec(
            name,
            json!({"storage": {"filesystem": {"hostPath": path}}}),
            "not a directory for a mirror: write",
        )
    };
    let size = |name, size: &str| {
        let claim = json!({"storage": {"filesystem": {"hostPath": null, "volumeClaim": {"size": size}}}});
        spec(name, claim, "not a size: write a whole number above zero with a unit")
    };
    let keys = |name, keys: Value, words| {
        spec(name, json!({"upstreams": [{"url": "https://a", "publicKeys": keys}]}), words)
    };
    let upstreams = |name, urls: &[&str], words| {
        let upstreams: Vec<Value> = urls.iter().map(|url| upstream(url)).collect();
        spec(name, json!({"upstreams": upstreams}), words)
    };
    let name = |name: &str, words| Bad { object: mirror(name, &json!({})), words };
    let more = vec![
        spec(
            "two-protocols",
            json!({"serving": {"hostPort": 443, "tls": {"secretName": "cert", "hostPort": 443}}}),
            "one port of the node cannot speak both HTTP and HTTPS",
        ),
        spec("tls-secret", json!({"serving": {"tls": {"secretName": "Cert"}}}), "not the name of an object"),
        spec(
            "proxies",
            json!({"serving": {"clients": {"trustedProxies": ["proxy"]}}}),
            "not an address or a network: write for example",
        ),
        spec(
            "connections",
            json!({"serving": {"clients": {"maxConnections": 1}}}),
            "spec.serving.clients.maxConnections",
        ),
        spec("listings", json!({"extras": {"listings": "Some"}}), "spec.extras.listings"),
        spec("url-slash", json!({"url": "https://a/"}), "not a URL that clients can use: write http"),
        spec("url-scheme", json!({"url": "ftp://a"}), "not a URL that clients can use: write http"),
        spec("url-password", json!({"url": "https://u:p@a"}), "not a URL that clients can use: write http"),
        spec("url-nginx", json!({"url": "https://a;}"}), "not a URL that clients can use: write http"),
        spec("url-replicas", json!({"replicas": 2}), "write {ordinal} in url"),
        spec("replicas-none", json!({"replicas": 0}), "greater than or equal to 1"),
        spec("replicas-many", json!({"replicas": 17}), "less than or equal to 16"),
        spec("replicas-word", json!({"replicas": "two"}), "must be of type integer"),
        spec("storage-none", json!({"storage": null}), "spec.storage: Required value"),
        spec(
            "storage-empty",
            json!({"storage": {"filesystem": {"hostPath": null}}}),
            "no storage: set hostPath",
        ),
        spec(
            "storage-two",
            json!({"storage": {"filesystem": {"volumeClaim": {"size": "1Gi"}}}}),
            "two storages in one mirror: keep hostPath or volumeClaim and remove the other",
        ),
        host_path("path-root", "/"),
        host_path("path-relative", "srv/granary"),
        host_path("path-parent", "/srv/../etc"),
        host_path("path-slash", "/srv/"),
        host_path("path-option", "/srv/a b"),
        size("size-unit", "10Qi"),
        size("size-zero", "0Gi"),
        size("size-minus", "-1Gi"),
        size("size-part", "1.5Gi"),
        spec("capacity-zero", json!({"storage": {"capacity": "0"}}), "not a size: write"),
        spec("upstreams-none", json!({"upstreams": null}), "spec.upstreams: Required value"),
        upstreams("upstreams-empty", &[], "should have at least 1 items"),
        upstreams("upstreams-twice", &["https://a", "https://a"], "Duplicate value"),
        upstreams("upstream-slash", &["https://a/"], "not the URL of a binary cache: write"),
        upstreams("upstream-query", &["https://a?priority=1"], "not the URL of a binary cache: write"),
        upstreams("upstream-file", &["file:///srv"], "not the URL of a binary cache: write"),
        upstreams("upstream-ordinal", &["https://a-{ordinal}"], "not the URL of a binary cache: write"),
        keys("keys-none", json!([]), "should have at least 1 items"),
        keys("keys-twice", json!([KEY, KEY]), "Duplicate value"),
        keys("key-bare", json!(["6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="]), "write name:base64"),
        keys("key-short", json!(["a:6NCHdD59X431o0gWypbMrA=="]), "write name:base64"),
        spec("zone-space", json!({"zone": "room 1"}), "write at most 63 letters, digits"),
        spec("region-dash", json!({"region": "-north"}), "write at most 63 letters, digits"),
        spec("organization-empty", json!({"organization": ""}), "write at most 63 letters, digits"),
        spec("port-none", json!({"serving": {"hostPort": 0}}), "greater than or equal to 1"),
        spec("port-large", json!({"serving": {"hostPort": 65536}}), "less than or equal to 65535"),
        spec("service-type", json!({"serving": {"service": {"type": "ExternalName"}}}), "\"ClusterIP\""),
        spec("narinfo", json!({"publish": {"narinfo": "Sometimes"}}), "\"Compatible\""),
        name("north-2", "write for example north2 in place of north-2"),
        name("north.a", "the name becomes part of the names of Services"),
        name("2north", "the name becomes part of the names of Services"),
        name(&"n".repeat(41), "use at most 40 lower case letters"),
    ];
    ways().into_iter().chain(more).collect()
}

pub fn policies() -> Vec<Bad> {
    let spec =
        |name: &str, change: Value, words| Bad { object: policy(name, &json!({"spec": change})), words };
    let paths =
        |name, paths: Vec<String>, words| spec(name, json!({"artifacts": {"storePaths": paths}}), words);
    let path =
        |name, path: &str| paths(name, vec![path.to_owned()], "not a store path: write whole store paths");
    let spread = |name, spread: Value, words| spec(name, json!({"spread": spread}), words);
    let channels = |name, channels: Value, words| {
        spec(name, json!({"artifacts": {"storePaths": null, "channels": channels}}), words)
    };
    let channel = |name, url: &str, words| channels(name, json!([{"url": url}]), words);
    let keep = |name, keep: Value, words| channels(name, json!([{"url": CHANNEL, "keep": keep}]), words);
    let periods = |name, grace: &str, words| {
        spec(name, json!({"retention": {"graceAfterUnreferenced": grace, "trash": "7d"}}), words)
    };
    let over = |key: &str, min: u8| json!({"topologyKey": key, "min": min});
    vec![
        path("path-bare", "00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60"),
        path("path-slash", &format!("{PATH}/")),
        path("path-below", &format!("{PATH}/bin/ls")),
        path("path-letter", &PATH.replace("00bg", "eout")),
        path("path-short", "/nix/store/00bgd045-net-tools"),
        path("path-nameless", &PATH.replace("-net-tools-1.60", "")),
        path("path-guix", &PATH.replace("/nix/", "/gnu/")),
        paths("paths-none", Vec::new(), "should have at least 1 items"),
        paths("paths-twice", vec![PATH.into(), PATH.into()], "Duplicate value"),
        paths(
            "paths-many",
            (0..1001).map(|number| format!("{PATH}.{number}")).collect(),
            "at most 1000 items",
        ),
        channels("artifacts-none", Value::Null, "name storePaths, channels or both"),
        channels("channels-none", json!([]), "should have at least 1 items"),
        channels("channels-twice", json!([{"url": CHANNEL}, {"url": CHANNEL, "keep": 2}]), "Duplicate value"),
        channel("channel-host", "https://channels.nixos.org", "not the URL of a channel: write"),
        channel("channel-slash", &format!("{CHANNEL}/"), "not the URL of a channel: write"),
        channel("channel-up", "https://channels.nixos.org/..", "not the URL of a channel: write"),
        channel("channel-file", "file:///srv/nixos-26.05", "not the URL of a channel: write"),
        keep("keep-none", json!(0), "greater than or equal to 1"),
        keep("keep-many", json!(101), "less than or equal to 100"),
        periods("grace-none", "0d", "write a whole number above zero with s, m, h or d"),
        periods("grace-bare", "14", "write a whole number above zero with s, m, h or d"),
        spec(
            "trash-none",
            json!({"retention": {"graceAfterUnreferenced": "14d"}}),
            "spec.retention.trash: Required value",
        ),
        spec("mirrors-none", json!({"mirrors": null}), "spec.mirrors: Required value"),
        spec("target-none", json!({"copies": {"target": 0}, "spread": null}), "greater than or equal to 1"),
        spec("target-large", json!({"copies": {"target": 9}}), "less than or equal to 8"),
        spec("copies-none", json!({"copies": null}), "spec.copies: Required value"),
        spread("spread-above", json!([over("zone", 3)]), "lower spread[].min or raise copies.target"),
        spread("spread-none", json!([over("zone", 0)]), "greater than or equal to 1"),
        spread("spread-twice", json!([over("zone", 1), over("zone", 2)]), "Duplicate value"),
        spread("spread-key", json!([over("rack", 2)]), "\"organization\""),
        Bad { object: policy(&"p".repeat(64), &json!({})), words: "use at most 63 characters" },
    ]
}

/// RFC 7396: an object is merged field by field, null removes a field, anything else replaces.
fn merge(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut fields = match target {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for (name, change) in patch {
        let old = fields.remove(name).unwrap_or_default();
        if !change.is_null() {
            fields.insert(name.clone(), merge(old, change));
        }
    }
    Value::Object(fields)
}
