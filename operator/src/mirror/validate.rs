//! Step 2, pure: what is built, or why nothing can be. The rules are those of the CRD, checked again: an object may be older than
//! a rule, or its definition may have been installed without them.

mod care;
mod fault;
mod serving;
mod upstreams;

use granary_crds::{
    CacheMirror, Size,
    cache_mirror::{
        Bandwidth, CacheMirrorSpec, Extras, Filesystem, MAX_NAME, MAX_REPLICAS, PublishNarinfo, PullThrough,
        Storage, VolumeClaim,
    },
    is_host_path, is_public_url,
};
use granary_placement::{MirrorMap, MirrorName};
use k8s_openapi::{api::core::v1::Toleration, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::Resource;

pub use care::{Push, Scrub};
pub use fault::Invalid;
pub use serving::{Clients, Serving, Tls};
pub use upstreams::{Authorities, Credentials, Proxy, Upstream};

use super::names::Labels;

/// A `CacheMirror` that passed: the only input of the steps after this one.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedMirror {
    /// The name of the `CacheMirror`.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What its children name as their owner.
    pub owner: OwnerReference,
    /// The holders, in order of ordinal.
    pub holders: Vec<Holder>,
    /// Where to pull from, in the order of the spec.
    pub upstreams: Vec<Upstream>,
    /// By whom they are asked.
    pub proxy: Option<Proxy>,
    /// The most bytes a second that a holder pulls.
    pub bandwidth: Option<u64>,
    /// The most that a holder keeps of what only clients asked for; `None`: nothing of it.
    pub pull_through: Option<u64>,
    /// Where the artifacts lie.
    pub storage: Disk,
    /// Space that stays free on the disk.
    pub keep_free: Option<u64>,
    /// Who may bring artifacts.
    pub push: Option<Push>,
    /// How everything is read again; `None`: as the mirror does it by itself.
    pub scrub: Option<Scrub>,
    /// Labels that a node must have.
    pub selector: Labels,
    /// Taints that keep nothing away.
    pub tolerations: Vec<Toleration>,
    /// How clients reach the holders.
    pub serving: Serving,
    /// What is kept beside narinfos and NARs; `None`: as the mirror does it by itself.
    pub extras: Option<Extras>,
    /// Who gets `Mirrors:` lines.
    pub publish_narinfo: PublishNarinfo,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub name: MirrorName,
    /// Its public URL.
    pub url: Option<String>,
    /// Where it runs.
    pub place: Place,
}

/// Where a holder runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this node and no other: its disk is there.
    Pinned(String),
    /// Where the scheduler puts it: its volume follows it.
    Anywhere,
    /// Nowhere yet: the mirror map does not say on which node its disk is, so nothing is built for it.
    Waiting,
}

/// Where the artifacts lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// A directory on the node.
    HostPath(String),
    /// A volume of the cluster.
    Volume {
        /// The class that provides it; `None`: the default one.
        class: Option<String>,
        /// Its size.
        size: String,
    },
}

/// Checks an object. Every fault is returned, not only the first. `map` is the namespace's mirror map: it says on which node a
/// host path is.
pub fn validate(object: &CacheMirror, map: Option<&MirrorMap>) -> Result<ValidatedMirror, Vec<Invalid>> {
    // Complete: a field of the spec that nothing reads does not compile.
    let CacheMirrorSpec {
        // The mirror map takes these from the object itself.
        region: _,
        zone: _,
        organization: _,
        url,
        upstreams,
        proxy,
        bandwidth: Bandwidth { pull },
        pull_through,
        push,
        scrub,
        extras,
        storage,
        replicas,
        nodes,
        serving,
        publish,
        // The driver never comes here when this is set.
        suspend: _,
    } = &object.spec;
    let mut faults = Vec::new();

    let name = object.metadata.name.clone().unwrap_or_default();
    if !is_name(&name) {
        faults.push(Invalid::Name(name.clone()));
    }
    if !(1..=MAX_REPLICAS).contains(replicas) {
        faults.push(Invalid::Replicas(*replicas));
    }
    if let Some(url) = url {
        check_url(url, *replicas, &mut faults);
    }
    let upstreams = upstreams::check(upstreams, &mut faults);
    let proxy = proxy.as_ref().map(|proxy| upstreams::check_proxy(proxy, &mut faults));
    let bandwidth = check_size("spec.bandwidth.pull", pull.as_ref(), &mut faults);
    let pull_through = pull_through.as_ref().filter(|PullThrough { enabled, max_size: _ }| *enabled);
    let pull_through = pull_through.map(|PullThrough { enabled: _, max_size }| max_size);
    let pull_through = check_size("spec.pullThrough.maxSize", pull_through, &mut faults);
    let keep_free = check_size("spec.storage.keepFree", storage.keep_free.as_ref(), &mut faults);
    let disk = check_storage(storage, &mut faults);
    let push = push.as_ref().map(|push| care::check_push(push, &mut faults));
    let scrub = scrub.as_ref().map(|scrub| care::check_scrub(scrub, &mut faults));
    let serving = serving::check(serving, &mut faults);
    let owner = object.controller_owner_ref(&());
    if owner.is_none() {
        faults.push(Invalid::Incomplete("uid"));
    }
    let namespace = object.metadata.namespace.clone();
    if namespace.is_none() {
        faults.push(Invalid::Incomplete("namespace"));
    }
    let (Some(owner), Some(namespace), Some(storage), true) = (owner, namespace, disk, faults.is_empty())
    else {
        return Err(faults);
    };
    let holders = holders(&name, *replicas, url.as_deref(), &storage, map)
        .map_err(|_| vec![Invalid::Name(name.clone())])?;
    Ok(ValidatedMirror {
        name,
        namespace,
        owner,
        holders,
        upstreams,
        proxy,
        bandwidth,
        pull_through,
        storage,
        keep_free,
        push,
        scrub,
        selector: nodes.selector.clone(),
        tolerations: nodes.tolerations.clone(),
        serving,
        extras: extras.clone(),
        publish_narinfo: publish.narinfo,
    })
}

