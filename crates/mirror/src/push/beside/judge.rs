//! A file that has come whole: what it must be, and what becomes of it.

use std::fs;
use std::sync::Arc;

use granary_nix::{Extra, ExtraKind, HashPart};

use super::super::Push;
use super::super::refused::{Reason, Refused};
use super::{Taken, waiting_listing};
use crate::extras::{Bad, Checked, check};
use crate::metrics::ExtraResult;
use crate::tree::{TempFile, Tree, artifact_named};

impl Push {
    /// Checks a file, and makes it visible or lets it wait.
    pub(super) async fn judge(&self, extra: &Extra, file: TempFile, bytes: u64) -> Result<Taken, Refused> {
        // A listing is held in memory while it is checked.
        let Ok(_decoder) = self.decoders.acquire().await else { return Err(Refused::busy()) };
        let hash = if let Extra::Listing(hash) = extra { Some(*hash) } else { None };
        let published = match hash {
            Some(hash) => self.blocking(move |tree| tree.published_narinfo(&hash)).await?,
            None => None,
        };
        let (named, keys) = (extra.clone(), self.settings.public_keys.clone());
        let nar_size = published.as_ref().map(|info| info.nar_size);
        let look = move |_: &Tree| -> Result<_, Refused> {
            // A log says whatever the build wrote.
            let text = match named.kind() {
                ExtraKind::Log => Vec::new(),
                _ => fs::read(file.path()).map_err(Refused::disk)?,
            };
            let checked = check(&named, &text, &keys, nar_size);
            checked.map(|checked| (checked, file)).map_err(|bad: Bad| refused(&named, &bad))
        };
        let (checked, file) = match self.blocking(look).await? {
            Ok(good) => good,
            Err(refused) => {
                self.keeper.metrics().file(extra.kind(), ExtraResult::Refused);
                return Err(refused);
            }
        };
        match (hash, checked) {
            (Some(hash), _) if published.is_none() => {
                self.incoming.keep(&waiting_listing(&hash), file.path(), bytes)?;
                Ok(Taken::Waits)
            }
            (Some(hash), Checked::Listing(outline)) => {
                let taken = self.store(extra, Some(hash), file, bytes).await?;
                if !outline.build_ids.is_empty() {
                    self.index(hash);
                }
                Ok(taken)
            }
            (_, Checked::Output(artifact)) => self.output(extra, artifact, file, bytes).await,
            _ => self.store(extra, None, file, bytes).await,
        }
    }

    /// A realisation or a build trace. Another one of the same output must not take the place of what clients have seen.
    async fn output(
        &self,
        extra: &Extra,
        artifact: HashPart,
        file: TempFile,
        bytes: u64,
    ) -> Result<Taken, Refused> {
        let (path, named) = (self.tree.extra_path(extra), extra.clone());
        let here = self.blocking(move |_| artifact_named(&named, &fs::read(path).ok()?)).await?;
        match here {
            Some(here) if here == artifact => Ok(Taken::Known),
            Some(here) => {
                let message = format!("{} is here and names another path, {here}", extra.file_name());
                Err(Refused::new(Reason::Conflict, message))
            }
            None => self.store(extra, Some(artifact), file, bytes).await,
        }
    }

    /// Makes a checked file visible, beside its artifact.
    async fn store(
        &self,
        extra: &Extra,
        artifact: Option<HashPart>,
        file: TempFile,
        bytes: u64,
    ) -> Result<Taken, Refused> {
        let named = extra.clone();
        let put = self.blocking(move |tree| tree.put_extra(&named, artifact.as_ref(), file)).await?;
        match put.map_err(Refused::disk)? {
            None => {
                self.keeper.metrics().file(extra.kind(), ExtraResult::Pushed);
                self.ledger.add(&extra.file_name(), bytes);
                Ok(Taken::Visible(bytes))
            }
            Some(_) => Err(Refused::unowned(&extra.file_name())),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let tree = Arc::clone(&self.tree);
        tokio::task::spawn_blocking(move || work(&tree)).await.map_err(Refused::disk)
    }
}

/// What is wrong with a file, for its client.
pub(super) fn refused(extra: &Extra, bad: &Bad) -> Refused {
    Refused::new(Reason::Invalid, format!("{}: {bad}", extra.file_name()))
}
