//! The mirror's own channels in a `sync`: one round.

use std::process::ExitCode;
use std::time::Duration;

use granary_nix::StorePath;
use granary_placement::report::{ChannelReport, PolicyReport, Refusal};
use jiff::Timestamp;

use super::progress::Progress;
use crate::channels::{Channels, Followed, RoundOutcome, Watcher};
use crate::sync::Observer;

/// Brings what the channels list, as far as it can be had.
pub(super) async fn bring(channels: &Channels, progress: &Progress) -> RoundOutcome {
    channels.round(&Watch(progress)).await
}

/// Prints how far the channels are. The exit code says whether anything of them is missing, or a list was not had.
pub(super) fn tell(
    channels: &Channels,
    followed: &Followed,
    round: &RoundOutcome,
    progress: &Progress,
) -> ExitCode {
    // They were asked just now.
    let (now, every) = (Timestamp::now(), Duration::MAX);
    let (own, others) = (channels.reports(now, every), followed.reports(now, every));
    for ChannelReport { name, trouble, .. } in own.iter().chain(&others) {
        if let Some(trouble) = trouble {
            progress.line(&format!("{name}: the channel cannot be followed: {trouble}"));
        }
    }
    if !progress.is_quiet() {
        for ChannelReport { name, published, artifacts, .. } in &own {
            progress
                .line(&format!("{name}: {published} of {artifacts} listed store paths here and verified"));
        }
    }
    let had = own.iter().chain(&others).all(|channel| channel.trouble.is_none());
    let whole = own.iter().all(|channel| channel.published == channel.artifacts);
    if had && whole && !round.cut && round.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How much has come, and how much of what is known by now is left: the length of a list says nothing about its closure.
struct Watch<'p>(&'p Progress);

impl Observer for Watch<'_> {
    /// Of a part of a channel, which is no policy.
    fn progress(&self, _: &[PolicyReport]) {}

    fn published(&self, store_path: &StorePath, bytes: u64) {
        self.0.change(|counts| {
            counts.done += 1;
            counts.bytes += bytes;
        });
        self.0.current(store_path);
    }

    fn queued(&self, artifacts: u64) {
        self.0.change(|counts| counts.artifacts = counts.done + artifacts);
    }

    fn refused(&self, refusal: &Refusal, again: bool) {
        if !again {
            let Refusal { store_path, reason, message, source } = refusal;
            self.0.line(&format!("refused {store_path}: {reason}: {message} (from {source})"));
        }
    }
}

impl Watcher for Watch<'_> {}
