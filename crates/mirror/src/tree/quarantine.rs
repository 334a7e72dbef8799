//! The records of what was refused. They tell people why; nothing is decided by them.

use std::fs;
use std::path::PathBuf;

use granary_nix::HashPart;
use granary_placement::report::Refusal;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::durable::{remove_if_there, some_at_once};
use super::{Tree, TreeError};
use crate::compact::HashParts;

/// One refused artifact, as `.granary/quarantine/<hash part>.json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// What and why.
    #[serde(flatten)]
    pub refusal: Refusal,
    /// When it was first refused for this reason.
    pub since: Timestamp,
}

impl Tree {
    /// Records refusals, with few syncs however many they are. A record of the same artifact and reason stays as it is.
    pub fn put_in_quarantine<'r>(
        &self,
        refused: impl IntoIterator<Item = (&'r HashPart, &'r Refusal)>,
    ) -> Result<(), TreeError> {
        let new = refused.into_iter().filter(|(hash, refusal)| {
            self.quarantined(hash).is_none_or(|record| record.refusal.reason != refusal.reason)
        });
        let directory = self.layout.quarantine();
        some_at_once(new, |some| {
            let files = some.iter().map(|(hash, refusal)| self.record(hash, refusal));
            self.scratch.place_all(&directory, files.collect::<Result<Vec<_>, _>>()?)
        })
    }

    /// Where the record of a refusal is, and what it says.
    fn record(&self, hash: &HashPart, refusal: &Refusal) -> Result<(PathBuf, Vec<u8>), TreeError> {
        let path = self.layout.quarantine_record(hash);
        let record = Record { refusal: refusal.clone(), since: Timestamp::now() };
        let json = serde_json::to_vec_pretty(&record);
        let json = json.map_err(|error| TreeError::io("write", &path)(error.into()))?;
        Ok((path, json))
    }

    /// The record of an artifact, if it is refused.
    #[must_use]
    pub fn quarantined(&self, hash: &HashPart) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.layout.quarantine_record(hash)).ok()?).ok()
    }

    /// Removes the record of an artifact, if there is one.
    pub fn take_from_quarantine(&self, hash: &HashPart) -> Result<(), TreeError> {
        remove_if_there(&self.layout.quarantine_record(hash))
    }

    /// Removes the records of everything that is refused no longer. `refused` says what is, and is asked when the records have
    /// been listed: one that comes later stays. As long as it does not know, all of them do.
    pub fn prune_quarantine(&self, refused: impl FnOnce() -> Option<HashParts>) -> Result<(), TreeError> {
        let mut records = Vec::new();
        let directory = self.layout.quarantine();
        for entry in fs::read_dir(&directory).map_err(TreeError::io("list", &directory))? {
            let entry = entry.map_err(TreeError::io("list", &directory))?;
            let name = entry.file_name();
            // Beside the records there are rotten files.
            let Some(record) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
            records.push((record.parse().ok(), entry.path()));
        }
        let Some(refused) = refused() else { return Ok(()) };
        let gone = |hash: &Option<HashPart>| hash.is_none_or(|hash| !refused.contains(&hash));
        records.iter().filter(|(hash, _)| gone(hash)).try_for_each(|(_, path)| remove_if_there(path))
    }
}

#[cfg(test)]
mod tests {
    use granary_nix::{CacheInfo, Hash};
    use granary_placement::report::RefusalReason;

    use super::super::disk::power;
    use super::*;

    #[test]
    fn a_record_that_comes_while_the_others_are_gone_through_stays() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path(), &CacheInfo::default()).unwrap();
        let hashes = ["1", "2", "3"].map(|name| name.repeat(32).parse::<HashPart>().unwrap());
        let put = |hash: &HashPart| {
            let (store_path, reason) = (hash.to_string(), RefusalReason::NarHash);
            let refusal = Refusal { store_path, reason, message: String::new(), source: String::new() };
            tree.put_in_quarantine([(hash, &refusal)]).unwrap();
        };
        hashes[..2].iter().for_each(put);
        tree.prune_quarantine(|| {
            put(&hashes[2]);
            Some(HashParts::from([hashes[0]]))
        })
        .unwrap();
        let there = || hashes.each_ref().map(|hash| tree.quarantined(hash).is_some());
        assert_eq!(there(), [true, false, true]);
        tree.prune_quarantine(|| None).unwrap();
        assert_eq!(there(), [true, false, true], "what is refused is not known");
    }

    #[test]
    fn many_records_cost_few_syncs_and_one_that_stands_none() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path(), &CacheInfo::default()).unwrap();
        let refused: Vec<(HashPart, Refusal)> = (0..100_u8)
            .map(|number| {
                let hash: HashPart = Hash::of(&[number]).to_nix32()[..32].parse().unwrap();
                let (store_path, source) = (format!("/nix/store/{hash}-a"), String::new());
                let (reason, message) = (RefusalReason::NarHash, "wrong".into());
                (hash, Refusal { store_path, reason, message, source })
            })
            .collect();
        let put = || tree.put_in_quarantine(refused.iter().map(|(hash, refusal)| (hash, refusal)));
        let (result, off) = power::run(usize::MAX, put);
        result.unwrap();
        // A file is written in two steps and named in one; its content is synced in one where there is none for all.
        assert!(off.steps() <= 4 * refused.len() + 1, "{} steps", off.steps());
        let record = tree.quarantined(&refused[7].0).unwrap();
        assert_eq!(record.refusal, refused[7].1);
        let (result, off) = power::run(usize::MAX, put);
        result.unwrap();
        assert_eq!(off.steps(), 0, "they stand");
        assert_eq!(tree.quarantined(&refused[7].0).unwrap().since, record.since);
    }
}
