use std::fs;

use granary_nix::{CacheInfo, Compression, Hash, HashPart, NarInfo, StorePath};

use super::super::{Contents, Tree, TreeError, disk};

pub(in super::super) struct Disk {
    _directory: tempfile::TempDir,
    pub(in super::super) tree: Tree,
}

impl Disk {
    pub(in super::super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path(), &CacheInfo::default()).unwrap();
        Self { _directory: directory, tree }
    }

    pub(in super::super) fn again(self) -> Self {
        let Self { _directory: directory, tree } = self;
        drop(tree);
        let tree = Tree::open(directory.path(), &CacheInfo::default()).unwrap();
        Self { _directory: directory, tree }
    }

    pub(in super::super) fn publish(&self, name: char, nar: &[u8], references: &[char]) -> HashPart {
        let info = NarInfo {
            store_path: path(name),
            url: "x".into(),
            compression: Compression::None,
            file_hash: None,
            file_size: None,
            nar_hash: Hash::of(nar),
            nar_size: nar.len() as u64,
            references: references.iter().copied().map(path).collect(),
            deriver: None,
            system: None,
            sigs: Vec::new(),
            ca: None,
        };
        let file = self.tree.temp();
        disk::write(file.path(), nar).unwrap();
        self.tree.publish(&info, &contents(nar), file).unwrap();
        path(name).hash_part()
    }

    pub(in super::super) fn served(&self, name: &str) -> bool {
        self.tree.directory().join(name).exists()
    }
}

pub(in super::super) fn path(name: char) -> StorePath {
    StorePath::parse_base_name(&format!("{}-{name}", name.to_string().repeat(32))).unwrap()
}

fn contents(nar: &[u8]) -> Contents {
    Contents { file_hash: Hash::of(nar), file_size: nar.len() as u64 }
}

pub(in super::super) fn nar_name(nar: &[u8]) -> String {
    format!("nar/{}.nar", Hash::of(nar).to_nix32())
}

#[test]
fn what_something_published_refers_to_stays_until_that_is_gone() {
    let disk = Disk::new();
    let a = disk.publish('a', b"a", &['a']);
    let b = disk.publish('b', b"b", &['a', 'b']);
    let c = disk.publish('c', b"c", &['a']);
    assert!(matches!(disk.tree.remove(&a), Err(TreeError::Referred { referrers: 2, .. })));
    assert!(disk.served(&a.narinfo_name()) && disk.tree.holds(&a));
    assert_eq!(disk.tree.remove_all(&[a, b]).unwrap(), [b], "c still refers to it");
    assert_eq!(disk.tree.remove_all(&[a, c]).unwrap(), [c, a], "referrers first");
    assert_eq!(disk.tree.totals().artifacts, 0);
    assert!(matches!(disk.tree.remove(&a), Err(TreeError::NotThere { .. })));
    for (hash, nar) in [(a, b"a"), (b, b"b"), (c, b"c")] {
        assert!(!disk.served(&hash.narinfo_name()) && !disk.served(&nar_name(nar)));
        let (info, file) = disk.tree.in_trash(&hash).unwrap();
        assert_eq!((info.nar_hash, fs::read(file).unwrap()), (Hash::of(nar), nar.to_vec()));
    }
}

#[test]
fn a_nar_file_that_two_share_goes_with_the_second() {
    let disk = Disk::new();
    let (a, b) = (disk.publish('a', b"same", &[]), disk.publish('b', b"same", &[]));
    let name = nar_name(b"same");
    disk.tree.remove(&a).unwrap();
    assert!(disk.served(&name), "b has it too");
    disk.tree.empty_trash_of(&a).unwrap();
    assert!(disk.served(&name) && disk.tree.in_trash(&a).is_none());
    disk.tree.remove(&b).unwrap();
    assert!(!disk.served(&name) && disk.tree.in_trash(&b).is_some());
    let disk = disk.again();
    assert!(disk.tree.in_trash(&b).is_some(), "read again at the start");
    disk.tree.empty_trash_of(&a).unwrap();
    assert!(disk.tree.in_trash(&b).is_some(), "b may be wanted again");
    disk.tree.empty_trash_of(&b).unwrap();
    assert!(disk.tree.in_trash(&b).is_none());
}

