//! The status page over HTTP. nginx passes it on at `/`, to browsers, and at `/granary/v1/status`, to everybody.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use granary_placement::CompiledMap;
use granary_placement::MirrorName;
use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;

use super::page::{self, Neighbour, Page};
use super::server::Shared;
use crate::config::Config;
use crate::front::safe_url;

/// The address by which the client reached nginx.
const ORIGIN: HeaderName = HeaderName::from_static("granary-origin");
/// Most bytes of that: a longest host name with scheme and port.
const MAX_ORIGIN: usize = 300;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/granary/v1/status", get(status))
}

async fn status(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let trouble = shared.not_ready().await;
    let disk = shared.probe.disk().await;
    let Shared { config, map, status, .. } = &*shared;
    let page = Page {
        now: Timestamp::now(),
        report: shared.report(),
        trouble,
        since: disk.since,
        disk: disk.room,
        activity: status.activity(),
        address: address(config, &headers),
        keys: keys(config),
        mirrors: map.borrow().as_deref().map(|map| neighbours(map, &config.name)).unwrap_or_default(),
        agent_port: config.agent.port(),
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, page::content_security_policy()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".into()),
        (header::REFERRER_POLICY, "no-referrer".into()),
        (header::CACHE_CONTROL, "no-store".into()),
    ];
    (headers, Html(page::render(&page))).into_response()
}

/// The mirror's public address, or else the one that the client itself came by.
fn address(config: &Config, headers: &HeaderMap) -> String {
    if let Some(url) = &config.url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let origin = origin.filter(|origin| origin.len() <= MAX_ORIGIN && safe_url(origin));
    let scheme = if config.http.is_some() { "http" } else { "https" };
    origin.map_or_else(|| format!("{scheme}://<this machine>:{}", config.front().port()), str::to_owned)
}

/// The keys of everything that may be here, each once.
fn keys(config: &Config) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for key in config.trust().rules().iter().flat_map(|rule| rule.keys.as_slice()) {
        let key = key.to_string();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn neighbours(map: &CompiledMap, own: &MirrorName) -> Vec<Neighbour> {
    let others = map.map().mirrors.iter().filter(|mirror| mirror.name != *own);
    let neighbour = |mirror: &granary_placement::Mirror| Neighbour {
        name: mirror.name.to_string(),
        zone: mirror.zone.clone(),
        url: mirror.url.clone(),
        state: mirror.state,
    };
    others.map(neighbour).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";

    fn config(more: &str) -> Config {
        Config::parse(&format!(
            "directory: /srv/granary\nupstreams: [{{url: 'https://a', publicKeys: ['{KEY}']}}, {{url: 'https://b', publicKeys: ['{KEY}']}}]\n\
             storePaths: [/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0]\n{more}\n"
        ))
        .unwrap()
    }

    fn came_by(origin: &str) -> HeaderMap {
        HeaderMap::from_iter([(ORIGIN, origin.parse().unwrap())])
    }

    #[test]
    fn the_address_is_the_public_one_or_the_one_that_the_client_came_by() {
        let public = config("url: https://cache.example.edu/");
        assert_eq!(address(&public, &came_by("http://elsewhere")), "https://cache.example.edu");
        let config = config("");
        assert_eq!(address(&config, &came_by("http://10.0.0.1:8080")), "http://10.0.0.1:8080");
        for bad in [
            "http://a\"; import x",
            "http://",
            "javascript:x",
            "http://a b",
            &format!("http://{}", "a".repeat(400)),
        ] {
            assert_eq!(address(&config, &came_by(bad)), "http://<this machine>:8080", "{bad}");
        }
        assert_eq!(address(&config, &HeaderMap::new()), "http://<this machine>:8080");
    }

    #[test]
    fn a_key_of_two_upstreams_is_named_once() {
        assert_eq!(keys(&config("")), [KEY]);
    }
}
