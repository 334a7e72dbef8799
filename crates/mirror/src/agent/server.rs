//! The agent's own HTTP: report, health, metrics, and misses for nginx.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Json};
use axum::routing::get;
use granary_placement::report::{ChannelReport, MAX_REFUSED, Report};
use http::{Method, Response, StatusCode, header};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connections;
use super::extras::Extras;
use super::heart::Heart;
use super::misses::{HOP, Misses, unavailable};
use super::page::Room;
use super::probe::Probe;
use super::status::Status;
use super::status_page;
use crate::channels::{Channels, Followed};
use crate::config::Config;
use crate::map::Current;
use crate::metrics::Metrics;
use crate::push::Push;
use crate::refusals::Refusals;
use crate::through::Through;
use crate::tree::Tree;

/// What is told of a narinfo of which nothing is known yet. A 5xx would fail the whole build of a Nix before 2.32.
const NOT_KNOWN: &str = "the directory is being read, and no upstream is asked yet\n";

/// What the handlers need.
#[derive(Debug)]
pub(super) struct Shared {
    pub config: Arc<Config>,
    pub map: Current,
    pub heart: Arc<Heart>,
    pub probe: Probe,
    pub status: Arc<Status>,
    pub tree: Arc<Tree>,
    pub misses: Misses,
    /// The channels that are followed.
    pub channels: Arc<Channels>,
    /// The channels that the map's policies name.
    pub followed: Arc<Followed>,
    /// Pull-through, when it is on.
    pub through: Option<Through>,
    pub extras: Arc<Extras>,
    /// Whether a map says which mirror holds what is wanted.
    pub placed: bool,
    pub metrics: Arc<Metrics>,
    pub push: Option<Arc<Push>>,
    pub refusals: Arc<Refusals>,
}

impl Shared {
    pub(super) fn report(&self) -> Report {
        let (refused, refused_total) = self.refusals.newest(MAX_REFUSED);
        let report = self.status.report(self.tree.id(), self.tree.totals());
        Report { refused, refused_total, channels: self.channels(), ..report }
    }

    fn channels(&self) -> Vec<ChannelReport> {
        let (now, every) = (Timestamp::now(), super::look_every(&self.config));
        let mut channels = self.channels.reports(now, every);
        channels.extend(self.followed.reports(now, every));
        channels
    }

    /// Why the mirror should not get requests now.
    pub(super) async fn not_ready(&self) -> Option<String> {
        match self.status.not_ready() {
            Some(trouble) => Some(trouble),
            None => self.probe.trouble().await,
        }
    }
}

/// Answers until `stop`, and then lets answers that have begun end.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    connections::serve(listener, router(shared), stop.cancelled_owned()).await;
}

/// Answers on this listener's port while the directory is read, until what is returned is dropped: that the process is
/// alive, and that everything else has to wait.
pub(super) fn while_opening(listener: &TcpListener) -> std::io::Result<DropGuard> {
    // Both take from one queue, so that no connection is lost in between.
    let same = std::os::fd::AsFd::as_fd(listener).try_clone_to_owned()?;
    let listener = TcpListener::from_std(std::net::TcpListener::from(same))?;
    let opened = CancellationToken::new();
    let router = Router::new()
        .route("/healthz", get(async || "ok: the directory is being read\n"))
        // As nginx says of an agent that is away.
        .route("/granary/v1/narinfo/{hash}", get(async || (StatusCode::NOT_FOUND, NOT_KNOWN)))
        .fallback(async || unavailable("the directory is being read; try again\n"));
    tokio::spawn(connections::serve(listener, router, opened.clone().cancelled_owned()));
    Ok(opened.drop_guard())
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/granary/v1/report", get(report))
        .route("/granary/v1/channels", get(channels))
        .route("/nar/{file}", get(miss))
        .merge(status_page::routes())
        .merge(super::through::routes())
        .merge(super::extras::routes())
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), super::push::put))
        .with_state(shared)
}

/// Whether the agent makes progress. Kubernetes restarts the agent's container when it does not.
async fn alive(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.heart.stuck(Instant::now()) {
        None => (StatusCode::OK, "ok\n".into()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: {reason}\n")),
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.not_ready().await {
        None => (StatusCode::OK, "ready\n".into()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

async fn report(State(shared): State<Arc<Shared>>) -> Response<Body> {
    Json(shared.report()).into_response()
}

/// For people and scripts.
async fn channels(State(shared): State<Arc<Shared>>) -> Response<Body> {
    Json(shared.channels()).into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let (disk, connections) = tokio::join!(shared.probe.disk(), shared.probe.connections());
    let (report, activity, now) = (shared.report(), shared.status.activity(), Timestamp::now());
    let lags = report.policies.iter().map(|policy| (policy.name.as_str(), activity.lag(&policy.name, now)));
    shared.metrics.set_report(&report);
    shared.metrics.set_progress(activity.queue, lags);
    shared.metrics.machine.front(connections);
    shared.metrics.machine.uptime(shared.heart.uptime(Instant::now()).as_secs());
    if let Some(Room { free, size }) = disk.room {
        shared.metrics.machine.disk(free, size);
    }
    match shared.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn miss(
    State(shared): State<Arc<Shared>>,
    Path(file): Path<String>,
    request: Request,
) -> Response<Body> {
    let known = match &shared.through {
        Some(through) => through.find_nar(&file),
        None => shared.tree.find_nar(&file),
    };
    if let Some(held) = known.and_then(|known| shared.tree.successor(&file, &known)) {
        // The client read the narinfo before the artifact was held here, and has the NAR's name by its NarHash; or while the
        // NAR was here in another file, which rotted or left.
        return (StatusCode::FOUND, [(header::LOCATION, held)]).into_response();
    }
    if let (Some(through), Some(known)) = (&shared.through, known)
        && request.method() == Method::GET
        && !request.headers().contains_key(HOP)
        // What the placement gives to another mirror is not kept here.
        && !(shared.placed && through.may_want(&known.hash_part))
        && let Some(answer) = super::through::nar(through, &file, known, request.headers()).await
    {
        return answer;
    }
    shared.misses.answer(request.method(), request.headers(), &file, known).await
}
