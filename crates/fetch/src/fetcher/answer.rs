//! What an answer means.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use granary_nix::narinfo::MAX_TEXT;
use granary_placement::report::RefusalReason;
use reqwest::{StatusCode, header};

use super::ask::{Answer, Broken};
use super::is_absent;
use crate::watch::Outcome;
use crate::{Fault, rest};

/// Longest time that an attempt waits because the source asks for it. One that asks for more is left alone instead.
const PATIENCE: Duration = Duration::from_secs(10);

/// How one attempt failed.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It may go well the next time.
    Again {
        /// What went wrong.
        why: String,
        /// How long the source asks to wait, at most [`PATIENCE`].
        after: Option<Duration>,
    },
    /// It would fail again.
    Last(Fault),
}

/// The kinds of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The whole file follows.
    Whole,
    /// The part that was asked for follows.
    Part,
    /// There is no such file.
    Absent,
    /// The source cannot or will not answer.
    Failed {
        /// Whether it may the next time.
        again: bool,
    },
}

pub(super) fn classify(status: StatusCode) -> Class {
    match status {
        StatusCode::OK => Class::Whole,
        StatusCode::PARTIAL_CONTENT => Class::Part,
        status if is_absent(status) => Class::Absent,
        status => Class::Failed { again: may_come_right(status) },
    }
}

/// The same for who watches.
pub(super) fn outcome(status: StatusCode) -> Outcome {
    match classify(status) {
        Class::Whole | Class::Part => Outcome::Ok,
        Class::Absent => Outcome::Absent,
        Class::Failed { .. } => Outcome::Failed,
    }
}

fn may_come_right(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED
        | StatusCode::HTTP_VERSION_NOT_SUPPORTED
        | StatusCode::NETWORK_AUTHENTICATION_REQUIRED => false,
        status => status.is_server_error(),
    }
}

/// The failure that an answer of class [`Class::Failed`] is.
pub(super) fn failed(answer: &Answer, again: bool) -> Attempt {
    let why = why(answer.status());
    match (again, rest_of(answer)) {
        (false, _) => Attempt::Last(gave_up(&why)),
        (true, Some((_, words))) => Attempt::Last(gave_up(&words)),
        (true, None) => Attempt::Again { why, after: retry_after(answer) },
    }
}

/// For how long the source asks to be left alone, when that is longer than an attempt waits, and the words for it.
pub(super) fn rest_of(answer: &Answer) -> Option<(Duration, String)> {
    let status = answer.status();
    let time = retry_after(answer).filter(|time| *time > PATIENCE && may_come_right(status))?;
    Some((time, format!("{} and asks to be left alone for {} s", why(status), time.as_secs())))
}

fn why(status: StatusCode) -> String {
    format!("it answers {status}")
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = |name| answer.headers().get(name)?.to_str().ok();
    rest::retry_after(text(header::RETRY_AFTER)?, text(header::DATE), SystemTime::now())
}

/// The fault of a source that failed too often.
pub(super) fn gave_up(why: &str) -> Fault {
    Fault::new(RefusalReason::UpstreamUnreachable, why)
}

/// The fault of a source that says nothing.
pub(super) fn silent(time: Duration) -> Fault {
    let message = format!("it said nothing for {} s", time.as_secs_f64());
    Fault::new(RefusalReason::UpstreamUnreachable, message)
}

/// An error with its causes, and without the URL: the reader has it, unless it is one that a redirect led to, and then what
/// stands in it can be a secret.
pub(super) fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// Reads a body that must not be longer than a narinfo may be.
pub(super) async fn small_body(answer: Answer) -> Result<Vec<u8>, Attempt> {
    match answer.whole(MAX_TEXT).await {
        Ok(Some(body)) => Ok(body),
        Ok(None) => {
            let message = format!("the narinfo has more than {MAX_TEXT} bytes");
            Err(Attempt::Last(Fault::new(RefusalReason::BadNarinfo, message)))
        }
        Err(Broken::Cut(why)) => Err(Attempt::Again { why, after: None }),
        Err(Broken::Silent(fault) | Broken::Slow(fault)) => Err(Attempt::Last(fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16) -> Class {
        classify(StatusCode::from_u16(status).unwrap())
    }

    #[test]
    fn statuses_fall_into_classes() {
        assert_eq!(class(200), Class::Whole);
        assert_eq!(class(206), Class::Part);
        for absent in [403, 404, 410] {
            assert_eq!(class(absent), Class::Absent, "{absent}");
        }
        for again in [408, 429, 500, 502, 503, 504] {
            assert_eq!(class(again), Class::Failed { again: true }, "{again}");
        }
        for last in [202, 204, 304, 400, 401, 407, 418, 501, 505, 511] {
            assert_eq!(class(last), Class::Failed { again: false }, "{last}");
        }
    }
}
