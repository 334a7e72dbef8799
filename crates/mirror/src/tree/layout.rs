//! Where everything in the directory is.

use std::path::{Path, PathBuf};

use granary_nix::{Hash, HashPart};

/// The paths of a tree. Only names; nothing is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    /// The layout of a tree at `directory`.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The tree itself.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `nix-cache-info`.
    #[must_use]
    pub fn cache_info(&self) -> PathBuf {
        self.directory.join("nix-cache-info")
    }

    /// A published narinfo.
    #[must_use]
    pub fn narinfo(&self, hash: &HashPart) -> PathBuf {
        self.directory.join(hash.narinfo_name())
    }

    /// The NAR files.
    #[must_use]
    pub fn nars(&self) -> PathBuf {
        self.directory.join("nar")
    }

    /// A served file by its name in the cache, such as `nar/<FileHash>.nar.xz`.
    #[must_use]
    pub fn served(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Our own state, which is never served.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.join(".granary")
    }

    /// What is being written.
    #[must_use]
    pub fn temp(&self) -> PathBuf {
        self.state().join("tmp")
    }

    /// What came in part.
    #[must_use]
    pub fn partial(&self) -> PathBuf {
        self.state().join("partial")
    }

    /// The narinfos of all artifacts that policies want.
    #[must_use]
    pub fn catalog(&self) -> PathBuf {
        self.state().join("catalog")
    }

    /// A narinfo of the catalog.
    #[must_use]
    pub fn catalog_narinfo(&self, hash: &HashPart) -> PathBuf {
        self.catalog().join(hash.narinfo_name())
    }

    /// What was refused.
    #[must_use]
    pub fn quarantine(&self) -> PathBuf {
        self.state().join("quarantine")
    }

    /// The record of one refused artifact.
    #[must_use]
    pub fn quarantine_record(&self, hash: &HashPart) -> PathBuf {
        self.quarantine().join(format!("{hash}.json"))
    }

    /// What was taken out: its narinfos.
    #[must_use]
    pub fn trash(&self) -> PathBuf {
        self.state().join("trash")
    }

    /// The narinfo of an artifact that was taken out.
    #[must_use]
    pub fn trash_narinfo(&self, hash: &HashPart) -> PathBuf {
        self.trash().join(hash.narinfo_name())
    }

    /// NAR files that were taken out, under the names that they had.
    #[must_use]
    pub fn trash_nars(&self) -> PathBuf {
        self.trash().join("nar")
    }

    /// A NAR file that was taken out, by its name in the cache, such as `nar/<FileHash>.nar.xz`.
    #[must_use]
    pub fn trash_served(&self, name: &str) -> PathBuf {
        self.trash().join(name)
    }

    /// NAR files that were pushed and wait for their narinfo.
    #[must_use]
    pub fn incoming(&self) -> PathBuf {
        self.state().join("incoming")
    }

    /// The names of files beside artifacts that were pushed.
    #[must_use]
    pub fn pushed(&self) -> PathBuf {
        self.state().join("pushed")
    }

    /// Marks of what is kept although no policy wants it.
    #[must_use]
    pub fn kept(&self) -> PathBuf {
        self.state().join("kept")
    }

    /// The mark of one artifact.
    #[must_use]
    pub fn kept_mark(&self, hash: &HashPart) -> PathBuf {
        self.kept().join(hash.as_str())
    }

    /// Checksums of files beside artifacts, on a filesystem that cannot keep them with the files.
    #[must_use]
    pub fn checksums(&self) -> PathBuf {
        self.state().join("checksums")
    }

    /// When clients last had what is here.
    #[must_use]
    pub fn accesses(&self) -> PathBuf {
        self.state().join("access/hours")
    }

    /// What is kept of channels.
    #[must_use]
    pub fn channels(&self) -> PathBuf {
        self.state().join("channels")
    }

    /// The disk's id.
    #[must_use]
    pub fn id(&self) -> PathBuf {
        self.state().join("id")
    }

    /// Locked by the process that writes.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.state().join("lock")
    }
}

/// The hash part that a narinfo's file name is made of; `None` for any other name.
#[must_use]
pub fn hash_of(file_name: &std::ffi::OsStr) -> Option<HashPart> {
    file_name.to_str()?.strip_suffix(".narinfo")?.parse().ok()
}

/// Whether a file is named as a NAR file is.
pub(super) fn is_nar_file(file_name: &std::ffi::OsStr) -> bool {
    file_name.to_str().is_some_and(|name| nar_hash_of(name).is_some() && !name.ends_with(".leaving"))
}

/// The hash that a NAR file is named by: `<hash>.nar[.<compression>]`.
pub(crate) fn nar_hash_of(file: &str) -> Option<Hash> {
    let (digest, suffix) = file.split_once('.')?;
    let named = digest.len() == 52 && (suffix == "nar" || suffix.starts_with("nar."));
    named.then(|| format!("sha256:{digest}").parse().ok())?
}
