//! A tree on a disk that takes nothing in.

use std::fs;
use std::sync::Arc;

use granary_mirror::capacity::NoRoom;
use granary_mirror::tree::Tree;
use granary_nix::CacheInfo;
use granary_placement::report::RefusalReason;

use super::common::{Cache, Small, Upstream, fetcher, job, mirror, source};
use super::{clean, is_visible, reason};
use granary_mirror::sync::Syncer;

#[tokio::test]
async fn it_opens_takes_nothing_in_and_makes_up_for_it() {
    if !Small::is_possible() {
        return;
    }
    let mut cache = Cache::new("test-1");
    let one = cache.add("one", &[]);
    let two = cache.add("two", &[&one]);
    let upstream = Upstream::of(&cache).await;
    let folder = tempfile::tempdir().unwrap();
    let (path, state) = (folder.path().join("tree"), folder.path().join("tree/.granary"));
    let disk = Small::mount(&path, "32m");
    let (tree, syncer) = mirror(&path);
    let only_one = job(vec![source(&upstream, &cache.keys(), 40)], &[&one]);
    assert!(syncer.pass(&only_one, &()).await.is_synced());
    assert!(tree.takes_in());
    drop((tree, syncer));

    // What a process that was killed leaves: half a file, a NAR file on its way out, and a lost catalog.
    fs::write(state.join("tmp/7"), "half").unwrap();
    fs::write(path.join("nix-cache-info"), "StoreDir: /nix/store\n").unwrap();
    let in_catalog = state.join("catalog").join(one.hash_part().narinfo_name());
    fs::remove_file(&in_catalog).unwrap();
    let note = state.join("quarantine/x.nar.xz.leaving");
    fs::write(&note, "").unwrap();
    disk.try_remount("ro").unwrap();

    let info = CacheInfo { want_mass_query: true, priority: Some(30), ..CacheInfo::default() };
    let tree = Arc::new(Tree::open(&path, &info).unwrap());
    assert!(tree.holds(&one.hash_part()) && tree.capacity().is_read_only() && !tree.takes_in());
    assert_eq!(tree.admit(1).await.unwrap_err(), NoRoom::ReadOnly);
    let syncer = Syncer::new(Arc::clone(&tree), fetcher());
    upstream.take_asked();
    let both = job(vec![source(&upstream, &cache.keys(), 40)], &[&two]);
    let outcome = syncer.pass(&both, &()).await;
    assert_eq!(reason(&outcome, &two), Some(RefusalReason::Disk), "{:?}", outcome.refused);
    assert!(outcome.refused[0].message.contains("read-only"), "{:?}", outcome.refused);
    assert!(
        !upstream.take_asked().iter().any(|asked| asked.path.contains("nar/")),
        "no NAR is asked for in vain"
    );
    assert!(note.exists() && !in_catalog.exists());

    disk.try_remount("rw").unwrap();
    assert!(tree.takes_in() && !tree.capacity().is_read_only());
    assert!(!note.exists() && in_catalog.exists() && !state.join("tmp/7").exists());
    assert_eq!(fs::read_to_string(path.join("nix-cache-info")).unwrap(), info.to_text());
    assert!(syncer.pass(&both, &()).await.is_synced());
    assert!(is_visible(&path, &two));
    assert_eq!(clean(&path, &cache.keys()).artifacts, 2);

    // It becomes read-only under an open tree, and that is seen before a NAR is asked for.
    disk.try_remount("ro").unwrap();
    assert_eq!(tree.admit(1).await.unwrap_err(), NoRoom::ReadOnly);
    assert!(!tree.takes_in());
    disk.try_remount("rw").unwrap();
    assert!(tree.takes_in());
    assert!(tree.admit(1).await.is_ok());
}

#[test]
fn a_disk_without_a_tree_cannot_be_opened_and_that_is_said() {
    if !Small::is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Small::mount(&folder.path().join("tree"), "1m");
    disk.try_remount("ro").unwrap();
    let error = Tree::open(&folder.path().join("tree"), &CacheInfo::default()).unwrap_err();
    assert!(error.to_string().contains("Read-only file system"), "{error}");
}
