//! A large NAR file at two upstreams, and a client that asks a mirror for it over a socket.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use granary_fetch::Expected;
use granary_mirror::agent::misses::Misses;
use granary_mirror::metrics::Metrics;
use granary_mirror::tree::CatalogEntry;
use granary_nix::{NarInfo, StorePath};
use http::Response;
use tokio::task::JoinHandle;

use super::super::common::{Cache, Reply, Upstream, source};

/// Above what is checked before its first byte is passed on.
pub(super) const LARGE: usize = 3 << 20;

/// A mirror with two upstreams.
pub(super) struct Scene {
    pub(super) first: Upstream,
    pub(super) second: Upstream,
    /// The NAR file, as both have it.
    pub(super) file: Vec<u8>,
    metrics: Arc<Metrics>,
    url: String,
    server: JoinHandle<()>,
}

/// What a client gets.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) content_range: Option<String>,
    /// `None` when it is cut.
    pub(super) body: Option<Vec<u8>>,
}

struct Mirror {
    misses: Misses,
    known: CatalogEntry,
}

impl Scene {
    /// `stated`: the upstreams' narinfos have FileHash and FileSize.
    pub(super) async fn new(stated: bool) -> Self {
        let mut cache = Cache::new("test-1");
        let path: StorePath = cache.add_sized("large", &[], LARGE);
        let artifact = cache.get(&path);
        artifact.info.url = "files/1".into();
        if !stated {
            artifact.info = NarInfo { file_hash: None, file_size: None, ..artifact.info.clone() };
        }
        let (file, expected) = (artifact.file.clone(), Expected::from(&artifact.info));
        let known = CatalogEntry { hash_part: path.hash_part(), expected };
        let (first, second) = (Upstream::of(&cache).await, Upstream::of(&cache).await);
        let metrics = Arc::new(Metrics::new().unwrap());
        let sources = [&first, &second].map(|upstream| source(upstream, &cache.keys(), 40));
        let (_, map) = tokio::sync::watch::channel(None);
        let misses = super::misses(map, sources.into(), &metrics);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/nar/large", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(Arc::new(Mirror { misses, known }));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { first, second, file, metrics, url, server }
    }

    /// How one of the upstreams answers for the file from now on.
    pub(super) fn set(upstream: &Upstream, reply: Reply) {
        upstream.set("files/1", reply);
    }

    /// The first upstream breaks off once, after so many bytes, and is not to be had again.
    pub(super) fn breaks_off(&self, after: usize) {
        let cut = Reply::Cut { bytes: self.file.clone(), after };
        Self::set(&self.first, Reply::Then(vec![cut], Box::new(Reply::Status(503))));
    }

    pub(super) async fn get(&self, range: Option<&str>) -> Got {
        let mut request = reqwest::Client::new().get(&self.url);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let answer = request.send().await.unwrap();
        let content_range =
            answer.headers().get("content-range").map(|value| value.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        Got { status, content_range, body: answer.bytes().await.ok().map(Into::into) }
    }

    /// The ranges for which an upstream was asked, of the NAR file.
    pub(super) fn ranges(upstream: &Upstream) -> Vec<Option<String>> {
        let asked = upstream.take_asked().into_iter();
        asked.filter(|asked| asked.path == "files/1").map(|asked| asked.range).collect()
    }

    /// How many bodies went on, and how many were cut.
    pub(super) fn counts(&self) -> (u64, u64) {
        let text = self.metrics.text().unwrap();
        let count = |result: &str| {
            let start = format!("granary_mirror_misses_total{{result=\"{result}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
        };
        (count("gone-on"), count("cut"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(mirror): State<Arc<Mirror>>, request: Request) -> Response<Body> {
    mirror.misses.answer(request.method(), request.headers(), "large", Some(mirror.known)).await
}
