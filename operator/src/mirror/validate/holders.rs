//! The holders of a mirror: their names, their URLs, and where each runs.

use granary_crds::is_public_url;
use granary_placement::{MirrorMap, MirrorName, NameError};

use super::{Disk, Invalid};

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

/// The URL, which has to tell several holders apart.
pub(super) fn check_url(url: &str, replicas: i32, faults: &mut Vec<Invalid>) {
    if !is_public_url(url) {
        faults.push(Invalid::Url { field: "spec.url", value: url.to_owned() });
    }
    if replicas > 1 && !url.contains("{ordinal}") {
        faults.push(Invalid::OneUrl(url.to_owned()));
    }
}

/// One for each replica.
pub(super) fn holders(
    cache_mirror: &str,
    replicas: i32,
    url: Option<&str>,
    storage: &Disk,
    map: Option<&MirrorMap>,
) -> Result<Vec<Holder>, NameError> {
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
