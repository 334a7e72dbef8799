//! Names that NAR files had, for clients that remember a narinfo for a month: a source that has the same NAR in another file
//! gives it another FileHash, and so another name.
//!
//! A name is noted before what knows it changes, and forgotten when it is old: by time that is counted ([`crate::counted`]), so
//! that no clock makes the mirror forget what it has promised to answer. Losing the document costs no more than an answer to
//! who comes with such a name.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use granary_fetch::Expected;
use granary_nix::{Compression, Hash, HashPart, served_nar_name};
use serde::{Deserialize, Serialize};

use super::index::CatalogEntry;
use super::{Tree, read, write};

/// Where they are kept, below `.granary`.
const STATE: &str = "names.json";
/// A client may ask for a NAR so long after it read the narinfo, and a day more.
const REMEMBERED: Duration = Duration::from_hours(31 * 24);
/// Names that are kept; with more, those that were noted first are forgotten.
const MOST: usize = 4096;

/// A NAR file as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Former {
    hash_part: HashPart,
    compression: String,
    file_hash: Hash,
    file_size: Option<u64>,
    nar_hash: Hash,
    nar_size: u64,
    content: Option<Hash>,
    /// Seconds that had been counted when it was noted.
    since: u64,
}

impl Former {
    /// `None` for what was never named by its FileHash.
    fn of(hash_part: HashPart, expected: &Expected, since: u64) -> Option<Self> {
        let Expected { compression, file_hash, file_size, nar_hash, nar_size, content } = *expected;
        let (file_hash, compression) = (file_hash?, compression.to_string());
        Some(Self { hash_part, compression, file_hash, file_size, nar_hash, nar_size, content, since })
    }

    fn entry(&self) -> Option<CatalogEntry> {
        let Self { hash_part, file_size, nar_hash, nar_size, content, .. } = *self;
        let (compression, file_hash) = (self.compression.parse().ok()?, Some(self.file_hash));
        let expected = Expected { compression, file_hash, file_size, nar_hash, nar_size, content };
        Some(CatalogEntry { hash_part, expected })
    }

    fn name(&self) -> Option<String> {
        let compression: Compression = self.compression.parse().ok()?;
        Some(served_nar_name(self.file_hash, compression))
    }
}

/// The document.
#[derive(Debug, Serialize, Deserialize)]
struct Document<N> {
    /// Seconds that had been counted when it was written.
    clock: u64,
    /// In the order in which they were noted.
    names: Vec<N>,
}

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By name in the cache; each with its number, in the order in which they were noted.
    all: HashMap<String, (u64, Former)>,
    /// The number of the next.
    next: u64,
    clock: Duration,
}

impl Names {
    /// Reads the document; a damaged one is as good as none.
    pub(super) fn load(json: Option<Vec<u8>>) -> Self {
        let document = json.and_then(|json| serde_json::from_slice(&json).ok());
        let Some(Document { clock, names }) = document else { return Self::default() };
        let mut all = Self { clock: Duration::from_secs(clock), ..Self::default() };
        // None was noted later than now.
        all.add(names.into_iter().map(|former: Former| Former { since: former.since.min(clock), ..former }));
        all
    }

    fn to_json(&self) -> Vec<u8> {
        let mut all: Vec<&(u64, Former)> = self.all.values().collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        let names = all.into_iter().map(|(_, former)| former).collect();
        serde_json::to_vec(&Document { clock: self.clock.as_secs(), names }).unwrap_or_default()
    }

    fn get(&self, name: &str) -> Option<&Former> {
        self.all.get(name).map(|(_, former)| former)
    }

    /// Time has passed: forgets what is old by now. Whether there is anything whose age has to be kept.
    fn grow_older(&mut self, by: Duration) -> bool {
        self.clock = self.clock.saturating_add(by);
        let (clock, before) = (self.clock.as_secs(), self.all.len());
        self.all.retain(|_, (_, former)| clock.saturating_sub(former.since) <= REMEMBERED.as_secs());
        before > 0
    }

    /// Notes more. Of too many the first are forgotten.
    fn add(&mut self, more: impl IntoIterator<Item = Former>) {
        for former in more {
            let Some(name) = former.name() else { continue };
            self.all.insert(name, (self.next, former));
            self.next += 1;
        }
        if self.all.len() > MOST {
            let mut numbers: Vec<u64> = self.all.values().map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            let first = numbers[numbers.len() - MOST];
            self.all.retain(|_, (number, _)| *number >= first);
        }
    }
}

impl Tree {
    /// Notes under which names these NAR files were answered, before anything that knows it changes. What cannot be kept on
    /// the disk now is kept in memory.
    pub(super) fn note_names<'n>(&self, former: impl Iterator<Item = (&'n HashPart, Expected)>) {
        let mut names = write(&self.names);
        let since = names.clock.as_secs();
        let former: Vec<Former> =
            former.filter_map(|(hash, expected)| Former::of(*hash, &expected, since)).collect();
        if former.is_empty() {
            return;
        }
        names.add(former);
        drop(names);
        self.keep_names();
    }

    /// Time has passed. Blocks on the disk.
    pub(super) fn names_grow_older(&self, by: Duration) {
        if write(&self.names).grow_older(by) {
            self.keep_names();
        }
    }

    fn keep_names(&self) {
        // One at a time, and what is known by then: an older document must not take the place of a newer one.
        let _alone = self.keeping_names.lock().unwrap_or_else(PoisonError::into_inner);
        let json = read(&self.names).to_json();
        match self.keep_state(STATE, &json) {
            // That the disk is read-only is told without this.
            Err(error) if !error.is_read_only() => {
                tracing::warn!(%error, "the former names of NAR files cannot be kept");
            }
            _ => {}
        }
    }

    /// Reads what an earlier process noted.
    pub(super) fn load_names(&self) {
        *write(&self.names) = Names::load(self.state(STATE));
    }

    /// The artifact whose NAR file had this name, `<hash>.nar[.<compression>]`: as the catalog knows it now, if that is the
    /// same NAR, and else as it was.
    pub(super) fn formerly(&self, file: &str) -> Option<CatalogEntry> {
        let former = read(&self.names).get(&format!("nar/{file}"))?.entry()?;
        let now = read(&self.catalog).entry(&former.hash_part);
        now.filter(|now| is_same(&now.expected, &former.expected)).or(Some(former))
    }

    /// The name of the NAR file that is here now, in the place of one of this name that `known` is about: it has the same
    /// NAR, compressed in the same way. In memory.
    #[must_use]
    pub fn successor(&self, file: &str, known: &CatalogEntry) -> Option<String> {
        let name = self.nar_name(&known.hash_part)?;
        let held = name.strip_prefix("nar/").filter(|held| *held != file)?;
        let now = self.find_nar(held)?;
        is_same(&now.expected, &known.expected).then(|| held.to_owned())
    }
}

