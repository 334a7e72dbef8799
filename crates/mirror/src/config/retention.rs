//! `retention`: how long things stay that nobody wants any more.

use serde::Deserialize;

use super::duration::Time;
use crate::retention::machine::Rules;

/// Any length is allowed, 0 too: it is the admin's disk. What a policy wants is not concerned.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawRetention {
    grace_after_unreferenced: Time,
    trash: Time,
}

impl From<RawRetention> for Rules {
    fn from(raw: RawRetention) -> Self {
        let RawRetention { grace_after_unreferenced: Time(grace), trash: Time(trash) } = raw;
        Self { grace, trash }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_periods_are_named() {
        let rules: Rules =
            serde_yaml::from_str::<RawRetention>("{graceAfterUnreferenced: 14d, trash: 7d}").unwrap().into();
        assert_eq!((rules.grace, rules.trash), (Duration::from_hours(336), Duration::from_hours(168)));
        for bad in ["{}", "{trash: 7d}", "{graceAfterUnreferenced: 14, trash: 7d}", "{grace: 1d, trash: 7d}"]
        {
            let error = serde_yaml::from_str::<RawRetention>(bad).unwrap_err().to_string();
            assert!(error.contains("graceAfterUnreferenced") || error.contains("14d"), "{bad}: {error}");
        }
    }
}
