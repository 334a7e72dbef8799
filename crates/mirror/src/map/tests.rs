use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use granary_placement::{Mirror, MirrorState};
use http::{HeaderMap, StatusCode, header};

use super::*;

fn json(namespace: &str, epoch: u64, url: &str) -> Vec<u8> {
    let mirror = Mirror {
        url: Some(url.into()),
        state: MirrorState::Serving,
        ..Mirror::new("north-0".parse().unwrap(), "http://north-0:80")
    };
    let map = MirrorMap {
        epoch,
        namespace: namespace.into(),
        mirrors: vec![mirror],
        policies: vec![],
        table_hash: String::new(),
    };
    CompiledMap::build(map).unwrap().map().to_json()
}

fn follower(directory: &Path, url: Option<&str>) -> Follower {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let source = MapSource {
        url: url.map(|url| url.parse().unwrap()),
        file: Some(directory.join("file.json")),
        poll: Duration::from_secs(1),
    };
    Follower::open(
        source,
        directory.join("state/map.json"),
        WebClient::new(&granary_fetch::Limits::default()).unwrap(),
    )
}

fn epoch(follower: &Follower) -> Option<u64> {
    follower.current().borrow().as_deref().map(|map| map.map().epoch)
}

/// Writes as a mounted ConfigMap is written: another file takes the name.
fn write(directory: &Path, json: &[u8]) {
    std::fs::write(directory.join("new"), json).unwrap();
    std::fs::rename(directory.join("new"), directory.join("file.json")).unwrap();
}

#[tokio::test]
async fn the_highest_epoch_is_in_force_and_survives() {
    let temp = tempfile::tempdir().unwrap();
    let mut first = follower(temp.path(), None);
    first.look().await;
    assert_eq!((epoch(&first), first.troubles().as_str()), (None, ""), "no map is no trouble");
    assert!(first.doubt().borrow().is_some(), "but no instruction either");
    for (offered, expected) in [(3, 3), (2, 3), (5, 5)] {
        write(temp.path(), &json("granary", offered, "http://a"));
        first.look().await;
        assert_eq!(epoch(&first), Some(expected));
    }
    drop(first);
    write(temp.path(), &json("granary", 4, "http://a"));
    let mut second = follower(temp.path(), None);
    assert_eq!(epoch(&second), Some(5), "from the copy on disk");
    second.look().await;
    assert_eq!(epoch(&second), Some(5));
}

#[tokio::test]
async fn what_is_not_a_map_of_ours_is_not_taken() {
    let temp = tempfile::tempdir().unwrap();
    let mut follower = follower(temp.path(), None);
    write(temp.path(), &json("granary", 3, "http://a"));
    follower.look().await;
    let wrong_table = String::from_utf8(json("granary", 9, "http://a")).unwrap();
    let wrong_table = wrong_table.replace("\"tableHash\":\"", "\"tableHash\":\"0");
    for (offered, word) in [
        (json("granary", 3, "http://b"), "epoch 3"),
        (json("elsewhere", 9, "http://a"), "elsewhere"),
        (b"{}".to_vec(), "cannot be read"),
        (vec![b' '; granary_placement::map::MAX_MAP_BYTES + 1], "at most"),
        (wrong_table.into_bytes(), "table hash"),
    ] {
        write(temp.path(), &offered);
        follower.look().await;
        assert!(follower.troubles().contains(word), "{word}: {}", follower.troubles());
        assert_eq!(epoch(&follower), Some(3), "{word}");
    }
    write(temp.path(), &json("granary", 10, "http://a"));
    follower.look().await;
    assert_eq!((epoch(&follower), follower.troubles().as_str()), (Some(10), ""));
}

#[tokio::test]
async fn a_damaged_copy_is_not_the_end() {
    let temp = tempfile::tempdir().unwrap();
    disk::save(&temp.path().join("state/map.json"), b"damaged").unwrap();
    let mut follower = follower(temp.path(), None);
    assert_eq!(epoch(&follower), None);
    write(temp.path(), &json("granary", 1, "http://a"));
    follower.look().await;
    assert_eq!(epoch(&follower), Some(1));
    let kept = disk::load(&temp.path().join("state/map.json")).unwrap().unwrap();
    assert_eq!(MirrorMap::from_json(&kept).unwrap().epoch, 1);
}

/// The body to answer with, or none for a 503; and the statuses that were answered.
type Served = Arc<Mutex<(Option<Vec<u8>>, Vec<StatusCode>)>>;

async fn serve(State(served): State<Served>, headers: HeaderMap) -> Response {
    let mut served = served.lock().unwrap();
    let (status, answer) = match &served.0 {
        None => (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE.into_response()),
        Some(body) => {
            let tag = format!("\"{}\"", body.len());
            if headers.get(header::IF_NONE_MATCH).is_some_and(|have| *have == tag) {
                (StatusCode::NOT_MODIFIED, StatusCode::NOT_MODIFIED.into_response())
            } else {
                (StatusCode::OK, ([(header::ETAG, tag)], body.clone()).into_response())
            }
        }
    };
    served.1.push(status);
    answer
}

#[tokio::test]
async fn a_url_is_asked_with_its_tag_and_may_be_down() {
    let temp = tempfile::tempdir().unwrap();
    let served: Served = Arc::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/map/granary", listener.local_addr().unwrap());
    let router =
        Router::new().route("/v1/map/{namespace}", axum::routing::get(serve)).with_state(Arc::clone(&served));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let mut follower = follower(temp.path(), Some(&url));
    follower.look().await;
    assert!(follower.troubles().contains("503"), "{}", follower.troubles());
    assert!(follower.doubt().borrow().as_deref().unwrap().contains("503"));
    write(temp.path(), &json("granary", 6, "http://a"));
    follower.look().await;
    assert!(follower.doubt().borrow().is_some(), "the mounted file may be old");
    served.lock().unwrap().0 = Some(json("granary", 7, "http://a"));
    for _ in 0..2 {
        follower.look().await;
        assert_eq!((epoch(&follower), follower.troubles().as_str()), (Some(7), ""));
        assert_eq!(*follower.doubt().borrow(), None);
    }
    served.lock().unwrap().0 = None;
    follower.look().await;
    assert_eq!(epoch(&follower), Some(7), "what is in force stays");
    assert!(follower.doubt().borrow().is_some(), "but there may be a newer one");
    let statuses: Vec<u16> = served.lock().unwrap().1.iter().map(StatusCode::as_u16).collect();
    assert_eq!(statuses, [503, 503, 200, 304, 503]);
}