fn is_same(one: &Expected, other: &Expected) -> bool {
    (one.nar_hash, one.compression) == (other.nar_hash, other.compression)
}

#[cfg(test)]
mod tests {
    use granary_nix::CacheInfo;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const YEAR: u64 = 365 * 24;

    fn former(number: u64, since: u64) -> Former {
        let hash = Hash::of(&number.to_le_bytes());
        Former {
            hash_part: "00bgd045z0d4icpbc2yyz4gx48ak44la".parse().unwrap(),
            compression: "xz".into(),
            file_hash: hash,
            file_size: Some(1),
            nar_hash: hash,
            nar_size: 2,
            content: None,
            since,
        }
    }

    fn has(names: &Names, number: u64) -> bool {
        names.get(&former(number, 0).name().unwrap()).is_some()
    }

    #[test]
    fn they_are_remembered_for_a_month_over_restarts_too() {
        let mut names = Names::default();
        assert!(!names.grow_older(10 * HOUR), "nothing has to be kept");
        names.add([former(0, names.clock.as_secs())]);
        assert!(names.grow_older(HOUR));
        names.add([former(1, names.clock.as_secs())]);
        let mut names = Names::load(Some(names.to_json()));
        let entry = names.get(&former(1, 0).name().unwrap()).unwrap().entry().unwrap();
        assert_eq!(entry.expected.file_hash, Some(former(1, 0).file_hash));
        names.grow_older(HOUR * (31 * 24 - 1));
        assert!(has(&names, 0) && has(&names, 1));
        assert!(names.grow_older(HOUR) && !has(&names, 0) && has(&names, 1), "a month after it was noted");
        assert!(names.grow_older(HOUR) && names.all.is_empty(), "that has to be kept");
    }

    #[test]
    fn as_many_are_remembered_as_there_is_room_for_and_the_newest_stay() {
        let mut names = Names::default();
        names.add((0..5000).map(|number| former(number, 0)));
        assert_eq!(names.all.len(), MOST);
        assert!(!has(&names, 903) && has(&names, 904) && has(&names, 4999));
        names.add([former(904, 0)]);
        let mut names = Names::load(Some(names.to_json()));
        names.add([former(5000, 0)]);
        assert!(has(&names, 904) && !has(&names, 905), "one that is noted again is new");
    }

    #[test]
    fn a_damaged_document_makes_nothing_old_and_nothing_young_for_ever() {
        assert_eq!(Names::load(Some(b"damaged".into())).all.len(), 0);
        let document = Document { clock: 5, names: vec![former(0, u64::MAX)] };
        let mut names = Names::load(Some(serde_json::to_vec(&document).unwrap()));
        names.grow_older(HOUR * (31 * 24));
        assert!(has(&names, 0));
        names.grow_older(HOUR);
        assert!(!has(&names, 0));
    }

    #[test]
    fn a_name_that_was_noted_is_on_the_disk_whoever_notes_others_meanwhile() {
        let temp = tempfile::tempdir().unwrap();
        let tree = Tree::open(temp.path(), &CacheInfo::default()).unwrap();
        let note = |number: u64| {
            let former = former(number, 0);
            tree.note_names(std::iter::once((&former.hash_part, former.entry().unwrap().expected)));
            assert!(has(&Names::load(tree.state(STATE)), number), "{number}");
        };
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || (0..100).for_each(|number| note(writer * 100 + number)));
            }
        });
    }

    #[test]
    fn a_clock_that_jumps_does_not_make_a_tree_forget_a_name_nor_does_a_restart() {
        let temp = tempfile::tempdir().unwrap();
        let open = || Tree::open(temp.path(), &CacheInfo::default()).unwrap();
        let former = former(0, 0);
        let name = former.name().unwrap();
        let knows = |tree: &Tree| tree.find_nar(name.strip_prefix("nar/").unwrap()).is_some();
        let mut tree = open();
        (0..5).for_each(|hour| tree.time_passes(Duration::from_hours(hour)));
        tree.note_names(std::iter::once((&former.hash_part, former.entry().unwrap().expected)));
        // A year forward and back, in three runs. Each jump forward counts for an hour: 6 of them.
        for _ in 0..3 {
            for hours in [0, YEAR, 0, YEAR] {
                tree.time_passes(Duration::from_hours(hours));
                assert!(knows(&tree));
            }
            drop(tree);
            tree = open();
            assert!(knows(&tree));
        }
        assert_eq!(read(&tree.names).clock, Duration::from_hours(4 + 6), "and it does count");
    }
}
