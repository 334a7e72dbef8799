//! One file: from the origin, checked, into the target.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::MutexGuard;

use granary_fetch::{Fetcher, Source};
use granary_nix::{Extra, ExtraKind};
use granary_placement::report::RefusalReason;

use super::super::target::Temp;
use super::super::{CarryError, Origin};
use super::{Carrier, Ended, Failed, Wanted, lock, medium};
use crate::extras::{Checked, check, most_bytes, names};

/// Bytes that are copied at once.
const BLOCK: usize = 64 << 10;

impl Carrier<'_> {
    /// Carries one file, unless the target has it and it is good. A log cannot be told from another: one that is there
    /// stays.
    pub(super) fn file(&self, wanted: &Wanted<'_>) -> Result<Ended, Failed> {
        let Wanted { extra, info } = wanted;
        let kind = extra.kind();
        let is_log = kind == ExtraKind::Log;
        let here = self.target.directory();
        let there = if is_log {
            medium::open(here, &extra.file_name()).is_ok_and(|file| file.is_some())
        } else {
            let _one = self.turn(kind);
            let text = medium::read(here, &extra.file_name(), most_bytes(kind)).ok().flatten();
            text.is_some_and(|text| self.checked(wanted, &text).is_ok())
        };
        if there {
            return Ok(Ended::There);
        }
        let temp = self.target.temp();
        if !self.have(extra, &temp)? {
            return Ok(Ended::Absent);
        }
        if !is_log {
            // What is ours by now, so that what is checked is what becomes visible.
            let _one = self.turn(kind);
            let text = fs::read(temp.path()).map_err(|error| target("read", temp.path(), error))?;
            self.checked(wanted, &text).map_err(Failed::Flaw)?;
        }
        let artifact = info.map(|info| info.store_path.hash_part());
        match self.target.put_beside(extra, artifact.as_ref(), temp) {
            Ok(true) => Ok(Ended::Copied),
            // Nothing of the target has it.
            Ok(false) => Ok(Ended::Absent),
            Err(CarryError::Target { source, .. }) if source.raw_os_error() == Some(nix::libc::EINVAL) => {
                let why = "the target's filesystem takes no file of this name (FAT and exFAT have no colons)";
                Err(Failed::Flaw(why.into()))
            }
            Err(error) => Err(Failed::Target(error)),
        }
    }

    /// Whether a file is what a mirror would take from an upstream, and belongs to its artifact.
    fn checked(&self, Wanted { extra, info }: &Wanted<'_>, text: &[u8]) -> Result<(), String> {
        let nar_size = info.map(|info| info.nar_size);
        match check(extra, text, &self.keys, nar_size).map_err(|bad| bad.to_string())? {
            Checked::Listing(outline) => {
                if let Some(info) = info.filter(|_| !outline.build_ids.is_empty()) {
                    lock(&self.with_debug).insert(info.store_path.hash_part());
                }
                Ok(())
            }
            Checked::Output(named) if info.is_none_or(|info| info.store_path.hash_part() != named) => {
                Err(format!("it names another artifact, {named}"))
            }
            Checked::Output(_) | Checked::Log | Checked::DebugInfo(_) => Ok(()),
        }
    }

    /// Has a file from the origin; `false` when that does not have it.
    fn have(&self, extra: &Extra, temp: &Temp) -> Result<bool, Failed> {
        let most = most_bytes(extra.kind());
        match self.shelf.origin {
            Origin::Directory(directory) => {
                let file = medium::open(directory, &self.shelf.name_of(extra));
                let file = file.map_err(|error| Failed::Flaw(format!("cannot be read: {error}")))?;
                file.map_or(Ok(false), |file| self.copy(file, temp.path(), most).map(|()| true))
            }
            Origin::Cache { source, fetcher, runtime } => runtime.block_on(async {
                tokio::select! {
                    () = self.stop.cancelled() => Err(Failed::Target(CarryError::Stopped)),
                    asked = ask(fetcher, source, extra, most, temp.path()) => asked,
                }
            }),
        }
    }

    /// Listings are held in memory while they are read: one at a time.
    fn turn(&self, kind: ExtraKind) -> Option<MutexGuard<'_, ()>> {
        (kind == ExtraKind::Listing).then(|| lock(&self.reading))
    }

    /// Copies a file, of which at most so many bytes are read.
    fn copy(&self, mut from: File, to: &Path, most: u64) -> Result<(), Failed> {
        let mut file = File::create_new(to).map_err(|error| target("write", to, error))?;
        let (mut block, mut left) = (vec![0; BLOCK], most);
        loop {
            if self.stop.is_cancelled() {
                return Err(Failed::Target(CarryError::Stopped));
            }
            let length = match from.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failed::Flaw(format!("cannot be read: {error}"))),
            };
            let longer = || Failed::Flaw(medium::too_long(most).to_string());
            left = left.checked_sub(length as u64).ok_or_else(longer)?;
            file.write_all(&block[..length]).map_err(|error| target("write", to, error))?;
        }
    }
}

/// Asks a cache behind HTTP, under each name that such a file can have there. Whether it has it.
async fn ask(
    fetcher: &Fetcher,
    source: &Source,
    extra: &Extra,
    most: u64,
    to: &Path,
) -> Result<bool, Failed> {
    for name in names(extra) {
        match fetcher.file(source, &name, most, to).await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // Over HTTP the only disk is the target's.
            Err(fault) if fault.reason == RefusalReason::Disk => {
                return Err(target("write", to, io::Error::other(fault.message)));
            }
            Err(fault) => return Err(Failed::Flaw(fault.to_string())),
        }
    }
    Ok(false)
}

fn target(action: &'static str, path: &Path, error: io::Error) -> Failed {
    Failed::Target(CarryError::target(action, path)(error))
}
