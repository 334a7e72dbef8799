//! How far the channels are.

use std::collections::BTreeMap;

use granary_placement::report::ChannelReport;
use prometheus::IntGaugeVec;

use super::clamp;
use super::make::Maker;

/// By the channels' names, of which a mirror has few. Two channels of a map can have one name; they are one series.
#[derive(Debug)]
pub struct ChannelMetrics {
    artifacts: IntGaugeVec,
    lag: IntGaugeVec,
    up: IntGaugeVec,
}

impl ChannelMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        Ok(Self {
            artifacts: make.gauges(
                "channel_artifacts",
                "What the newest revision of a channel lists, and what of that is here or refused",
                &["channel", "state"],
            )?,
            lag: make.gauges(
                "channel_lag_seconds",
                "How long the newest revision has not been complete, or the list not been had; 0 when neither",
                &["channel"],
            )?,
            up: make.gauges(
                "channel_up",
                "Whether the list of a channel was had when it was last asked for",
                &["channel"],
            )?,
        })
    }

    /// How far they are. A channel that is gone takes its series with it.
    pub(super) fn set(&self, reports: &[ChannelReport]) {
        for gauges in [&self.artifacts, &self.lag, &self.up] {
            gauges.reset();
        }
        for (name, channel) in by_name(reports) {
            let Channel { listed, published, refused, lag, up } = channel;
            for (state, count) in [("listed", listed), ("published", published), ("refused", refused)] {
                self.artifacts.with_label_values(&[name, state]).set(clamp(count));
            }
            self.lag.with_label_values(&[name]).set(clamp(lag));
            self.up.with_label_values(&[name]).set(i64::from(up));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Channel {
    listed: u64,
    published: u64,
    refused: u64,
    lag: u64,
    up: bool,
}

/// Of two with one name the sum, and the worse.
fn by_name(reports: &[ChannelReport]) -> BTreeMap<&str, Channel> {
    let mut all = BTreeMap::new();
    for report in reports {
        let nothing = Channel { listed: 0, published: 0, refused: 0, lag: 0, up: true };
        let channel: &mut Channel = all.entry(report.name.as_str()).or_insert(nothing);
        channel.listed += report.artifacts;
        channel.published += report.published;
        channel.refused += report.refused;
        channel.lag = channel.lag.max(report.lag_seconds);
        channel.up &= report.trouble.is_none();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_channels_of_one_name_are_one_series_and_the_worse_counts() {
        let report = |name: &str, artifacts, lag_seconds, trouble: Option<&str>| ChannelReport {
            name: name.into(),
            artifacts,
            published: 1,
            lag_seconds,
            trouble: trouble.map(Into::into),
            ..ChannelReport::default()
        };
        let reports = [report("a", 3, 9, None), report("b", 1, 0, None), report("a", 4, 2, Some("404"))];
        let all = by_name(&reports);
        assert_eq!(all["a"], Channel { listed: 7, published: 2, refused: 0, lag: 9, up: false });
        assert_eq!(all["b"], Channel { listed: 1, published: 1, refused: 0, lag: 0, up: true });
    }
}
