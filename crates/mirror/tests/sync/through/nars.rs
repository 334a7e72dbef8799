//! NAR files of what nobody wanted before: one transfer for all, verified, kept, and cut when they are wrong.

use granary_mirror::through::Begun;
use granary_nix::{Hash, NarInfo, StorePath};
use granary_placement::report::RefusalReason;

use super::super::common::{Cache, Reply, Upstream, source};
use super::super::{clean, is_visible};
use super::{Got, Site, read};

/// Above what is checked before its first byte is shown.
const LARGE: usize = 3 << 20;

/// A large artifact, and where it is.
struct Scene {
    cache: Cache,
    path: StorePath,
    upstream: Upstream,
    site: Site,
    info: NarInfo,
    file: Vec<u8>,
}

impl Scene {
    async fn of_size(size: usize) -> Self {
        Self::with(size, |_| {}).await
    }

    /// `change` alters what the upstream says of the artifact.
    async fn with(bytes: usize, change: impl FnOnce(&mut NarInfo)) -> Self {
        let mut cache = Cache::new("test-1");
        let path = cache.add_sized("large", &[], bytes);
        change(&mut cache.get(&path).info);
        let upstream = Upstream::of(&cache).await;
        let site = Site::new(&[source(&upstream, &cache.keys(), 40)]);
        let info = (*site.found(&path).await).clone();
        let file = cache.get(&path).file.clone();
        Self { cache, path, upstream, site, info, file }
    }

    /// How the upstream answers for the file from now on.
    fn set(&mut self, reply: Reply) {
        let url = self.cache.get(&self.path).info.url.clone();
        self.upstream.set(&url, reply);
    }

    fn nars_asked(&mut self) -> usize {
        let url = self.cache.get(&self.path).info.url.clone();
        self.upstream.take_asked().iter().filter(|asked| asked.path == url).count()
    }

    /// The tree is valid, and has the artifact or nothing.
    fn holds(&self, expected: bool) {
        let check = clean(self.site.path(), &self.cache.keys());
        assert_eq!(check.artifacts, u64::from(expected));
        assert_eq!(check.notes, [], "nothing lies about");
        assert_eq!(is_visible(self.site.path(), &self.path), expected);
        let temp = std::fs::read_dir(self.site.path().join(".granary/tmp")).unwrap().count();
        assert_eq!(temp, 0, "nothing half-written is left");
    }
}

#[tokio::test]
async fn dozens_of_clients_are_one_transfer_which_is_kept() {
    let mut scene = Scene::of_size(LARGE).await;
    let readers: Vec<_> = (0..50).map(|_| scene.site.open(&scene.info)).collect();
    for got in futures::future::join_all(readers.into_iter().map(|reader| read(reader, None))).await {
        assert!(got == Got::Whole(scene.file.clone()), "the bytes of the file");
    }
    scene.site.settled().await;
    // Who was told by nginx, a moment before, that it is not here.
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()));
    scene.site.settled().await;
    assert_eq!(scene.nars_asked(), 1);
    scene.holds(true);
}

#[tokio::test]
async fn a_small_file_and_one_without_a_stated_hash_are_kept_too() {
    for (size, stated) in [(3000, true), (3000, false), (LARGE, false)] {
        let scene = Scene::with(size, |info| {
            if !stated {
                (info.file_hash, info.file_size, info.url) = (None, None, "files/7".into());
            }
        })
        .await;
        assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()), "{size} {stated}");
        scene.site.settled().await;
        scene.holds(true);
    }
}

#[tokio::test]
async fn who_leaves_ends_nothing_and_who_is_slow_holds_nobody_up() {
    let scene = Scene::of_size(LARGE).await;
    let mut slow = scene.site.open(&scene.info);
    slow.begin().await;
    let slow = slow.body(None);
    drop(scene.site.open(&scene.info));
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()));
    scene.site.settled().await;
    scene.holds(true);
    // It has not read a byte, and still gets them all, of the file that is published by now.
    let slow: Vec<bytes::Bytes> = futures::TryStreamExt::try_collect(slow).await.unwrap();
    assert!(slow.concat() == scene.file);
}

#[tokio::test]
async fn a_part_is_served_while_the_file_is_fetched() {
    let scene = Scene::of_size(LARGE).await;
    let size = scene.file.len() as u64;
    for part in [0..10, 1_000_000..1_500_000, size - 10..size, 5..size] {
        let range = usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap();
        let got = read(scene.site.open(&scene.info), Some(part.clone())).await;
        assert!(got == Got::Whole(scene.file[range].to_vec()), "{part:?}");
    }
}

