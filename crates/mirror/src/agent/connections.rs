//! The connections to the agent's port, each of which keeps little in memory.
//!
//! hyper keeps up to 400 KiB of an answer that its client does not take yet, and reads as much of a body at once, and
//! `axum::serve` does not let that be changed. nginx opens one connection for each client whose NAR is relayed.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

/// Bytes of a request or of an answer that a connection keeps, at most, besides the piece that is being written. A
/// request's head fits: nginx takes at most 32 KiB from a client.
const BUFFER: usize = 64 << 10;

/// How long a request's head may take to come, and so how long a connection may be idle: longer than nginx keeps one, so that
/// nginx does not send a request while it is closed.
const HEAD: Duration = Duration::from_mins(2);

/// Answers with `router` until `stop`, and then lets answers that have begun end. Each request has its peer's address as
/// [`ConnectInfo`].
pub(super) async fn serve(mut listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let mut http = Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
    let open = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer): (_, SocketAddr) = tokio::select! {
            // Waits a moment when there is no room for another one.
            accepted = Listener::accept(&mut listener) => accepted,
            () = &mut stop => break,
        };
        let answers = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            answers.call(request)
        });
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a connection to the agent broke");
            }
        });
    }
    drop(listener);
    open.shutdown().await;
}
