//! Step 2, pure: what is built, or why nothing can be. The rules are those of the CRD, checked again: an object may be older than
//! a rule, or its definition may have been installed without them.

mod care;
mod fault;
mod holders;
mod serving;
mod storage;
mod upstreams;

use granary_crds::{
    CacheMirror, Size,
    cache_mirror::{Bandwidth, CacheMirrorSpec, Extras, MAX_NAME, MAX_REPLICAS, PublishNarinfo, PullThrough},
};
use granary_placement::MirrorMap;
use k8s_openapi::{api::core::v1::Toleration, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::Resource;

pub use care::{Push, Scrub};
pub use fault::Invalid;
pub use holders::{Holder, Place};
pub use serving::{Clients, Serving, Tls};
pub use storage::Disk;
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
        holders::check_url(url, *replicas, &mut faults);
    }
    let upstreams = upstreams::check(upstreams, &mut faults);
    let proxy = proxy.as_ref().map(|proxy| upstreams::check_proxy(proxy, &mut faults));
    let bandwidth = check_size("spec.bandwidth.pull", pull.as_ref(), &mut faults);
    let pull_through = pull_through.as_ref().filter(|PullThrough { enabled, max_size: _ }| *enabled);
    let pull_through = pull_through.map(|PullThrough { enabled: _, max_size }| max_size);
    let pull_through = check_size("spec.pullThrough.maxSize", pull_through, &mut faults);
    let keep_free = check_size("spec.storage.keepFree", storage.keep_free.as_ref(), &mut faults);
    let disk = storage::check(storage, &mut faults);
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
    let holders = holders::holders(&name, *replicas, url.as_deref(), &storage, map)
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

#[cfg(test)]
mod tests;
