use granary_nix::{CacheInfo, Compression};

use super::super::crashes::directory;
use super::super::disk::power::{self, Filesystem, Syncs};
use super::*;

/// Files that are written for an artifact: its NAR, its narinfo, and that of the catalog.
const FILES: usize = 3;
/// Directories in which they get their names.
const DIRECTORIES: usize = 3;

/// An artifact that refers to the one before it.
fn publication(tree: &Tree, number: usize) -> Publication {
    let path = |number: usize| StorePath::parse_base_name(&format!("{number:0>32}-a{number}")).unwrap();
    let nar = number.to_string();
    let file = tree.temp();
    disk::write(file.path(), nar.as_bytes()).unwrap();
    let contents = Contents { file_hash: Hash::of(nar.as_bytes()), file_size: nar.len() as u64 };
    let info = NarInfo {
        store_path: path(number),
        url: "x".into(),
        compression: Compression::None,
        file_hash: None,
        file_size: None,
        nar_hash: contents.file_hash,
        nar_size: contents.file_size,
        references: number.checked_sub(1).map(path).into_iter().collect(),
        deriver: None,
        system: None,
        sigs: Vec::new(),
        ca: None,
    };
    Publication { info: Arc::new(info), contents, nar: file }
}

/// What is synced when so many are published together.
fn syncs_for(count: usize, filesystem: Filesystem) -> Syncs {
    let directory = directory();
    let tree = Tree::open(directory.path(), &CacheInfo::default()).unwrap();
    let batch: Vec<Publication> = (0..count).map(|number| publication(&tree, number)).collect();
    let (outcomes, off) = power::on(filesystem, || power::run(usize::MAX, || tree.publish_all(batch)));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(tree.totals().artifacts, count as u64);
    off.syncs()
}

#[test]
fn a_batch_costs_no_more_syncs_the_more_is_in_it() {
    let here = directory();
    let is_relied_upon = disk::one_call_does(here.path());
    for count in [2, 3, 200] {
        let each = Syncs { files: FILES * count, filesystems: 0, directories: DIRECTORIES };
        let together = Syncs { files: 0, filesystems: FILES, directories: DIRECTORIES };
        let own = if is_relied_upon { together } else { each };
        assert_eq!(syncs_for(count, Filesystem::Own), own, "{count} artifacts");
        assert_eq!(syncs_for(count, Filesystem::Foreign), each, "{count} artifacts, each file by itself");
    }
}
