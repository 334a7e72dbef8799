//! Where artifacts come from.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use futures::StreamExt as _;
use granary_fetch::{Fault, Fetcher, Source, narinfo};
use granary_nix::narinfo::MAX_TEXT;
use granary_nix::{HashPart, NarInfo, Trust};
use granary_placement::report::RefusalReason;

use super::CarryError;
use crate::tree::hash_of;
use crate::verify::on_all_cores;

/// Narinfos that are asked for over HTTP at once.
const AT_ONCE: usize = 32;

/// Where artifacts come from.
#[derive(Debug)]
pub enum Origin {
    /// A directory that is a binary cache: a mirror's tree, or one that `nix copy --to file://…` made.
    Directory(PathBuf),
    /// A binary cache behind HTTP.
    Cache {
        /// The cache.
        source: Box<Source>,
        /// What asks it.
        fetcher: Fetcher,
        /// Where that runs.
        runtime: tokio::runtime::Handle,
    },
}

/// A narinfo that holds; `None` when the origin does not have it.
pub(super) type Answer = Result<Option<NarInfo>, Fault>;

impl Origin {
    /// Every artifact that it has, sorted.
    pub(super) fn all(&self) -> Result<Vec<HashPart>, CarryError> {
        let Self::Directory(directory) = self else { return Err(CarryError::NoList) };
        let failed = |source| CarryError::Origin { path: directory.clone(), source };
        let mut all = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            all.extend(hash_of(&entry.map_err(failed)?.file_name()));
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Its narinfos for these artifacts, in no particular order.
    pub(super) fn narinfos(&self, hashes: &[HashPart], trust: &Trust) -> Vec<(HashPart, Answer)> {
        match self {
            Self::Directory(directory) => {
                on_all_cores(hashes, |hash| (*hash, read_narinfo(directory, hash, trust)))
            }
            Self::Cache { source, fetcher, runtime } => {
                let ask = |hash: HashPart| async move { (hash, fetcher.narinfo(source, &hash).await) };
                let asked = futures::stream::iter(hashes.iter().copied().map(ask));
                runtime.block_on(asked.buffer_unordered(AT_ONCE).collect())
            }
        }
    }
}

/// The narinfo in a directory; it must parse, be signed, and lead to a file of the directory.
pub(super) fn read_narinfo(directory: &Path, hash: &HashPart, trust: &Trust) -> Answer {
    let mut text = Vec::new();
    let file = match File::open(directory.join(hash.narinfo_name())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(|error| unreadable("its narinfo", &error))?,
    };
    // One byte more than a narinfo may have, so that a longer file is refused and not cut.
    file.take(MAX_TEXT as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| unreadable("its narinfo", &error))?;
    let info = narinfo::admit_trusted(&text, hash, trust)?;
    if !info.compression.is_supported() {
        let message = format!("NAR files compressed with {} cannot be verified here", info.compression);
        return Err(Fault::new(RefusalReason::UnknownCompression, message));
    }
    nar_path(directory, &info).map(|_| Some(info))
}

/// Where a directory has the NAR file: below it, whatever the narinfo says.
pub(super) fn nar_path(directory: &Path, info: &NarInfo) -> Result<PathBuf, Fault> {
    let name = Path::new(&info.url);
    if name.components().all(|component| matches!(component, Component::Normal(_))) {
        return Ok(directory.join(name));
    }
    let message = format!("URL is {:?}, which is no file of the directory", info.url);
    Err(Fault::new(RefusalReason::ForbiddenUrl, message))
}

pub(super) fn unreadable(what: &str, error: &io::Error) -> Fault {
    Fault::new(RefusalReason::Disk, format!("cannot read {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_cannot_lead_out_of_the_directory() {
        let text = "StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: x\n\
                    NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\nNarSize: 9\n";
        let info: NarInfo = text.parse().unwrap();
        let at = |url: &str| nar_path(Path::new("/c"), &NarInfo { url: url.into(), ..info.clone() });
        assert_eq!(at("nar/x.nar.xz").unwrap(), Path::new("/c/nar/x.nar.xz"));
        for url in ["../x.nar", "nar/../../x", "/etc/passwd", "./x"] {
            assert_eq!(at(url).unwrap_err().reason, RefusalReason::ForbiddenUrl, "{url}");
        }
        // Not a way out: a file of an odd name, which is not there.
        assert!(at("file:///etc/passwd").unwrap().starts_with("/c"));
    }
}
