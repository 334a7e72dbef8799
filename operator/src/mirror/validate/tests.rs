use super::*;
use crate::mirror::fixtures::{map, mirror, with};

fn faults(change: &str) -> Vec<String> {
    let faults = validate(&with(&mirror(), change), Some(&map())).unwrap_err();
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_one_passes_with_its_nodes_from_the_map() {
    let valid = validate(&mirror(), Some(&map())).unwrap();
    assert_eq!((valid.name.as_str(), valid.namespace.as_str()), ("blue", "site"));
    assert_eq!(valid.owner.controller, Some(true));
    let holder = |ordinal: usize| {
        let Holder { name, url, place } = &valid.holders[ordinal];
        (name.as_str(), url.as_deref(), place.clone())
    };
    assert_eq!(valid.holders.len(), 2);
    assert_eq!(holder(0), ("blue-0", Some("https://blue-0.example.org"), Place::Pinned("metal-7".into())));
    assert_eq!(holder(1), ("blue-1", Some("https://blue-1.example.org"), Place::Waiting));
    assert_eq!((valid.upstreams[0].priority, valid.serving.host_port), (40, None));
}

#[test]
fn a_volume_needs_no_node() {
    let change =
        "{storage: {filesystem: {hostPath: null, volumeClaim: {size: 5Gi, storageClassName: fast}}}}";
    let valid = validate(&with(&mirror(), change), None).unwrap();
    assert_eq!(valid.storage, Disk::Volume { class: Some("fast".into()), size: "5Gi".into() });
    assert!(valid.holders.iter().all(|holder| holder.place == Place::Anywhere));
}

#[test]
fn every_bad_field_is_named() {
    for (change, words) in [
        ("{storage: {filesystem: {volumeClaim: {size: 1Gi}}}}", "two storages in one mirror"),
        ("{storage: {filesystem: {hostPath: null}}}", "no storage"),
        ("{storage: {filesystem: {hostPath: /srv/../etc}}}", "hostPath is \"/srv/../etc\""),
        ("{storage: {capacity: 8TB}}", "spec.storage.capacity is \"8TB\""),
        (
            "{storage: {filesystem: {hostPath: null, volumeClaim: {size: big}}}}",
            "volumeClaim.size is \"big\"",
        ),
        ("{upstreams: []}", "spec.upstreams is empty"),
        ("{upstreams: [{url: 'ftp://x', publicKeys: [K]}]}", "spec.upstreams[].url is \"ftp://x\""),
        ("{upstreams: [{url: 'https://x', publicKeys: []}]}", "https://x has no public key"),
        (
            "{upstreams: [{url: 'https://x', publicKeys: ['x:y']}]}",
            "\"x:y\" of https://x is not a Nix public key",
        ),
        ("{upstreams: [{url: 'https://x', publicKeys: [K], priority: -1}]}", "the priority -1"),
        (
            "{upstreams: [{url: 'https://x', publicKeys: [K]}, {url: 'https://x', publicKeys: [K]}]}",
            "names https://x twice",
        ),
        ("{upstreams: [{url: 'https://x', publicKeys: [K], signatures: 2}]}", "asks for 2 signatures"),
        ("{upstreams: [{url: 'https://x', publicKeys: [K], allowedHosts: ['a/b']}]}", "the host \"a/b\""),
        (
            "{upstreams: [{url: 'https://x', publicKeys: [K], allowedHosts: ['10.0.0.256']}]}",
            "the host \"10.0.0.256\"",
        ),
        ("{upstreams: [{url: 'https://x', publicKeys: [K], connections: 0}]}", "0 connections"),
        ("{upstreams: [{url: 'https://x', publicKeys: [K], bandwidth: 5MB}]}", "bandwidth is \"5MB\""),
        (
            "{upstreams: [{url: 'https://x', publicKeys: [K], credentialsSecretRef: {name: A}}]}",
            "credentialsSecretRef.name is \"A\"",
        ),
        (
            "{upstreams: [{url: 'https://x', publicKeys: [K], credentialsSecretRef: {name: a, key: ../b}}]}",
            "credentialsSecretRef.key is \"../b\"",
        ),
        (
            "{upstreams: [{url: 'https://x', publicKeys: [K], caConfigMapRef: {name: A_B}}]}",
            "caConfigMapRef.name is \"A_B\"",
        ),
        (
            "{upstreams: [{url: 'https://x', publicKeys: [K], caConfigMapRef: {name: a, key: ../b}}]}",
            "caConfigMapRef.key is \"../b\"",
        ),
        ("{proxy: {url: 'https://proxy'}}", "spec.proxy.url: \"https://proxy\""),
        ("{proxy: {url: 'http://proxy', except: ['http://a']}}", "spec.proxy.except: \"http://a\""),
        ("{bandwidth: {pull: fast}}", "spec.bandwidth.pull is \"fast\""),
        ("{pullThrough: {maxSize: '0'}}", "spec.pullThrough.maxSize is \"0\""),
        ("{scrub: {period: 2w}}", "spec.scrub.period is \"2w\""),
        ("{scrub: {bandwidth: 0Mi}}", "spec.scrub.bandwidth is \"0Mi\""),
        (
            "{push: {tokenSecretRef: {name: t, key: k}, maxSize: 1Gi, publicKeys: [K]}}",
            "spec.push.allowPlainHttp",
        ),
        (
            "{push: {tokenSecretRef: {name: T, key: k}, maxSize: 1Gi, publicKeys: [K], allowPlainHttp: true}}",
            "spec.push.tokenSecretRef.name is \"T\"",
        ),
        (
            "{push: {tokenSecretRef: {name: t, key: k}, maxSize: 1Gi, publicKeys: ['a:b'], allowPlainHttp: true}}",
            "spec.push.publicKeys: \"a:b\"",
        ),
        ("{storage: {keepFree: 1.5Gi}}", "spec.storage.keepFree is \"1.5Gi\""),
        ("{url: 'https://blue-{ordinal}/'}", "spec.url is \"https://blue-{ordinal}/\""),
        ("{url: 'https://blue'}", "write {ordinal} in it"),
        ("{replicas: 0}", "spec.replicas is 0"),
        ("{replicas: 17}", "spec.replicas is 17"),
        ("{serving: {hostPort: 0}}", "hostPort is 0"),
        ("{serving: {hostPort: 65536}}", "hostPort is 65536"),
        ("{serving: {tls: {secretName: Cert}}}", "spec.serving.tls.secretName is \"Cert\""),
        ("{serving: {tls: {secretName: cert, hostPort: 0}}}", "spec.serving.tls.hostPort is 0"),
        ("{serving: {hostPort: 443, tls: {secretName: cert, hostPort: 443}}}", "are both 443"),
        ("{serving: {clients: {connectionsPerAddress: 0}}}", "connectionsPerAddress is 0"),
        ("{serving: {clients: {requestsPerSecond: 0}}}", "requestsPerSecond is 0"),
        ("{serving: {clients: {maxConnections: 63}}}", "maxConnections is 63"),
        ("{serving: {clients: {trustedProxies: ['10.0.0.0/33']}}}", "\"10.0.0.0/33\" is neither"),
    ] {
        let found = faults(change);
        assert!(found.iter().any(|fault| fault.contains(words)), "{change}: {found:?}");
    }
}

#[test]
fn all_faults_come_at_once() {
    assert_eq!(faults("{replicas: 0, upstreams: [], storage: {filesystem: {hostPath: null}}}").len(), 3);
}

#[test]
fn names_that_cannot_be_told_apart_are_refused() {
    for bad in ["blue-0", "0blue", "Blue", "", &"b".repeat(41)] {
        let mut object = mirror();
        object.metadata.name = Some(bad.to_owned());
        assert_eq!(validate(&object, None), Err(vec![Invalid::Name(bad.to_owned())]));
    }
}
