//! Sources that break off, fall silent or end too early in the middle of a NAR file that is passed on.

use std::ops::Range;

use axum::body::to_bytes;
use granary_fetch::Expected;
use granary_mirror::tree::CatalogEntry;
use granary_nix::served_nar_name;
use http::{HeaderMap, Method};

use super::super::common::{Reply, SILENCE};
use super::front::{LARGE, Scene};
use super::{Places, bare};

/// Where a source breaks off.
const HALF: usize = LARGE / 2;

/// Whether a request is for the rest of this part, from a byte at which the source may have broken off.
fn is_rest_of(part: &Range<usize>, range: Option<&str>) -> bool {
    let end = format!("-{}", part.end - 1);
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix(&end)?.parse().ok());
    start.is_some_and(|start: usize| start > part.start && start <= part.start + HALF)
}

/// The same for the whole file.
fn is_rest(range: Option<&str>, length: usize) -> bool {
    is_rest_of(&(0..length), range)
}

#[tokio::test]
async fn what_breaks_off_goes_on_at_the_next_source_at_the_same_byte() {
    for stated in [true, false] {
        let scene = Scene::new(stated).await;
        scene.breaks_off(HALF);
        let got = scene.get(None).await;
        assert_eq!((got.status, got.body.as_ref() == Some(&scene.file)), (200, true), "{stated}");
        assert_eq!(Scene::ranges(&scene.first), [None], "not asked again while another one has it");
        let ranges = Scene::ranges(&scene.second);
        assert!(ranges.len() == 1 && is_rest(ranges[0].as_deref(), scene.file.len()), "{ranges:?}");
        assert_eq!(scene.counts(), (1, 0));
        // What broke off is asked last for a while.
        assert!(scene.get(None).await.body == Some(scene.file.clone()));
        assert_eq!((Scene::ranges(&scene.first), Scene::ranges(&scene.second)), (vec![], vec![None]));
    }
}

#[tokio::test]
async fn a_mirror_that_breaks_off_is_gone_on_from_at_an_upstream() {
    for stated in [true, false] {
        let places = Places::with(LARGE).await;
        let (info, file) = places.truth();
        places.holder.set(&info.url, Reply::Cut { bytes: file.clone(), after: HALF });
        // Where the upstream states the FileHash, the catalog has it, and it is the name of the file.
        let stated_info = granary_nix::NarInfo { url: "files/1".into(), ..info.clone() };
        let (upstream, name) = if stated {
            (stated_info, info.url.clone())
        } else {
            (bare(&info), served_nar_name(info.nar_hash, info.compression))
        };
        places.narinfo(&places.upstream, &upstream);
        let known = CatalogEntry { hash_part: places.path.hash_part(), expected: Expected::from(&upstream) };
        let name = name.strip_prefix("nar/").unwrap();
        let answer = places.misses.answer(&Method::GET, &HeaderMap::new(), name, Some(known)).await;
        assert!(to_bytes(answer.into_body(), usize::MAX).await.unwrap() == file, "{stated}");
        let asked = places.upstream.take_asked();
        let ranges: Vec<_> = asked.iter().filter(|asked| asked.path == "files/1").collect();
        assert!(ranges.len() == 1 && is_rest(ranges[0].range.as_deref(), file.len()), "{ranges:?}");
    }
}

#[tokio::test]
async fn silence_in_the_middle_is_an_end_too() {
    let scene = Scene::new(true).await;
    Scene::set(&scene.first, Reply::Hang { bytes: scene.file.clone(), after: HALF });
    let start = std::time::Instant::now();
    assert!(scene.get(None).await.body == Some(scene.file.clone()));
    assert!(start.elapsed() >= SILENCE, "{:?}", start.elapsed());
    assert_eq!(Scene::ranges(&scene.first), [None]);
    let ranges = Scene::ranges(&scene.second);
    assert!(ranges.len() == 1 && is_rest(ranges[0].as_deref(), scene.file.len()), "{ranges:?}");
}

#[tokio::test]
async fn who_is_silent_is_not_asked_again_for_the_same_body() {
    let scene = Scene::new(true).await;
    Scene::set(&scene.first, Reply::Hang { bytes: scene.file.clone(), after: HALF });
    let cut = Reply::Cut { bytes: scene.file.clone(), after: 1000 };
    Scene::set(&scene.second, Reply::Then(vec![cut], Box::new(Reply::Status(503))));
    assert_eq!(scene.get(None).await.body, None);
    assert_eq!(Scene::ranges(&scene.first), [None]);
    assert_eq!(Scene::ranges(&scene.second).len(), 2);
    assert_eq!(scene.counts(), (1, 1));
}

#[tokio::test]
async fn a_clean_end_before_the_end_is_none() {
    let scene = Scene::new(true).await;
    Scene::set(&scene.first, Reply::Unannounced(scene.file[..HALF].to_vec()));
    assert!(scene.get(None).await.body == Some(scene.file.clone()));
    assert_eq!(scene.counts(), (1, 0));
    Scene::set(&scene.first, Reply::Unannounced(scene.file[..HALF].to_vec()));
    Scene::set(&scene.second, Reply::Unannounced(scene.file[..HALF].to_vec()));
    assert_eq!(scene.get(None).await.body, None);
}

