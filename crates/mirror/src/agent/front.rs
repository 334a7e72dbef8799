//! Keeps nginx's files what the configuration and the map say.

use std::sync::Arc;
use std::time::Duration;

use granary_placement::{CompiledMap, Partition};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::status::Status;
use crate::config::Config;
use crate::front::{Lists, Settings, render, write_rendered};
use crate::map::Current;

/// Pause after a failure to write.
const RETRY: Duration = Duration::from_secs(5);
/// nginx workers: each can serve a fast network, and each keeps its own copy of the lists.
const MAX_WORKERS: usize = 8;

/// Renders at the start and whenever the map changes.
pub(super) async fn keep_rendered(
    config: Arc<Config>,
    mut map: Current,
    status: Arc<Status>,
    stop: CancellationToken,
) {
    let mut alone = false;
    loop {
        let current = map.borrow_and_update().clone();
        let config = Arc::clone(&config);
        // Half a megabyte of text, computed and written: not in between the answers.
        let written = tokio::task::spawn_blocking(move || {
            let rendered = render(&settings(&config), &lists(&config, current.as_deref()));
            write_rendered(&config.front_directory, &rendered).map_err(|error| error.to_string())
        });
        let trouble = match written.await {
            Ok(Ok(changed)) => {
                if changed {
                    info!("nginx's files are rendered");
                }
                None
            }
            Ok(Err(trouble)) => Some(trouble),
            Err(panic) => Some(panic.to_string()),
        };
        if let Some(trouble) = &trouble {
            error!(trouble, "nginx's files cannot be rendered; trying again");
        }
        let failed = trouble.is_some();
        status.front(trouble);
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(RETRY), if failed => {}
            changed = map.changed(), if !alone => alone = changed.is_err(),
            // Without a map to follow nothing will change.
            () = std::future::pending(), if alone && !failed => {}
        }
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        name: config.name.to_string(),
        url: config.url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
        root: config.directory.clone(),
        directory: config.front_directory.clone(),
        listen: config.http,
        agent: config.agent,
        publish: config.publish,
        cache_info: config.cache_info.to_text(),
        pull_through: config.pull_through.is_some(),
        push: config.push.is_some(),
        workers: std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS),
    }
}

fn lists(config: &Config, map: Option<&CompiledMap>) -> Lists {
    let Some(map) = map else { return Lists::default() };
    let entries = map.entries_for(&config.name);
    Lists::collect(Partition::all().map(|partition| (partition.to_string(), entries.urls(partition))))
}
