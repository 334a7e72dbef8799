//! One flight: which upstream is asked when, whose bytes are shown, and what becomes of the file.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use granary_placement::report::RefusalReason;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::super::keep::Reservation;
use super::super::{Through, refusal};
use super::attempt::{Event, Obtained, Problem};
use super::view::{Body, End, View, visible};
use crate::refusals::Origin;
use crate::tree::CatalogEntry;

/// How long an upstream may say nothing before the next one is asked too.
const HEAD_START: Duration = Duration::from_secs(2);
/// How often clients are told that there is more to read, at most.
const SHOW_EVERY: Duration = Duration::from_millis(20);

/// What a flight has under way.
struct Flight {
    through: Through,
    known: CatalogEntry,
    show: watch::Sender<View>,
    events: mpsc::Sender<Event>,
    /// Ended with the flight.
    attempts: JoinSet<()>,
    running: Vec<(usize, AbortHandle)>,
    next: usize,
    /// The attempt whose bytes are shown.
    shown: Option<usize>,
    /// What is not shown yet, because something was a moment ago.
    pending: Option<(Arc<Body>, u64)>,
    shown_at: Instant,
    /// When the next upstream is asked, if nothing has come.
    hedge_at: Instant,
    /// How many files turned out wrong.
    wrong: Arc<AtomicU32>,
    /// Whether every upstream so far said that it does not have the file.
    missing: bool,
    /// What was wrong with the first narinfo or file that was.
    bad: Option<Problem>,
}

impl Through {
    /// Fetches a NAR file for whoever looks at `show`, and keeps it.
    pub(super) async fn fly(&self, known: CatalogEntry, show: watch::Sender<View>, room: Reservation) {
        let (events, mut heard) = mpsc::channel(8);
        let now = Instant::now();
        let mut flight = Flight {
            through: self.clone(),
            known,
            show,
            events,
            attempts: JoinSet::new(),
            running: Vec::new(),
            next: 0,
            shown: None,
            pending: None,
            shown_at: now,
            hedge_at: now,
            wrong: Arc::default(),
            missing: true,
            bad: None,
        };
        flight.start_next();
        let obtained = loop {
            if flight.running.is_empty() && !flight.start_next() {
                break None;
            }
            let (pending, hedging) = (flight.pending.is_some(), flight.may_hedge());
            let event = tokio::select! {
                Some(event) = heard.recv() => event,
                () = sleep_until(flight.shown_at + SHOW_EVERY), if pending => {
                    flight.show_pending();
                    continue;
                }
                () = sleep_until(flight.hedge_at), if hedging => {
                    flight.start_next();
                    continue;
                }
            };
            if let Some(obtained) = flight.hear(event) {
                break Some(obtained);
            }
        };
        self.0.metrics.flight(obtained.is_some());
        let hash = flight.known.hash_part;
        if let Some(obtained) = obtained {
            self.0.refusals.accept(&hash, Origin::Nar);
            self.keep(obtained, room, now).await;
        } else {
            if let Some(Problem { fault, path, source }) = flight.bad.take() {
                let path = path.map_or_else(|| hash.to_string(), |path| path.to_string());
                let refusal = refusal(path, fault, source);
                self.0.refusals.refuse(Origin::Nar, hash, refusal, now.elapsed());
            }
            let end = if flight.missing { End::Missing } else { End::Failed };
            flight.show.send_modify(|view| view.end = Some(end));
        }
    }
}

impl Flight {
    fn may_hedge(&self) -> bool {
        self.shown.is_none() && self.next < self.through.0.upstreams.len()
    }

    /// Asks the next upstream; whether there was one.
    fn start_next(&mut self) -> bool {
        if self.next >= self.through.0.upstreams.len() {
            return false;
        }
        let number = self.next;
        self.next += 1;
        self.hedge_at = Instant::now() + HEAD_START;
        let wrong = Arc::clone(&self.wrong);
        let attempt = self.through.clone().attempt(number, self.known, self.events.clone(), wrong);
        self.running.push((number, self.attempts.spawn(attempt)));
        true
    }

    /// Ends every attempt but this one.
    fn only(&mut self, number: usize) {
        self.running.retain(|(other, handle)| {
            let keep = *other == number;
            if !keep {
                handle.abort();
            }
            keep
        });
    }

    fn hear(&mut self, event: Event) -> Option<Obtained> {
        match event {
            Event::Grew { number, expected, grown, body } => {
                // Of an attempt that was ended, or is not the one.
                let ours = self.running.iter().any(|(other, _)| *other == number)
                    && self.shown.is_none_or(|shown| shown == number);
                if ours {
                    let visible = visible(&expected, &grown);
                    self.pending = Some((body, visible));
                    if visible > 0 {
                        self.shown = Some(number);
                        self.only(number);
                    }
                    if self.shown_at.elapsed() >= SHOW_EVERY || grown.digest.is_some() {
                        self.show_pending();
                    }
                }
                None
            }
            Event::Ended { number, result: Ok(obtained) } => {
                if self.shown.is_some_and(|shown| shown != number) {
                    return None;
                }
                self.only(number);
                self.finish(number, obtained)
            }
            Event::Ended { number, result: Err(problem) } => {
                self.running.retain(|(other, _)| *other != number);
                let Problem { fault, path: _, source } = &problem;
                tracing::info!(artifact = %self.known.hash_part, source, %fault, "an upstream does not give a NAR file");
                let absent = fault.reason == RefusalReason::NotFound;
                self.missing &= absent;
                if !absent && !fault.is_transient() {
                    self.bad.get_or_insert(problem);
                }
                if self.shown == Some(number) {
                    self.shown = None;
                    self.pending = None;
                }
                if self.shown.is_none() {
                    self.start_next();
                }
                None
            }
        }
    }

    fn show_pending(&mut self) {
        let Some((body, visible)) = self.pending.take().filter(|(_, visible)| *visible > 0) else { return };
        self.shown_at = Instant::now();
        self.show.send_modify(|view| (view.body, view.visible) = (Some(body), visible));
    }

    /// All of the file is verified.
    fn finish(&mut self, number: usize, obtained: Obtained) -> Option<Obtained> {
        let (identity, size) = (Some(obtained.verified.file_hash), obtained.verified.file_size);
        let file = match File::open(obtained.file.path()) {
            Ok(file) => file,
            Err(error) => {
                tracing::error!(%error, "a NAR file that has come cannot be read back");
                self.missing = false;
                self.running.clear();
                return None;
            }
        };
        let wrong = self.wrong.load(Ordering::Relaxed);
        let whole = Arc::new(Body { file, identity, size: Some(size), wrong });
        let same = self.shown == Some(number);
        let newest = self.pending.take().filter(|_| same).map(|(body, _)| body);
        self.show.send_modify(|view| {
            // Who has read a part of this very file goes on with it, known or not.
            let body = newest.or_else(|| view.body.take().filter(|_| same)).or(Some(whole));
            *view = View { body, visible: size, end: Some(End::Good) };
        });
        Some(obtained)
    }
}
