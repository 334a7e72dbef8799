//! Every way in which an artifact can be bad: refused with its reason, nothing of it visible, the rest goes on.

use granary_nix::{Compression, Hash, SecretKey, StorePath};
use granary_placement::report::RefusalReason;

use super::common::cache::{nar, xz};
use super::common::{Cache, Reply, Upstream, job, mirror, source};
use super::{clean, is_visible, reason};

/// Makes one artifact of a cache bad, and checks what a sync does with it.
async fn refuses(expected: RefusalReason, spoil: impl FnOnce(&mut Cache, &StorePath, &Upstream)) {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let bad = cache.add("bad", &[&base]);
    let needs_bad = cache.add("needs-bad", &[&bad, &base]);
    let good = cache.add("good", &[&base]);
    let upstream = Upstream::of(&cache).await;
    let keys = cache.keys();
    spoil(&mut cache, &bad, &upstream);

    let directory = tempfile::tempdir().unwrap();
    let (tree, syncer) = mirror(directory.path());
    let job = job(vec![source(&upstream, &keys, 40)], &[&needs_bad, &good]);
    let outcome = syncer.pass(&job, &()).await;

    assert_eq!(reason(&outcome, &bad), Some(expected), "{:#?}", outcome.refused);
    assert_eq!(reason(&outcome, &needs_bad), Some(RefusalReason::MissingReference));
    let message =
        &outcome.refused.iter().find(|refusal| refusal.store_path == needs_bad.to_string()).unwrap().message;
    assert!(message.contains(&bad.to_string()), "the missing path is named: {message}");
    assert_eq!(outcome.refused.len(), 2, "{:#?}", outcome.refused);
    assert!(is_visible(directory.path(), &base) && is_visible(directory.path(), &good), "the rest goes on");
    assert!(!is_visible(directory.path(), &bad) && !is_visible(directory.path(), &needs_bad));
    let report = &outcome.policies[0];
    assert_eq!((report.assigned, report.verified, report.refused), (4, 2, 2));
    assert_eq!(report.synced, expected != RefusalReason::UpstreamUnreachable);
    assert_eq!(tree.quarantined(&bad.hash_part()).unwrap().refusal.reason, expected);
    assert_eq!(std::fs::read_dir(tree.layout().temp()).unwrap().count(), 0, "no temporary file stays");
    let check = clean(directory.path(), &keys);
    assert_eq!(check.artifacts, 2);
    assert_eq!(check.notes, [], "no NAR file of what was refused");
}

/// Serves the artifact as it is in the cache now.
fn serve_again(cache: &mut Cache, path: &StorePath, upstream: &Upstream) {
    let artifact = cache.get(path).clone();
    let text = artifact.info.to_text().into_bytes();
    upstream.set(&path.hash_part().narinfo_name(), Reply::Bytes(text));
}

