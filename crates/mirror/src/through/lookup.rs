//! Narinfos that clients ask for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use granary_nix::{HashPart, NarInfo, served_nar_name};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::race::{self, Found, Verdict, race};
use super::recent::Recent;
use super::{Through, lock, refusal};
use crate::lately::Lately;
use crate::metrics::LookupResult;
use crate::refusals::Origin;
use crate::tree::{CatalogEntry, canonical, nar_hash_of};

/// Narinfos that upstreams are asked for at once because a client waits.
const AT_ONCE: usize = 64;
/// Those that are asked for besides, for closures: however slow the upstreams are for them, no client waits for these.
const BACKGROUND: usize = 32;
/// How long a narinfo for a client waits until the upstreams are asked for it, before the client is told to come again. With the time that
/// they have for the answer it is less than nginx waits for the agent: nobody is told by nginx that nothing answers.
const QUEUED: Duration = Duration::from_secs(10);
/// How long "not there" is remembered. Clients remember it for an hour; this only takes the edge off many who ask at once.
const ABSENT: Duration = Duration::from_secs(10);
/// Absent artifacts that are remembered.
const MOST_ABSENT: usize = 1 << 14;
/// Narinfos that are waited for at once.
const MOST_RUNNING: usize = 4096;

/// What is told a client.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The narinfo, in our form.
    Found(Arc<NarInfo>),
    /// Every upstream says that there is none.
    Absent,
    /// It may exist: not all upstreams answer. Why.
    Unknown(Arc<str>),
}

/// For whom a narinfo is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A client, who waits.
    Client,
    /// A closure, in the background.
    Closure,
}

/// A question that is being asked.
#[derive(Debug)]
struct Question {
    answer: watch::Receiver<Option<Verdict>>,
    /// Cancelled when a client waits for the answer.
    urgent: CancellationToken,
}

/// What is known and what is being asked.
#[derive(Debug)]
pub(super) struct Lookups {
    recent: Mutex<Recent>,
    absent: Lately<HashPart>,
    running: Mutex<HashMap<HashPart, Question>>,
    slots: Semaphore,
    background: Semaphore,
}

impl Default for Lookups {
    fn default() -> Self {
        Self {
            recent: Mutex::default(),
            absent: Lately::new(ABSENT, MOST_ABSENT),
            running: Mutex::default(),
            slots: Semaphore::new(AT_ONCE),
            background: Semaphore::new(BACKGROUND),
        }
    }
}

impl Lookups {
    /// A turn to ask the upstreams; `None` when a client would have to wait too long for it. In the background a turn is
    /// waited for as long as it takes, or until a client waits for the same.
    async fn turn(&self, urgent: &CancellationToken) -> Option<SemaphorePermit<'_>> {
        tokio::select! {
            biased;
            () = urgent.cancelled() => {}
            turn = self.background.acquire() => return turn.ok(),
        }
        timeout(QUEUED, self.slots.acquire()).await.ok()?.ok()
    }

    /// A narinfo that was found a moment ago, as its upstream has it.
    pub(super) fn recent(&self, hash: &HashPart) -> Option<Found> {
        lock(&self.recent).get(hash)
    }

    /// The artifact of a NAR file's name, by a narinfo that was found a moment ago.
    pub(super) fn by_nar_name(&self, file: &str) -> Option<CatalogEntry> {
        let hash = nar_hash_of(file)?;
        let recent = lock(&self.recent);
        let mut named = recent.named(hash);
        let named = named.find(|(_, found)| {
            served_nar_name(hash, found.info.compression).strip_prefix("nar/") == Some(file)
        });
        named
            .map(|(hash_part, found)| CatalogEntry { hash_part: *hash_part, expected: (&*found.info).into() })
    }
}

impl Through {
    /// The narinfo of an artifact, wherever it is.
    pub async fn narinfo(&self, hash: &HashPart) -> Answer {
        // nginx looked a moment ago; it may have come since.
        let (tree, wanted) = (Arc::clone(&self.0.tree), *hash);
        let here = move || tree.published_narinfo(&wanted).or_else(|| tree.catalog_narinfo(&wanted));
        if let Ok(Some(info)) = tokio::task::spawn_blocking(here).await {
            self.note(*hash);
            return Answer::Found(Arc::new(info));
        }
        match self.look_up(hash, Asker::Client).await {
            Verdict::Found(found) => {
                self.gather_later(*hash);
                Answer::Found(Arc::new(canonical(&found.info, None)))
            }
            Verdict::Absent => Answer::Absent,
            Verdict::Unknown(why) => Answer::Unknown(why),
        }
    }

