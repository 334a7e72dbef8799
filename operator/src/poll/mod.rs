//! Asks every holder for its report, by the address of its pod.

mod ask;
mod target;

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::time::MissedTickBehavior;
use tracing::debug;

use crate::{context::Context, reports::NoAnswer, stores::Stores};
pub use ask::Asker;
pub use target::Target;

/// Between two rounds.
const INTERVAL: Duration = Duration::from_secs(3);
/// How many holders are asked at a time: a thousand silent ones then take half a minute, with a quarter of the sockets.
const AT_ONCE: usize = 64;

/// Asks all holders, round after round, for as long as it is polled.
pub async fn run(context: Arc<Context>, stores: Arc<Stores>, asker: Asker) {
    let mut beat = tokio::time::interval(INTERVAL);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let targets: Vec<Target> = stores.pods.state().iter().filter_map(|pod| Target::of(pod)).collect();
        let known: HashSet<(&str, &str)> =
            targets.iter().map(|target| (target.namespace.as_str(), target.holder.as_str())).collect();
        // A holder without a pod is silent like one that does not answer; it is forgotten when it leaves the map.
        context.reports.retain(|namespace, holder| {
            known.contains(&(namespace, holder))
                || context.maps.get(namespace).is_some_and(|map| map.mirror(holder).is_some())
        });
        let ask = async |Target { namespace, holder, address }: Target| {
            let outcome = match address {
                Some(address) => {
                    asker.ask(&holder, address).await.map_err(|error| NoAnswer::Asked(error.to_string()))
                }
                None => Err(NoAnswer::NotThere("its pod has no address yet")),
            };
            context.metrics.polled(outcome.is_ok());
            if let Err(error) = &outcome {
                debug!(namespace, %holder, ?error, "no report");
            }
            // The time of the answer, not of the round: a slow round must not make an answer look old.
            context.reports.note(&namespace, holder.as_str(), outcome, std::time::Instant::now());
        };
        futures::stream::iter(targets).for_each_concurrent(AT_ONCE, ask).await;
        note_absent(&context, &stores);
    }
}

/// Holders of the map that have no pod at all did not answer either.
fn note_absent(context: &Context, stores: &Stores) {
    let pods: HashSet<(String, String)> = stores
        .pods
        .state()
        .iter()
        .filter_map(|pod| Target::of(pod))
        .map(|target| (target.namespace, target.holder.into()))
        .collect();
    for namespace in context.maps.namespaces() {
        let Some(map) = context.maps.get(&namespace) else { continue };
        for mirror in &map.mirrors {
            if !pods.contains(&(namespace.clone(), mirror.name.to_string())) {
                let outcome = Err(NoAnswer::NotThere("it has no pod"));
                context.reports.note(&namespace, mirror.name.as_str(), outcome, std::time::Instant::now());
            }
        }
    }
}