fn is_name(name: &str) -> bool {
    let ends_in_number =
        name.rsplit_once('-').is_some_and(|(_, end)| end.bytes().all(|byte| byte.is_ascii_digit()));
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !ends_in_number
}

fn check_url(url: &str, replicas: i32, faults: &mut Vec<Invalid>) {
    if !is_public_url(url) {
        faults.push(Invalid::Url { field: "spec.url", value: url.to_owned() });
    }
    if replicas > 1 && !url.contains("{ordinal}") {
        faults.push(Invalid::OneUrl(url.to_owned()));
    }
}

/// A size in bytes, if it is one. The mirror's file knows fewer units than Kubernetes, so it gets none.
fn check_size(field: &'static str, size: Option<&Size>, faults: &mut Vec<Invalid>) -> Option<u64> {
    let size = size?;
    match size.bytes() {
        Ok(bytes) => Some(bytes),
        Err(source) => {
            faults.push(Invalid::Size { field, value: size.as_str().to_owned(), source });
            None
        }
    }
}

fn check_storage(storage: &Storage, faults: &mut Vec<Invalid>) -> Option<Disk> {
    let Storage { filesystem: Filesystem { host_path, volume_claim }, capacity, keep_free: _ } = storage;
    check_size("spec.storage.capacity", Some(capacity), faults);
    match (host_path, volume_claim) {
        (Some(_), Some(_)) => {
            faults.push(Invalid::TwoStorages);
            None
        }
        (None, None) => {
            faults.push(Invalid::NoStorage);
            None
        }
        (Some(path), None) => {
            if !is_host_path(path) {
                faults.push(Invalid::HostPath(path.clone()));
            }
            Some(Disk::HostPath(path.clone()))
        }
        (None, Some(VolumeClaim { storage_class_name, size: volume })) => {
            check_size("spec.storage.filesystem.volumeClaim.size", Some(volume), faults);
            Some(Disk::Volume { class: storage_class_name.clone(), size: volume.as_str().to_owned() })
        }
    }
}

fn holders(
    cache_mirror: &str,
    replicas: i32,
    url: Option<&str>,
    storage: &Disk,
    map: Option<&MirrorMap>,
) -> Result<Vec<Holder>, granary_placement::NameError> {
    let ordinals = 0..u32::try_from(replicas).unwrap_or_default();
    ordinals
        .map(|ordinal| {
            let name = MirrorName::of_holder(cache_mirror, ordinal)?;
            let node =
                || map.and_then(|map| map.mirror(name.as_str())).and_then(|mirror| mirror.node.clone());
            let place = match storage {
                Disk::Volume { .. } => Place::Anywhere,
                Disk::HostPath(_) => node().map_or(Place::Waiting, Place::Pinned),
            };
            Ok(Holder { url: url.map(|url| url.replace("{ordinal}", &ordinal.to_string())), name, place })
        })
        .collect()
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            holder(0),
            ("blue-0", Some("https://blue-0.example.org"), Place::Pinned("metal-7".into()))
        );
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
}
