//! Files beside artifacts that clients ask for here and that are not in the tree: had from the upstreams, checked, kept
//! where their artifact is kept, and answered.
//!
//! A 404 says that every upstream said 404. When one of them did not answer, or gave something that is not the file, the
//! answer is 503 with `Retry-After`: a client that takes a 404 for the truth would remember it.

mod flights;
mod respond;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::get;
use granary_fetch::{Access, Source, SourceKind};
use granary_nix::{BuildId, Extra, ExtraKind, HashPart, Trust, served_nar_name};
use granary_placement::{MirrorName, MirrorState, Partition};
use http::{HeaderMap, Response};
use tokio::time::timeout;

use super::misses::HOP;
use super::server::Shared;
use crate::extras::{Asked, Checked, Found, Keeper};
use crate::lately::Lately;
use crate::map::Current;
use crate::metrics::ExtraAnswer;
use crate::sync::trust_of;
use flights::{Flights, Landed, Served};

/// How long a client waits. The file is had even when it goes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to have a file.
const LONGEST: Duration = Duration::from_mins(5);
/// How long nobody is asked again for a file that nobody had. Short: a realisation comes to be when something is built.
const ABSENT: Duration = Duration::from_secs(30);
/// Names of such files that are remembered.
const MOST_ABSENT: usize = 4096;
/// Other mirrors that are asked for one file.
const MOST_MIRRORS: usize = 3;

/// Answers misses for files beside artifacts.
#[derive(Debug)]
pub struct Extras {
    keeper: Arc<Keeper>,
    own: MirrorName,
    map: Current,
    /// What counts from any upstream: a mirror has no key of its own.
    trust: Arc<Trust>,
    flights: Flights,
    /// Files that nobody had a moment ago: a client that asks again and again does not become as many questions.
    absent: Lately<String>,
}

/// The agent's own path for all of them; nginx asks there.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/granary/v1/extras/{*name}", get(answer))
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    shared.extras.answer(&headers, &name).await
}

