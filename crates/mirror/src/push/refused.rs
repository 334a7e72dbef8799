//! Why a request is refused.
//!
//! Nix shows the body of an answer that has less than 1,024 bytes. It gives up at once for a 4xx, and tries five times for a
//! 5xx: so what will not change by itself is a 4xx.

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use granary_fetch::Fault;
use granary_placement::report::RefusalReason;
use http::{HeaderValue, Response, StatusCode, header};

/// How long the rest of a refused body is read, so that the answer gets through to a client that is still sending.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: Nix shows no longer one.
const MAX_TEXT: usize = 900;

/// The kinds of refusals, for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No token, or none that is known.
    Unauthorized,
    /// A path that nothing is pushed to.
    NotTaken,
    /// Over the quota, or too large.
    TooLarge,
    /// Other content stands under this name.
    Conflict,
    /// The artifact is not what it should be, or lacks something.
    Invalid,
    /// The body cannot be read.
    Body,
    /// Too many at once.
    Busy,
    /// The disk does not take it.
    Disk,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Unauthorized,
        Self::NotTaken,
        Self::TooLarge,
        Self::Conflict,
        Self::Invalid,
        Self::Body,
        Self::Busy,
        Self::Disk,
    ];

    /// The label of the metric.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::NotTaken => "not-taken",
            Self::TooLarge => "too-large",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Body => "body",
            Self::Busy => "busy",
            Self::Disk => "disk",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotTaken => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Body => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Disk => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// A refusal and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    reason: Reason,
    message: String,
    /// What is wrong with the artifact.
    fault: Option<Fault>,
}

impl Refused {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), fault: None }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(
            Reason::Unauthorized,
            "this mirror takes pushes with a token only: as the password for its host in your netrc file",
        )
    }

    pub(super) fn not_taken(path: &str) -> Self {
        let path: String = path.chars().filter(|c| !c.is_control()).take(200).collect();
        Self::new(
            Reason::NotTaken,
            format!("{path} cannot be pushed: only what a binary cache has of artifacts is taken"),
        )
    }

    /// A kind of file that this mirror does not keep.
    pub(super) fn not_kept(name: &str) -> Self {
        Self::new(
            Reason::NotTaken,
            format!("{name} cannot be pushed: this mirror's extras say that it keeps none"),
        )
    }

    /// A file beside something that is not here.
    pub(super) fn unowned(name: &str) -> Self {
        let message = format!("{name} belongs to nothing that is here; push that first");
        Self::new(Reason::Invalid, message)
    }

    pub(super) fn busy() -> Self {
        Self::new(Reason::Busy, "too many uploads at once; try again")
    }

    pub(super) fn disk(error: impl std::fmt::Display) -> Self {
        Self::new(Reason::Disk, format!("the mirror's disk does not take it: {error}"))
    }

    pub(super) const fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the same narinfo will be refused again, whatever else comes, so that its NAR file need not wait any longer.
    pub(super) fn is_final(&self) -> bool {
        let fault = self.fault.as_ref().map(|fault| fault.reason);
        let awaits = matches!(fault, Some(RefusalReason::MissingReference | RefusalReason::NotFound));
        !awaits && matches!(self.reason, Reason::Invalid | Reason::Conflict | Reason::TooLarge)
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// What is wrong with the artifact, if it is that.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// The answer. The rest of the request's body is read on for a while.
    pub(super) fn answer(self, body: Body) -> Response<Body> {
        let Self { reason, message, fault: _ } = self;
        let mut text: String = message.chars().filter(|c| !c.is_control()).collect();
        while text.len() > MAX_TEXT {
            text.pop();
        }
        text.push('\n');
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = reason.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match reason {
            Reason::Unauthorized => {
                let basic = HeaderValue::from_static("Basic realm=\"granary\", charset=\"UTF-8\"");
                headers.insert(header::WWW_AUTHENTICATE, basic);
            }
            Reason::NotTaken => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Reason::Busy => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        tokio::spawn(async move {
            let mut rest = body.into_data_stream();
            let all = async { while let Some(Ok(_)) = rest.next().await {} };
            // Whoever sends for longer than that has its answer.
            let _ = tokio::time::timeout(DRAIN, all).await;
        });
        response
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        if fault.reason == RefusalReason::Disk {
            return Self::disk(fault.message);
        }
        let message = format!("{}: {}", fault.reason, fault.message);
        Self { reason: Reason::Invalid, message, fault: Some(fault) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nix_shows_the_words_and_does_not_try_again_what_will_not_change() {
        let fault = Fault::new(RefusalReason::Unsigned, "x\n".repeat(2000));
        let refused = Refused::from(fault);
        assert_eq!(refused.fault().unwrap().reason, RefusalReason::Unsigned);
        let answer = refused.answer(Body::empty());
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let text = axum::body::to_bytes(answer.into_body(), 5000).await.unwrap();
        assert!(text.starts_with(b"unsigned: xx") && text.len() < 1024);
        for reason in Reason::ALL {
            let passes = matches!(reason, Reason::Busy | Reason::Disk);
            assert_eq!(reason.status().is_server_error(), passes, "{reason:?}");
        }
        assert!(Refused::disk("full").fault().is_none());
    }
}
