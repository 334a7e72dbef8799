//! A narinfo that is pushed: what becomes of it, and who is told.

use std::time::{Duration, Instant};

use axum::body::Body;
use granary_fetch::Fault;
use granary_nix::{HashPart, NarInfo};
use granary_placement::report::Refusal;
use http::{Response, StatusCode};

use super::admit::Admitted;
use super::refused::Refused;
use super::{Event, Push, empty};
use crate::journal;
use crate::refusals::Origin;

impl Push {
    /// Answers one.
    pub(super) async fn narinfo(&self, who: &str, hash: HashPart, text: &[u8]) -> (Response<Body>, Event) {
        let began = Instant::now();
        let admitted = self.admit(who, hash, text).await;
        // A narinfo that was sent under another's name says nothing about the files that it names.
        let pushed = NarInfo::parse(text).ok().filter(|info| info.store_path.hash_part() == hash);
        if let (Ok(_), Some(pushed)) = (&admitted, &pushed) {
            self.attach(who, pushed).await;
        }
        match admitted {
            Ok(Admitted::Published { path, bytes }) => {
                journal::published(&path, bytes, &source(who), began.elapsed());
                (empty(StatusCode::CREATED), Event::Published { bytes })
            }
            Ok(Admitted::Known) => (empty(StatusCode::OK), Event::Nothing),
            Err(refused) => {
                self.tell(hash, pushed.as_ref(), &refused, who, began.elapsed());
                if let Some(pushed) = pushed.filter(|_| refused.is_final()) {
                    self.detach(&pushed);
                    if let Some(name) = pushed.url.strip_prefix("nar/") {
                        self.incoming.discard(name);
                    }
                }
                let event = Event::Refused(refused.reason());
                (refused.answer(Body::empty()), event)
            }
        }
    }

    /// An artifact is refused, of which this narinfo was pushed, if it could be read.
    fn tell(&self, hash: HashPart, pushed: Option<&NarInfo>, refused: &Refused, who: &str, took: Duration) {
        let path = pushed.map_or_else(|| hash.to_string(), |info| info.store_path.to_string());
        if let Some(Fault { reason, message }) = refused.fault() {
            let (reason, message) = (*reason, message.clone());
            let refusal = Refusal { store_path: path, reason, message, source: source(who) };
            self.refusals.refuse(Origin::Push, hash, refusal, took);
        } else {
            let reason = refused.reason().label();
            journal::refused(path, reason, refused.message(), &source(who), took, false);
        }
    }
}

/// Where what a client pushed comes from.
fn source(who: &str) -> String {
    format!("push by {who}")
}
