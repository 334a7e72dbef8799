//! The power cut before every step of seeded histories of a tree: what is left is a valid cache, and is completed.

mod beside;
mod foreign;
mod killed;
mod removals;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use granary_nix::{CacheInfo, Compression, Hash, HashPart, NarInfo, PublicKeys, SecretKey, StorePath};
use granary_placement::report::{Refusal, RefusalReason};

use super::disk::{self, power};
use super::{Contents, Publication, Tree, TreeError, hash_of};
use crate::compact::HashParts;
use crate::verify::verify_tree;
use removals::Removals;

/// Histories, each of which is interrupted before every step.
const SEEDS: u64 = 8;
/// Interruptions that all of them must come to.
const LEAST: usize = 1000;

/// Numbers that look random.
pub(crate) struct Numbers(pub(crate) u64, pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.1 += 1;
        let digest = Hash::of(&[self.0.to_le_bytes(), self.1.to_le_bytes()].concat());
        digest.as_bytes().iter().take(4).fold(0, |sum, byte| sum << 8 | usize::from(*byte)) % bound
    }
}

/// What a tree is brought to: everything is in the catalog at first, some of it is published, some of it refused, and at
/// last the catalog keeps only what is needed.
struct History {
    key: SecretKey,
    artifacts: Vec<(NarInfo, Vec<u8>)>,
    published: HashSet<HashPart>,
    refused: HashSet<HashPart>,
    wanted: HashParts,
    /// Artifacts that are published with one call.
    at_once: usize,
    /// What is taken out again at last, if anything.
    removals: Option<Removals>,
    /// Whether there are files beside what is published.
    beside: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed, 0);
        let key = SecretKey::from_seed("test-1", &[1; 32]).unwrap();
        let mut artifacts: Vec<(NarInfo, Vec<u8>)> = Vec::new();
        let (mut published, mut refused, mut wanted) = (HashSet::new(), HashSet::new(), HashParts::default());
        for number in 0..7 {
            let name = format!("{seed}-{number}");
            let digest = Hash::of(name.as_bytes()).to_nix32();
            let path = StorePath::parse_base_name(&format!("{}-a{name}", &digest[..32])).unwrap();
            // Some have one content, and so one NAR file.
            let nar = beside::nar(numbers.below(5));
            let mut references: Vec<StorePath> =
                artifacts.iter().map(|(info, _)| info.store_path.clone()).collect();
            references.retain(|_| numbers.below(3) == 0);
            references.sort();
            let stated = numbers.below(2) == 0;
            let mut info = NarInfo {
                store_path: path.clone(),
                url: "x".into(),
                compression: Compression::None,
                file_hash: stated.then(|| Hash::of(&nar)),
                file_size: stated.then_some(nar.len() as u64),
                nar_hash: Hash::of(&nar),
                nar_size: nar.len() as u64,
                references,
                deriver: Some(beside::derivation(seed, number)),
                system: None,
                sigs: Vec::new(),
                ca: None,
            };
            info.sigs = vec![key.sign(&info.fingerprint())];
            match numbers.below(4) {
                0 => drop(refused.insert(path.hash_part())),
                1 => {}
                _ => drop(published.insert(path.hash_part())),
            }
            if numbers.below(2) == 0 {
                let closed = info.references.iter().all(|reference| wanted.contains(&reference.hash_part()));
                wanted.extend(closed.then_some(path.hash_part()));
            }
            artifacts.push((info, nar));
        }
        let at_once = 1 + numbers.below(4);
        Self { key, artifacts, published, refused, wanted, at_once, removals: None, beside: false }
    }

    /// All of it, or what is left to do of it. What is said to be published goes into `told`.
    fn play(&self, directory: &Path, told: &RefCell<HashSet<HashPart>>) -> Result<(), TreeError> {
        let tree = Tree::open(directory, &CacheInfo::default())?;
        answered(&tree, "opened");
        tree.put_in_catalog(self.artifacts.iter().map(|(info, _)| info))?;
        // One at a time, and several at once.
        for some in self.artifacts.chunks(self.at_once) {
            let mut publications = Vec::new();
            for (info, nar) in some {
                let hash = info.store_path.hash_part();
                if self.published.contains(&hash) && !tree.still_holds(&hash) {
                    if self.is_kept(&hash) {
                        tree.keep(&hash, "push ci")?;
                    }
                    let file = tree.temp();
                    disk::write(file.path(), nar).map_err(TreeError::io("write", file.path()))?;
                    let contents = Contents { file_hash: Hash::of(nar), file_size: nar.len() as u64 };
                    publications.push(Publication { info: Arc::new(info.clone()), contents, nar: file });
                }
            }
            let hashes: Vec<HashPart> =
                publications.iter().map(|publication| publication.info.store_path.hash_part()).collect();
            let outcomes = tree.publish_all(publications);
            for (hash, outcome) in hashes.iter().zip(outcomes) {
                outcome?;
                told.borrow_mut().insert(*hash);
            }
        }
        if self.beside {
            self.put_extras(&tree)?;
        }
        for hash in self.published.iter().chain(&self.refused) {
            tree.put_in_quarantine([(hash, &refusal(hash))])?;
        }
        tree.prune_quarantine(|| Some(self.refused.iter().copied().collect()))?;
        tree.prune_catalog(&self.wanted)?;
        answered(&tree, "done");
        match &self.removals {
            Some(removals) => {
                told.borrow_mut().clear();
                removals.play(self, tree)
            }
            None => Ok(()),
        }
    }

    /// Whether it is marked before it is published: every second one of a history without removals.
    fn is_kept(&self, hash: &HashPart) -> bool {
        self.removals.is_none() && hash.as_str().as_bytes().iter().fold(0, |sum, byte| sum ^ byte) % 2 == 0
    }

    fn keys(&self) -> PublicKeys {
        [self.key.public_key()].into_iter().collect()
    }

    /// Nothing but the name of the cache may be missing, and only before there is anything in it.
    fn check(&self, directory: &Path, when: &str) {
        if directory.join(".granary/lock").exists() {
            let check = verify_tree(directory, &self.keys()).unwrap();
            let early = !directory.join("nix-cache-info").exists() && check.artifacts == 0;
            let mut faults = check.faults;
            faults.retain(|fault| !(early && fault.path == "nix-cache-info"));
            assert_eq!(faults, [], "{when}");
            for hash in self.published.iter().filter(|hash| self.is_kept(hash)) {
                let visible = directory.join(hash.narinfo_name()).exists();
                let marked = directory.join(".granary/kept").join(hash.as_str()).exists();
                assert!(marked || !visible, "{when}: {hash} is visible without its mark");
            }
        }
    }
}