impl Extras {
    /// With what it asks.
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, own: MirrorName, map: Current) -> Arc<Self> {
        let trust = Arc::new(trust_of(keeper.upstreams()));
        let (flights, absent) = (Flights::default(), Lately::new(ABSENT, MOST_ABSENT));
        Arc::new(Self { keeper, own, map, trust, flights, absent })
    }

    /// Answers a GET or HEAD for a file by its name, percent-decoded.
    pub async fn answer(self: &Arc<Self>, headers: &HeaderMap, name: &str) -> Response<Body> {
        let Ok(extra) = Extra::parse(name) else { return respond::not_found() };
        let kind = extra.kind();
        let landed = self.land(headers, extra).await;
        let (answer, response) = match landed {
            Landed::Served(served) => match respond::file(kind, &served).await {
                Ok(response) => (ExtraAnswer::Found, response),
                Err(error) => {
                    tracing::warn!(name, %error, "a file that was there cannot be read");
                    (ExtraAnswer::Unavailable, respond::unavailable())
                }
            },
            Landed::Absent => (ExtraAnswer::NotFound, respond::not_found()),
            Landed::Unknown => (ExtraAnswer::Unavailable, respond::unavailable()),
        };
        self.keeper.metrics().miss(kind, answer);
        response
    }

    async fn land(self: &Arc<Self>, headers: &HeaderMap, extra: Extra) -> Landed {
        let tree = self.keeper.tree();
        if tree.has_extra(&extra) {
            return Landed::Served(Served::Tree(tree.extra_path(&extra)));
        }
        // Whoever asks with the mark asks the others itself.
        let name = extra.file_name();
        if headers.contains_key(HOP)
            || !self.keeper.wants(extra.kind())
            || self.absent.has(&name, Instant::now())
        {
            return Landed::Absent;
        }
        let this = Arc::clone(self);
        let find = async move {
            let landed = timeout(LONGEST, this.find(&extra)).await.unwrap_or(Landed::Unknown);
            if matches!(landed, Landed::Absent) {
                this.absent.add(extra.file_name(), Instant::now());
            }
            landed
        };
        let Some(mut flight) = self.flights.board(name, find) else { return Landed::Unknown };
        let landed = timeout(PATIENCE, flight.wait_for(Option::is_some)).await;
        match landed {
            Ok(Ok(landed)) => landed.clone().unwrap_or(Landed::Unknown),
            // It takes too long, or ended without a word: the process is stopping.
            Ok(Err(_)) | Err(_) => Landed::Unknown,
        }
    }

    async fn find(&self, extra: &Extra) -> Landed {
        match extra {
            Extra::DebugInfo(id) => self.find_debug_info(extra, id).await,
            Extra::Listing(hash) => {
                let mut sources = self.holders(hash);
                sources.extend_from_slice(self.keeper.upstreams());
                let asked = self.keeper.ask(extra, &sources, self.keeper.nar_size(*hash).await).await;
                match asked {
                    Asked::Found(found) => self.stored(extra, found).await,
                    Asked::Absent | Asked::Failed if self.keeper.made_listing(hash).await => {
                        Landed::Served(Served::Tree(self.keeper.tree().extra_path(extra)))
                    }
                    Asked::Absent => Landed::Absent,
                    Asked::Failed => Landed::Unknown,
                }
            }
            Extra::Log(_) | Extra::Realisation(_) | Extra::BuildTrace(_) => {
                match self.keeper.ask(extra, self.keeper.upstreams(), None).await {
                    Asked::Found(found) => self.stored(extra, found).await,
                    Asked::Absent => Landed::Absent,
                    Asked::Failed => Landed::Unknown,
                }
            }
        }
    }

    /// Into the tree, if its artifact is there; else it is only passed on.
    async fn stored(&self, extra: &Extra, found: Found) -> Landed {
        match self.keeper.store(extra, found).await {
            Ok(None) => Landed::Served(Served::Tree(self.keeper.tree().extra_path(extra))),
            Ok(Some(file)) => Landed::Served(Served::Temp(Arc::new(file))),
            Err(error) => {
                tracing::warn!(name = extra.file_name(), error, "a file beside an artifact cannot be kept");
                Landed::Unknown
            }
        }
    }

    /// An entry of an upstream's debug index names the upstream's NAR file. If that NAR is held here, the entry is made
    /// anew from the NAR itself, which proves it; if the catalog knows it, it is passed on with the name that it has here.
    async fn find_debug_info(&self, extra: &Extra, id: &BuildId) -> Landed {
        let found = match self.keeper.ask(extra, self.keeper.upstreams(), None).await {
            Asked::Found(found) => found,
            Asked::Absent => return Landed::Absent,
            Asked::Failed => return Landed::Unknown,
        };
        let Checked::DebugInfo(mut entry) = found.checked else { return Landed::Unknown };
        let tree = self.keeper.tree();
        let file = entry.nar.strip_prefix("nar/").unwrap_or_default();
        // An entry for a NAR that nobody can have here says nothing here.
        let Some(known) = tree.find_nar(file) else { return Landed::Absent };
        if tree.holds(&known.hash_part) {
            return if self.keeper.indexed(&known.hash_part).await && tree.has_extra(extra) {
                Landed::Served(Served::Tree(tree.extra_path(extra)))
            } else {
                tracing::warn!(
                    name = extra.file_name(),
                    nar = entry.nar,
                    "the NAR has no such debug information"
                );
                Landed::Unknown
            };
        }
        let expected = known.expected;
        entry.nar = served_nar_name(expected.file_hash.unwrap_or(expected.nar_hash), expected.compression);
        Landed::Served(Served::Text(entry.to_text(id).into()))
    }

    /// The other mirrors that hold an artifact, those that serve first.
    fn holders(&self, hash: &HashPart) -> Vec<Source> {
        let Some(map) = self.map.borrow().clone() else { return Vec::new() };
        let Some(partition) = Partition::of(hash.as_str()) else { return Vec::new() };
        let mut names: Vec<&MirrorName> = Vec::new();
        for (_, table) in map.policies_of(&self.own) {
            for name in table.holder_names(partition).filter(|name| **name != self.own) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let mut mirrors: Vec<_> = names.iter().filter_map(|name| map.map().mirror(name.as_str())).collect();
        // Stable, so that the ranking decides among equals.
        mirrors.sort_by_key(|mirror| mirror.state != MirrorState::Serving);
        let source = |mirror: &granary_placement::Mirror| {
            let url = mirror.internal_url.parse().ok()?;
            let (priority, kind, access) = (0, SourceKind::Mirror, Access::default());
            Some(Source { url, trust: Arc::clone(&self.trust), priority, kind, access })
        };
        mirrors.into_iter().filter_map(source).take(MOST_MIRRORS).collect()
    }
}

/// What the answer is called.
const fn content_type(kind: ExtraKind) -> &'static str {
    match kind {
        ExtraKind::Log => "text/plain; charset=utf-8",
        ExtraKind::Listing | ExtraKind::DebugInfo | ExtraKind::Realisation | ExtraKind::BuildTrace => {
            "application/json"
        }
    }
}
