//! The reading of one file beside an artifact: the same for the check of a whole tree and for the scrub.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use granary_nix::listing::Listing;
use granary_nix::{BuildId, DebugInfo, Extra, ExtraKind, Hash, NarInfo, PublicKeys};

use crate::extras::{check, list, most_bytes};
use crate::tree::{Layout, checksum};

/// How files are read.
pub(crate) trait Through {
    /// What the file is read through.
    fn through(&mut self, file: File) -> impl Read;
}

/// As fast as the disk gives them.
pub(super) struct AtOnce;

impl Through for AtOnce {
    fn through(&mut self, file: File) -> impl Read {
        file
    }
}

/// Where the file stands, and what it is held to.
pub(crate) struct Place<'p> {
    pub(crate) directory: &'p Path,
    pub(crate) keys: &'p PublicKeys,
    /// Of the artifact whose listing it is, if it is one.
    pub(crate) info: Option<&'p NarInfo>,
    /// Whether a listing is compared with its NAR even when it is what was written.
    pub(crate) distrusts: bool,
}

/// A file that is good.
#[derive(Debug)]
pub(crate) struct Good {
    /// The file that was read: another one may have its name by now.
    pub(crate) file: File,
    /// The hash of its bytes.
    pub(crate) checksum: Hash,
    /// Whether that was written with it.
    pub(crate) is_sealed: bool,
}

/// What is wrong with a file.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// It cannot be read.
    Unread(io::Error),
    /// It is not what it should be.
    Bad(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(error) => error.fmt(f),
            Self::Bad(message) => f.write_str(message),
        }
    }
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

/// Reads the file `name` of the cache and, unless what was written with it already vouches for a listing, the listing's NAR.
pub(crate) fn read(
    extra: &Extra,
    name: &str,
    place: &Place<'_>,
    through: &mut impl Through,
) -> Result<Good, Flaw> {
    let file = File::open(place.directory.join(name))?;
    let (length, most) = (file.metadata()?.len(), most_bytes(extra.kind()));
    if length > most {
        return Err(Flaw::Bad(format!("it has {length} bytes; {most} are the most")));
    }
    let written = checksum::of(&Layout::new(place.directory), name, &file);
    let (text, checksum) = contents(through.through(file.try_clone()?), extra.kind(), most)?;
    let is_sealed = written.contains(&checksum);
    let nar_size = place.info.map(|info| info.nar_size);
    check(extra, &text, place.keys, nar_size).map_err(|bad| Flaw::Bad(bad.to_string()))?;
    match (extra, place.info) {
        (Extra::Listing(_), Some(info)) if place.distrusts || !is_sealed => {
            compare(&text, info, place.directory, through)?;
        }
        (Extra::DebugInfo(id), _) => leads_somewhere(&text, id, place.directory)?,
        _ => {}
    }
    match written.last() {
        Some(written) if !is_sealed => Err(Flaw::Bad(format!(
            "its bytes have the hash {checksum}; those that were written had {written}"
        ))),
        _ => Ok(Good { file, checksum, is_sealed }),
    }
}

/// The bytes, which are not kept of a log, and their hash.
fn contents(file: impl Read, kind: ExtraKind, most: u64) -> io::Result<(Vec<u8>, Hash)> {
    let mut file = file.take(most);
    if kind == ExtraKind::Log {
        return Ok((Vec::new(), checksum::hash(file)?));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let checksum = Hash::of(&text);
    Ok((text, checksum))
}

/// Compares a listing with the NAR itself. A NAR that cannot be read is a fault of its own, told elsewhere.
fn compare(text: &[u8], info: &NarInfo, directory: &Path, through: &mut impl Through) -> Result<(), Flaw> {
    let Ok(nar) = File::open(directory.join(&info.url)) else { return Ok(()) };
    let Ok(made) = list(through.through(nar), info.compression, info.nar_size) else { return Ok(()) };
    if made.as_bytes() == text {
        return Ok(());
    }
    match (Listing::parse(text), Listing::parse(made.as_bytes())) {
        (Ok(there), Ok(made)) => made.difference(&there).map_or(Ok(()), |place| {
            let place = if place.is_empty() { "the root".to_owned() } else { format!("{place:?}") };
            Err(Flaw::Bad(format!("the listing is not that of the NAR: they differ at {place}")))
        }),
        (Err(error), _) | (_, Err(error)) => Err(Flaw::Bad(error.to_string())),
    }
}

fn leads_somewhere(text: &[u8], id: &BuildId, directory: &Path) -> Result<(), Flaw> {
    match DebugInfo::parse(text, id) {
        Ok(entry) if !directory.join(&entry.nar).is_file() => {
            Err(Flaw::Bad(format!("it names {}, which is not a NAR file of the tree", entry.nar)))
        }
        // What cannot be parsed has been told.
        _ => Ok(()),
    }
}
