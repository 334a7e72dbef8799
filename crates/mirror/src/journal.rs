//! The log's one line for each artifact that is published or refused, whichever way it came: by a pass, because a client asked
//! for it, or by a push.

use std::fmt::Display;
use std::time::Duration;

use granary_nix::StorePath;

/// It is published: `bytes` of its NAR file came from `source` in the time that it `took`.
pub(crate) fn published(path: &StorePath, bytes: u64, source: &str, took: Duration) {
    tracing::info!(%path, bytes, source, seconds = took.as_secs_f64(), "published");
}

/// It is refused. `path` is its hash part where no more of it is known; `took` is how long was spent on it this time. What
/// is known is told `quietly`.
pub(crate) fn refused(
    path: impl Display,
    reason: impl Display,
    fault: impl Display,
    source: &str,
    took: Duration,
    quietly: bool,
) {
    let seconds = took.as_secs_f64();
    if quietly {
        tracing::debug!(%path, %reason, %fault, source, seconds, "still refused");
    } else {
        tracing::warn!(%path, %reason, %fault, source, seconds, "refused");
    }
}
