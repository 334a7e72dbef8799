//! The scrub: everything that is published is read again within a period, at no more than a budget, and what has rotted is
//! put right.
//!
//! * [`pace`]: how fast. Pure.
//! * [`round`]: how far.
//! * `check`: what is wrong with one artifact; `beside`: with its NAR file in the trash, and the files beside it. `mend`: what
//!   is done about it. `read`: all of that once.
//!
//! Hash parts are random, so reading in their order spreads over everything. The reading is that of
//! `granary-mirror verify`.

mod beside;
mod budget;
mod check;
mod mend;
pub mod pace;
mod read;
pub mod round;

use std::sync::Arc;
use std::time::Duration;

use granary_nix::{Extra, ExtraKind, HashPart, Trust};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::tree::Tree;
use budget::Budget;
use pace::{Progress, Rules};
use round::Round;

/// Where the round is kept, below `.granary`.
const STATE: &str = "scrub.json";
/// How often it is kept, in reads of artifacts that come fast, and in time.
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// The longest pause without a look at what there is now.
const LOOK: Duration = Duration::from_mins(10);
/// The same while there is nothing: a new mirror has something soon, and its page then says that it is read again.
const LOOK_FOR_THE_FIRST: Duration = Duration::from_mins(1);
/// Artifacts that are listed at once.
const BATCH: usize = 256;
/// What reading a narinfo counts for.
const NARINFO: u64 = 4 << 10;
/// After so many errors of the disk in a row nothing more is set aside: a disk or a cable that fails is no reason to take
/// everything out.
const MAX_READ_ERRORS: u32 = 4;

/// What can be rotten: a NAR file, a narinfo, a narinfo of the catalog; the same of what is in the trash; and the files
/// beside artifacts.
pub const FILES: [&str; 10] = [
    "nar",
    "narinfo",
    "catalog",
    "trash",
    "trash-narinfo",
    ExtraKind::Listing.as_str(),
    ExtraKind::Log.as_str(),
    ExtraKind::DebugInfo.as_str(),
    ExtraKind::Realisation.as_str(),
    ExtraKind::BuildTrace.as_str(),
];

/// How far the scrub is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The round.
    pub round: Round,
    /// Artifacts that are to be read in it.
    pub artifacts: u64,
    /// Bytes that are to be read in it.
    pub total: u64,
    /// Why it will not end within its period.
    pub late: Option<String>,
    /// Why nothing is set aside.
    pub failing: Option<String>,
}

/// Who watches the scrub. Every method must return at once.
pub trait Watcher: Send + Sync {
    /// How far it is now.
    fn standing(&self, standing: &Standing);
    /// An artifact was read.
    fn read(&self, bytes: u64);
    /// Something was rotten, one of [`FILES`]. `missing`: a pass has to get it again.
    fn rotten(&self, kind: &'static str, missing: bool);
}

/// Reads a tree again and again.
pub struct Scrubber {
    tree: Arc<Tree>,
    trust: Trust,
    rules: Rules,
    round: Round,
    /// When `round.elapsed` was right.
    counted: tokio::time::Instant,
    kept: tokio::time::Instant,
    was_late: bool,
    read_errors: u32,
    /// What the disk said last.
    read_error: String,
    budget: Option<Budget>,
    suspects: Option<mpsc::Receiver<Suspect>>,
}

/// What somebody could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suspect {
    /// An artifact's narinfo or NAR file.
    Artifact(HashPart),
    /// A file beside one.
    Beside(Extra),
}

impl Scrubber {
    /// Goes on where the scrub before it was. `trust` is what may stand in the tree.
    #[must_use]
    pub fn open(tree: Arc<Tree>, trust: impl Into<Trust>, rules: Rules) -> Self {
        let trust = trust.into();
        let (kept, now) = (tree.state(STATE), Timestamp::now());
        let kept: Option<Round> = kept.and_then(|json| serde_json::from_slice(&json).ok());
        let round = kept.map_or_else(|| Round::first(now), |round| round.resumed(now, rules.period));
        let now = tokio::time::Instant::now();
        Self {
            tree,
            trust,
            rules,
            round,
            counted: now,
            kept: now,
            was_late: false,
            read_errors: 0,
            read_error: String::new(),
            budget: None,
            suspects: None,
        }
    }

    /// Looks at what comes here before everything else.
    #[must_use]
    pub fn with_suspects(self, suspects: mpsc::Receiver<Suspect>) -> Self {
        Self { suspects: Some(suspects), ..self }
    }

    /// Looks at suspects alone until `stop`.
    pub async fn run_suspects(mut self, watcher: &dyn Watcher, stop: CancellationToken) {
        self.budget = Some(Budget::new(self.rules.bandwidth, stop.clone()));
        while !stop.is_cancelled() {
            self.wait(LOOK, watcher, &stop).await;
        }
    }

