//! The records of what was refused. They tell people why; nothing is decided by them.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use granary_nix::HashPart;
use granary_placement::report::Refusal;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Tree, TreeError, disk};

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
    /// Records a refusal. A record of the same artifact and reason stays as it is.
    pub fn put_in_quarantine(&self, hash: &HashPart, refusal: &Refusal) -> Result<(), TreeError> {
        if self.quarantined(hash).is_some_and(|record| record.refusal.reason == refusal.reason) {
            return Ok(());
        }
        let record = Record { refusal: refusal.clone(), since: Timestamp::now() };
        let path = self.layout.quarantine_record(hash);
        let json = serde_json::to_vec_pretty(&record)
            .map_err(|error| TreeError::io("write", &path)(error.into()))?;
        self.scratch.write(&path, &json)
    }

    /// The record of an artifact, if it is refused.
    #[must_use]
    pub fn quarantined(&self, hash: &HashPart) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.layout.quarantine_record(hash)).ok()?).ok()
    }

    /// Removes the record of an artifact, if there is one.
    pub fn take_from_quarantine(&self, hash: &HashPart) -> Result<(), TreeError> {
        remove(&self.layout.quarantine_record(hash))
    }

    /// Removes the records of everything that is refused no longer.
    pub fn prune_quarantine(&self, stands: impl Fn(&HashPart) -> bool) -> Result<(), TreeError> {
        let directory = self.layout.quarantine();
        for entry in fs::read_dir(&directory).map_err(TreeError::io("list", &directory))? {
            let entry = entry.map_err(TreeError::io("list", &directory))?;
            let name = entry.file_name();
            // Beside the records there are rotten files.
            let Some(record) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
            if !record.parse().is_ok_and(|hash| stands(&hash)) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn remove(record: &Path) -> Result<(), TreeError> {
    match disk::remove(record) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TreeError::io("remove", record)(error)),
        _ => Ok(()),
    }
}
