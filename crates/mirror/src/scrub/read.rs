//! Reading once what is there of something, and having done what has to be done about it.

use std::sync::Arc;

use granary_nix::{Extra, HashPart};
use tracing::{error, warn};

use super::check::{self, Checked, Rot};
use super::mend::{self, Mended};
use super::{MAX_READ_ERRORS, Scrubber, Suspect, Watcher, beside};
use crate::extras::keys_of;

impl Scrubber {
    /// Reads one artifact, and does what has to be done about it. How many bytes were read; `None` when it was told to stop.
    pub(super) async fn one(&mut self, hash: HashPart, watcher: &dyn Watcher) -> Option<u64> {
        let mut budget = self.budget.take()?;
        let (tree, trust) = (Arc::clone(&self.tree), self.trust.clone());
        let work = move || (check::check(&tree, &hash, &trust, &mut budget), budget);
        let (checked, budget) = tokio::task::spawn_blocking(work).await.ok()?;
        self.budget = Some(budget);
        let Checked { bytes, rotten } = checked?;
        if !rotten.iter().any(Rot::is_read_error) {
            self.read_errors = 0;
        }
        for rot in rotten {
            self.rotten(Some(hash), rot, watcher).await;
        }
        watcher.read(bytes);
        Some(bytes)
    }

    pub(super) async fn suspect(&mut self, suspect: Suspect, watcher: &dyn Watcher) {
        match suspect {
            Suspect::Artifact(hash) => drop(self.one(hash, watcher).await),
            Suspect::Beside(extra) => self.single(extra, watcher).await,
        }
    }

    /// Reads one file beside an artifact.
    async fn single(&mut self, extra: Extra, watcher: &dyn Watcher) {
        let Some(mut budget) = self.budget.take() else { return };
        let (tree, keys) = (Arc::clone(&self.tree), keys_of(&self.trust));
        let work = move || (beside::single(&tree, extra, &keys, &mut budget), budget);
        let Ok((found, budget)) = tokio::task::spawn_blocking(work).await else { return };
        self.budget = Some(budget);
        if let Some((artifact, rot)) = found {
            self.rotten(artifact, rot, watcher).await;
        }
    }

    /// Reads what belongs to no artifact as far as is known.
    pub(super) async fn strays(&mut self, watcher: &dyn Watcher) {
        let Some(mut budget) = self.budget.take() else { return };
        let (tree, keys) = (Arc::clone(&self.tree), keys_of(&self.trust));
        let work = move || (beside::strays(&tree, &keys, &mut budget), budget);
        let Ok((rotten, budget)) = tokio::task::spawn_blocking(work).await else { return };
        self.budget = Some(budget);
        for rot in rotten {
            self.rotten(None, rot, watcher).await;
        }
    }

    async fn rotten(&mut self, hash: Option<HashPart>, rot: Rot, watcher: &dyn Watcher) {
        let (kind, fault) = (rot.kind(), rot.fault().clone());
        let artifact = hash.map_or_else(|| "none".to_owned(), |hash| hash.to_string());
        if rot.is_read_error() {
            self.read_errors = self.read_errors.saturating_add(1);
            self.read_error = fault.to_string();
            if self.read_errors > MAX_READ_ERRORS {
                error!(%artifact, %fault, "the disk cannot be read; nothing more is set aside for that");
                return;
            }
        }
        self.round.rotten += 1;
        let tree = Arc::clone(&self.tree);
        let Ok(mended) = tokio::task::spawn_blocking(move || mend::mend(&tree, hash.as_ref(), &rot)).await
        else {
            return;
        };
        match mended {
            Ok(Mended::Here) => {
                warn!(%artifact, kind, reason = %fault.reason, %fault, "a file had rotted; written again");
                watcher.rotten(kind, false);
            }
            Ok(Mended::SetAside(all)) => {
                warn!(%artifact, kind, reason = %fault.reason, %fault, artifacts = all.len(), "a file has rotted; set aside, to be had again");
                watcher.rotten(kind, true);
            }
            Ok(Mended::Removed) => {
                warn!(%artifact, kind, reason = %fault.reason, %fault, "a file has rotted; it is not answered from here any more");
                watcher.rotten(kind, false);
            }
            Err(error) => {
                error!(%artifact, kind, reason = %fault.reason, %fault, %error, "a file has rotted and cannot be set aside");
            }
        }
        // What was found must not be lost with the process.
        self.keep().await;
    }
}
