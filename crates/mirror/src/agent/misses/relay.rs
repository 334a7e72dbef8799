//! A body that goes on at another place, at the same byte, when the one that gives it breaks off.
//!
//! A flight of pull-through goes on in another way, and shares no more with this than the fetcher: it has a disk. What it
//! fetches anew at the next upstream, from the start, is verified as a whole and kept, and a client reads on in it where it
//! was. Here nothing is kept, and the rest is all that may be asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use granary_fetch::{Answer, Broken};
use granary_nix::Hash;
use tracing::info;
use url::Url;

use super::asking::{Asking, Rest, Wanted};
use super::due::Due;
use super::sources::Place;
use crate::agent::checked::Cut;
use crate::metrics::{Metrics, MissResult};

/// Places that are asked to go on with one body, at most. A place that broke off counts again when it is asked again.
const MOST_ASKED: usize = 16;
/// Bytes of one body that are received and not passed on, at most, from places that give a file only from its start. The
/// client gets nothing meanwhile, and both it and nginx lose patience after some minutes.
const MOST_SKIPPED: u64 = 64 << 20;

/// One body on its way.
pub(super) struct Relay {
    asking: Arc<Asking>,
    metrics: Arc<Metrics>,
    wanted: Wanted,
    giver: Option<Giver>,
    /// What is still to come. Without the file's length it is not known what is the same file, and nothing goes on.
    due: Option<Due>,
    /// The file's FileHash, if a place has stated it.
    file_hash: Option<Hash>,
    /// Places that may have the rest.
    places: Vec<Place>,
    /// How many may still be asked.
    askable: usize,
    /// How many bytes may still be skipped.
    skippable: u64,
    gone_on: bool,
    mixed: Mixed,
}

/// Who gives the body now.
pub(super) struct Giver {
    pub(super) place: Place,
    pub(super) url: Url,
    pub(super) answer: Answer,
    /// Bytes that come before those that are due.
    pub(super) skip: u64,
    /// Whether it gave any that were.
    pub(super) gave: bool,
}

/// Whether a body has bytes from more than one URL; then it is not known whose are wrong when the whole is.
#[derive(Clone, Debug, Default)]
pub(super) struct Mixed(Arc<AtomicBool>);

impl Mixed {
    pub(super) fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Relay {
    /// What `giver` gives, and after it those of `places` that have the rest.
    pub(super) fn new(
        asking: Arc<Asking>,
        metrics: Arc<Metrics>,
        wanted: Wanted,
        giver: Giver,
        due: Option<Due>,
        file_hash: Option<Hash>,
        places: Vec<Place>,
    ) -> Self {
        Self {
            asking,
            metrics,
            wanted,
            giver: Some(giver),
            due,
            file_hash,
            places,
            askable: MOST_ASKED,
            skippable: MOST_SKIPPED,
            gone_on: false,
            mixed: Mixed::default(),
        }
    }

    pub(super) fn mixed(&self) -> Mixed {
        self.mixed.clone()
    }

    /// The bytes. An error, by which the connection is cut, comes in place of the rest when nobody has it. Of a file of known
    /// length, the end comes only when all bytes have come.
    pub(super) fn body(self) -> BoxStream<'static, Result<Bytes, Cut>> {
        futures::stream::try_unfold(self, Self::next).boxed()
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Cut> {
        loop {
            let left = self.due.as_ref().map(Due::left);
            let Some(giver) = self.giver.as_mut().filter(|_| left != Some(0) || !self.gone_on) else {
                return Ok(None);
            };
            match giver.answer.chunk().await {
                Ok(Some(chunk)) => {
                    let chunk = self.take(chunk)?;
                    if !chunk.is_empty() {
                        return Ok(Some((chunk, self)));
                    }
                }
                Ok(None) if left.is_none_or(|left| left == 0) => return Ok(None),
                // All that was asked for is here.
                Err(_) if left == Some(0) => return Ok(None),
                Ok(None) => self.go_on(None).await?,
                Err(broken) => self.go_on(Some(broken)).await?,
            }
        }
    }

    /// What is due in a chunk.
    fn take(&mut self, mut chunk: Bytes) -> Result<Bytes, Cut> {
        let Some(giver) = &mut self.giver else { return Ok(chunk) };
        let skipped = usize::try_from(giver.skip).unwrap_or(usize::MAX).min(chunk.len());
        chunk.advance(skipped);
        giver.skip -= skipped as u64;
        let Some(due) = &mut self.due else { return Ok(chunk) };
        let left = usize::try_from(due.left()).unwrap_or(usize::MAX);
        if chunk.len() > left {
            if !self.gone_on {
                let actual = due.came() + chunk.len() as u64;
                return Err(Cut::Size { expected: due.length(), actual });
            }
            // It was asked for a part, and gives the rest of the file.
            chunk.truncate(left);
        }
        due.take(chunk.len());
        giver.gave |= !chunk.is_empty();
        Ok(chunk)
    }

    /// The giver broke off, or ended too early: finds another one.
    async fn go_on(&mut self, broken: Option<Broken>) -> Result<(), Cut> {
        let Some(giver) = self.giver.take() else { return Ok(()) };
        let may_return = giver.gave && matches!(broken, Some(Broken::Cut(_)));
        let cut = match (broken, &self.due) {
            (Some(broken), _) => broken.into(),
            (None, Some(due)) => Cut::Size { expected: due.length(), actual: due.came() },
            (None, None) => return Ok(()),
        };
        let Giver { place, url: before, answer, .. } = giver;
        // Its connection may be the only one that its source allows.
        drop(answer);
        self.asking.broke_off(&place);
        let Some(due) = &self.due else { return Err(cut) };
        let file = &self.wanted.file;
        info!(source = %place, file, reason = %cut, at = due.came(), "a source broke off; asking for the rest");
        if may_return {
            // A broken connection says little about the next one; only silence does.
            self.places.push(place);
        }
        while self.askable > 0 && !self.places.is_empty() {
            self.askable -= 1;
            self.places = self.asking.in_order(std::mem::take(&mut self.places));
            let place = self.places.remove(0);
            let known = &self.wanted.known;
            match self.asking.rest(&place, known, due, self.file_hash, self.skippable).await {
                Ok(Rest { url, file_hash, answer, skip }) => {
                    self.metrics.miss(MissResult::GoneOn);
                    self.mixed.0.fetch_or(url != before, Ordering::Relaxed);
                    self.skippable -= skip;
                    self.file_hash = self.file_hash.or(file_hash);
                    self.gone_on = true;
                    self.giver = Some(Giver { place, url, answer, skip, gave: false });
                    return Ok(());
                }
                Err(failure) => self.asking.refused(&place, file, &failure),
            }
        }
        Err(cut)
    }
}
