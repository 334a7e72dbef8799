//! Has a file from the first source that has a good one.

use std::fs;

use granary_fetch::{Source, SourceKind};
use granary_nix::{Extra, ExtraKind, HashPart};
use tracing::{debug, warn};

use super::Keeper;
use super::check::{Bad, Checked, check, keys_of, most_bytes};
use crate::metrics::ExtraResult;
use crate::tree::TempFile;

/// What the sources said.
#[derive(Debug)]
pub enum Asked {
    /// One of them has it, and it is good.
    Found(Found),
    /// None of them has it.
    Absent,
    /// At least one of them did not answer, or gave something else: nobody knows whether there is such a file.
    Failed,
}

/// A good file, not yet visible.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub file: TempFile,
    /// What it says.
    pub checked: Checked,
    /// The artifact that it belongs to, as far as it is known.
    pub artifact: Option<HashPart>,
}

impl Keeper {
    /// Asks `sources`, one after the other. `nar_size` is for listings, see [`check`].
    pub async fn ask(&self, extra: &Extra, sources: &[Source], nar_size: Option<u64>) -> Asked {
        let mut absent = true;
        for source in sources {
            match self.ask_one(extra, source, nar_size).await {
                Ok(Some(found)) => return Asked::Found(found),
                Ok(None) => {}
                // That a mirror does not answer counts for nothing when the upstreams did.
                Err(()) => absent &= source.kind == SourceKind::Mirror,
            }
        }
        let result = if absent { ExtraResult::Absent } else { ExtraResult::Failed };
        self.metrics.file(extra.kind(), result);
        if absent { Asked::Absent } else { Asked::Failed }
    }

    async fn ask_one(
        &self,
        extra: &Extra,
        source: &Source,
        nar_size: Option<u64>,
    ) -> Result<Option<Found>, ()> {
        for name in names(extra) {
            let file = self.tree.temp();
            match self.fetcher.file(source, &name, most_bytes(extra.kind()), file.path()).await {
                Ok(false) => {}
                Ok(true) => return self.judge(extra, source, nar_size, file).await.map(Some),
                Err(fault) => {
                    debug!(name, source = %source.url, %fault, "a source does not give a file beside an artifact");
                    return Err(());
                }
            }
        }
        Ok(None)
    }

    async fn judge(
        &self,
        extra: &Extra,
        source: &Source,
        nar_size: Option<u64>,
        file: TempFile,
    ) -> Result<Found, ()> {
        let _reading = self.reading.acquire().await.map_err(drop)?;
        let (named, keys) = (extra.clone(), keys_of(&source.trust));
        let read = move || -> Result<_, String> {
            // A log is not looked at.
            let text = match named.kind() {
                ExtraKind::Log => Vec::new(),
                _ => fs::read(file.path()).map_err(|error| error.to_string())?,
            };
            let checked = check(&named, &text, &keys, nar_size).map_err(|bad: Bad| bad.to_string())?;
            Ok((file, checked))
        };
        match tokio::task::spawn_blocking(read).await.map_err(drop)? {
            Ok((file, checked)) => {
                let artifact = match (extra, &checked) {
                    (Extra::Listing(hash), _) | (_, Checked::Output(hash)) => Some(*hash),
                    _ => None,
                };
                Ok(Found { file, checked, artifact })
            }
            Err(reason) => {
                self.metrics.file(extra.kind(), ExtraResult::Refused);
                warn!(name = extra.file_name(), source = %source.url, reason, "a file beside an artifact is refused");
                Err(())
            }
        }
    }
}

/// Under which names upstreams have the file.
pub(crate) fn names(extra: &Extra) -> Vec<String> {
    let name = extra.file_name();
    match extra.kind() {
        // As Hydra writes it, and as `nix copy` does.
        ExtraKind::DebugInfo => vec![name.clone(), format!("{name}.debug")],
        // A directory that Nix 2.34 wrote has `%21` in the file's name itself.
        ExtraKind::Realisation => vec![name.clone(), name.replace('!', "%2521")],
        ExtraKind::Listing | ExtraKind::Log | ExtraKind::BuildTrace => vec![name],
    }
}
