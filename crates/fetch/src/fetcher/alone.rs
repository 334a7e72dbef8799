//! Sources that are left alone: for their failures, or because they asked for a rest.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use granary_nix::BaseUrl;
use granary_placement::report::RefusalReason;

use super::Fetcher;
use crate::circuit::Circuit;
use crate::rest::Rest;
use crate::{Fault, Source};

impl Fetcher {
    /// Why the source did not answer the last time that it was asked, or that it has a rest; `None` when it answered, or was
    /// never asked.
    #[must_use]
    pub fn trouble(&self, source: &Source) -> Option<String> {
        let failed =
            self.circuits().get(&source.url).and_then(|circuit| circuit.trouble().map(str::to_owned));
        failed.or_else(|| Some(self.rests().get(&source.url)?.active(Instant::now())?.1.to_owned()))
    }

    /// Refuses to ask a source that is left alone, for its failures or because it asked for that.
    pub(super) fn may_ask(&self, source: &Source) -> Result<(), Fault> {
        self.may_disturb(source)?;
        let circuits = self.circuits();
        let circuit = circuits.get(&source.url);
        match circuit.and_then(|circuit| Some((circuit.left_alone(Instant::now())?, circuit.trouble()))) {
            None => Ok(()),
            Some((left, trouble)) => Err(left_alone(left, trouble.unwrap_or("it failed"))),
        }
    }

    /// Refuses to ask a source that asked for a rest.
    pub(super) fn may_disturb(&self, source: &Source) -> Result<(), Fault> {
        match self.rests().get(&source.url).and_then(|rest| rest.active(Instant::now())) {
            None => Ok(()),
            Some((left, words)) => Err(left_alone(left, words)),
        }
    }

    /// Leaves a source alone for as long as it asks for.
    pub(super) fn give_rest(&self, source: &Source, time: Duration, words: String) {
        tracing::info!(source = %source.url, "{words}");
        let rest = Rest::new(Instant::now(), time, words);
        let mut rests = self.rests();
        let rest = match rests.remove(&source.url) {
            Some(earlier) => earlier.longer(rest),
            None => rest,
        };
        rests.insert(source.url.clone(), rest);
    }

    /// What an attempt says about the source.
    pub(super) fn learn(&self, source: &Source, fault: Option<&Fault>) {
        let mut circuits = self.circuits();
        let circuit = circuits.entry(source.url.clone()).or_default();
        match fault {
            Some(fault) if fault.reason == RefusalReason::UpstreamUnreachable => {
                circuit.failed(Instant::now(), fault.message.clone());
            }
            // Our disk says nothing about the source.
            Some(fault) if fault.reason == RefusalReason::Disk => {}
            _ => circuit.answered(),
        }
    }

    fn rests(&self) -> MutexGuard<'_, HashMap<BaseUrl, Rest>> {
        self.0.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn circuits(&self) -> MutexGuard<'_, HashMap<BaseUrl, Circuit>> {
        // Each change is one assignment, so that a thread that panicked left no damage.
        self.0.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fault of a source that is not asked.
fn left_alone(left: Duration, why: &str) -> Fault {
    let message = format!("left alone for {:.0} s more: {why}", left.as_secs_f64().ceil());
    Fault::new(RefusalReason::UpstreamUnreachable, message)
}