#[tokio::test]
async fn a_large_file_is_passed_on_while_it_comes() {
    let mut scene = Scene::of_size(LARGE).await;
    scene.set(Reply::Stall(scene.file[..2 << 20].to_vec()));
    let mut reader = scene.site.open(&scene.info);
    assert!(matches!(reader.begin().await, Begun::File { .. }));
    let mut body = std::pin::pin!(reader.body(None));
    let chunk = futures::TryStreamExt::try_next(&mut body).await.unwrap().unwrap();
    assert!(scene.file.starts_with(&chunk));
}

#[tokio::test]
async fn a_wrong_body_is_cut_and_nothing_is_kept() {
    for stated in [true, false] {
        let mut scene = Scene::with(LARGE, |info| {
            if !stated {
                (info.file_hash, info.file_size) = (None, None);
            }
        })
        .await;
        let (file, length) = (scene.file.clone(), scene.file.len());
        let flipped = |position: usize| {
            let mut bytes = file.clone();
            bytes[position] ^= 1;
            Reply::Bytes(bytes)
        };
        let cut = Reply::Cut { bytes: file.clone(), after: length / 2 };
        let lies = [
            ("a byte at the end", flipped(length - 1)),
            ("a byte at the start", flipped(20)),
            ("a byte in the middle", flipped(length / 2)),
            ("too short", Reply::Unannounced(file[..length - 1].to_vec())),
            ("too long", Reply::Unannounced([&file[..], b"x"].concat())),
            ("broken off", Reply::Then(vec![cut], Box::new(Reply::Status(500)))),
            ("for ever", Reply::Endless),
        ];
        for (what, lie) in lies {
            scene.set(lie);
            // Another process, so that what was wrong before is asked for again.
            scene.site = Site::new(&[source(&scene.upstream, &scene.cache.keys(), 40)]);
            scene.site.found(&scene.path).await;
            match scene.site.get(&scene.info).await {
                Got::Whole(bytes) => panic!("{what}, stated {stated}: {} bytes ended well", bytes.len()),
                Got::Cut(_) | Got::Failed => {}
                Got::Missing => panic!("{what} is not a no"),
            }
            scene.site.settled().await;
            scene.holds(false);
        }
        // What was wrong is left alone for a while, and the next good source is used.
        scene.set(flipped(length - 1));
        let second = Upstream::of(&scene.cache).await;
        let keys = scene.cache.keys();
        scene.site = Site::new(&[source(&scene.upstream, &keys, 10), source(&second, &keys, 40)]);
        scene.site.found(&scene.path).await;
        scene.nars_asked();
        let first = scene.site.get(&scene.info).await;
        let gone_on = first == Got::Whole(file.clone());
        assert!(gone_on || matches!(first, Got::Cut(_)), "stated {stated}");
        scene.site.settled().await;
        assert_eq!(scene.nars_asked(), 1);
        if !scene.site.tree.holds(&scene.path.hash_part()) {
            assert!(scene.site.get(&scene.info).await == Got::Whole(file.clone()));
            scene.site.settled().await;
        }
        assert_eq!(scene.nars_asked(), 0, "the liar is not asked again");
        scene.holds(true);
    }
}

#[tokio::test]
async fn a_small_lie_costs_the_client_nothing() {
    let mut scene = Scene::of_size(3000).await;
    let mut bytes = scene.file.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    scene.set(Reply::Bytes(bytes));
    let (second, keys) = (Upstream::of(&scene.cache).await, scene.cache.keys());
    scene.site = Site::new(&[source(&scene.upstream, &keys, 10)]);
    scene.site.found(&scene.path).await;
    assert_eq!(scene.site.get(&scene.info).await, Got::Failed);
    let refused = (scene.path.to_string(), RefusalReason::FileHash, scene.upstream.url().to_owned());
    assert_eq!(scene.site.refused(), [refused]);
    // Where another upstream gives it, it is not refused.
    scene.site = Site::new(&[source(&scene.upstream, &keys, 10), source(&second, &keys, 40)]);
    scene.site.found(&scene.path).await;
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()));
    scene.site.settled().await;
    scene.holds(true);
    assert_eq!(scene.site.refused(), []);
}

