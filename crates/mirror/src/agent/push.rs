//! PUT requests, which nginx hands on when push is on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use http::{Method, Response, StatusCode};

use super::misses::plain;
use super::server::Shared;
use crate::push::Event;

/// What another machine is told.
const NOT_HERE: &str = "pushes are taken where the cache is served, and not on the agent's port\n";

/// Answers a PUT when push is on. Everything else, and everything when it is off, goes on as if this were not there.
pub(super) async fn put(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let Some(push) = shared.push.as_ref().filter(|_| request.method() == Method::PUT) else {
        return next.run(request).await;
    };
    if !is_own(peer.ip(), shared.config.agent.ip()) {
        return plain(StatusCode::FORBIDDEN, NOT_HERE);
    }
    let (answer, event) = push.put(request).await;
    match event {
        Event::Nothing => {}
        Event::Published { bytes } => shared.metrics.push.published(bytes),
        Event::Refused(reason) => shared.metrics.push.refused(reason),
    }
    answer
}

/// Whether that is this machine, where nginx is. The agent speaks no TLS, and a token that came here from another one could
/// be read on the way.
fn is_own(peer: IpAddr, agent: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || peer == agent.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_pushes_to_the_agent() {
        let own = |peer: &str, agent: &str| is_own(peer.parse().unwrap(), agent.parse().unwrap());
        assert!(own("127.0.0.1", "0.0.0.0") && own("::1", "::") && own("::ffff:127.0.0.1", "::"));
        assert!(own("10.0.0.1", "10.0.0.1"), "where nginx asks it");
        assert!(!own("10.0.0.2", "0.0.0.0") && !own("10.0.0.2", "10.0.0.1") && !own("fe80::1", "::"));
    }
}
