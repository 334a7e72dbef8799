//! Mirrors that could wait on each other: one that says nothing, and one that asks.

use std::time::{Duration, Instant};

use axum::body::to_bytes;
use futures::future::join_all;
use granary_fetch::Expected;
use granary_mirror::agent::misses::HOP;
use granary_mirror::tree::CatalogEntry;
use granary_nix::{NarInfo, served_nar_name};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::super::common::{Reply, SILENCE};
use super::{Places, bare};

/// Clients at once.
const CLIENTS: usize = 10;
/// Much longer than anything here takes. Without a bound it would be waited for ever.
const LONGEST: Duration = Duration::from_mins(2);

/// Asks for the NAR file, of which the upstream says `known`.
async fn ask(places: &Places, known: &NarInfo, headers: &HeaderMap) -> (StatusCode, Vec<u8>) {
    let entry = CatalogEntry { hash_part: places.path.hash_part(), expected: Expected::from(known) };
    let name = served_nar_name(known.file_hash.unwrap_or(known.nar_hash), known.compression);
    let file = name.strip_prefix("nar/").unwrap();
    let answer = places.misses.answer(&Method::GET, headers, file, Some(entry)).await;
    let (parts, body) = answer.into_parts();
    (parts.status, to_bytes(body, usize::MAX).await.unwrap().into())
}

#[tokio::test]
async fn a_mirror_that_says_nothing_is_passed_over_for_an_upstream() {
    // What it is asked for first: the file, or, where only a mirror knows the FileHash, its narinfo.
    for stated in [true, false] {
        let places = Places::start().await;
        let (info, file) = places.truth();
        let narinfo = places.path.hash_part().narinfo_name();
        let known = if stated { NarInfo { url: "files/1".into(), ..info.clone() } } else { bare(&info) };
        places.narinfo(&places.upstream, &known);
        let first = if stated { info.url } else { narinfo };
        places.holder.set(&first, Reply::Silent);
        let (none, start) = (HeaderMap::new(), Instant::now());
        let clients = join_all((0..CLIENTS).map(|_| ask(&places, &known, &none)));
        let answers = tokio::time::timeout(LONGEST, clients).await.expect("nobody waits for ever");
        assert!(answers.iter().all(|answer| *answer == (StatusCode::OK, file.clone())), "{stated}");
        assert!(start.elapsed() >= SILENCE, "{:?}", start.elapsed());
        let asked = places.holder.take_asked();
        assert!(asked.len() == CLIENTS && asked.iter().all(|asked| asked.path == first), "{asked:?}");
        assert_eq!(places.upstream_nars(), CLIENTS);
        // The next one does not even ask it.
        assert_eq!(ask(&places, &known, &none).await, (StatusCode::OK, file));
        assert_eq!(places.holder.take_asked(), [], "{stated}");
    }
}

#[tokio::test]
async fn what_a_mirror_is_asked_for_by_a_mirror_it_asks_nobody_for() {
    let places = Places::start().await;
    let (info, _) = places.truth();
    let marked: HeaderMap = [(HOP, HeaderValue::from_static("1"))].into_iter().collect();
    for known in [info.clone(), bare(&info)] {
        assert_eq!(ask(&places, &known, &marked).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!((places.holder.take_asked(), places.upstream.take_asked()), (vec![], vec![]));
}
