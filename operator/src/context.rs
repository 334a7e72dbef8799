//! What every controller is given.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use kube::{Client, runtime::events::Recorder};

use crate::{config::Config, map::Maps, metrics::Metrics, reports::Reports};

/// Controllers are woken by reports and maps at most this often.
const WAKE_INTERVAL: Duration = Duration::from_secs(1);

/// The shared parts of one operator. Cheap to clone behind its `Arc`.
pub struct Context {
    /// The connection to the API server.
    pub client: Client,
    /// What the environment told.
    pub config: Arc<Config>,
    /// What the holders last reported.
    pub reports: Arc<Reports>,
    /// The maps as the API server has them.
    pub maps: Arc<Maps>,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// Publishes events.
    pub recorder: Recorder,
}

impl Context {
    /// Ticks when a report or a map has changed, at most once a second: for `Controller::reconcile_all_on`. Ticks also every
    /// ten seconds without news, because "has not answered for 20 s" becomes true without an event.
    #[must_use]
    pub fn changes(&self) -> Pin<Box<dyn Stream<Item = ()> + Send>> {
        let both = (self.reports.changes(), self.maps.changes());
        Box::pin(futures::stream::unfold(both, |(mut reports, mut maps)| async move {
            tokio::time::sleep(WAKE_INTERVAL).await;
            // An error means that the store is gone, and with it this operator: the tick then ends the wait early.
            tokio::select! {
                _ = reports.changed() => {}
                _ = maps.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(10)) => {}
            }
            Some(((), (reports, maps)))
        }))
    }
}