/// What is published is in the catalog's directory, where nginx looks for it, and says the same there.
fn answered(tree: &Tree, when: &str) {
    for entry in fs::read_dir(tree.directory()).unwrap() {
        let path = entry.unwrap().path();
        let Some(hash) = hash_of(path.file_name().unwrap()).filter(|hash| tree.holds(hash)) else { continue };
        let catalog = fs::read(tree.layout().catalog_narinfo(&hash)).ok();
        assert_eq!(catalog, fs::read(&path).ok(), "{when}: {hash}");
    }
}

fn refusal(hash: &HashPart) -> Refusal {
    let (store_path, reason) = (hash.to_string(), RefusalReason::NarHash);
    Refusal { store_path, reason, message: "m".into(), source: "s".into() }
}

/// Every file but the disk's id, and the names that NAR files had, and the checksums of files, which are more when something is done twice; of the records,
/// which have the time in them, only the names.
pub(crate) fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut open, mut files) = (vec![directory.to_owned()], BTreeMap::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if ![".granary/id", ".granary/names.json"].iter().any(|other| path.ends_with(other))
            && path.parent().is_none_or(|parent| !parent.ends_with(".granary/checksums"))
        {
            let timed = path.extension().is_some_and(|extension| extension == "json");
            let content = if timed { Vec::new() } else { fs::read(&path).unwrap() };
            files.insert(path.strip_prefix(directory).unwrap().to_owned(), content);
        }
    }
    files
}