#[tokio::test]
async fn an_unsigned_narinfo() {
    refuses(RefusalReason::Unsigned, |cache, bad, upstream| {
        cache.get(bad).info.sigs.clear();
        serve_again(cache, bad, upstream);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_not_trusted() {
    refuses(RefusalReason::UntrustedKey, |cache, bad, upstream| {
        cache.key = SecretKey::from_seed("other-1", &[1; 32]).unwrap();
        cache.sign(bad);
        serve_again(cache, bad, upstream);
    })
    .await;
}

#[tokio::test]
async fn another_key_under_a_trusted_name() {
    refuses(RefusalReason::BadSignature, |cache, bad, upstream| {
        cache.key = SecretKey::from_seed("test-1", &[1; 32]).unwrap();
        cache.sign(bad);
        serve_again(cache, bad, upstream);
    })
    .await;
}

#[tokio::test]
async fn a_narinfo_changed_after_it_was_signed() {
    refuses(RefusalReason::BadSignature, |cache, bad, upstream| {
        cache.get(bad).info.nar_size += 1;
        serve_again(cache, bad, upstream);
    })
    .await;
}

#[tokio::test]
async fn a_page_instead_of_a_narinfo() {
    refuses(RefusalReason::BadNarinfo, |_, bad, upstream| {
        upstream.set(&bad.hash_part().narinfo_name(), Reply::Bytes(b"<html>Sign in</html>".into()));
    })
    .await;
}

#[tokio::test]
async fn a_narinfo_without_end() {
    refuses(RefusalReason::BadNarinfo, |_, bad, upstream| {
        upstream.set(&bad.hash_part().narinfo_name(), Reply::Endless);
    })
    .await;
}

#[tokio::test]
async fn a_narinfo_for_another_path() {
    refuses(RefusalReason::WrongPath, |cache, bad, upstream| {
        let other = cache.add("other", &[]);
        let text = cache.get(&other).info.to_text().into_bytes();
        upstream.set(&bad.hash_part().narinfo_name(), Reply::Bytes(text));
    })
    .await;
}

#[tokio::test]
async fn a_narinfo_for_another_name_with_the_same_hash_part() {
    refuses(RefusalReason::WrongPath, |cache, bad, upstream| {
        cache.get(bad).info.store_path =
            StorePath::parse_base_name(&format!("{}-evil", bad.hash_part())).unwrap();
        let evil = cache.artifacts.iter().find(|artifact| artifact.info.store_path.name() == "evil").unwrap();
        let mut info = evil.info.clone();
        info.sigs = vec![cache.key.sign(&info.fingerprint())];
        upstream.set(&bad.hash_part().narinfo_name(), Reply::Bytes(info.to_text().into_bytes()));
    })
    .await;
}

#[tokio::test]
async fn urls_that_leave_the_upstream() {
    for url in ["file:///etc/passwd", "/etc/passwd", "http://127.0.0.1:1/nar/x.nar.xz"] {
        refuses(RefusalReason::ForbiddenUrl, |cache, bad, upstream| {
            cache.get(bad).info.url = url.into();
            serve_again(cache, bad, upstream);
        })
        .await;
    }
}

#[tokio::test]
async fn a_compression_that_nobody_knows() {
    refuses(RefusalReason::UnknownCompression, |cache, bad, upstream| {
        let text = cache.get(bad).info.to_text().replace("Compression: xz", "Compression: rot13");
        upstream.set(&bad.hash_part().narinfo_name(), Reply::Bytes(text.into_bytes()));
    })
    .await;
    refuses(RefusalReason::UnknownCompression, |cache, bad, upstream| {
        cache.get(bad).info.compression = Compression::Lrzip;
        serve_again(cache, bad, upstream);
    })
    .await;
}

#[tokio::test]
async fn a_flipped_byte_in_the_compressed_body() {
    refuses(RefusalReason::FileHash, |cache, bad, upstream| {
        let artifact = cache.get(bad);
        let mut file = artifact.file.clone();
        file[1000] ^= 1;
        upstream.set(&artifact.info.url, Reply::Bytes(file));
    })
    .await;
}

#[tokio::test]
async fn other_contents_under_a_consistent_file_hash() {
    refuses(RefusalReason::NarHash, |cache, bad, upstream| {
        let artifact = cache.get(bad);
        let mut contents = nar(&[9; 3000]);
        contents.resize(usize::try_from(artifact.info.nar_size).unwrap(), 0);
        let file = xz(&contents);
        artifact.info.file_hash = Some(Hash::of(&file));
        artifact.info.file_size = Some(file.len() as u64);
        upstream.set(&artifact.info.url, Reply::Bytes(file));
        serve_again(cache, bad, upstream);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_does_not_decompress() {
    refuses(RefusalReason::NarHash, |cache, bad, upstream| {
        let artifact = cache.get(bad);
        (artifact.info.file_hash, artifact.info.file_size) = (None, None);
        upstream.set(&artifact.info.url, Reply::Bytes(b"not xz at all".into()));
        serve_again(cache, bad, upstream);
    })
    .await;
}

#[tokio::test]
async fn a_truncated_file_that_says_its_true_length() {
    refuses(RefusalReason::FileSize, |cache, bad, upstream| {
        let artifact = cache.get(bad);
        upstream.set(&artifact.info.url, Reply::Bytes(artifact.file[..1000].into()));
    })
    .await;
}

#[tokio::test]
async fn a_truncated_file_that_says_nothing() {
    refuses(RefusalReason::FileSize, |cache, bad, upstream| {
        let artifact = cache.get(bad);
        upstream.set(&artifact.info.url, Reply::Unannounced(artifact.file[..1000].into()));
    })
    .await;
}

#[tokio::test]
async fn more_bytes_than_the_file_size_says() {
    for announced in [true, false] {
        refuses(RefusalReason::FileSize, |cache, bad, upstream| {
            let artifact = cache.get(bad);
            let file = [&artifact.file[..], &vec![0; 100_000]].concat();
            let reply = if announced { Reply::Bytes(file) } else { Reply::Unannounced(file) };
            upstream.set(&artifact.info.url, reply);
        })
        .await;
    }
}

#[tokio::test]
async fn an_endless_body() {
    for stated in [true, false] {
        refuses(RefusalReason::FileSize, |cache, bad, upstream| {
            let artifact = cache.get(bad);
            if !stated {
                (artifact.info.file_hash, artifact.info.file_size) = (None, None);
            }
            upstream.set(&artifact.info.url, Reply::Endless);
            serve_again(cache, bad, upstream);
        })
        .await;
    }
}

#[tokio::test]
async fn a_nar_larger_than_its_nar_size() {
    refuses(RefusalReason::NarSize, |cache, bad, upstream| {
        // A bomb: 4 MiB of zeros are a small file.
        let artifact = cache.get(bad);
        let file = xz(&nar(&vec![0; 4 << 20]));
        artifact.info.file_hash = Some(Hash::of(&file));
        artifact.info.file_size = Some(file.len() as u64);
        upstream.set(&artifact.info.url, Reply::Bytes(file));
        serve_again(cache, bad, upstream);
    })
    .await;
}

#[tokio::test]
async fn a_nar_above_the_limit() {
    refuses(RefusalReason::TooLarge, |cache, bad, upstream| {
        cache.get(bad).info.nar_size = 1 << 40;
        cache.sign(bad);
        serve_again(cache, bad, upstream);
    })
    .await;
}

#[tokio::test]
async fn a_narinfo_that_is_not_there() {
    refuses(RefusalReason::NotFound, |_, bad, upstream| {
        upstream.set(&bad.hash_part().narinfo_name(), Reply::Status(404));
    })
    .await;
}

#[tokio::test]
async fn a_nar_file_that_is_not_there() {
    refuses(RefusalReason::NotFound, |cache, bad, upstream| {
        upstream.set(&cache.get(bad).info.url, Reply::Status(404));
    })
    .await;
}

#[tokio::test]
async fn a_nar_file_that_never_comes_whole() {
    refuses(RefusalReason::UpstreamUnreachable, |cache, bad, upstream| {
        let artifact = cache.get(bad);
        upstream.set(&artifact.info.url, Reply::Cut { bytes: artifact.file.clone(), after: 0 });
    })
    .await;
}
