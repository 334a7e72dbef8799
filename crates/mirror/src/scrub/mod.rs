//! The scrub: everything that is published is read again within a period, at no more than a budget, and what has rotted is
//! put right.
//!
//! * [`pace`]: how fast. Pure.
//! * [`round`]: how far.
//! * `check`: what is wrong with one artifact; `beside`: with its NAR file in the trash, and the files beside it. `mend`: what
//!   is done about it.
//!
//! Hash parts are random, so reading in their order spreads over everything. The reading is that of
//! `granary-mirror verify`.

mod beside;
mod budget;
mod check;
mod mend;
pub mod pace;
pub mod round;

use std::sync::Arc;
use std::time::Duration;

use granary_nix::{Extra, ExtraKind, HashPart, Trust};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::extras::keys_of;
use crate::tree::Tree;
use budget::Budget;
use check::{Checked, Rot};
use mend::Mended;
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
        let kept = tree.state(STATE).and_then(|json| serde_json::from_slice(&json).ok());
        let round = kept.unwrap_or_else(|| Round::first(Timestamp::now()));
        let kept = tokio::time::Instant::now();
        Self {
            tree,
            trust,
            rules,
            round,
            kept,
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

    /// Reads one artifact, and does what has to be done about it. How many bytes were read; `None` when it was told to stop.
    async fn one(&mut self, hash: HashPart, watcher: &dyn Watcher) -> Option<u64> {
        let mut budget = self.budget.take()?;
        let (tree, trust) = (Arc::clone(&self.tree), self.trust.clone());
        let work = move || (check::check(&tree, &hash, &trust, &mut budget), budget);
        let (checked, budget) = tokio::task::spawn_blocking(work).await.ok()?;
        self.budget = Some(budget);
        let Checked { bytes, rotten } = checked?;
        if !rotten.iter().any(Rot::is_read_error) {
            self.read_errors = 0;
        }
        for rot in rotten {
            self.rotten(Some(hash), rot, watcher).await;
        }
        watcher.read(bytes);
        Some(bytes)
    }

    async fn suspect(&mut self, suspect: Suspect, watcher: &dyn Watcher) {
        match suspect {
            Suspect::Artifact(hash) => drop(self.one(hash, watcher).await),
            Suspect::Beside(extra) => self.single(extra, watcher).await,
        }
    }

    /// Reads one file beside an artifact.
    async fn single(&mut self, extra: Extra, watcher: &dyn Watcher) {
        let Some(mut budget) = self.budget.take() else { return };
        let (tree, keys) = (Arc::clone(&self.tree), keys_of(&self.trust));
        let work = move || (beside::single(&tree, extra, &keys, &mut budget), budget);
        let Ok((found, budget)) = tokio::task::spawn_blocking(work).await else { return };
        self.budget = Some(budget);
        if let Some((artifact, rot)) = found {
            self.rotten(artifact, rot, watcher).await;
        }
    }

    /// Reads what belongs to no artifact as far as is known.
    async fn strays(&mut self, watcher: &dyn Watcher) {
        let Some(mut budget) = self.budget.take() else { return };
        let (tree, keys) = (Arc::clone(&self.tree), keys_of(&self.trust));
        let work = move || (beside::strays(&tree, &keys, &mut budget), budget);
        let Ok((rotten, budget)) = tokio::task::spawn_blocking(work).await else { return };
        self.budget = Some(budget);
        for rot in rotten {
            self.rotten(None, rot, watcher).await;
        }
    }

    async fn rotten(&mut self, hash: Option<HashPart>, rot: Rot, watcher: &dyn Watcher) {
        let (kind, fault) = (rot.kind(), rot.fault().clone());
        let artifact = hash.map_or_else(|| "none".to_owned(), |hash| hash.to_string());
        if rot.is_read_error() {
            self.read_errors = self.read_errors.saturating_add(1);
            self.read_error = fault.to_string();
            if self.read_errors > MAX_READ_ERRORS {
                error!(%artifact, %fault, "the disk cannot be read; nothing more is set aside for that");
                return;
            }
        }
        self.round.rotten += 1;
        let tree = Arc::clone(&self.tree);
        let Ok(mended) = tokio::task::spawn_blocking(move || mend::mend(&tree, hash.as_ref(), &rot)).await
        else {
            return;
        };
        match mended {
            Ok(Mended::Here) => {
                warn!(%artifact, kind, reason = %fault.reason, %fault, "a file had rotted; written again");
                watcher.rotten(kind, false);
            }
            Ok(Mended::SetAside(all)) => {
                warn!(%artifact, kind, reason = %fault.reason, %fault, artifacts = all.len(), "a file has rotted; set aside, to be had again");
                watcher.rotten(kind, true);
            }
            Ok(Mended::Removed) => {
                warn!(%artifact, kind, reason = %fault.reason, %fault, "a file has rotted; it is not answered from here any more");
                watcher.rotten(kind, false);
            }
            Err(error) => {
                error!(%artifact, kind, reason = %fault.reason, %fault, %error, "a file has rotted and cannot be set aside");
            }
        }
        // What was found must not be lost with the process.
        self.keep().await;
    }

    async fn end_round(&mut self, watcher: &dyn Watcher) {
        self.strays(watcher).await;
        if self.budget.as_ref().is_none_or(Budget::is_stopped) {
            return;
        }
        info!(artifacts = self.round.artifacts, bytes = self.round.bytes, "everything has been read again");
        self.round = self.round.next(Timestamp::now());
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
        let elapsed = Timestamp::now().duration_since(self.round.began);
        // A clock that went back: as if the round had just begun.
        let elapsed = elapsed.try_into().unwrap_or(Duration::ZERO);
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
        self.kept = tokio::time::Instant::now();
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
