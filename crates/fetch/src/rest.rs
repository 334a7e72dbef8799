//! How long a source asks not to be asked: `Retry-After`, in either of its forms.

use std::time::{Duration, Instant, SystemTime};

/// Longest rest that is given, however long is asked for: a mistake at a source must not keep it away for days.
const LONGEST: Duration = Duration::from_hours(1);

/// Reads a `Retry-After`: seconds, or a date. How far away that is says the answer's own `Date`, which is of the same clock;
/// without one, `now`, the time here. At most an hour; `None` for what is neither.
#[must_use]
pub fn retry_after(value: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than fits is more than is given.
        value.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        // A date that has passed asks for nothing.
        let from = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
        httpdate::parse_http_date(value).ok()?.duration_since(from).unwrap_or_default()
    };
    Some(wait.min(LONGEST))
}

/// Until when a source is left alone because it asked for that, and its words. No success ends it: what was on its way
/// when it asked says nothing about what it can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    until: Instant,
    words: String,
}

impl Rest {
    /// It asked for so long, from `now` on.
    #[must_use]
    pub fn new(now: Instant, time: Duration, words: String) -> Self {
        Self { until: now + time.min(LONGEST), words }
    }

    /// The one of the two that is longer.
    #[must_use]
    pub fn longer(self, other: Self) -> Self {
        if self.until < other.until { other } else { self }
    }

    /// How much longer, and with which words it asked; `None` when it is over.
    #[must_use]
    pub fn active(&self, now: Instant) -> Option<(Duration, &str)> {
        let left = self.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some((left, &self.words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_bounded() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let read = |value: &str| retry_after(value, None, now).map(|wait| wait.as_secs());
        assert_eq!(read("2"), Some(2));
        assert_eq!(read(" 120 "), Some(120));
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("86400"), Some(3600));
        assert_eq!(read("99999999999999999999999999"), Some(3600));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(read("Sunday, 06-Nov-94 08:50:37 GMT"), Some(60), "the old form of a date");
        assert_eq!(read("Sun Nov  6 08:50:37 1994"), Some(60), "the oldest");
        assert_eq!(read("Sun, 06 Nov 1994 08:49:07 GMT"), Some(0), "it has passed");
        assert_eq!(read("Fri, 31 Dec 9999 23:59:59 GMT"), Some(3600));
        for neither in ["", "soon", "-1", "1.5", "2 s", "Sun, 06 Nov 1994 08:50:37"] {
            assert_eq!(read(neither), None, "{neither:?}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_here_makes_no_rest_longer_or_shorter() {
        let date = |text| httpdate::parse_http_date(text).unwrap();
        let right = "Sun, 06 Nov 1994 08:49:37 GMT";
        let year = Duration::from_hours(365 * 24);
        for now in [date(right), date(right) + year, date(right) - year, SystemTime::UNIX_EPOCH] {
            let read = |value, sent| retry_after(value, sent, now).map(|wait| wait.as_secs());
            assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT", Some(right)), Some(60));
            assert_eq!(read("Sun, 06 Nov 1994 08:48:37 GMT", Some(right)), Some(0));
            assert_eq!(read("7", Some(right)), Some(7));
            let longest = Some(3600);
            assert!(read("Sun, 06 Nov 1994 08:50:37 GMT", Some("soon")) <= longest, "by the time here");
            assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT", Some("Thu, 01 Jan 1970 00:00:00 GMT")), longest);
        }
    }

    #[test]
    fn a_rest_lasts_as_long_as_was_asked_for_and_no_longer_than_an_hour() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let rest = |seconds| Rest::new(now, Duration::from_secs(seconds), format!("{seconds}"));
        let minute = rest(60);
        assert_eq!(minute.active(after(10)), Some((Duration::from_secs(50), "60")));
        assert_eq!(minute.active(after(60)), None);
        assert_eq!(rest(1_000_000).active(now), Some((LONGEST, "1000000")));
        assert_eq!(minute.clone().longer(rest(20)), minute, "a shorter one does not shorten it");
        assert_eq!(rest(20).longer(minute.clone()), minute);
    }
}