    /// Scrubs until `stop`.
    pub async fn run(mut self, watcher: &dyn Watcher, stop: CancellationToken) {
        self.budget = Some(Budget::new(self.rules.bandwidth, stop.clone()));
        'rounds: while !stop.is_cancelled() && self.budget.is_some() {
            let batch = self.tree.next_after(self.round.after.as_ref(), BATCH);
            if batch.is_empty() && self.round.after.is_some() {
                // A few artifacts are read at once, and not again at once: a round has its time whatever there is to read.
                self.wait_until_due(watcher, &stop).await;
                let is_last = self.tree.next_after(self.round.after.as_ref(), 1).is_empty();
                if is_last && !stop.is_cancelled() {
                    self.end_round(watcher).await;
                }
            } else if batch.is_empty() {
                self.wait(LOOK_FOR_THE_FIRST.min(self.rules.period / 10), watcher, &stop).await;
            }
            for hash in batch {
                self.wait_until_due(watcher, &stop).await;
                self.look_at_suspects(watcher).await;
                if stop.is_cancelled() || self.budget.is_none() {
                    break 'rounds;
                }
                if let Some(bytes) = self.one(hash, watcher).await {
                    self.round.read(hash, bytes + NARINFO);
                }
                if self.kept.elapsed() >= KEEP_EVERY {
                    self.keep().await;
                }
            }
        }
        self.keep().await;
    }

    async fn end_round(&mut self, watcher: &dyn Watcher) {
        self.strays(watcher).await;
        if self.budget.as_ref().is_none_or(Budget::is_stopped) {
            return;
        }
        info!(artifacts = self.round.artifacts, bytes = self.round.bytes, "everything has been read again");
        self.round = self.round.next(Timestamp::now());
        self.counted = tokio::time::Instant::now();
        self.keep().await;
        watcher.standing(&self.standing());
    }

    async fn wait_until_due(&mut self, watcher: &dyn Watcher, stop: &CancellationToken) {
        loop {
            let standing = self.standing();
            let is_late = standing.late.is_some();
            if let Some(reason) = standing.late.as_ref().filter(|_| !self.was_late) {
                warn!(reason, "the scrub will not read everything within its period");
            }
            self.was_late = is_late;
            let pause = pace::pause(&self.rules, self.progress(standing.total));
            watcher.standing(&standing);
            if pause.is_zero() || stop.is_cancelled() {
                return;
            }
            self.wait(pause.min(LOOK), watcher, stop).await;
        }
    }

    fn progress(&self, total: u64) -> Progress {
        let elapsed = self.round.elapsed.saturating_add(self.counted.elapsed());
        Progress { elapsed, done: self.round.bytes, total }
    }

    /// How far it is now. In memory.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let totals = self.tree.totals();
        let total = totals.bytes + self.tree.trashed_bytes() + totals.artifacts * NARINFO;
        let late = pace::is_late(&self.rules, self.progress(total)).then(|| {
            let needed = pace::needed(&self.rules, total).as_secs();
            let period = self.rules.period.as_secs();
            format!(
                "reading {total} bytes at {} bytes a second takes {needed} s, and the period is {period} s",
                self.rules.bandwidth
            )
        });
        let failing = (self.read_errors > MAX_READ_ERRORS)
            .then(|| format!("the disk cannot be read, at last {}", self.read_error));
        Standing { round: self.round.clone(), artifacts: totals.artifacts, total, late, failing }
    }

    /// Waits, and looks at suspects meanwhile.
    async fn wait(&mut self, pause: Duration, watcher: &dyn Watcher, stop: &CancellationToken) {
        let until = tokio::time::Instant::now() + pause;
        loop {
            let suspect = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(until) => return,
                Some(suspect) = next(self.suspects.as_mut()) => suspect,
            };
            self.suspect(suspect, watcher).await;
        }
    }

    /// Those that are known by now.
    async fn look_at_suspects(&mut self, watcher: &dyn Watcher) {
        while let Some(suspect) = self.suspects.as_mut().and_then(|suspects| suspects.try_recv().ok()) {
            self.suspect(suspect, watcher).await;
        }
    }

    async fn keep(&mut self) {
        let now = tokio::time::Instant::now();
        self.round.elapsed = self.round.elapsed.saturating_add(now - self.counted);
        self.round.kept = Some(Timestamp::now());
        (self.counted, self.kept) = (now, now);
        let (tree, json) = (Arc::clone(&self.tree), serde_json::to_vec(&self.round).unwrap_or_default());
        let kept = tokio::task::spawn_blocking(move || tree.keep_state(STATE, &json)).await;
        // That the disk is read-only is told without this.
        if let Ok(Err(error)) = kept
            && !error.is_read_only()
        {
            warn!(%error, "the progress of the scrub cannot be kept");
        }
    }
}

/// The next suspect; none, for ever, where nobody names any.
async fn next(suspects: Option<&mut mpsc::Receiver<Suspect>>) -> Option<Suspect> {
    match suspects {
        Some(suspects) => suspects.recv().await,
        None => std::future::pending().await,
    }
}