    /// What the upstreams say, now or a moment ago. However many ask, an upstream is asked once.
    pub(super) async fn look_up(&self, hash: &HashPart, asker: Asker) -> Verdict {
        let lookups = &self.0.lookups;
        if let Some(found) = lookups.recent(hash) {
            return Verdict::Found(found);
        }
        if lookups.absent.has(hash, Instant::now()) {
            return Verdict::Absent;
        }
        let Some(mut answer) = self.running(hash, asker) else {
            return Verdict::Unknown("too many narinfos are being asked for".into());
        };
        // A sender that is gone without a word belonged to a task that was ended.
        let verdict = answer.wait_for(Option::is_some).await.ok().and_then(|verdict| verdict.clone());
        verdict.unwrap_or_else(|| Verdict::Unknown("the mirror is stopping".into()))
    }

    /// The question that is being asked, or a new one.
    fn running(&self, hash: &HashPart, asker: Asker) -> Option<watch::Receiver<Option<Verdict>>> {
        let mut running = lock(&self.0.lookups.running);
        if let Some(question) = running.get(hash).filter(|question| question.answer.has_changed().is_ok()) {
            if asker == Asker::Client {
                question.urgent.cancel();
            }
            return Some(question.answer.clone());
        }
        if running.len() >= MOST_RUNNING {
            return None;
        }
        let (tell, answer) = watch::channel(None);
        let urgent = CancellationToken::new();
        if asker == Asker::Client {
            urgent.cancel();
        }
        running.insert(*hash, Question { answer: answer.clone(), urgent: urgent.clone() });
        let (through, hash) = (self.clone(), *hash);
        self.spawn(async move {
            let verdict = through.ask(&hash, &urgent).await;
            lock(&through.0.lookups.running).remove(&hash);
            tell.send_replace(Some(verdict));
        });
        Some(answer)
    }

    async fn ask(&self, hash: &HashPart, urgent: &CancellationToken) -> Verdict {
        let shared = &*self.0;
        let Some(_turn) = shared.lookups.turn(urgent).await else {
            shared.metrics.lookup(LookupResult::Unknown);
            return Verdict::Unknown("too many narinfos are being asked for".into());
        };
        let began = Instant::now();
        let (verdict, bad) = race(&shared.asking, &shared.upstreams, hash).await;
        if let Some(race::Bad { fault, source }) = bad {
            let refusal = refusal(hash.to_string(), fault, source);
            shared.refusals.refuse(Origin::NarInfo, *hash, refusal, began.elapsed());
        }
        shared.metrics.lookup(match &verdict {
            Verdict::Found(_) => LookupResult::Found,
            Verdict::Absent => LookupResult::Absent,
            Verdict::Unknown(_) => LookupResult::Unknown,
        });
        match &verdict {
            Verdict::Found(found) => {
                shared.refusals.accept(hash, Origin::NarInfo);
                lock(&shared.lookups.recent).insert(*hash, found.clone());
            }
            Verdict::Absent => shared.lookups.absent.add(*hash, Instant::now()),
            Verdict::Unknown(why) => {
                tracing::info!(artifact = %hash, %why, "no narinfo, and no certain absence");
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn clients_and_closures_have_turns_of_their_own() {
        let lookups = Lookups::default();
        let (client, closure) = (CancellationToken::new(), CancellationToken::new());
        client.cancel();
        let turn = |urgent| lookups.turn(urgent).now_or_never().flatten();
        let background: Vec<_> = std::iter::from_fn(|| turn(&closure)).collect();
        assert_eq!(background.len(), BACKGROUND);
        let clients: Vec<_> = std::iter::from_fn(|| turn(&client)).collect();
        assert_eq!(clients.len(), AT_ONCE, "whatever closures wait for");
        drop(background);
        assert!(turn(&closure).is_some(), "whatever clients wait for");
    }

    #[tokio::test]
    async fn what_a_client_waits_for_too_does_not_wait_as_long_as_a_closure() {
        let lookups = Lookups::default();
        let closure = CancellationToken::new();
        let turn = |urgent| lookups.turn(urgent).now_or_never().flatten();
        let _background: Vec<_> = std::iter::from_fn(|| turn(&closure)).collect();
        let mut waits = std::pin::pin!(lookups.turn(&closure));
        assert!(waits.as_mut().now_or_never().is_none());
        closure.cancel();
        assert!(waits.now_or_never().flatten().is_some());
    }
}
