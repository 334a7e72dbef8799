//! What goes with the artifacts that are carried: listings, logs, realisations and build traces, the debug index.
//!
//! It comes after the artifacts, so that whatever is interrupted leaves a valid cache, and the same call again brings what
//! is missing. Each file is held to what a mirror holds those of an upstream to: see [`crate::extras`]. One that is bad
//! is left out and told; it refuses no artifact.

mod file;
mod medium;
mod shelf;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use granary_nix::{Extra, ExtraKind, HashPart, NarInfo, PublicKeys, Trust};
use tokio_util::sync::CancellationToken;

use super::origin::read_narinfo;
use super::outcome::Flaw;
use super::{CarryError, Observer, Origin, Outcome, Target};
use crate::extras::{build_trace, is_debug, is_indexed, keys_of, missing};
use crate::tree::Layout;
use crate::verify::on_threads;

pub(super) use shelf::{Shelf, Weight};

/// Files that are asked for over HTTP at once: they are small, and most caches have few of them.
const AT_ONCE: usize = 16;

/// One that may be there to be carried.
struct Wanted<'w> {
    extra: Extra,
    /// The artifact that it belongs to. A log belongs to whatever comes from its derivation.
    info: Option<&'w NarInfo>,
}

/// How it ended, when nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Copied,
    /// The target had it, and it is good.
    There,
    /// The origin does not have it.
    Absent,
}

/// Why it was not carried.
enum Failed {
    /// The file is not what it should be, or cannot be had.
    Flaw(String),
    /// The target takes nothing any more, or it was asked to stop.
    Target(CarryError),
}

/// What all threads use.
struct Carrier<'c> {
    shelf: &'c Shelf<'c>,
    target: &'c Target,
    trust: &'c Trust,
    keys: PublicKeys,
    observer: &'c dyn Observer,
    stop: &'c CancellationToken,
    /// Listings are held in memory while they are read: one at a time.
    reading: Mutex<()>,
    /// Artifacts whose listing has build ids.
    with_debug: Mutex<HashSet<HashPart>>,
    outcome: Mutex<Outcome>,
    fatal: Mutex<Option<CarryError>>,
    over: AtomicBool,
}

/// Carries what goes with the artifacts `here`, which the target has, and adds to `outcome` what became of it.
pub(super) fn carry(
    shelf: &Shelf<'_>,
    target: &Target,
    trust: &Trust,
    here: &[NarInfo],
    observer: &dyn Observer,
    stop: &CancellationToken,
    outcome: Outcome,
) -> Result<Outcome, CarryError> {
    let carrier = Carrier {
        shelf,
        target,
        trust,
        keys: keys_of(trust),
        observer,
        stop,
        reading: Mutex::default(),
        with_debug: Mutex::default(),
        outcome: Mutex::new(outcome),
        fatal: Mutex::default(),
        over: AtomicBool::new(false),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if matches!(shelf.origin, Origin::Cache { .. }) { AT_ONCE } else { cores };
    on_threads(threads, &wanted(shelf, here), |wanted| carrier.one(wanted));
    if shelf.wants.has(ExtraKind::DebugInfo) {
        on_threads(cores, here, |info| carrier.index(info));
    }
    carrier.result()
}

/// What may be there, each once.
fn wanted<'w>(shelf: &Shelf<'_>, here: &'w [NarInfo]) -> Vec<Wanted<'w>> {
    let mut all = Vec::new();
    let mut logs = BTreeSet::new();
    for info in here {
        let hash = info.store_path.hash_part();
        all.push(Wanted { extra: Extra::Listing(hash), info: Some(info) });
        logs.extend(info.deriver.clone().and_then(|derivation| Extra::log(derivation).ok()));
        let mut outputs: BTreeSet<Extra> = shelf.outputs_of(&hash).cloned().collect();
        // Only what is content-addressed has one.
        outputs.extend(info.ca.is_some().then(|| build_trace(info)).flatten());
        all.extend(outputs.into_iter().map(|extra| Wanted { extra, info: Some(info) }));
    }
    all.extend(logs.into_iter().map(|extra| Wanted { extra, info: None }));
    all.retain(|wanted| shelf.wants.has(wanted.extra.kind()));
    all
}

impl Carrier<'_> {
    fn one(&self, wanted: &Wanted<'_>) {
        if !self.is_over() {
            let name = wanted.extra.file_name();
            self.told(&name, self.file(wanted).map(|ended| u64::from(ended == Ended::Copied)));
        }
    }

    /// The debug index of one artifact: made from the NAR that the target has, so that it is proved, and under the name that
    /// the NAR has there.
    fn index(&self, info: &NarInfo) {
        let hash = info.store_path.hash_part();
        let has_debug =
            is_debug(info) || self.shelf.indexes(&info.url) || lock(&self.with_debug).contains(&hash);
        let layout = Layout::new(self.target.directory());
        if !has_debug || self.is_over() || is_indexed(&layout, hash) {
            return;
        }
        let made = || {
            let flaw = |error: &dyn std::fmt::Display| Failed::Flaw(error.to_string());
            let here = read_narinfo(layout.directory(), &hash, self.trust).map_err(|fault| flaw(&fault))?;
            let Some(here) = here else { return Ok(0) };
            let reading = lock(&self.reading);
            let files = missing(&layout, &here, true).map_err(|error| flaw(&error))?;
            drop(reading);
            self.target.write_beside(&hash, &files).map_err(Failed::Target)
        };
        self.told(&format!("the debug index of {}", info.store_path), made());
    }

    /// How many files were written, or why not.
    fn told(&self, name: &str, result: Result<u64, Failed>) {
        match result {
            Ok(copied) => lock(&self.outcome).beside += copied,
            Err(Failed::Flaw(why)) => {
                let flaw = Flaw { name: name.to_owned(), why };
                self.observer.flaw(&flaw);
                lock(&self.outcome).flaws.push(flaw);
            }
            Err(Failed::Target(error)) => {
                lock(&self.fatal).get_or_insert(error);
                self.over.store(true, Ordering::Relaxed);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.over.load(Ordering::Relaxed)
    }

    fn result(self) -> Result<Outcome, CarryError> {
        if let Some(error) = lock(&self.fatal).take() {
            return Err(error);
        }
        if self.stop.is_cancelled() {
            return Err(CarryError::Stopped);
        }
        let mut outcome = self.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcome.flaws.sort();
        Ok(outcome)
    }
}

/// What is behind these is whole after each operation, so that a thread that panicked left no damage.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