/// So the room is never used up sooner than is said. On the disk it is there once.
#[test]
fn a_nar_file_that_two_have_counts_for_each_and_for_none_when_both_are_gone() {
    let disk = Disk::new();
    let bytes = |disk: &Disk| (disk.tree.totals().bytes, disk.tree.trashed_bytes());
    let (a, b) = (disk.publish('a', b"same", &[]), disk.publish('b', b"same", &[]));
    let files = fs::read_dir(disk.tree.layout().nars()).unwrap().count();
    assert_eq!((files, bytes(&disk)), (1, (8, 0)));
    disk.tree.remove(&a).unwrap();
    assert_eq!(bytes(&disk), (4, 4));
    let disk = disk.again();
    assert_eq!(bytes(&disk), (4, 4), "read again at the start");
    disk.tree.remove(&b).unwrap();
    assert_eq!(bytes(&disk), (0, 8));
    disk.tree.empty_trash_of(&a).unwrap();
    disk.tree.empty_trash_of(&b).unwrap();
    assert_eq!(bytes(&disk), (0, 0));
}

#[test]
fn what_is_taken_back_is_published_as_before() {
    let disk = Disk::new();
    let a = disk.publish('a', b"a", &[]);
    let before = fs::read(disk.tree.layout().narinfo(&a)).unwrap();
    disk.tree.remove(&a).unwrap();
    let (info, file) = disk.tree.take_back(&a).unwrap();
    assert_eq!(fs::read(file.path()).unwrap(), b"a");
    disk.tree.publish(&info, &contents(b"a"), file).unwrap();
    assert_eq!(fs::read(disk.tree.layout().narinfo(&a)).unwrap(), before);
    assert!(disk.served(&nar_name(b"a")) && disk.tree.holds(&a));
    assert_eq!(disk.tree.trashed(), []);
    assert!(matches!(disk.tree.take_back(&a), Err(TreeError::NotThere { .. })));
}

#[test]
fn a_nar_that_was_published_is_known_by_name_until_its_narinfo_leaves_the_trash() {
    let disk = Disk::new();
    let a = disk.publish('a', b"a", &[]);
    disk.tree.prune_catalog(&crate::compact::HashParts::default()).unwrap();
    disk.tree.remove(&a).unwrap();
    disk.tree.prune_catalog(&crate::compact::HashParts::default()).unwrap();
    assert!(!disk.tree.in_catalog(&a));
    let name = nar_name(b"a");
    let file = name.strip_prefix("nar/").unwrap();
    assert_eq!(disk.tree.nar_name(&a).as_deref(), Some(name.as_str()), "the trash has it");
    disk.tree.empty_trash_of(&a).unwrap();
    let disk = disk.again();
    assert_eq!(disk.tree.nar_name(&a), None);
    assert_eq!(disk.tree.find_nar(file).unwrap().hash_part, a, "it can be fetched again");
    disk.tree.remove_from_trash(&a).unwrap();
    assert_eq!(disk.tree.find_nar(file), None);
    assert_eq!(disk.again().tree.trashed(), []);
}

#[test]
fn an_artifact_says_its_size_and_when_it_was_published() {
    let before = jiff::Timestamp::now();
    let disk = Disk::new();
    let a = disk.publish('a', b"abc", &[]);
    let published = disk.tree.published(&a).unwrap();
    assert_eq!(published.file_size, 3);
    assert!(published.at.unwrap() >= before);
    let disk = disk.again();
    let (hash, again) = disk.tree.all_published()[0];
    assert_eq!((hash, again.file_size), (a, 3));
    assert!(again.at.unwrap().duration_since(before).abs() < jiff::SignedDuration::from_hours(1));
}

#[test]
fn what_is_kept_stays_with_all_that_it_references() {
    let disk = Disk::new();
    let (a, b) = (disk.publish('a', b"a", &[]), disk.publish('b', b"b", &['a']));
    let c = disk.publish('c', b"c", &['a']);
    disk.tree.keep(&b, "push ci").unwrap();
    assert_eq!(disk.tree.remove_all(&[a, b, c]).unwrap(), [c]);
    let disk = disk.again();
    assert_eq!(disk.tree.remove_all(&[a, b]).unwrap(), []);
    assert!(disk.tree.holds(&a) && disk.tree.holds(&b));
    disk.tree.unkeep(&b).unwrap();
    assert_eq!(disk.tree.remove_all(&[a, b]).unwrap(), [b, a]);
}
