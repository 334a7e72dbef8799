//! Where artifacts can be had.

use std::sync::Arc;

use granary_nix::{BaseUrl, NarInfo, Trust};
use url::Url;

use crate::{Access, Fault};

/// A binary cache to copy from, what must vouch for what it says, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The cache's URL.
    pub url: BaseUrl,
    /// What each narinfo that this source gives must have. For another mirror: what any of the upstreams' must have, because
    /// a mirror has no key of its own.
    pub trust: Arc<Trust>,
    /// Lower is asked first, among sources of one kind.
    pub priority: u32,
    /// What stands behind the URL.
    pub kind: SourceKind,
    /// How it is asked.
    pub access: Access,
}

impl Source {
    /// A cache that anybody may ask.
    pub fn new(url: BaseUrl, trust: impl Into<Trust>, priority: u32, kind: SourceKind) -> Self {
        Self { url, trust: Arc::new(trust.into()), priority, kind, access: Access::default() }
    }

    /// Where the source has the NAR file of one of its narinfos.
    pub fn nar_url(&self, info: &NarInfo) -> Result<Url, Fault> {
        Ok(self.access.hosts.nar_url(&self.url, &info.url)?)
    }
}

/// What stands behind a source's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// A cache that we mirror. When every upstream says that an artifact does not exist, it does not.
    Upstream,
    /// Another mirror, asked after the upstreams. Requests carry `Granary-Hop: 1`, so that it answers only from what it
    /// can get without asking us.
    Mirror,
}

/// Puts sources in the order in which they are asked: upstreams, then mirrors, each by priority, and those of equal
/// priority as they were given.
pub fn order(sources: &mut [Source]) {
    sources.sort_by_key(|source| (source.kind, source.priority));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_come_first_then_lower_priorities() {
        let source = |host: &str, priority, kind| {
            Source::new(format!("http://{host}").parse().unwrap(), Trust::default(), priority, kind)
        };
        let mut sources = [
            source("mirror", 1, SourceKind::Mirror),
            source("far", 50, SourceKind::Upstream),
            source("near-a", 40, SourceKind::Upstream),
            source("near-b", 40, SourceKind::Upstream),
        ];
        order(&mut sources);
        assert_eq!(sources.map(|source| source.url.host().to_owned()), ["near-a", "near-b", "far", "mirror"]);
    }
}
