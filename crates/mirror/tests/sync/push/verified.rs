//! What is pushed is verified like what is pulled.

use granary_nix::{Compression, Hash, NarInfo, SecretKey, StorePath};
use granary_placement::report::RefusalReason;
use http::StatusCode;

use super::super::common::cache::{Artifact, nar};
use super::super::common::{Cache, Upstream};
use super::{Rules, Site, clean};

const REFUSED: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

/// A mirror that trusts the cache whose artifacts are pushed.
struct Scene {
    cache: Cache,
    site: Site,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn start(max_nar_size: Option<u64>) -> Self {
        let (cache, folder) = (Cache::new("test-1"), tempfile::tempdir().unwrap());
        let rules = Rules { max_nar_size, ..Rules::trusting(cache.keys()) };
        let site = Site::start(folder.path(), rules).await;
        Self { cache, site, _folder: folder }
    }

    /// A new artifact, of which the narinfo is changed before it is signed.
    fn signed(&mut self, name: &str, change: impl FnOnce(&mut NarInfo)) -> Artifact {
        let path = self.cache.add(name, &[]);
        change(&mut self.cache.get(&path).info);
        self.cache.sign(&path);
        self.cache.get(&path).clone()
    }

    /// It is refused with these words, leaves a record of the reason, and is nowhere to be seen.
    async fn is_refused(&self, pushed: (StatusCode, String), path: &StorePath, why: (RefusalReason, &str)) {
        let (reason, words) = why;
        let (status, said) = pushed;
        assert_eq!(status, REFUSED, "{path}: {said}");
        assert!(said.starts_with(&format!("{reason}: ")) && said.contains(words), "{path}: {said}");
        let (recorded, message) = self.site.record(path).await;
        assert!(recorded == reason && said.trim_end().ends_with(&message), "{path}: {recorded}: {message}");
        self.site.shows_nothing_of(path, path.name());
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_its_narinfo_says_is_refused() {
    let mut scene = Scene::start(None).await;
    let other = Hash::of(b"other");
    let cases = [
        // Under a FileHash that fits.
        (
            scene.signed("nar-hash", |info| info.nar_hash = other),
            RefusalReason::NarHash,
            "the NAR has the hash",
        ),
        (
            scene.signed("too-long", |info| info.nar_size -= 1),
            RefusalReason::NarSize,
            "the NAR has more than",
        ),
        (scene.signed("too-short", |info| info.nar_size += 1), RefusalReason::NarSize, "the NAR has only"),
        (
            scene.signed("file-size", |info| info.file_size = info.file_size.map(|size| size + 1)),
            RefusalReason::FileSize,
            "the NAR file has",
        ),
        (
            scene.signed("file-hash", |info| info.file_hash = Some(other)),
            RefusalReason::FileHash,
            "the NAR file has the hash",
        ),
        (
            scene.signed("compression", |info| info.compression = Compression::Zstd),
            RefusalReason::NarHash,
            "cannot be decompressed as zstd",
        ),
    ];
    for (Artifact { info, file }, reason, words) in &cases {
        let pushed = scene.site.push(info, file).await;
        scene.is_refused(pushed, &info.store_path, (*reason, words)).await;
        assert_eq!(scene.site.waiting(), 0, "its file is gone");
    }
    // Nobody is shut out by what was refused: the same paths, as they should be.
    for (artifact, ..) in cases {
        let mut cache = Cache::new("test-1");
        let path = cache.add(artifact.info.store_path.name(), &[]);
        let good = cache.get(&path);
        assert_eq!(scene.site.push(&good.info, &good.file).await.0, StatusCode::CREATED, "{good:?}");
    }
    assert_eq!(clean(scene.site.path(), &scene.cache.keys()).artifacts, 6);
}

#[tokio::test]
async fn a_file_that_decompresses_to_much_more_than_it_says_is_refused() {
    let mut scene = Scene::start(None).await;
    let bomb = nar(&vec![0; 64 << 20]);
    let file = zstd::encode_all(&bomb[..], 3).unwrap();
    assert!(file.len() < 64 << 10);
    // Everything but NarSize is true, and it is signed.
    let Artifact { info, .. } = scene.signed("bomb", |info| {
        (info.compression, info.url) = (Compression::Zstd, "nar/bomb.nar.zst".into());
        (info.file_hash, info.file_size) = (Some(Hash::of(&file)), Some(file.len() as u64));
        (info.nar_hash, info.nar_size) = (Hash::of(&bomb), 3000);
    });
    let pushed = scene.site.push(&info, &file).await;
    let why = (RefusalReason::NarSize, "the NAR has more than 3000 bytes");
    scene.is_refused(pushed, &info.store_path, why).await;
    assert_eq!(scene.site.waiting(), 0);
}

#[tokio::test]
async fn a_narinfo_that_nobody_trusted_has_signed_is_refused() {
    let mut scene = Scene::start(None).await;
    let stranger = SecretKey::from_seed("stranger-1", &[3; 32]).unwrap();
    let impostor = SecretKey::from_seed("test-1", &[4; 32]).unwrap();
    let cases = [
        (Some(stranger), RefusalReason::UntrustedKey, "stranger-1"),
        (Some(impostor), RefusalReason::BadSignature, "test-1"),
        (None, RefusalReason::Unsigned, "is not signed"),
    ];
    for (key, reason, words) in cases {
        let Artifact { mut info, file } = scene.signed(&reason.to_string(), |_| {});
        info.sigs = key.iter().map(|key| key.sign(&info.fingerprint())).collect();
        let pushed = scene.site.push(&info, &file).await;
        scene.is_refused(pushed, &info.store_path, (reason, words)).await;
        assert_eq!(scene.site.waiting(), 0, "its file is gone");
    }
}

#[tokio::test]
async fn a_narinfo_that_leads_elsewhere_is_refused_and_nobody_is_asked() {
    let mut scene = Scene::start(None).await;
    let Artifact { info, file } = scene.signed("elsewhere", |_| {});
    // Each place has the right bytes.
    let upstream = Upstream::of(&scene.cache).await;
    let absolute = format!("{}/{}", upstream.url(), info.url);
    let name = info.url.strip_prefix("nar/").unwrap();
    let beside = scene.site.path().parent().unwrap().join(name);
    std::fs::write(&beside, &file).unwrap();
    let urls = [
        absolute,
        format!("file://{}", beside.display()),
        format!("../{name}"),
        format!("nar/../../{name}"),
        format!("nar/%2e%2e/%2e%2e/{name}"),
        format!("/{}", info.url),
        format!("nar/a/{name}"),
        "nar/".into(),
        ".granary/id".into(),
    ];
    for url in urls {
        let info = NarInfo { url, ..info.clone() };
        let pushed = scene.site.put_narinfo(&info).await;
        scene.is_refused(pushed, &info.store_path, (RefusalReason::ForbiddenUrl, "push to nar/<name>")).await;
        // One that says the same would be left as it is.
        scene.site.tree.take_from_quarantine(&info.store_path.hash_part()).unwrap();
    }
    assert_eq!(upstream.take_asked(), []);
    assert!(beside.exists(), "nothing of others is taken away");
}

#[tokio::test]
async fn a_narinfo_with_the_nar_of_another_artifact_is_refused_and_that_one_stays() {
    let mut scene = Scene::start(None).await;
    let other = scene.signed("other", |_| {});
    let lie = scene.signed("lie", |_| {});
    // Everything that is not signed is the other's; what is signed is its own.
    let info = NarInfo {
        url: other.info.url.clone(),
        file_hash: other.info.file_hash,
        file_size: other.info.file_size,
        ..lie.info
    };
    let why = (RefusalReason::NarHash, "the NAR has the hash");
    // The other's file waits, and then it is published.
    let pushed = scene.site.push(&info, &other.file).await;
    scene.is_refused(pushed, &info.store_path, why).await;
    assert_eq!(scene.site.push(&other.info, &other.file).await.0, StatusCode::CREATED);
    let pushed = scene.site.put_narinfo(&info).await;
    scene.is_refused(pushed, &info.store_path, why).await;
    assert_eq!(std::fs::read(scene.site.path().join(&other.info.url)).unwrap(), other.file);
    assert_eq!(clean(scene.site.path(), &scene.cache.keys()).artifacts, 1);
}

#[tokio::test]
async fn a_nar_above_the_limit_is_refused() {
    let mut scene = Scene::start(Some(4000)).await;
    let large = scene.cache.add_sized("large", &[], 4000);
    let Artifact { info, file } = scene.cache.get(&large).clone();
    let (status, words) = scene.site.push(&info, &file).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let expected = format!("the NAR has {} bytes; limits.maxNarSize is 4000", info.nar_size);
    assert_eq!(words.trim_end(), expected);
    scene.site.shows_nothing_of(&large, "large");
    assert_eq!(scene.site.waiting(), 0, "its file is gone");
    // It is not the artifact that is bad.
    assert_eq!(scene.site.refusals.newest(9).1, 0);
    let Artifact { info, file } = scene.signed("small", |_| {});
    assert_eq!(scene.site.push(&info, &file).await.0, StatusCode::CREATED);
}
