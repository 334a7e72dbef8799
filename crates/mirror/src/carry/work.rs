//! The copying: on all cores, in the plan's order, each artifact visible after all that it references.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use granary_fetch::Fault;
use granary_nix::{HashPart, NarInfo, StorePath, Trust};
use granary_placement::report::RefusalReason;
use tokio_util::sync::CancellationToken;

use super::copy::{self, Failed};
use super::plan::{Plan, Tasks};
use super::{CarryError, Observer, Origin, Outcome, Target, Trouble};

/// Artifacts in work at once, at least: one is copied while another is synced.
const LEAST: usize = 2;

/// Carries what is not there. What became of it, and the artifacts of the plan that the target has now.
pub(super) fn run(
    origin: &Origin,
    target: &Target,
    trust: &Trust,
    plan: Plan,
    tasks: &Tasks,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<(Outcome, Vec<NarInfo>), CarryError> {
    let Plan { order, lost } = plan;
    observer.planned(tasks.artifacts, tasks.bytes);
    let board = Board::default();
    let mut lost: Vec<(HashPart, Trouble)> = lost.into_iter().collect();
    lost.sort_by(|one, other| one.1.artifact.cmp(&other.1.artifact));
    for (hash, trouble) in lost {
        // What the source lacks may be in the target: an import needs to bring only what is new.
        let offered = StorePath::parse(&trouble.artifact).is_ok_and(|path| target.offers(&path, trust));
        board.settle(hash, if offered { State::There } else { State::Lost(trouble.artifact.clone()) });
        if !offered {
            observer.trouble(&trouble);
            board.outcome().troubles.push(trouble);
        }
    }
    let (next, shared) = (AtomicUsize::new(0), Shared { origin, target, observer, stop, board: &board });
    let threads = std::thread::available_parallelism().map_or(1, usize::from).max(LEAST).min(order.len());
    std::thread::scope(|scope| {
        for number in 0..threads {
            let work = || {
                while let Some((info, present)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    order.get(number).zip(tasks.present.get(number))
                } {
                    if board.ended(stop) {
                        return;
                    }
                    shared.one(info, *present);
                }
            };
            let thread = std::thread::Builder::new().name(format!("carry-{number}"));
            if let Err(error) = thread.spawn_scoped(scope, work) {
                board.end(CarryError::Threads(error));
                return;
            }
        }
    });
    let outcome = board.result(stop)?;
    let mut here = order;
    here.retain(|info| board.has(&info.store_path.hash_part()));
    Ok((outcome, here))
}

/// How an artifact ended.
#[derive(Clone, Debug)]
enum State {
    There,
    /// With the path that is to blame.
    Lost(String),
}

/// What the threads tell each other.
#[derive(Debug, Default)]
struct Board {
    states: Mutex<HashMap<HashPart, State>>,
    changed: Condvar,
    outcome: Mutex<Outcome>,
    fatal: Mutex<Option<CarryError>>,
}

impl Board {
    fn settle(&self, hash: HashPart, state: State) {
        lock(&self.states).insert(hash, state);
        self.changed.notify_all();
    }

    fn has(&self, hash: &HashPart) -> bool {
        matches!(lock(&self.states).get(hash), Some(State::There))
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        lock(&self.outcome)
    }

    /// The first reason to end it all counts.
    fn end(&self, error: CarryError) {
        lock(&self.fatal).get_or_insert(error);
        // Whoever waits looks again.
        let _states = lock(&self.states);
        self.changed.notify_all();
    }

    fn ended(&self, stop: &CancellationToken) -> bool {
        stop.is_cancelled() || lock(&self.fatal).is_some()
    }

    /// The reference of `info` that is known to be lost.
    fn lost(&self, info: &NarInfo) -> Option<String> {
        let states = lock(&self.states);
        needed(info).find_map(|hash| match states.get(&hash) {
            Some(State::Lost(culprit)) => Some(culprit.clone()),
            _ => None,
        })
    }

    /// Waits until all that `info` references is settled, or everything has ended.
    fn wait(&self, info: &NarInfo, stop: &CancellationToken) {
        let mut states = lock(&self.states);
        // Whoever settles or ends holds the lock of `states` before it tells.
        while !self.ended(stop) && !needed(info).all(|hash| states.contains_key(&hash)) {
            // A stop is told to nobody here: it is seen when the one that is waited for ends.
            states = self.changed.wait(states).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn result(&self, stop: &CancellationToken) -> Result<Outcome, CarryError> {
        if let Some(error) = lock(&self.fatal).take() {
            return Err(error);
        }
        if stop.is_cancelled() {
            return Err(CarryError::Stopped);
        }
        Ok(std::mem::take(&mut *self.outcome()))
    }
}

/// The references of `info` besides itself.
fn needed(info: &NarInfo) -> impl Iterator<Item = HashPart> {
    info.references.iter().filter(|reference| **reference != info.store_path).map(StorePath::hash_part)
}

/// The maps are whole after each operation, so that a thread that panicked left no damage.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Shared<'s> {
    origin: &'s Origin,
    target: &'s Target,
    observer: &'s dyn Observer,
    stop: &'s CancellationToken,
    board: &'s Board,
}

impl Shared<'_> {
    /// One artifact. A thread has ever only one, and takes them references first: so the eldest of all waits for nobody.
    fn one(&self, info: &NarInfo, present: bool) {
        let hash = info.store_path.hash_part();
        if present {
            self.board.outcome().present += 1;
            self.observer.done(&info.store_path, info.file_size.unwrap_or_default(), false);
            self.board.settle(hash, State::There);
            return;
        }
        match self.attempt(info) {
            Ok(bytes) => {
                let mut outcome = self.board.outcome();
                outcome.copied += 1;
                outcome.bytes += bytes;
                drop(outcome);
                self.observer.done(&info.store_path, bytes, true);
                self.board.settle(hash, State::There);
            }
            Err((Failed::Target(error), _)) => {
                self.board.end(error);
                self.board.settle(hash, State::Lost(info.store_path.to_string()));
            }
            Err((Failed::Source(fault), culprit)) => {
                let artifact = info.store_path.to_string();
                let culprit = culprit.unwrap_or_else(|| artifact.clone());
                let trouble = Trouble { artifact, fault };
                self.observer.trouble(&trouble);
                self.board.outcome().troubles.push(trouble);
                self.board.settle(hash, State::Lost(culprit));
            }
        }
    }

    /// Bytes of the NAR file; or why not, and who is to blame when it is another.
    fn attempt(&self, info: &NarInfo) -> Result<u64, (Failed, Option<String>)> {
        self.refuse_lost(info)?;
        let temp = self.target.temp();
        let verified = copy::copy(self.origin, info, temp.path(), self.observer, self.stop)
            .map_err(|failed| (failed, None))?;
        self.board.wait(info, self.stop);
        self.refuse_lost(info)?;
        if self.board.ended(self.stop) {
            return Err((Failed::Target(CarryError::Stopped), None));
        }
        self.target.publish(info, &verified, temp).map_err(|error| (Failed::Target(error), None))?;
        Ok(verified.file_size)
    }

    fn refuse_lost(&self, info: &NarInfo) -> Result<(), (Failed, Option<String>)> {
        let Some(culprit) = self.board.lost(info) else { return Ok(()) };
        let message = format!("needs {culprit}, which cannot be had");
        Err((Failed::Source(Fault::new(RefusalReason::MissingReference, message)), Some(culprit)))
    }
}
