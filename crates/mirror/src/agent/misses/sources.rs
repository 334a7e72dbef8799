//! Who is asked for a NAR file, where, and what counts as an answer.

use std::fmt;
use std::sync::Arc;

use granary_fetch::{Fault, Source};
use granary_nix::{BaseUrl, HashPart, NarInfo, NarUrlError, Origins};
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
    client: reqwest::Client,
}

/// One place to ask.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Another mirror; it has the file under the same name.
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
}

impl Sources {
    /// The places that a mirror of this name can ask. Without a map there are only the upstreams.
    #[must_use]
    pub fn new(own: MirrorName, map: Current, upstreams: Vec<Source>, client: reqwest::Client) -> Self {
        Self { own, map, upstreams, client }
    }

    /// The holders that serve, then the other holders, then the upstreams.
    pub(super) fn of(&self, hash_part: HashPart) -> Vec<Place> {
        let map: Option<Arc<CompiledMap>> = self.map.borrow().clone();
        let holders = map.as_deref().map(|map| holders(map, &self.own, hash_part)).unwrap_or_default();
        holders.into_iter().chain(self.upstreams.iter().cloned().map(Place::Upstream)).collect()
    }

    /// The URL of the file at a place.
    pub(super) async fn locate(
        &self,
        place: &Place,
        file: &str,
        known: CatalogEntry,
    ) -> Result<Url, Failure> {
        match place {
            Place::Mirror { url, .. } => Ok(url.join(&format!("nar/{file}"))?),
            Place::Upstream(source) => {
                let url = source.url.join(&known.hash_part.narinfo_name())?;
                let info = NarInfo::parse(&self.narinfo(url).await?).map_err(Fault::from)?;
                source.keys.verify(&info).map_err(Fault::from)?;
                if info.store_path.hash_part() != known.hash_part || info.file_hash != Some(known.file_hash) {
                    return Err(Failure::OtherFile);
                }
                Ok(source.url.resolve(&info.url, Origins::Upstream)?)
            }
        }
    }

    async fn narinfo(&self, url: Url) -> Result<Vec<u8>, Failure> {
        let mut answer = good(self.client.get(url).send().await?)?;
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
