//! What became of it, and who watches.

use std::fmt;

use granary_fetch::Fault;
use granary_nix::StorePath;

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Artifacts that were copied.
    pub copied: u64,
    /// Bytes of their NAR files.
    pub bytes: u64,
    /// Artifacts that were there already, and right.
    pub present: u64,
    /// What could not be had, in the order in which it was found.
    pub troubles: Vec<Trouble>,
    /// Files beside artifacts that were written: listings, logs, realisations, build traces, entries of the debug index.
    pub beside: u64,
    /// Those that were left out, sorted.
    pub flaws: Vec<Flaw>,
}

/// One file beside artifacts that was left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// Its name in the cache.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, why } = self;
        write!(f, "{name}: left out: {why}")
    }
}

/// One artifact that could not be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its store path, or its hash part where the path is not known.
    pub artifact: String,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { artifact, fault: Fault { reason, message } } = self;
        write!(f, "{artifact}: {reason}: {message}")
    }
}

/// Who watches. Every method is called from a working thread and must return at once.
pub trait Observer: Sync {
    /// What is to be done is known: so many artifacts, with so many bytes of NAR files as far as the narinfos say.
    fn planned(&self, artifacts: u64, bytes: u64) {
        let _ = (artifacts, bytes);
    }

    /// Bytes of a NAR file were copied.
    fn bytes(&self, count: u64) {
        let _ = count;
    }

    /// An artifact is in the target: copied now, or (`copied` false) there before, with a NAR file of `bytes`.
    fn done(&self, store_path: &StorePath, bytes: u64, copied: bool) {
        let _ = (store_path, bytes, copied);
    }

    /// An artifact cannot be had.
    fn trouble(&self, trouble: &Trouble) {
        let _ = trouble;
    }

    /// A file beside an artifact is left out.
    fn flaw(&self, flaw: &Flaw) {
        let _ = flaw;
    }
}

/// Watches nothing.
impl Observer for () {}
