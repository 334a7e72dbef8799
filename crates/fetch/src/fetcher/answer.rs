//! What an answer means.

use std::error::Error as _;
use std::time::{Duration, Instant};

use granary_nix::narinfo::MAX_TEXT;
use granary_placement::report::RefusalReason;
use reqwest::{Response, StatusCode, header};

use super::is_absent;
use super::pace::Pace;
use crate::watch::Outcome;
use crate::{Fault, Limits};

/// How one attempt failed.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It may go well the next time.
    Again {
        /// What went wrong.
        why: String,
        /// How long the source asks to wait.
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

pub(super) fn classify(response: &Response) -> Class {
    match response.status() {
        StatusCode::OK => Class::Whole,
        StatusCode::PARTIAL_CONTENT => Class::Part,
        status if is_absent(status) => Class::Absent,
        status => Class::Failed { again: may_come_right(status) },
    }
}

/// The same for who watches.
pub(super) fn outcome(response: &Response) -> Outcome {
    match classify(response) {
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
pub(super) fn failed(response: &Response, again: bool) -> Attempt {
    let why = format!("it answers {}", response.status());
    if again {
        Attempt::Again { why, after: retry_after(response) }
    } else {
        Attempt::Last(Fault::new(RefusalReason::UpstreamUnreachable, why))
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
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

/// An error with its causes. `reqwest` tells the URL, which the reader has, and leaves the cause to its source.
pub(super) fn words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// Reads a body that must not be longer than a narinfo may be.
pub(super) async fn small_body(mut response: Response, limits: &Limits) -> Result<Vec<u8>, Attempt> {
    let (silence, mut pace) = (limits.silence, Pace::new(limits));
    let too_long = || {
        let message = format!("the narinfo has more than {MAX_TEXT} bytes");
        Attempt::Last(Fault::new(RefusalReason::BadNarinfo, message))
    };
    if response.content_length().is_some_and(|length| length > MAX_TEXT as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    loop {
        let asked = Instant::now();
        match tokio::time::timeout(silence, response.chunk()).await {
            Ok(Ok(Some(chunk))) if body.len() + chunk.len() > MAX_TEXT => return Err(too_long()),
            Ok(Ok(Some(chunk))) => {
                pace.received(chunk.len(), asked.elapsed())?;
                body.extend_from_slice(&chunk);
            }
            Ok(Ok(None)) => return Ok(body),
            Ok(Err(error)) => return Err(Attempt::Again { why: words(&error), after: None }),
            Err(_) => return Err(Attempt::Last(silent(silence))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16) -> Class {
        classify(&http::Response::builder().status(status).body("").unwrap().into())
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