/// A directory on a filesystem in memory, where there is one: what is lost is decided by the test.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// One history, interrupted before each of its steps, and again while it is completed. How many interruptions.
fn interrupt(seed: u64, power_cut: bool, removals: bool, beside: bool) -> usize {
    let mut history = History { beside, ..History::new(seed) };
    history.removals = removals.then(|| Removals::of(&history, &mut Numbers(seed, 5000)));
    let mut numbers = Numbers(seed, 1000);
    let whole = directory();
    let told = RefCell::default();
    let (result, off) = power::run(usize::MAX, || history.play(whole.path(), &told));
    result.unwrap();
    history.check(whole.path(), "undisturbed");
    let (expected, steps) = (files(whole.path()), off.steps());
    let mut count = 0;
    for step in 0..steps {
        let directory = directory();
        let told = RefCell::default();
        for (time, steps) in [step, numbers.below(steps)].into_iter().enumerate() {
            let (result, off) = power::run(steps, || history.play(directory.path(), &told));
            count += usize::from(result.is_err());
            if power_cut {
                off.lose_unsynced(|count| numbers.below(count));
            }
            let when = format!("seed {seed}, step {step}, time {time}: {steps}");
            history.check(directory.path(), &when);
            for hash in told.borrow().iter() {
                let narinfo = directory.path().join(hash.narinfo_name());
                assert!(narinfo.exists(), "{when}: {hash} was said to be published");
            }
        }
        history.play(directory.path(), &told).unwrap();
        history.check(directory.path(), &format!("seed {seed}, step {step}, completed"));
        let found = files(directory.path());
        let names =
            found.keys().chain(expected.keys()).filter(|name| found.get(*name) != expected.get(*name));
        let names: Vec<&PathBuf> = names.collect();
        assert!(names.is_empty(), "seed {seed}, step {step}: not as undisturbed: {names:?}");
    }
    count
}

#[test]
fn a_process_that_ends_before_any_step_leaves_a_valid_cache() {
    let count: usize = (0..SEEDS).map(|seed| interrupt(seed, false, false, false)).sum();
    assert!(count >= LEAST, "{count} interruptions");
}

#[test]
fn a_machine_that_stops_before_any_step_leaves_a_valid_cache() {
    let count: usize = (0..SEEDS).map(|seed| interrupt(seed, true, false, false)).sum();
    assert!(count >= LEAST, "{count} interruptions");
}

#[test]
fn a_process_that_ends_before_any_step_of_a_removal_leaves_a_valid_cache() {
    let count: usize = (0..SEEDS).map(|seed| interrupt(seed, false, true, false)).sum();
    assert!(count >= LEAST, "{count} interruptions");
}

#[test]
fn a_machine_that_stops_before_any_step_of_a_removal_leaves_a_valid_cache() {
    let count: usize = (0..SEEDS).map(|seed| interrupt(seed, true, true, false)).sum();
    assert!(count >= LEAST, "{count} interruptions");
}

#[test]
fn files_beside_artifacts_come_after_them_and_go_before_them_whenever_a_process_ends() {
    let count: usize = (0..SEEDS / 2).map(|seed| interrupt(seed, false, true, true)).sum();
    assert!(count >= LEAST, "{count} interruptions");
}

#[test]
fn files_beside_artifacts_come_after_them_and_go_before_them_whenever_a_machine_stops() {
    let count: usize = (0..SEEDS / 2).map(|seed| interrupt(seed, true, true, true)).sum();
    assert!(count >= LEAST, "{count} interruptions");
}