#[tokio::test]
async fn what_a_source_without_ranges_gives_again_is_skipped() {
    for range in [None, Some("bytes=1000-1999999")] {
        let scene = Scene::new(true).await;
        scene.breaks_off(HALF);
        Scene::set(&scene.second, Reply::WithoutRanges(scene.file.clone()));
        let part = if range.is_some() { 1000..2_000_000 } else { 0..scene.file.len() };
        assert!(scene.get(range).await.body.as_deref() == Some(&scene.file[part]), "{range:?}");
        assert_eq!(scene.counts(), (1, 0));
    }
}

#[tokio::test]
async fn a_source_that_may_have_another_file_does_not_go_on() {
    for stated in [true, false] {
        let scene = Scene::new(stated).await;
        let (longer, shorter) = ([&scene.file[..], b"x"].concat(), scene.file[..LARGE - 1000].to_vec());
        for (what, reply) in [
            ("longer", Reply::Bytes(longer.clone())),
            ("longer, from the start", Reply::WithoutRanges(longer)),
            ("shorter", Reply::Bytes(shorter.clone())),
            ("shorter, from the start", Reply::WithoutRanges(shorter)),
            ("of unknown length", Reply::Unannounced(scene.file.clone())),
            ("another part", Reply::OtherPart(scene.file.clone())),
        ] {
            let scene = Scene::new(stated).await;
            scene.breaks_off(HALF);
            Scene::set(&scene.second, reply);
            assert_eq!(scene.get(None).await.body, None, "{what}, {stated}");
            assert_eq!(scene.counts(), (0, 1), "{what}, {stated}");
            let ranges = Scene::ranges(&scene.second);
            assert!(is_rest(ranges[0].as_deref(), scene.file.len()), "{what}: {ranges:?}");
        }
    }
}

#[tokio::test]
async fn the_part_that_a_client_asked_for_goes_on() {
    let length = Scene::new(true).await.file.len();
    for (asked, part) in [
        ("bytes=1000-", 1000..length),
        ("bytes=1000-1999999", 1000..2_000_000),
        ("bytes=-2000000", length - 2_000_000..length),
    ] {
        let scene = Scene::new(true).await;
        scene.breaks_off(HALF);
        let got = scene.get(Some(asked)).await;
        assert_eq!(got.status, 206, "{asked}");
        assert!(got.body.as_deref() == Some(&scene.file[part.clone()]), "{asked}");
        let content_range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        assert_eq!(got.content_range, Some(content_range), "{asked}");
        let ranges = Scene::ranges(&scene.second);
        assert!(ranges.len() == 1 && is_rest_of(&part, ranges[0].as_deref()), "{asked}: {ranges:?}");
    }
    // Several at once are the whole, which goes on as ever.
    let scene = Scene::new(true).await;
    scene.breaks_off(HALF);
    let got = scene.get(Some("bytes=0-9,20-29")).await;
    assert!(got.status == 200 && got.body == Some(scene.file.clone()));
}

#[tokio::test]
async fn the_only_source_is_asked_for_the_rest_once_it_is_back() {
    let scene = Scene::new(true).await;
    Scene::set(&scene.second, Reply::Status(404));
    let cut = Reply::Cut { bytes: scene.file.clone(), after: LARGE / 3 };
    Scene::set(&scene.first, Reply::Then(vec![cut.clone(), cut], Box::new(Reply::Bytes(scene.file.clone()))));
    assert!(scene.get(None).await.body == Some(scene.file.clone()));
    assert_eq!(scene.counts(), (2, 0));
    // One that gives little each time is not asked for ever.
    Scene::set(&scene.first, Reply::Cut { bytes: scene.file.clone(), after: 1000 });
    Scene::ranges(&scene.first);
    assert_eq!(scene.get(None).await.body, None);
    assert!(Scene::ranges(&scene.first).len() < 20);
    // Nor one that gives nothing.
    let cut = Reply::Cut { bytes: scene.file.clone(), after: HALF };
    let nothing = Reply::Cut { bytes: scene.file.clone(), after: 0 };
    Scene::set(&scene.first, Reply::Then(vec![cut], Box::new(nothing)));
    assert_eq!(scene.get(None).await.body, None);
    assert_eq!(Scene::ranges(&scene.first).len(), 2);
}

#[tokio::test]
async fn halves_of_two_files_are_cut_and_nobody_is_blamed_for_the_other() {
    let scene = Scene::new(true).await;
    let mut other = scene.file.clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    scene.breaks_off(HALF);
    Scene::set(&scene.second, Reply::Bytes(other));
    assert_eq!(scene.get(None).await.body, None, "the end is held back until the hash is known");
    assert_eq!(scene.counts(), (1, 1));
    // Each is asked again: the second, which answers for all of the file now, and then the first, which is right.
    Scene::set(&scene.first, Reply::Bytes(scene.file.clone()));
    Scene::ranges(&scene.second);
    assert_eq!(scene.get(None).await.body, None);
    assert_eq!(Scene::ranges(&scene.second), [None]);
    assert!(scene.get(None).await.body == Some(scene.file.clone()));
    assert_eq!(Scene::ranges(&scene.second), [], "its wrong bytes are remembered");
}
