//! The transfer from one upstream into a file.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use granary_fetch::{Expected, Fault, Grown, Growth, Source, Verified, narinfo};
use granary_nix::{NarInfo, StorePath};
use granary_placement::report::RefusalReason;
use tokio::sync::mpsc;

use super::super::Through;
use super::super::race::Found;
use super::view::Body;
use crate::arriving::file_for;
use crate::tree::{CatalogEntry, TempFile};

/// What an attempt tells its flight.
#[derive(Debug)]
pub(super) enum Event {
    /// Its file has grown, or begun anew.
    Grew { number: usize, expected: Expected, grown: Grown, body: Arc<Body> },
    /// It is over.
    Ended { number: usize, result: Result<Obtained, Problem> },
}

/// Why an upstream did not give a NAR file.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) fault: Fault,
    /// The artifact's, if the upstream's narinfo was good.
    pub(super) path: Option<StorePath>,
    /// The upstream's URL.
    pub(super) source: String,
}

/// A verified NAR file, and what is known of it.
#[derive(Debug)]
pub(in super::super) struct Obtained {
    pub(in super::super) info: Arc<NarInfo>,
    pub(in super::super) verified: Verified,
    pub(in super::super) file: TempFile,
    /// The URL of the upstream that gave it.
    pub(in super::super) source: String,
}

impl Through {
    /// Fetches and verifies the file from upstream number `number`, which exists, and tells of it.
    /// `wrong` counts the flight's files that turned out to be.
    pub(super) async fn attempt(
        self,
        number: usize,
        known: CatalogEntry,
        events: mpsc::Sender<Event>,
        wrong: Arc<AtomicU32>,
    ) {
        let source = &self.0.upstreams[number];
        let mut path = None;
        let result = match self.locate(number, source, &known).await {
            Ok(info) => {
                path = Some(info.store_path.clone());
                self.fetch(number, source, info, (&events, &wrong)).await
            }
            Err(fault) => Err(fault),
        };
        let result = result.map_err(|fault| Problem { fault, path, source: source.url.to_string() });
        // A flight that listens no more has ended otherwise.
        let _ = events.send(Event::Ended { number, result }).await;
    }

    async fn fetch(
        &self,
        number: usize,
        source: &Source,
        info: Arc<NarInfo>,
        (events, wrong): (&mpsc::Sender<Event>, &AtomicU32),
    ) -> Result<Obtained, Fault> {
        let url = narinfo::nar_url(&info, source)?;
        if self.0.wrong.has(url.as_str(), Instant::now()) {
            return Err(Fault::new(RefusalReason::UpstreamUnreachable, "it gave wrong bytes a moment ago"));
        }
        let file = file_for(&self.0.tree, source, &info).await?;
        let (expected, growth) = (Expected::from(&*info), Arc::<Growth>::default());
        let result = {
            let fetch = self.0.fetching.rest_of_nar_followed(source, &info, file.path(), &growth);
            tokio::pin!(fetch);
            let mut grown = growth.follow();
            let (mut body, mut restarts, mut found_wrong) = (None, 0, 0);
            loop {
                tokio::select! {
                    biased;
                    Ok(()) = grown.changed() => {
                        let now = *grown.borrow_and_update();
                        wrong.fetch_add(now.wrong - found_wrong, Ordering::Relaxed);
                        found_wrong = now.wrong;
                        if now.bytes == 0 {
                            continue;
                        }
                        if body.is_none() || now.restarts != restarts {
                            restarts = now.restarts;
                            body = open(&file, &expected, &now, wrong.load(Ordering::Relaxed)).map(Arc::new);
                        }
                        if let Some(body) = body.clone() {
                            // The flight is never slow: it only looks.
                            let _ = events.send(Event::Grew { number, expected, grown: now, body }).await;
                        }
                    }
                    result = &mut fetch => break result,
                }
            }
        };
        match result {
            Ok(verified) => Ok(Obtained { info, verified, file, source: source.url.to_string() }),
            Err(fault) => {
                if !fault.is_transient() && fault.reason != RefusalReason::NotFound {
                    let path = &info.store_path;
                    tracing::warn!(%path, source = %source.url, reason = %fault.reason, %fault, "a source gives bad bytes");
                    self.0.wrong.add(url.to_string(), Instant::now());
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
                // A disk that is full must not stay so for what cannot be completed on it.
                if fault.reason == RefusalReason::Disk {
                    file.discard();
                }
                Err(fault)
            }
        }
    }

    /// The upstream's narinfo, which must be about the same NAR, and the same file if that is known.
    async fn locate(
        &self,
        number: usize,
        source: &Source,
        known: &CatalogEntry,
    ) -> Result<Arc<NarInfo>, Fault> {
        let recent = self.0.lookups.recent(&known.hash_part).filter(|found| found.source == number);
        let info = match recent {
            Some(Found { info, .. }) => info,
            None => match self.0.asking.narinfo(source, &known.hash_part).await? {
                Some(info) => Arc::new(info),
                None => return Err(Fault::new(RefusalReason::NotFound, "it does not have the artifact")),
            },
        };
        let (expected, wanted) = (Expected::from(&*info), known.expected);
        let same = expected.nar_hash == wanted.nar_hash
            && expected.compression == wanted.compression
            && (wanted.file_hash.is_none() || expected.file_hash == wanted.file_hash);
        if same { Ok(info) } else { Err(Fault::new(RefusalReason::NotFound, "it has another NAR file")) }
    }
}

/// Opens what is being written, to be read.
fn open(file: &TempFile, expected: &Expected, grown: &Grown, wrong: u32) -> Option<Body> {
    let size = expected.file_size.or(grown.announced);
    Some(Body { file: File::open(file.path()).ok()?, identity: expected.file_hash, size, wrong })
}
