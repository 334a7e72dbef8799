//! Keeps nginx's files what the configuration and the map say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use granary_placement::{CompiledMap, Partition};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::certificate::Certificate;
use super::status::Status;
use crate::config::Config;
use crate::front::{Lists, Placed, Settings, fewer_connections, render, write_rendered};
use crate::map::Current;
use crate::metrics::Metrics;
use crate::{listen, open_files};

/// Pause after a failure to write.
const RETRY: Duration = Duration::from_secs(5);
/// nginx workers: each can serve a fast network, and each keeps its own copy of the lists.
const MAX_WORKERS: usize = 8;

/// Renders at the start, and whenever the map or the certificate changes. What fails later, as on a disk that takes nothing
/// in any more, leaves nginx with what it has, by which it serves.
pub(super) async fn keep_rendered(
    config: Arc<Config>,
    mut map: Current,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut certificate = config
        .tls
        .clone()
        .map(|tls| Certificate::new(tls, &config.front_directory, Arc::clone(&metrics.tls)));
    let (mut alone, mut serves) = (false, false);
    tell_of_few_files(&config);
    loop {
        let current = map.borrow_and_update().clone();
        let config = Arc::clone(&config);
        // Half a megabyte of text, computed and written: not in between the answers.
        let written = tokio::task::spawn_blocking(move || {
            if let Some(certificate) = &mut certificate {
                certificate.look();
            }
            let written = write(&config, current.as_deref(), certificate.as_ref());
            (certificate, written)
        });
        let trouble = match written.await {
            Ok((same, written)) => {
                certificate = same;
                status.certificate(certificate.as_ref().map(Certificate::report));
                if matches!(written, Ok(true)) {
                    info!("nginx's files are rendered");
                }
                written.err()
            }
            Err(panic) => {
                certificate = None;
                Some(panic.to_string())
            }
        };
        if let Some(trouble) = &trouble {
            error!(trouble, "nginx's files cannot be rendered; trying again");
        }
        let failed = trouble.is_some();
        serves |= !failed;
        status.front(trouble.filter(|_| !serves));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(RETRY), if failed => {}
            changed = map.changed(), if !alone => alone = changed.is_err(),
            () = replaced(certificate.as_ref()) => {}
        }
    }
}

/// Waits for another certificate; without one, for ever.
async fn replaced(certificate: Option<&Certificate>) {
    match certificate {
        Some(certificate) => certificate.replaced().await,
        None => std::future::pending().await,
    }
}

/// Whether anything changed, or why nginx cannot be set up. Blocks.
fn write(
    config: &Config,
    map: Option<&CompiledMap>,
    certificate: Option<&Certificate>,
) -> Result<bool, String> {
    let https = certificate.and_then(Certificate::https);
    if config.http.is_none() && https.is_none() {
        return Err("HTTPS is all there should be, and the certificate cannot be used".into());
    }
    let placed = https.as_ref().map(|(_, placed)| placed.clone());
    let rendered = render(&settings(config, https), &lists(config, map));
    let changed = write_rendered(&config.front_directory, &rendered).map_err(|error| error.to_string())?;
    if let Some(placed) = placed {
        placed.remove_others();
    }
    Ok(changed)
}

fn settings(config: &Config, https: Option<(SocketAddr, Placed)>) -> Settings {
    let has_ipv6 = listen::has_ipv6();
    let every = |configured| listen::addresses(configured, has_ipv6);
    Settings {
        name: config.name.to_string(),
        url: config.url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()),
        root: config.directory.clone(),
        directory: config.front_directory.clone(),
        http: config.http.map_or_else(Vec::new, &every),
        https: https.map(|(address, placed)| (every(address), placed)),
        agent: config.agent,
        publish: config.publish,
        cache_info: config.cache_info.to_text(),
        pull_through: config.pull_through.is_some(),
        push: config.push.is_some(),
        push_in_clear: config.push_in_clear,
        clients: config.clients.clone(),
        open_files: open_files::most(),
        workers: workers(),
    }
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS)
}

fn tell_of_few_files(config: &Config) {
    let open_files = open_files::most();
    if let Some(connections) = fewer_connections(&config.clients, workers(), open_files) {
        let wanted = config.clients.max_connections;
        warn!(
            ?open_files,
            connections,
            wanted,
            "nginx takes fewer connections than clients.maxConnections: it may not open more files; raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd)"
        );
    }
}

fn lists(config: &Config, map: Option<&CompiledMap>) -> Lists {
    let Some(map) = map else { return Lists::default() };
    let entries = map.entries_for(&config.name);
    Lists::collect(Partition::all().map(|partition| (partition.to_string(), entries.urls(partition))))
}