/// The same file at two upstreams goes on where it broke off; another one does not.
#[tokio::test]
async fn a_transfer_goes_on_elsewhere_only_with_the_same_file() {
    let mut scene = Scene::of_size(LARGE).await;
    let cut = Reply::Cut { bytes: scene.file.clone(), after: LARGE / 2 };
    let keys = scene.cache.keys();
    let second = Upstream::of(&scene.cache).await;
    // Each resumption at the first brings nothing more.
    scene.set(Reply::Then(vec![cut.clone()], Box::new(Reply::Status(500))));
    scene.site = Site::new(&[source(&scene.upstream, &keys, 10), source(&second, &keys, 40)]);
    scene.site.found(&scene.path).await;
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()), "the second goes on");
    scene.site.settled().await;
    scene.holds(true);

    // One NAR, compressed otherwise, and no word of the FileHash: clients who saw the first cannot go on.
    let mut scene = Scene::with(LARGE, |info| (info.file_hash, info.file_size) = (None, None)).await;
    let second = Upstream::of(&scene.cache).await;
    scene.set(Reply::Then(vec![cut], Box::new(Reply::Status(500))));
    let keys = scene.cache.keys();
    scene.site = Site::new(&[source(&scene.upstream, &keys, 10), source(&second, &keys, 40)]);
    scene.site.found(&scene.path).await;
    assert!(matches!(scene.site.get(&scene.info).await, Got::Cut(_)));
    scene.site.settled().await;
    scene.holds(true);
}

#[tokio::test]
async fn a_file_that_nobody_has_is_missing_and_one_that_nobody_gives_is_not() {
    let mut scene = Scene::of_size(3000).await;
    scene.set(Reply::Status(404));
    assert_eq!(scene.site.get(&scene.info).await, Got::Missing);
    scene.set(Reply::Status(503));
    assert_eq!(scene.site.get(&scene.info).await, Got::Failed);
    scene.set(Reply::Bytes(scene.file.clone()));
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()), "neither is remembered");
}

#[tokio::test]
async fn what_is_larger_than_the_room_is_not_taken_in() {
    let scene = Scene::of_size(LARGE).await;
    let site = Site::with(&[source(&scene.upstream, &scene.cache.keys(), 40)], 2 << 20, super::SILENCE);
    site.found(&scene.path).await;
    let file = scene.info.url.strip_prefix("nar/").unwrap();
    let known = site.through.find_nar(file).unwrap();
    assert!(site.through.open(file, known).is_none());
    assert_eq!(Hash::of(&scene.file), scene.info.file_hash.unwrap());
}

/// The file that is kept of a NAR file that came in part.
fn part(scene: &Scene) -> std::path::PathBuf {
    let name = scene.info.file_hash.unwrap().to_nix32();
    scene.site.path().join(".granary/partial").join(name)
}

/// The ranges by which the file was asked for.
fn ranges(scene: &mut Scene) -> Vec<Option<String>> {
    let url = scene.cache.get(&scene.path).info.url.clone();
    let asked = scene.upstream.take_asked().into_iter().filter(|asked| asked.path == url);
    asked.map(|asked| asked.range).collect()
}

#[tokio::test]
async fn a_flight_that_a_restart_ended_is_gone_on_with_where_it_was() {
    const PART: usize = 2 << 20;
    let mut scene = Scene::of_size(LARGE).await;
    scene.set(Reply::Stall(scene.file[..PART].to_vec()));
    let sources = [source(&scene.upstream, &scene.cache.keys(), 40)];
    let patient = |directory| Site::on(directory, &sources, 1 << 30, std::time::Duration::from_mins(1));
    let directory = std::sync::Arc::clone(&scene.site.directory);
    scene.site.settled().await;
    drop(scene.site);
    scene.site = patient(std::sync::Arc::clone(&directory));
    scene.site.found(&scene.path).await;
    let mut reader = scene.site.open(&scene.info);
    assert!(matches!(reader.begin().await, Begun::File { .. }));
    let part = part(&scene);
    while std::fs::metadata(&part).unwrap().len() < PART as u64 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    scene.site.stop.cancel();
    scene.site.settled().await;
    assert_eq!(ranges(&mut scene), [None]);

    scene.set(Reply::Bytes(scene.file.clone()));
    drop(scene.site);
    scene.site = patient(directory);
    scene.site.found(&scene.path).await;
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()));
    scene.site.settled().await;
    assert_eq!(ranges(&mut scene), [Some(format!("bytes={PART}-"))]);
    scene.holds(true);
    assert!(!part.exists());
}

#[tokio::test]
async fn a_part_that_is_wrong_is_found_out_and_nobody_gets_the_rest_after_it() {
    let mut scene = Scene::of_size(LARGE).await;
    std::fs::write(part(&scene), vec![7; 2 << 20]).unwrap();
    match scene.site.get(&scene.info).await {
        Got::Whole(bytes) => assert!(bytes == scene.file, "wrong bytes ended well"),
        got => assert!(matches!(got, Got::Cut(_)), "{got:?}"),
    }
    scene.site.settled().await;
    assert_eq!(ranges(&mut scene), [Some(format!("bytes={}-", 2 << 20)), None]);
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()));
    scene.holds(true);
}
