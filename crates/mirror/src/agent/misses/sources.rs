//! Who is asked for a NAR file, where, and what counts as an answer.

use std::fmt;
use std::sync::Arc;

use granary_fetch::{Expected, Fault, Source, narinfo};
use granary_nix::{BaseUrl, HashPart, NarUrlError, Origins, PublicKeys, served_nar_name};
use granary_placement::{CompiledMap, MirrorName, MirrorState, Partition};
use http::{HeaderValue, StatusCode, header};
use reqwest::Response;
use url::Url;

use super::{Cut, HOP};
use crate::map::Current;
use crate::tree::CatalogEntry;

/// The other mirrors, by the map in force, and the upstreams.
#[derive(Debug)]
pub struct Sources {
    own: MirrorName,
    map: Current,
    upstreams: Vec<Source>,
    /// Those of all upstreams: a mirror has no key of its own.
    keys: PublicKeys,
    client: reqwest::Client,
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
    Mirror { name: MirrorName, url: BaseUrl },
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
    Narinfo(#[from] Fault),
    #[error("its narinfo is longer than {} bytes", granary_nix::narinfo::MAX_TEXT)]
    NarinfoSize,
    #[error("{0}")]
    Url(#[from] NarUrlError),
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("{0}")]
    Cut(Cut),
    #[error("{0}")]
    Nar(Fault),
}

impl Sources {
    /// The places that a mirror of this name can ask. Without a map there are only the upstreams.
    #[must_use]
    pub fn new(own: MirrorName, map: Current, upstreams: Vec<Source>, client: reqwest::Client) -> Self {
        let keys = upstreams.iter().flat_map(|source| source.keys.as_slice()).cloned().collect();
        Self { own, map, upstreams, keys, client }
    }

    /// The holders that serve, then the other holders, then the upstreams.
    pub(super) fn of(&self, hash_part: HashPart) -> Vec<Place> {
        let map: Option<Arc<CompiledMap>> = self.map.borrow().clone();
        let holders = map.as_deref().map(|map| holders(map, &self.own, hash_part)).unwrap_or_default();
        holders.into_iter().chain(self.upstreams.iter().cloned().map(Place::Upstream)).collect()
    }

    /// Where a place has the file, and what it must be.
    pub(super) async fn locate(&self, place: &Place, known: &CatalogEntry) -> Result<Located, Failure> {
        let expected = known.expected;
        match place {
            Place::Mirror { url, .. } => {
                if let Some(file_hash) = expected.file_hash {
                    let url = url.join(&served_nar_name(file_hash, expected.compression))?;
                    return Ok(Located { url, expected });
                }
                // Only a mirror that holds the file can tell what it is called.
                let located = self.ask(place, url, &self.keys, known).await?;
                if located.expected.file_hash.is_some() { Ok(located) } else { Err(Failure::NotFound) }
            }
            Place::Upstream(source) => {
                let located = self.ask(place, &source.url, &source.keys, known).await?;
                let same = expected.file_hash.is_none() || located.expected.file_hash == expected.file_hash;
                if same { Ok(located) } else { Err(Failure::OtherFile) }
            }
        }
    }

    /// What the place's own narinfo says, which must be signed, and about the NAR and the compression that are wanted.
    async fn ask(
        &self,
        place: &Place,
        base: &BaseUrl,
        keys: &PublicKeys,
        known: &CatalogEntry,
    ) -> Result<Located, Failure> {
        let text = self.narinfo(place, base.join(&known.hash_part.narinfo_name())?).await?;
        let info = narinfo::admit_signed(&text, &known.hash_part, keys)?;
        let (expected, wanted) = (Expected::from(&info), known.expected);
        if expected.nar_hash != wanted.nar_hash || expected.compression != wanted.compression {
            return Err(Failure::OtherFile);
        }
        Ok(Located { url: base.resolve(&info.url, Origins::Upstream)?, expected })
    }

    async fn narinfo(&self, place: &Place, url: Url) -> Result<Vec<u8>, Failure> {
        let mut answer = self.get(place, url, None).await?;
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            text.extend_from_slice(&chunk);
            if text.len() > granary_nix::narinfo::MAX_TEXT {
                return Err(Failure::NarinfoSize);
            }
        }
        Ok(text)
    }

    /// Asks for the file, or the part of it that the client wants.
    pub(super) async fn get(
        &self,
        place: &Place,
        url: Url,
        range: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let mut request = self.client.get(url);
        if place.is_mirror() {
            request = request.header(HOP, "1");
        }
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        good(request.send().await?)
    }
}

fn good(answer: Response) -> Result<Response, Failure> {
    match answer.status() {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Failure::NotFound),
        status => Err(Failure::Status(status)),
    }
}

/// The other holders of an artifact under any policy that the map has, those that serve first.
fn holders(map: &CompiledMap, own: &MirrorName, hash_part: HashPart) -> Vec<Place> {
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
        Some(Place::Mirror { name: mirror.name.clone(), url: mirror.internal_url.parse().ok()? })
    };
    mirrors.into_iter().filter_map(place).collect()
}

/// How long the whole file is, as far as the answer says.
pub(super) fn total_size(answer: &Response) -> Option<u64> {
    match answer.headers().get(header::CONTENT_RANGE) {
        Some(range) => range.to_str().ok()?.rsplit_once('/')?.1.parse().ok(),
        None => answer.content_length(),
    }
}

impl Place {
    pub(super) fn is_mirror(&self) -> bool {
        matches!(self, Self::Mirror { .. })
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
