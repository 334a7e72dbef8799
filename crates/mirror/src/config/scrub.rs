//! `scrub`: how often everything is read again. On without being named.

use serde::Deserialize;

use super::ConfigError;
use super::check::field;
use super::duration::Time;
use super::size::Size;
use crate::scrub::pace::Rules;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawScrub {
    enabled: bool,
    period: Time,
    bandwidth: Size,
}

impl Default for RawScrub {
    fn default() -> Self {
        let Rules { period, bandwidth } = Rules::default();
        Self { enabled: true, period: Time(period), bandwidth: Size(bandwidth) }
    }
}

/// `None`: nothing is read again.
pub(super) fn check(raw: &RawScrub) -> Result<Option<Rules>, ConfigError> {
    let RawScrub { enabled, period: Time(period), bandwidth: Size(bandwidth) } = *raw;
    if period.is_zero() {
        return Err(field(
            "scrub.period",
            "0 is no time in which anything is read; write enabled: false for no scrub",
        ));
    }
    if bandwidth == 0 {
        return Err(field(
            "scrub.bandwidth",
            "0 bytes a second would read nothing; write enabled: false for no scrub",
        ));
    }
    Ok(enabled.then_some(Rules { period, bandwidth }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_on_unless_it_is_switched_off() {
        let read = |yaml: &str| check(&serde_yaml::from_str::<RawScrub>(yaml).unwrap());
        let rules = Rules { period: Duration::from_hours(336), bandwidth: 20 << 20 };
        assert_eq!(read("{}").unwrap(), Some(rules));
        let other = read("{period: 7d, bandwidth: 50Mi}").unwrap();
        assert_eq!(other, Some(Rules { period: Duration::from_hours(168), bandwidth: 50 << 20 }));
        assert_eq!(read("{enabled: false}").unwrap(), None);
        assert!(read("{period: 0s}").unwrap_err().to_string().starts_with("scrub.period: "));
        assert!(read("{bandwidth: 0}").unwrap_err().to_string().starts_with("scrub.bandwidth: "));
    }
}
