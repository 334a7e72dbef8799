//! `GET /v1/map/<namespace>`: the map as stored, with a strong validator, so that a mirror that asks every two seconds costs
//! next to nothing.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};

use super::Served;

pub(super) async fn get(
    State(served): State<Served>,
    Path(namespace): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(entry) = served.maps.entry(&namespace) else {
        return (StatusCode::NOT_FOUND, "this namespace has no mirror map\n").into_response();
    };
    // Mirrors must ask again each time: a map from a cache could hide a newer one.
    let validator = [(header::ETAG, entry.etag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|list| matches(list.as_bytes(), &entry.etag)) {
        return (StatusCode::NOT_MODIFIED, validator).into_response();
    }
    if let Err(error) = &entry.map {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("the stored map cannot be read: {error}\n"))
            .into_response();
    }
    (validator, [(header::CONTENT_TYPE, "application/json")], entry.text.clone()).into_response()
}

/// Whether an `If-None-Match` list has this validator. The comparison is the weak one, as RFC 9110 asks for here.
fn matches(list: &[u8], etag: &str) -> bool {
    let trimmed = |item: &[u8]| item.trim_ascii().to_vec();
    list.split(|byte| *byte == b',')
        .map(trimmed)
        .any(|item| item == b"*" || item.strip_prefix(b"W/").unwrap_or(&item) == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use granary_placement::{CompiledMap, MirrorMap};
    use k8s_openapi::api::core::v1::ConfigMap;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        http::{Readiness, router},
        map::{CONFIG_MAP, KEY, Maps},
        metrics::Metrics,
    };

    fn config_map(text: &str, version: &str) -> ConfigMap {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": CONFIG_MAP, "namespace": "ns", "uid": "u", "resourceVersion": version},
            "data": {KEY: text},
        }))
        .unwrap()
    }

    fn text(epoch: u64) -> String {
        let map = MirrorMap {
            epoch,
            namespace: "ns".into(),
            mirrors: vec![],
            policies: vec![],
            table_hash: String::new(),
        };
        String::from_utf8(CompiledMap::build(map).unwrap().map().to_json()).unwrap()
    }

    /// A server, and how to ask it: status, validator and text.
    struct Server {
        served: Served,
        url: String,
        client: reqwest::Client,
    }

    impl Server {
        async fn start() -> Self {
            // Idempotent: other tests of this process may have been first.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let served = Served {
                maps: Arc::new(Maps::default()),
                metrics: Arc::new(Metrics::new().unwrap()),
                readiness: Arc::new(Readiness::default()),
            };
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let routes = router(served.clone());
            tokio::spawn(async { axum::serve(listener, routes).await });
            Self { served, url, client: reqwest::Client::builder().no_proxy().build().unwrap() }
        }

        async fn get(&self, path: &str, if_none_match: Option<&str>) -> (u16, Option<String>, String) {
            let request = self.client.get(format!("{}{path}", self.url));
            let request = match if_none_match {
                Some(list) => request.header(header::IF_NONE_MATCH, list),
                None => request,
            };
            let answer = request.send().await.unwrap();
            let etag = answer.headers().get(header::ETAG).map(|etag| etag.to_str().unwrap().to_owned());
            (answer.status().as_u16(), etag, answer.text().await.unwrap())
        }
    }

    #[tokio::test]
    async fn a_map_is_sent_once_and_then_only_when_it_has_changed() {
        let server = Server::start().await;
        assert_eq!(server.get("/v1/map/ns", None).await.0, 404);
        server.served.maps.put(&config_map(&text(1), "10"), Instant::now());
        let (status, etag, body) = server.get("/v1/map/ns", None).await;
        let etag = etag.unwrap();
        assert_eq!((status, body), (200, text(1)));
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag} is not a strong validator");
        for list in [etag.clone(), format!("\"x\", {etag}"), format!("W/{etag}"), "*".into()] {
            let answer = server.get("/v1/map/ns", Some(&list)).await;
            assert_eq!(answer, (304, Some(etag.clone()), String::new()), "{list}");
        }
        server.served.maps.put(&config_map(&text(2), "11"), Instant::now());
        let (status, newer, body) = server.get("/v1/map/ns", Some(&etag)).await;
        assert_eq!((status, body), (200, text(2)));
        assert_ne!(newer.unwrap(), etag);
    }

    #[tokio::test]
    async fn a_map_that_cannot_be_read_is_not_handed_on() {
        let server = Server::start().await;
        server.served.maps.put(&config_map("{", "10"), Instant::now());
        let (status, _, body) = server.get("/v1/map/ns", None).await;
        assert_eq!(status, 503);
        assert!(body.contains("cannot be read"));
    }

    #[tokio::test]
    async fn readiness_lists_what_is_waited_for_and_health_does_not_care() {
        let server = Server::start().await;
        assert_eq!(server.get("/readyz", None).await.0, 200);
        server.served.readiness.set("the definition of CacheMirror", true);
        let (status, _, body) = server.get("/readyz", None).await;
        assert_eq!((status, body.as_str()), (503, "waiting for the definition of CacheMirror\n"));
        assert_eq!(server.get("/healthz", None).await.0, 200);
        assert!(server.get("/metrics", None).await.2.contains("granary_operator_leader 0"));
        server.served.readiness.set("the definition of CacheMirror", false);
        assert_eq!(server.get("/readyz", None).await.0, 200);
    }
}
