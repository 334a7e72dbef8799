//! Who is asked for a NAR file, where, and what counts as an answer.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use granary_fetch::watch::Asked;
use granary_fetch::{Access, Answer, Broken, Expected, Fault, Fetcher, Source, SourceKind, narinfo};
use granary_nix::narinfo::MAX_TEXT;
use granary_nix::{HashPart, NarUrlError, Trust, served_nar_name};
use granary_placement::report::RefusalReason;
use granary_placement::{CompiledMap, MirrorName, MirrorState, Partition};
use http::{HeaderValue, StatusCode, header};
use url::Url;

use super::due::Unfit;
use crate::agent::checked::Cut;
use crate::map::Current;
use crate::sync::trust_of;
use crate::tree::CatalogEntry;

/// The other mirrors, by the map in force, and the upstreams.
#[derive(Debug)]
pub struct Sources {
    own: MirrorName,
    map: Current,
    upstreams: Vec<Source>,
    /// Of all upstreams: a mirror has no key of its own.
    trust: Arc<Trust>,
    fetcher: Fetcher,
}

/// A file at a place.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) url: Url,
    /// What it must be; more is known than before when the place's narinfo was asked for.
    pub(super) expected: Expected,
}

/// One place to ask.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Another mirror; it has the file under the name that its FileHash gives.
    Mirror { name: MirrorName, source: Source },
    /// An upstream; its narinfo says where its file is, and whether it is the same file.
    Upstream(Source),
}

/// Why a place does not give the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("it does not have it")]
    NotFound,
    #[error("it gave wrong bytes before")]
    Benched,
    #[error("it has another NAR file for the artifact")]
    OtherFile,
    #[error("its file has {actual} bytes, not {expected}")]
    Size { expected: u64, actual: u64 },
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("{0}")]
    Source(#[from] Fault),
    #[error("its narinfo is longer than {MAX_TEXT} bytes")]
    NarinfoSize,
    #[error("{0}")]
    Url(#[from] NarUrlError),
    #[error("its narinfo does not come whole: {0}")]
    Broken(#[from] Broken),
    #[error("{0}")]
    Unfit(#[from] Unfit),
    #[error("{0}")]
    Cut(Cut),
    #[error("{0}")]
    Nar(Fault),
}

impl Failure {
    /// Whether the place did not answer.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Source(fault) => fault.reason == RefusalReason::UpstreamUnreachable,
            Self::Broken(_) => true,
            _ => false,
        }
    }
}

impl Sources {
    /// The places that a mirror of this name can ask. Without a map there are only the upstreams.
    #[must_use]
    pub fn new(own: MirrorName, map: Current, upstreams: Vec<Source>, fetcher: Fetcher) -> Self {
        let trust = Arc::new(trust_of(&upstreams));
        Self { own, map, upstreams, trust, fetcher }
    }

    /// The holders that serve, then the other holders, then the upstreams.
    pub(super) fn of(&self, hash_part: HashPart) -> Vec<Place> {
        let map: Option<Arc<CompiledMap>> = self.map.borrow().clone();
        let holders =
            map.as_deref().map(|map| holders(map, &self.own, &self.trust, hash_part)).unwrap_or_default();
        holders.into_iter().chain(self.upstreams.iter().cloned().map(Place::Upstream)).collect()
    }

    /// Where a place has the file, and what it must be.
    pub(super) async fn locate(&self, place: &Place, known: &CatalogEntry) -> Result<Located, Failure> {
        let expected = known.expected;
        match place {
            Place::Mirror { source, .. } => {
                if let Some(file_hash) = expected.file_hash {
                    let url = source.url.join(&served_nar_name(file_hash, expected.compression))?;
                    return Ok(Located { url, expected });
                }
                // Only a mirror that holds the file can tell what it is called.
                let located = self.ask(source, known).await?;
                if located.expected.file_hash.is_some() { Ok(located) } else { Err(Failure::NotFound) }
            }
            Place::Upstream(source) => {
                let located = self.ask(source, known).await?;
                let same = expected.file_hash.is_none() || located.expected.file_hash == expected.file_hash;
                if same { Ok(located) } else { Err(Failure::OtherFile) }
            }
        }
    }

    /// What the place's own narinfo says, which must be trusted, and about the NAR and the compression that are wanted.
    async fn ask(&self, source: &Source, known: &CatalogEntry) -> Result<Located, Failure> {
        let url = source.url.join(&known.hash_part.narinfo_name())?;
        let answer = good(self.fetcher.get(source, Asked::NarInfo, url, &[]).await?)?;
        let text = answer.whole(MAX_TEXT).await?.ok_or(Failure::NarinfoSize)?;
        let info = narinfo::admit(&text, &known.hash_part, source)?;
        let (expected, wanted) = (Expected::from(&info), known.expected);
        if expected.nar_hash != wanted.nar_hash || expected.compression != wanted.compression {
            return Err(Failure::OtherFile);
        }
        Ok(Located { url: source.nar_url(&info)?, expected })
    }

    /// Asks for the file, or the part of it that the client wants.
    pub(super) async fn get(
        &self,
        place: &Place,
        url: Url,
        range: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        let range: Vec<_> = range.into_iter().map(|range| (header::RANGE, range.clone())).collect();
        good(self.fetcher.get(place.source(), Asked::Nar, url, &range).await?)
    }
}

/// The body of an answer, as it comes.
pub(super) fn body(answer: Answer) -> BoxStream<'static, Result<Bytes, Broken>> {
    let next = async |mut answer: Answer| Ok(answer.chunk().await?.map(|chunk| (chunk, answer)));
    futures::stream::try_unfold(answer, next).boxed()
}

fn good(answer: Answer) -> Result<Answer, Failure> {
    match answer.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Failure::NotFound),
        status => Err(Failure::Status(status)),
    }
}

/// The other holders of an artifact under any policy that the map has, those that serve first.
fn holders(map: &CompiledMap, own: &MirrorName, trust: &Arc<Trust>, hash_part: HashPart) -> Vec<Place> {
    let Some(partition) = Partition::of(hash_part.as_str()) else { return Vec::new() };
    let mut names: Vec<&MirrorName> = Vec::new();
    for (_, table) in map.policies_of(own) {
        for name in table.holder_names(partition).filter(|name| *name != own) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let mut mirrors: Vec<_> = names.iter().filter_map(|name| map.map().mirror(name.as_str())).collect();
    // Stable, so that the ranking decides among equals.
    mirrors.sort_by_key(|mirror| mirror.state != MirrorState::Serving);
    let place = |mirror: &granary_placement::Mirror| {
        let (url, trust) = (mirror.internal_url.parse().ok()?, Arc::clone(trust));
        let (priority, kind, access) = (0, SourceKind::Mirror, Access::default());
        let source = Source { url, trust, priority, kind, access };
        Some(Place::Mirror { name: mirror.name.clone(), source })
    };
    mirrors.into_iter().filter_map(place).collect()
}

impl Place {
    pub(super) fn is_mirror(&self) -> bool {
        matches!(self, Self::Mirror { .. })
    }

    fn source(&self) -> &Source {
        match self {
            Self::Mirror { source, .. } | Self::Upstream(source) => source,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mirror { name, .. } => write!(formatter, "mirror {name}"),
            Self::Upstream(source) => write!(formatter, "upstream {}", source.url),
        }
    }
}
