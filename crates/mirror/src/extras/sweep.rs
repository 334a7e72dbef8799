//! What was published is completed in the background, and everything that is there is looked at from time to time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_nix::HashPart;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Keeper;
use super::complete::Completed;

/// Artifacts in work at once.
const AT_ONCE: usize = 4;
/// Artifacts that are named at once by the tree.
const BATCH: usize = 4096;
/// Artifacts that wait for another try, at most. What does not fit is tried with the next round.
const MOST_FAILED: usize = 4096;

/// How fast the background work is.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From the start of one round over everything to the start of the next. Whether an upstream has a log by now is not
    /// asked more often.
    pub round: Duration,
    /// After an artifact of a round for which upstreams were asked.
    pub after_asking: Duration,
    /// After one for which nothing was to do.
    pub after_looking: Duration,
    /// Before something that failed is tried again.
    pub retry: Duration,
}

impl Default for Pace {
    /// A day; 20 artifacts in a second, 500 of which nothing is missing; ten minutes.
    fn default() -> Self {
        Self {
            round: Duration::from_hours(24),
            after_asking: Duration::from_millis(50),
            after_looking: Duration::from_millis(2),
            retry: Duration::from_mins(10),
        }
    }
}

/// Completes artifacts until `stop`: those that are published, at once; those that are there, round after round; those of
/// which something failed, some time later. `start` is where the first round begins: another number each time, so that a
/// mirror that is started often comes to all of them.
pub async fn keep(keeper: Arc<Keeper>, pace: Pace, start: u64, stop: CancellationToken) {
    let tree = Arc::clone(keeper.tree());
    let mut round = Round::new(start);
    let mut failed = Failed::default();
    let mut running: JoinSet<Ended> = JoinSet::new();
    // A round has a day: one at a time is enough, and leaves the other places to what was just published.
    let mut sweeping = false;
    loop {
        let (hash, swept) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(ended) = running.join_next() => {
                // A task of ours does not panic; if one did, nothing would be swept any more until a restart.
                let Ok(Ended { hash, done, swept }) = ended else { continue };
                sweeping &= !swept;
                if done.failed {
                    failed.add(hash, Instant::now() + pace.retry);
                }
                continue;
            }
            hash = tree.next_fresh(), if running.len() < AT_ONCE => (hash, false),
            hash = failed.next(), if !sweeping && running.len() < AT_ONCE => (hash, true),
            hash = round.next(&keeper, pace.round), if !sweeping && running.len() < AT_ONCE => (hash, true),
        };
        sweeping |= swept;
        let keeper = Arc::clone(&keeper);
        running.spawn(async move {
            let done = keeper.complete(&hash).await;
            if swept {
                // Its place is not free before, so that a round has its pace.
                sleep(if done.asked { pace.after_asking } else { pace.after_looking }).await;
            }
            Ended { hash, done, swept }
        });
    }
}

/// Completes what was published and waits for it, once.
pub async fn complete_fresh(keeper: &Arc<Keeper>) {
    let mut running = JoinSet::new();
    while let Some(hash) = keeper.tree().take_fresh() {
        while running.len() >= AT_ONCE {
            running.join_next().await;
        }
        let keeper = Arc::clone(keeper);
        running.spawn(async move { keeper.complete(&hash).await });
    }
    while running.join_next().await.is_some() {}
}

struct Ended {
    hash: HashPart,
    done: Completed,
    swept: bool,
}

/// What is tried again, and when.
#[derive(Debug, Default)]
struct Failed(VecDeque<(Instant, HashPart)>);

impl Failed {
    fn add(&mut self, hash: HashPart, at: Instant) {
        if self.0.len() < MOST_FAILED && !self.0.iter().any(|(_, other)| *other == hash) {
            self.0.push_back((at, hash));
        }
    }

    /// Waits for the first; for ever when there is none. Nothing is lost when this is dropped.
    async fn next(&mut self) -> HashPart {
        let Some((at, hash)) = self.0.front().copied() else { return std::future::pending().await };
        if at > Instant::now() {
            sleep_until(at.into()).await;
        }
        self.0.pop_front();
        hash
    }
}

