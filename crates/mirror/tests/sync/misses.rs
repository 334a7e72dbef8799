//! NAR files without a stated FileHash, asked of places that tell the truth and of places that do not.

mod broken;
mod front;
mod silent;

use std::sync::Arc;

use axum::body::to_bytes;
use granary_fetch::access::{Access, Credentials};
use granary_fetch::{Expected, Fetcher, Limits, Source};
use granary_mirror::agent::misses::{Misses, Sources};
use granary_mirror::metrics::Metrics;
use granary_mirror::tree::CatalogEntry;
use granary_nix::{Compression, NarInfo, StorePath, served_nar_name};
use granary_placement::{CompiledMap, Mirror, MirrorMap, MirrorState, Partition, Policy};
use http::{HeaderMap, Method, StatusCode};

use super::common::{Cache, Reply, SILENCE, Upstream, source};

/// A mirror that holds nothing, a holder and an upstream.
struct Places {
    cache: Cache,
    path: StorePath,
    holder: Upstream,
    upstream: Upstream,
    misses: Misses,
    map: tokio::sync::watch::Sender<Option<Arc<CompiledMap>>>,
}

fn misses(map: granary_mirror::map::Current, upstreams: Vec<Source>, metrics: &Arc<Metrics>) -> Misses {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let limits = Limits { silence: SILENCE, ..Limits::default() };
    let sources = Sources::new("a-0".parse().unwrap(), map, upstreams, Fetcher::new(limits).unwrap());
    Misses::new(sources, Arc::clone(metrics))
}

fn one(map: granary_mirror::map::Current, upstream: Source) -> Misses {
    misses(map, vec![upstream], &Arc::new(Metrics::new().unwrap()))
}

fn map(holder: &str) -> CompiledMap {
    let mirror = |name: &str, url: &str| Mirror {
        state: MirrorState::Serving,
        ..Mirror::new(name.parse().unwrap(), url)
    };
    let names = ["a-0", "b-0"];
    let policy = Policy {
        name: "test".into(),
        mirrors: names.iter().map(|name| name.parse().unwrap()).collect(),
        target: 1,
        spread: vec![],
        store_paths: vec![],
        channels: vec![],
        retention: None,
    };
    CompiledMap::build(MirrorMap {
        epoch: 1,
        namespace: "granary".into(),
        mirrors: vec![mirror(names[0], "http://127.0.0.1:1"), mirror(names[1], holder)],
        policies: vec![policy],
        table_hash: String::new(),
    })
    .unwrap()
}

impl Places {
    async fn start() -> Self {
        Self::with(3000).await
    }

    /// The artifact has so many bytes.
    async fn with(size: usize) -> Self {
        let (holder, upstream) = (Upstream::start().await, Upstream::start().await);
        let map = map(holder.url());
        let mut cache = Cache::new("test-1");
        let name = (0..1000).map(|number| format!("p{number}")).find(|name| {
            let path = super::common::cache::store_path(name);
            let partition = Partition::of(path.hash_part().as_str()).unwrap();
            map.table("test").unwrap().holds("b-0", partition)
        });
        let path = cache.add_sized(&name.unwrap(), &[], size);
        let (keep, map) = tokio::sync::watch::channel(Some(Arc::new(map)));
        let misses = one(map, source(&upstream, &cache.keys(), 40));
        let places = Self { cache, path, holder, upstream, misses, map: keep };
        let (info, file) = places.truth();
        places.holder.set(&info.url, Reply::Bytes(file.clone()));
        places.upstream.set("files/1", Reply::Bytes(file));
        places.narinfo(&places.holder, &info);
        places.narinfo(&places.upstream, &bare(&info));
        places
    }

    /// Asks the upstream in another way from now on.
    fn ask_with(&mut self, access: Access) {
        let upstream = Source { access, ..source(&self.upstream, &self.cache.keys(), 40) };
        self.misses = one(self.map.subscribe(), upstream);
    }

    /// The narinfo as the holder has it, and the NAR file.
    fn truth(&self) -> (NarInfo, Vec<u8>) {
        let find = |artifact: &&super::common::cache::Artifact| artifact.info.store_path == self.path;
        let artifact = self.cache.artifacts.iter().find(find).unwrap().clone();
        (artifact.info, artifact.file)
    }

    fn narinfo(&self, at: &Upstream, info: &NarInfo) {
        at.set(&self.path.hash_part().narinfo_name(), Reply::Bytes(info.to_text().into_bytes()));
    }

