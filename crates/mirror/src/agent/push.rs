//! PUT requests, which nginx hands on when push is on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use http::{Method, Response};

use super::server::Shared;
use crate::push::Event;

/// Answers a PUT when push is on. Everything else, and everything when it is off, goes on as if this were not there.
pub(super) async fn put(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response<Body> {
    let Some(push) = shared.push.as_ref().filter(|_| request.method() == Method::PUT) else {
        return next.run(request).await;
    };
    let (answer, event) = push.put(request).await;
    match event {
        Event::Nothing => {}
        Event::Published { path: _, bytes } => shared.metrics.push.published(bytes),
        Event::Rejected(reason) => shared.metrics.push.refused(reason),
        Event::Refused { hash, refusal } => {
            shared.metrics.push.refused(crate::push::Reason::Invalid);
            shared.metrics.refusal(refusal.reason);
            shared.status.refused(&refusal);
            let tree = Arc::clone(&shared.tree);
            let record = move || tree.put_in_quarantine(&hash, &refusal);
            // Nobody waits for a record.
            tokio::task::spawn_blocking(move || {
                if let Err(error) = record() {
                    tracing::error!(%error, "cannot write the quarantine");
                }
            });
        }
    }
    answer
}
