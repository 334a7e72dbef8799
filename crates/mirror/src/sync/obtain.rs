//! One artifact from several sources.

use std::sync::Arc;

use granary_fetch::{Fault, Fetcher, Source, SourceKind, Verified};
use granary_nix::{NarInfo, StorePath};
use granary_placement::report::RefusalReason;

use super::plan::Blame;
use crate::arriving::file_for;
use crate::tree::{TempFile, Tree};

/// What a pass works with; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) tree: Arc<Tree>,
    pub(super) fetcher: Fetcher,
    /// In the order in which they are asked.
    pub(super) sources: Arc<[Source]>,
}

/// A fault and the source that it was found at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) fault: Fault,
    pub(super) source: String,
    /// For a missing reference: which, and why it is missing.
    pub(super) blame: Option<Blame>,
}

impl Problem {
    /// A fault of the artifact itself, at the source of this URL.
    pub(super) fn new(fault: Fault, source: String) -> Self {
        Self { fault, source, blame: None }
    }
}

/// A verified narinfo, and which source gave it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) info: Arc<NarInfo>,
    /// A place in [`Context::sources`]; `None` when it was read from our disk.
    pub(super) origin: Option<usize>,
}

/// A verified NAR file, not yet visible.
#[derive(Debug)]
pub(super) struct Obtained {
    pub(super) info: Arc<NarInfo>,
    pub(super) verified: Verified,
    pub(super) file: TempFile,
    /// The URL of the source that gave it.
    pub(super) source: String,
}

/// The faults met while one source after the other was asked.
#[derive(Debug, Default)]
struct Faults(Vec<(SourceKind, Problem)>);

impl Faults {
    fn add(&mut self, source: &Source, fault: Fault) {
        self.0.push((source.kind, Problem::new(fault, source.url.to_string())));
    }

    fn absent(&mut self, source: &Source, path: &StorePath) {
        self.add(
            source,
            Fault::new(
                RefusalReason::NotFound,
                format!("it does not have {path} (404, 410) or does not show it (403)"),
            ),
        );
    }

    /// The fault to tell: what is wrong with the content, before who did not answer, before who does not have it. That a
    /// mirror does not answer counts for nothing when the upstreams did.
    fn worst(self) -> Problem {
        let rank = |(kind, problem): &(SourceKind, Problem)| match problem.fault.reason {
            RefusalReason::NotFound => 2,
            RefusalReason::UpstreamUnreachable if *kind == SourceKind::Mirror => 3,
            RefusalReason::UpstreamUnreachable => 1,
            _ => 0,
        };
        self.0.into_iter().min_by_key(rank).map_or_else(
            || Problem::new(Fault::new(RefusalReason::NotFound, "there is no source to ask"), String::new()),
            |(_, problem)| problem,
        )
    }
}

impl Context {
    /// The first good narinfo that a source gives for `path`.
    pub(super) async fn find(&self, path: &StorePath) -> Result<Found, Problem> {
        let mut faults = Faults::default();
        for (origin, source) in self.sources.iter().enumerate() {
            match self.ask(source, path).await {
                Ok(Some(info)) => return Ok(Found { info: Arc::new(info), origin: Some(origin) }),
                Ok(None) => faults.absent(source, path),
                Err(fault) => {
                    tracing::debug!(%path, source = %source.url, %fault, "no narinfo from a source");
                    faults.add(source, fault);
                }
            }
        }
        Err(faults.worst())
    }

    /// The source's narinfo for exactly this path.
    async fn ask(&self, source: &Source, path: &StorePath) -> Result<Option<NarInfo>, Fault> {
        let Some(info) = self.fetcher.narinfo(source, &path.hash_part()).await? else { return Ok(None) };
        if info.store_path == *path {
            return Ok(Some(info));
        }
        let message = format!("its narinfo is about {}, not about {path}", info.store_path);
        Err(Fault::new(RefusalReason::WrongPath, message))
    }

    /// The NAR file of an artifact from the first source that gives the right bytes.
    pub(super) async fn obtain(&self, wanted: &Found) -> Result<Obtained, Problem> {
        let path = &wanted.info.store_path;
        let mut faults = Faults::default();
        for (number, source) in self.sources.iter().enumerate() {
            match self.obtain_from(number, source, wanted).await {
                Ok(Some(obtained)) => return Ok(obtained),
                Ok(None) => faults.absent(source, path),
                Err(fault) => {
                    if !fault.is_transient() && fault.reason != RefusalReason::NotFound {
                        tracing::warn!(%path, source = %source.url, reason = %fault.reason, %fault, "a source gives bad bytes");
                    }
                    faults.add(source, fault);
                }
            }
        }
        Err(faults.worst())
    }

    async fn obtain_from(
        &self,
        number: usize,
        source: &Source,
        wanted: &Found,
    ) -> Result<Option<Obtained>, Fault> {
        let info = if wanted.origin == Some(number) {
            Arc::clone(&wanted.info)
        } else {
            match self.ask(source, &wanted.info.store_path).await? {
                Some(info) => Arc::new(info),
                None => return Ok(None),
            }
        };
        // Both may be signed: builds are not always reproducible. The catalog's says what is wanted here.
        if info.nar_hash != wanted.info.nar_hash {
            let message =
                format!("it holds another build: NarHash {}, not {}", info.nar_hash, wanted.info.nar_hash);
            return Err(Fault::new(RefusalReason::NarHash, message));
        }
        if info.references != wanted.info.references {
            let message = "it holds another build: its references are others";
            return Err(Fault::new(RefusalReason::NarHash, message));
        }
        let file = file_for(&self.tree, source, &info).await?;
        let verified = match self.fetcher.rest_of_nar(source, &info, file.path()).await {
            // A disk that is full must not stay so for what cannot be completed on it.
            Err(fault) if fault.reason == RefusalReason::Disk => {
                file.discard();
                return Err(fault);
            }
            result => result?,
        };
        Ok(Some(Obtained { info, verified, file, source: source.url.to_string() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(faults: &[(SourceKind, RefusalReason)]) -> RefusalReason {
        let problem = |reason| Problem::new(Fault::new(reason, ""), String::new());
        Faults(faults.iter().map(|(kind, reason)| (*kind, problem(*reason))).collect()).worst().fault.reason
    }

    #[test]
    fn bad_content_is_told_before_silence_and_silence_before_absence() {
        use RefusalReason::{NarHash, NotFound, UpstreamUnreachable};
        use SourceKind::{Mirror, Upstream};
        assert_eq!(worst(&[]), NotFound);
        assert_eq!(worst(&[(Upstream, NotFound), (Mirror, UpstreamUnreachable)]), NotFound);
        assert_eq!(worst(&[(Upstream, NotFound), (Upstream, UpstreamUnreachable)]), UpstreamUnreachable);
        assert_eq!(worst(&[(Upstream, UpstreamUnreachable), (Mirror, NotFound)]), UpstreamUnreachable);
        assert_eq!(worst(&[(Upstream, UpstreamUnreachable), (Mirror, NarHash)]), NarHash);
        assert_eq!(worst(&[(Mirror, UpstreamUnreachable)]), UpstreamUnreachable);
    }
}
