//! Keeps what is here: retention and room, and tells of both.

use std::sync::{Arc, Mutex, PoisonError};

use granary_placement::report::RetentionReport;

use super::status::Status;
use crate::map::Doubt;
use crate::metrics::Metrics;
use crate::retention::Retention;
use crate::retention::machine::Rules;
use crate::sync::Demand;
use crate::tree::Tree;
use crate::wants::Wants;

/// What is done after each pass.
#[derive(Debug)]
pub(super) struct Upkeep {
    tree: Arc<Tree>,
    retention: Arc<Mutex<Retention>>,
    /// Why the map may not be the newest; `None` where none is followed.
    doubt: Option<Doubt>,
    /// Why what clients brought here counts as wanted, whatever the policies say.
    clients: Option<&'static str>,
    /// What the channels want, when there are any.
    channels: Option<Arc<Wants>>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
}

impl Upkeep {
    pub(super) fn new(
        tree: Arc<Tree>,
        retention: Retention,
        doubt: Option<Doubt>,
        (clients, channels): (Option<&'static str>, Option<Arc<Wants>>),
        status: Arc<Status>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let retention = Arc::new(Mutex::new(retention));
        Self { tree, retention, doubt, clients, channels, status, metrics }
    }

    /// A pass has ended, which wanted this.
    ///
    /// Without `rules` nothing goes.
    pub(super) async fn after_pass(&self, rules: Option<Rules>, demand: Demand) {
        match rules {
            Some(rules) => self.retain(rules, demand).await,
            None => self.status.upkeep(|upkeep| upkeep.retention = None),
        }
        super::disk::tell(&self.tree, &self.status, &self.metrics);
    }

    /// What the channels want is wanted too.
    fn with_channels(&self, demand: Demand) -> Demand {
        match (demand, &self.channels) {
            (Demand::Known(mut wanted), Some(channels)) => match channels.now() {
                Some(now) => {
                    wanted.extend(now.all());
                    Demand::Known(wanted)
                }
                None => Demand::Unknown("it is not known what the channels want".into()),
            },
            (demand, _) => demand,
        }
    }

    async fn retain(&self, rules: Rules, demand: Demand) {
        let retention = Arc::clone(&self.retention);
        let doubt = self.doubt.as_ref().and_then(|doubt| doubt.borrow().clone());
        let demand = match doubt.or_else(|| self.clients.map(Into::into)) {
            Some(reason) => Demand::Unknown(reason),
            None => self.with_channels(demand),
        };
        let waiting = match &demand {
            Demand::Known(_) => None,
            Demand::Unknown(reason) => Some(reason.clone()),
        };
        let step = move || {
            // What it keeps in memory is whole after every step.
            let mut retention = retention.lock().unwrap_or_else(PoisonError::into_inner);
            retention.after_pass(rules, demand.known())
        };
        let Ok(outcome) = tokio::task::spawn_blocking(step).await else { return };
        self.metrics.upkeep.retention(&outcome);
        let crate::retention::Outcome { unwanted, trashed, trashed_bytes, taken_out: _, emptied: _ } =
            outcome;
        let report = RetentionReport { unwanted, trashed, trashed_bytes, waiting };
        self.status.upkeep(|upkeep| upkeep.retention = Some(report));
    }
}
