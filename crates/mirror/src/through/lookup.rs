//! Narinfos that clients ask for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use granary_nix::{HashPart, NarInfo, served_nar_name};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::race::{self, Found, Verdict, race};
use super::recent::{Absent, Recent};
use super::{Through, lock, refusal};
use crate::metrics::LookupResult;
use crate::refusals::Origin;
use crate::tree::{CatalogEntry, canonical, nar_hash_of};

/// Narinfos that upstreams are asked for at once.
const AT_ONCE: usize = 64;
/// How long a narinfo waits until the upstreams are asked for it, before the client is told to come again. With the time that
/// they have for the answer it is less than nginx waits for the agent: nobody is told by nginx that nothing answers.
const QUEUED: Duration = Duration::from_secs(10);
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

/// What is known and what is being asked.
#[derive(Debug)]
pub(super) struct Lookups {
    recent: Mutex<Recent>,
    absent: Mutex<Absent>,
    running: Mutex<HashMap<HashPart, watch::Receiver<Option<Verdict>>>>,
    slots: Semaphore,
}

impl Default for Lookups {
    fn default() -> Self {
        Self {
            recent: Mutex::default(),
            absent: Mutex::default(),
            running: Mutex::default(),
            slots: Semaphore::new(AT_ONCE),
        }
    }
}

impl Lookups {
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
        match self.look_up(hash).await {
            Verdict::Found(found) => {
                self.gather_later(*hash);
                Answer::Found(Arc::new(canonical(&found.info, None)))
            }
            Verdict::Absent => Answer::Absent,
            Verdict::Unknown(why) => Answer::Unknown(why),
        }
    }

    /// What the upstreams say, now or a moment ago. However many ask, an upstream is asked once.
    pub(super) async fn look_up(&self, hash: &HashPart) -> Verdict {
        let lookups = &self.0.lookups;
        if let Some(found) = lookups.recent(hash) {
            return Verdict::Found(found);
        }
        if lock(&lookups.absent).has(hash, Instant::now()) {
            return Verdict::Absent;
        }
        let Some(mut answer) = self.running(hash) else {
            return Verdict::Unknown("too many narinfos are being asked for".into());
        };
        // A sender that is gone without a word belonged to a task that was ended.
        let verdict = answer.wait_for(Option::is_some).await.ok().and_then(|verdict| verdict.clone());
        verdict.unwrap_or_else(|| Verdict::Unknown("the mirror is stopping".into()))
    }

    /// The question that is being asked, or a new one.
    fn running(&self, hash: &HashPart) -> Option<watch::Receiver<Option<Verdict>>> {
        let mut running = lock(&self.0.lookups.running);
        if let Some(answer) = running.get(hash).filter(|answer| answer.has_changed().is_ok()) {
            return Some(answer.clone());
        }
        if running.len() >= MOST_RUNNING {
            return None;
        }
        let (tell, answer) = watch::channel(None);
        running.insert(*hash, answer.clone());
        let (through, hash) = (self.clone(), *hash);
        self.spawn(async move {
            let verdict = through.ask(&hash).await;
            lock(&through.0.lookups.running).remove(&hash);
            tell.send_replace(Some(verdict));
        });
        Some(answer)
    }

    async fn ask(&self, hash: &HashPart) -> Verdict {
        let shared = &*self.0;
        let Ok(_slot) = timeout(QUEUED, shared.lookups.slots.acquire()).await else {
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
            Verdict::Absent => lock(&shared.lookups.absent).insert(*hash, Instant::now()),
            Verdict::Unknown(why) => {
                tracing::info!(artifact = %hash, %why, "no narinfo, and no certain absence");
            }
        }
        verdict
    }
}