/// Everything in the tree, in the order of the hash parts, again and again.
#[derive(Debug)]
struct Round {
    start: Option<HashPart>,
    part: Part,
    /// The hash parts up to here have been named.
    after: Option<HashPart>,
    batch: VecDeque<HashPart>,
    began: Option<Instant>,
}

/// Where in a round we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// After the start.
    First,
    /// From the beginning up to the start.
    Second,
    /// All were named.
    Over,
}

impl Round {
    fn new(start: u64) -> Self {
        let start = place(start);
        Self { start, part: Part::First, after: start, batch: VecDeque::new(), began: None }
    }

    /// The next; waits until a round may begin. Nothing is lost when this is dropped.
    async fn next(&mut self, keeper: &Keeper, every: Duration) -> HashPart {
        loop {
            if let Some(hash) = self.pop() {
                return hash;
            }
            if self.part == Part::Over {
                if let Some(began) = self.began {
                    sleep_until((began + every).into()).await;
                }
                self.restart();
            }
            self.began.get_or_insert_with(Instant::now);
            let after = self.after;
            let batch = keeper.blocking(move |tree| tree.published_after(after.as_ref(), BATCH)).await;
            self.fill(batch.unwrap_or_default());
        }
    }

    fn pop(&mut self) -> Option<HashPart> {
        let hash = self.batch.pop_front()?;
        self.after = Some(hash);
        Some(hash)
    }

    /// The names after the last one, sorted; none when there are no more.
    fn fill(&mut self, mut names: Vec<HashPart>) {
        match self.part {
            Part::First if names.is_empty() => (self.part, self.after) = (Part::Second, None),
            Part::First | Part::Over => {}
            Part::Second => {
                names.retain(|name| Some(*name) <= self.start);
                if names.is_empty() {
                    self.part = Part::Over;
                }
            }
        }
        self.batch = names.into();
    }

    fn restart(&mut self) {
        (self.part, self.after, self.began) = (Part::First, self.start, None);
    }
}

/// A hash part somewhere among all of them.
fn place(number: u64) -> Option<HashPart> {
    let digest = granary_nix::Hash::of(&number.to_le_bytes()).to_nix32();
    // Not from the start, where 52 characters for 256 bits leave only two that can come first.
    digest.get(digest.len() - HashPart::LENGTH..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(name: char) -> HashPart {
        name.to_string().repeat(32).parse().unwrap()
    }

    #[tokio::test]
    async fn what_failed_is_tried_again_once() {
        let mut failed = Failed::default();
        let now = Instant::now();
        failed.add(hash('a'), now);
        failed.add(hash('b'), now);
        failed.add(hash('a'), now);
        let mut next = || futures::FutureExt::now_or_never(failed.next());
        assert_eq!([next(), next(), next()], [Some(hash('a')), Some(hash('b')), None]);
        failed.add(hash('c'), now + Duration::from_hours(1));
        assert_eq!(failed.0.len(), 1);
    }

    /// The names of one round, as many at a time.
    fn names(round: &mut Round, tree: &[HashPart], batch: usize) -> Vec<HashPart> {
        let mut named = Vec::new();
        while round.part != Part::Over {
            named.extend(std::iter::from_fn(|| round.pop()));
            let rest = tree.iter().filter(|name| Some(**name) > round.after);
            round.fill(rest.take(batch).copied().collect());
        }
        named
    }

    #[test]
    fn a_round_names_everything_once_wherever_it_begins() {
        let tree: Vec<HashPart> = "0123456789abcdfg".chars().map(hash).collect();
        let mut starts = std::collections::HashSet::new();
        for start in 0..40 {
            let mut round = Round::new(start);
            for batch in [1, 3, 100] {
                let mut named = names(&mut round, &tree, batch);
                starts.insert(named[0]);
                named.sort_unstable();
                assert_eq!(named, tree, "from {start} by {batch}");
                round.restart();
            }
            assert_eq!(names(&mut round, &[], 3), []);
        }
        assert!(starts.len() > 4, "{starts:?}");
    }
}
