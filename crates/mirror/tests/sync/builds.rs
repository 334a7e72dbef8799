//! One path at two upstreams: one NAR in different files, and different builds.

use std::fs;

use granary_mirror::sync::PassOutcome;
use granary_nix::{Compression, NarInfo, StorePath};
use granary_placement::report::RefusalReason;

use super::common::{Cache, Reply, Upstream, job, mirror, source};
use super::{clean, is_visible, reason};

/// A pass over `path` at two upstreams, of which `first` is asked first and gives the narinfo.
async fn pass(directory: &tempfile::TempDir, path: &StorePath, first: &Site, second: &Site) -> PassOutcome {
    let (_tree, syncer) = mirror(directory.path());
    let of = |site: &Site, priority| source(&site.upstream, &site.cache.keys(), priority);
    syncer.pass(&job(vec![of(first, 10), of(second, 40)], &[path]), &()).await
}

/// A cache and its server.
struct Site {
    cache: Cache,
    upstream: Upstream,
}

impl Site {
    async fn of(cache: Cache) -> Self {
        let upstream = Upstream::of(&cache).await;
        Self { cache, upstream }
    }

    fn nars_asked(&self) -> usize {
        self.upstream.take_asked().iter().filter(|asked| asked.path.starts_with("nar/")).count()
    }
}

#[tokio::test]
async fn the_same_nar_in_another_file_is_had_and_published_as_the_file_that_it_is() {
    let (mut xz, mut zstd) = (Cache::new("test-1"), Cache::new("test-1"));
    let path = xz.add_sized("a", &[], 20_000);
    assert_eq!(zstd.add_sized("a", &[], 20_000), path);
    zstd.repack(&path, Compression::Zstd);
    let (first, here) = (xz.get(&path).clone(), zstd.get(&path).clone());
    assert!(first.info.nar_hash == here.info.nar_hash && first.info.file_hash != here.info.file_hash);
    let (xz, zstd) = (Site::of(xz).await, Site::of(zstd).await);
    let wrong = vec![7; first.file.len()];
    for (what, reply) in [("missing", Reply::Status(404)), ("wrong", Reply::Bytes(wrong))] {
        xz.upstream.set(&first.info.url, reply);
        let directory = tempfile::tempdir().unwrap();
        let outcome = pass(&directory, &path, &xz, &zstd).await;
        assert!(outcome.is_synced() && outcome.refused.is_empty(), "{what}: {outcome:#?}");
        assert!(xz.nars_asked() == 1 && zstd.nars_asked() == 1, "{what}: the first is asked in vain");
        let folder = directory.path();
        for narinfo in
            [path.hash_part().narinfo_name(), format!(".granary/catalog/{}.narinfo", path.hash_part())]
        {
            let published = NarInfo::parse(&fs::read(folder.join(narinfo)).unwrap()).unwrap();
            assert_eq!(published, here.info, "{what}");
        }
        assert_eq!(fs::read(folder.join(&here.info.url)).unwrap(), here.file, "{what}");
        assert!(!folder.join(&first.info.url).exists(), "{what}");
        assert_eq!(clean(folder, &zstd.cache.keys()).notes, [], "{what}");
    }
}

#[tokio::test]
async fn another_build_of_the_same_path_does_not_take_its_place() {
    let mut wanted = Cache::new("test-1");
    let path = wanted.add_sized("a", &[], 20_000);
    let (mut bytes, mut references) = (Cache::new("test-1"), Cache::new("test-1"));
    bytes.add_sized("a", &[], 20_001);
    let other = references.add("other", &[]);
    references.add_sized("a", &[&other], 20_000);
    let url = wanted.get(&path).info.url.clone();
    let (wanted, bytes, references) =
        (Site::of(wanted).await, Site::of(bytes).await, Site::of(references).await);
    wanted.upstream.set(&url, Reply::Status(404));
    for (second, words) in
        [(&bytes, "another build: NarHash sha256:"), (&references, "its references are others")]
    {
        let directory = tempfile::tempdir().unwrap();
        let outcome = pass(&directory, &path, &wanted, second).await;
        assert_eq!(reason(&outcome, &path), Some(RefusalReason::NarHash), "{outcome:#?}");
        let refusal = &outcome.refused[0];
        assert!(refusal.message.contains(words), "{refusal:?}");
        assert_eq!(refusal.source.trim_end_matches('/'), second.upstream.url());
        assert_eq!(second.nars_asked(), 0, "its NAR is not asked for");
        assert!(!is_visible(directory.path(), &path));
        clean(directory.path(), &wanted.cache.keys());
    }
}
