//! What every replica answers: health, readiness, metrics, and the mirror map.

mod map;
mod readiness;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};

pub use readiness::Readiness;

use crate::{map::Maps, metrics::Metrics};

/// What the answers are made from.
#[derive(Clone)]
pub struct Served {
    /// The watched maps.
    pub maps: Arc<Maps>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What is waited for.
    pub readiness: Arc<Readiness>,
}

/// The routes. Anything else than GET and HEAD is answered with 405.
pub fn router(served: Served) -> Router {
    Router::new()
        // Alive is whoever can answer. A missing definition or an API server that is down is no reason to be restarted.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/map/{namespace}", get(map::get))
        .with_state(served)
}

async fn ready(State(served): State<Served>) -> Response {
    let waiting = served.readiness.waiting();
    if waiting.is_empty() {
        return "ok\n".into_response();
    }
    let list = format!("waiting for {}\n", waiting.join("\nwaiting for "));
    (StatusCode::SERVICE_UNAVAILABLE, list).into_response()
}

async fn metrics(State(served): State<Served>) -> Response {
    match served.metrics.text() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
