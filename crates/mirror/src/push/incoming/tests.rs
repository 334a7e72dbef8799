use std::fs::File;
use std::time::SystemTime;

use axum::body::Body;

use super::*;

async fn write(part: Part, body: impl Into<Body>) -> Result<u64, Refused> {
    part.write(&mut body.into().into_data_stream()).await
}

fn incoming(directory: &Path) -> Incoming {
    Incoming::open(directory.join("incoming")).unwrap()
}

fn files(incoming: &Incoming) -> Vec<String> {
    let names = fs::read_dir(&incoming.directory).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn an_upload_waits_whole_or_not_at_all() {
    let temp = tempfile::tempdir().unwrap();
    let incoming = incoming(temp.path());
    let part = incoming.begin("a.nar", Some(3), 10).unwrap();
    let error = io::Error::other("cut");
    let cut = futures::stream::iter([Ok(bytes::Bytes::from("ab")), Err(error)]);
    write(part, Body::from_stream(cut)).await.unwrap_err();
    assert!(files(&incoming).is_empty());
    let part = incoming.begin("a.nar", Some(3), 10).unwrap();
    assert_eq!(write(part, "abc").await.unwrap(), 3);
    assert_eq!(files(&incoming), ["a.nar"]);

    // A restart: what is whole is still there, what was in the middle is not.
    fs::write(incoming.directory.join("9.part"), "half").unwrap();
    let incoming = Incoming::open(incoming.directory).unwrap();
    assert_eq!(files(&incoming), ["a.nar"]);
    let to = temp.path().join("taken");
    assert!(incoming.take("a.nar", &to).unwrap() && !incoming.take("a.nar", &to).unwrap());
    assert_eq!(fs::read(to).unwrap(), b"abc");
}

#[tokio::test]
async fn the_quota_counts_what_waits_and_what_is_on_its_way() {
    let temp = tempfile::tempdir().unwrap();
    let incoming = incoming(temp.path());
    let first = incoming.begin("a.nar", Some(6), 10).unwrap();
    assert_eq!(incoming.begin("b.nar", Some(5), 10).unwrap_err().reason(), Reason::TooLarge);
    let chunked = incoming.begin("b.nar", None, 10).unwrap();
    assert_eq!(write(first, "abcdef").await.unwrap(), 6);
    let over = write(chunked, "12345").await.unwrap_err();
    assert_eq!(over.reason(), Reason::TooLarge);
    // The refused one reserves nothing any more.
    let fits = incoming.begin("b.nar", None, 10).unwrap();
    assert_eq!(write(fits, "1234").await.unwrap(), 4);
    assert!(incoming.begin("c.nar", None, 10).is_err());
    // More than was announced is bounded too.
    let liar = incoming.begin("c.nar", Some(1), 13).unwrap();
    assert!(write(liar, "12345678").await.is_err());
}

#[tokio::test]
async fn what_is_not_completed_is_removed_after_a_day() {
    let temp = tempfile::tempdir().unwrap();
    let incoming = incoming(temp.path());
    write(incoming.begin("a.nar", None, 10).unwrap(), "a").await.unwrap();
    let hours = |incoming: &Incoming, hours: std::ops::RangeInclusive<u64>| {
        hours.for_each(|hour| incoming.sweep(Duration::from_hours(hour)));
    };
    hours(&incoming, 0..=13);
    // A restart: what was counted is kept, and nothing is counted meanwhile.
    let incoming = Incoming::open(incoming.directory).unwrap();
    hours(&incoming, 7..=17);
    assert_eq!(files(&incoming), ["a.nar"]);
    hours(&incoming, 18..=18);
    assert!(files(&incoming).is_empty());
    assert!(incoming.begin("a.part", None, 10).is_err(), "our own ending");
}

#[tokio::test]
async fn a_clock_that_jumps_removes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let incoming = incoming(temp.path());
    write(incoming.begin("a.nar", None, 10).unwrap(), "a").await.unwrap();
    let year = Duration::from_hours(365 * 24);
    for now in [Duration::ZERO, year, Duration::ZERO, year] {
        incoming.sweep(now);
    }
    assert_eq!(files(&incoming), ["a.nar"], "two hours at most");
    // What a crash left with the time of a clock: of 1970, of last year, of next year.
    for time in [Duration::ZERO, year * 54, year * 60] {
        let path = incoming.directory.join("a.nar");
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH + time).unwrap();
        let incoming = Incoming::open(incoming.directory.clone()).unwrap();
        incoming.sweep(Duration::ZERO);
        incoming.sweep(year);
        assert_eq!(files(&incoming), ["a.nar"], "{time:?}");
    }
}

#[tokio::test]
async fn what_came_before_an_artifact_waits_under_a_name_that_no_nar_file_has() {
    let temp = tempfile::tempdir().unwrap();
    let incoming = incoming(temp.path());
    for name in ["listing~a", "debug~a.nar"] {
        assert!(incoming.begin(name, None, 10).is_err());
    }
    let from = temp.path().join("from");
    fs::write(&from, "12345678").unwrap();
    incoming.keep("listing~a", &from, 8).unwrap();
    incoming.mark("debug~a.nar").unwrap();
    assert!(incoming.reserve(3, 10).is_err(), "it counts");
    fs::write(incoming.directory.join("other~a"), "x").unwrap();
    let incoming = Incoming::open(incoming.directory).unwrap();
    assert!(incoming.reserve(3, 10).is_err() && incoming.reserve(2, 10).is_ok());
    assert!(incoming.discard("debug~a.nar") && !incoming.discard("debug~a.nar"));
    assert!(incoming.take("listing~a", &from).unwrap());
    assert!(files(&incoming).is_empty());
}