    /// Asks as nginx does, by the NarHash. The body is given up to `Err` when it is cut.
    async fn ask(&self) -> (StatusCode, Result<Vec<u8>, ()>) {
        let (info, _) = self.truth();
        let known = CatalogEntry { hash_part: self.path.hash_part(), expected: Expected::from(&bare(&info)) };
        let name = served_nar_name(info.nar_hash, info.compression);
        let file = name.strip_prefix("nar/").unwrap();
        let answer = self.misses.answer(&Method::GET, &HeaderMap::new(), file, Some(known)).await;
        let (parts, body) = answer.into_parts();
        (parts.status, to_bytes(body, usize::MAX).await.map(Into::into).map_err(drop))
    }

    /// The NAR files that the upstream was asked for.
    fn upstream_nars(&self) -> usize {
        self.upstream.take_asked().iter().filter(|asked| asked.path == "files/1").count()
    }
}

/// As the upstream has it.
fn bare(info: &NarInfo) -> NarInfo {
    NarInfo { url: "files/1".into(), file_hash: None, file_size: None, ..info.clone() }
}

#[tokio::test]
async fn the_holder_says_what_the_file_is() {
    let places = Places::start().await;
    let (info, file) = places.truth();
    assert_eq!(places.ask().await, (StatusCode::OK, Ok(file)));
    let asked = places.holder.take_asked();
    let paths: Vec<_> = asked.iter().map(|asked| asked.path.clone()).collect();
    assert_eq!(paths, [info.store_path.hash_part().narinfo_name(), info.url]);
    assert!(asked.iter().all(|asked| asked.hop));
    assert_eq!(places.upstream.take_asked(), []);
}

#[tokio::test]
async fn a_holder_that_says_something_else_is_passed_over() {
    let places = Places::start().await;
    let (info, file) = places.truth();
    let signed = |info: NarInfo| {
        let sigs = vec![places.cache.key.sign(&info.fingerprint())];
        NarInfo { sigs, ..info }
    };
    let other = granary_nix::Hash::of(b"other");
    let lies = [
        ("unsigned", NarInfo { sigs: vec![], ..info.clone() }),
        ("forged", NarInfo { nar_hash: other, ..info.clone() }),
        ("another build", signed(NarInfo { nar_hash: other, ..info.clone() })),
        ("another compression", NarInfo { compression: Compression::Zstd, ..info.clone() }),
        ("not held there either", NarInfo { file_hash: None, file_size: None, ..info.clone() }),
        ("another file", NarInfo { file_hash: Some(other), ..info.clone() }),
        ("another length", NarInfo { file_size: Some(1), ..info.clone() }),
        ("a place elsewhere", NarInfo { url: "http://127.0.0.1:1/x".into(), ..info.clone() }),
    ];
    for (what, lie) in lies {
        places.narinfo(&places.holder, &lie);
        assert_eq!(places.ask().await, (StatusCode::OK, Ok(file.clone())), "{what}");
        assert_eq!(places.upstream_nars(), 1, "{what}");
    }
}

#[tokio::test]
async fn without_any_file_hash_the_nar_itself_is_checked_before_the_first_byte() {
    let places = Places::start().await;
    places.holder.set(&places.path.hash_part().narinfo_name(), Reply::Status(404));
    let (_, file) = places.truth();
    assert_eq!(places.ask().await, (StatusCode::OK, Ok(file.clone())));
    // Whole, well compressed, and another NAR.
    let other = super::common::cache::xz(&super::common::cache::nar(&[7; 3000]));
    let announced = Reply::Unannounced(file.clone());
    places.upstream.set("files/1", announced);
    assert_eq!(places.ask().await, (StatusCode::OK, Ok(file)), "of unknown length");
    places.upstream.set("files/1", Reply::Bytes(other));
    assert_eq!(places.ask().await.0, StatusCode::SERVICE_UNAVAILABLE);
    places.upstream.set("files/1", Reply::Endless);
    places.upstream_nars();
    assert_eq!(places.ask().await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(places.upstream_nars(), 0, "what gave wrong bytes is not asked again");
}

#[tokio::test]
async fn a_miss_is_asked_for_with_the_upstreams_credentials_and_at_its_rate() {
    let mut places = Places::start().await;
    places.holder.set(&places.path.hash_part().narinfo_name(), Reply::Status(404));
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("token");
    std::fs::write(&file, "t0ken").unwrap();
    let access =
        Access { credentials: Some(Credentials::Bearer(file)), bandwidth: Some(2000), ..Access::default() };
    places.ask_with(access);
    let (_, bytes) = places.truth();
    let start = std::time::Instant::now();
    assert_eq!(places.ask().await, (StatusCode::OK, Ok(bytes.clone())));
    let least = std::time::Duration::from_millis(bytes.len() as u64 / 2 - 200);
    assert!(start.elapsed() >= least, "{:?} for {} bytes", start.elapsed(), bytes.len());
    let asked = places.upstream.take_asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|asked| asked.authorization.as_deref() == Some("Bearer t0ken")), "{asked:?}");
}
