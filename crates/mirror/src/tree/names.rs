//! Names that NAR files had, for clients that remember a narinfo for a month: a source that has the same NAR in another file
//! gives it another FileHash, and so another name.
//!
//! A name is noted before what knows it changes, and forgotten when it is old, and another one is noted. Losing the document
//! costs no more than an answer to who comes with such a name.

use std::collections::HashMap;

use granary_fetch::Expected;
use granary_nix::{Compression, Hash, HashPart, served_nar_name};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::index::CatalogEntry;
use super::{Tree, read, write};

/// Where they are kept, below `.granary`.
const STATE: &str = "names.json";
/// A client may ask for a NAR so long after it read the narinfo, and a day more.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(31 * 24);
/// Names that are kept; with more, those that were noted first are forgotten.
const MOST: usize = 4096;

/// A NAR file as it was, and since when it may be something else.
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
    since: Timestamp,
}

impl Former {
    /// `None` for what was never named by its FileHash.
    fn of(hash_part: HashPart, expected: &Expected, since: Timestamp) -> Option<Self> {
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

/// What is remembered, by name in the cache.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, Former>);

impl Names {
    /// Reads the document; a damaged one is as good as none.
    pub(super) fn load(json: Option<Vec<u8>>) -> Self {
        let all: Vec<Former> = json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
        Self(all.into_iter().filter_map(|former| Some((former.name()?, former))).collect())
    }

    fn to_json(&self) -> Vec<u8> {
        let mut all: Vec<&Former> = self.0.values().collect();
        all.sort_unstable_by_key(|former| (former.since, former.file_hash));
        serde_json::to_vec(&all).unwrap_or_default()
    }

    /// Notes more, and forgets what is old, or too much.
    fn note(&mut self, more: Vec<Former>, now: Timestamp) {
        self.0.retain(|_, former| now.duration_since(former.since) <= REMEMBERED);
        self.0.extend(more.into_iter().filter_map(|former| Some((former.name()?, former))));
        if self.0.len() > MOST {
            let mut since: Vec<Timestamp> = self.0.values().map(|former| former.since).collect();
            since.sort_unstable();
            let first = since[since.len() - MOST];
            self.0.retain(|_, former| former.since >= first);
        }
    }
}

impl Tree {
    /// Notes under which names these NAR files were answered, before anything that knows it changes. What cannot be kept on
    /// the disk now is kept in memory.
    pub(super) fn note_names<'n>(&self, former: impl Iterator<Item = (&'n HashPart, Expected)>) {
        let now = Timestamp::now();
        let former: Vec<Former> =
            former.filter_map(|(hash, expected)| Former::of(*hash, &expected, now)).collect();
        if former.is_empty() {
            return;
        }
        let json = {
            let mut names = write(&self.names);
            names.note(former, now);
            names.to_json()
        };
        if let Err(error) = self.keep_state(STATE, &json) {
            tracing::warn!(%error, "the former names of NAR files cannot be kept");
        }
    }

    /// Reads what an earlier process noted.
    pub(super) fn load_names(&self) {
        *write(&self.names) = Names::load(self.state(STATE));
    }

    /// The artifact whose NAR file had this name, `<hash>.nar[.<compression>]`: as the catalog knows it now, if that is the
    /// same NAR, and else as it was.
    pub(super) fn formerly(&self, file: &str) -> Option<CatalogEntry> {
        let former = read(&self.names).0.get(&format!("nar/{file}"))?.entry()?;
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
    use super::*;

    fn former(number: i64) -> Former {
        let hash = Hash::of(&number.to_le_bytes());
        Former {
            hash_part: "00bgd045z0d4icpbc2yyz4gx48ak44la".parse().unwrap(),
            compression: "xz".into(),
            file_hash: hash,
            file_size: Some(1),
            nar_hash: hash,
            nar_size: 2,
            content: None,
            since: Timestamp::from_second(number).unwrap(),
        }
    }

    #[test]
    fn they_are_remembered_for_a_month_and_as_many_as_there_is_room_for() {
        let mut names = Names::default();
        let month = 31 * 24 * 3600;
        names.note(vec![former(0), former(10)], Timestamp::from_second(10).unwrap());
        names.note(vec![former(month + 5)], Timestamp::from_second(month + 5).unwrap());
        let (gone, there) = (former(0).name().unwrap(), former(10).name().unwrap());
        assert!(!names.0.contains_key(&gone) && names.0.contains_key(&there) && names.0.len() == 2);
        let many = (0..5000).map(|number| former(month + 10 + number)).collect();
        names.note(many, Timestamp::from_second(month + 9).unwrap());
        assert_eq!(names.0.len(), MOST);
        assert!(names.0.contains_key(&former(month + 10 + 4999).name().unwrap()), "the newest stay");
        let again = Names::load(Some(names.to_json()));
        assert_eq!(again.0, names.0);
        let entry = again.0[&former(month + 5000).name().unwrap()].entry().unwrap();
        assert_eq!(entry.expected.file_hash, Some(former(month + 5000).file_hash));
        assert_eq!(Names::load(Some(b"damaged".into())).0.len(), 0);
    }
}
