//! Listings, and with them debug indexes, from a NAR on the disk.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use granary_fetch::decode::decoder;
use granary_nix::listing::{Listing, ListingError, ListingWriter, Outline};
use granary_nix::nar::{NarError, NarReader};
use granary_nix::{BuildId, Compression, DebugInfo, Extra, HashPart, NarInfo};
use tracing::{info, warn};

use super::Keeper;
use super::check::most_bytes;
use crate::metrics::ExtraResult;
use crate::tree::{Layout, Tree, TreeError, read_listing};

/// Bytes that are read at once.
const BLOCK: usize = 64 << 10;

/// Why there is no listing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MadeError {
    /// The disk, or the decoder.
    #[error("the NAR file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is no NAR.
    #[error("{0}")]
    Nar(#[from] NarError),
    /// What is in it cannot be listed.
    #[error("{0}")]
    Listing(#[from] ListingError),
    /// There is more in it than a listing may have.
    #[error("the listing would have {0} bytes")]
    TooLong(usize),
    /// It cannot be written.
    #[error("{0}")]
    Tree(#[from] TreeError),
    /// It was ended from outside.
    #[error("the process is stopping")]
    Stopping,
}

/// The listing of the NAR in a file, from what that is read through. Needs the memory of the listing and of the decoder, whatever the NAR's size. Blocks.
pub(crate) fn list(file: impl Read, compression: Compression, nar_size: u64) -> Result<String, MadeError> {
    let file = BufReader::with_capacity(BLOCK, file);
    // One byte more, so that a longer NAR is refused and not cut.
    let mut nar = decoder(compression, file)?.take(nar_size.saturating_add(1));
    let (mut reader, mut writer) = (NarReader::new(nar_size), ListingWriter::default());
    let mut block = vec![0; BLOCK];
    loop {
        match nar.read(&mut block) {
            Ok(0) => break,
            Ok(length) => reader.push(&block[..length], &mut |event| writer.event(&event))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    reader.finish()?;
    let text = writer.finish()?;
    if text.len() as u64 > most_bytes(granary_nix::ExtraKind::Listing) {
        return Err(MadeError::TooLong(text.len()));
    }
    Ok(text)
}

/// Whether the artifact is one of debug information, as nixpkgs names them.
pub(crate) fn is_debug(info: &NarInfo) -> bool {
    info.store_path.name().ends_with("-debug")
}

impl Keeper {
    /// Reads the NAR of a published artifact and writes what is wanted of it and is not there, or does not say what the
    /// NAR does: its listing, and its entries in the debug index. How many files were written.
    pub(super) async fn make(&self, info: &NarInfo) -> Result<usize, MadeError> {
        let _reading = self.reading.acquire().await.map_err(|_| MadeError::Stopping)?;
        let (of, debuginfo) = (info.clone(), self.wants.debuginfo);
        let written = self.blocking(move |tree| make(tree, &of, debuginfo)).await;
        let written = written.ok_or(MadeError::Stopping)??;
        for extra in &written {
            self.metrics.file(extra.kind(), ExtraResult::Made);
        }
        if !written.is_empty() {
            info!(path = %info.store_path, files = written.len(), "made from the NAR");
        }
        Ok(written.len())
    }
}

fn make(tree: &Tree, info: &NarInfo, debuginfo: bool) -> Result<Vec<Extra>, MadeError> {
    let mut files = missing(tree.layout(), info, debuginfo)?;
    let written = tree.write_extras(&info.store_path.hash_part(), &files)?;
    files.truncate(written);
    Ok(files.into_iter().map(|(extra, _)| extra).collect())
}

/// What the NAR of an artifact says and the cache does not: the artifact's listing and, with `debuginfo`, its entries in the
/// debug index. Reads the NAR. Blocks.
pub(crate) fn missing(
    layout: &Layout,
    info: &NarInfo,
    debuginfo: bool,
) -> Result<Vec<(Extra, String)>, MadeError> {
    let text = list(File::open(layout.served(&info.url))?, info.compression, info.nar_size)?;
    let build_ids = if debuginfo { Outline::parse(text.as_bytes())?.build_ids } else { Vec::new() };
    let mut files = Vec::with_capacity(build_ids.len() + 1);
    let listing = Extra::Listing(info.store_path.hash_part());
    if !says_the_same(&layout.served(&listing.file_name()), &text) {
        files.push((listing, text));
    }
    for id in build_ids {
        if !leads_somewhere(layout, &id) {
            files.push((Extra::DebugInfo(id), DebugInfo { nar: info.url.clone() }.to_text(&id)));
        }
    }
    Ok(files)
}

/// Whether an artifact has a listing, and each build id in it an entry of the debug index. Blocks.
pub(crate) fn is_indexed(layout: &Layout, hash: HashPart) -> bool {
    let listing = layout.served(&Extra::Listing(hash).file_name());
    let outline = read_listing(&listing).and_then(|text| Outline::parse(&text).ok());
    outline.is_some_and(|outline| outline.build_ids.iter().all(|id| leads_somewhere(layout, id)))
}

/// Whether the listing that is there says what the NAR does.
fn says_the_same(path: &Path, made: &str) -> bool {
    let Some(there) = read_listing(path) else { return false };
    if there == made.as_bytes() {
        return true;
    }
    let (there, made) = (Listing::parse(&there), Listing::parse(made.as_bytes()));
    let difference = match (there, made) {
        (Ok(there), Ok(made)) => made.difference(&there),
        _ => Some(String::new()),
    };
    if let Some(difference) = &difference {
        warn!(path = %path.display(), difference, "a listing does not say what its NAR does; it is made anew");
    }
    difference.is_none()
}

/// Whether there is an entry for the build id, of a NAR file that is there too.
fn leads_somewhere(layout: &Layout, id: &BuildId) -> bool {
    let text = std::fs::read(layout.served(&Extra::DebugInfo(*id).file_name())).unwrap_or_default();
    DebugInfo::parse(&text, id).is_ok_and(|entry| layout.served(&entry.nar).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nar(contents: &[u8]) -> Vec<u8> {
        let mut nar = Vec::new();
        let strings: [&[u8]; 7] = [b"nix-archive-1", b"(", b"type", b"regular", b"contents", contents, b")"];
        for string in strings {
            nar.extend((string.len() as u64).to_le_bytes());
            nar.extend(string);
            nar.resize(nar.len().next_multiple_of(8), 0);
        }
        nar
    }

    fn listed(bytes: &[u8], nar_size: u64) -> Result<String, MadeError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nar");
        std::fs::write(&path, bytes).unwrap();
        list(File::open(&path).unwrap(), Compression::None, nar_size)
    }

    #[test]
    fn a_nar_is_listed_and_anything_else_is_refused() {
        let good = nar(b"hello");
        let size = good.len() as u64;
        let text = r#"{"version":1,"root":{"type":"regular","size":5,"narOffset":96}}"#;
        assert_eq!(listed(&good, size).unwrap(), text);
        assert!(matches!(listed(&good[..40], size), Err(MadeError::Nar(_))));
        assert!(matches!(listed(&good, size - 8), Err(MadeError::Nar(_))));
        let unreadable = File::open(std::env::temp_dir()).unwrap();
        assert!(matches!(list(unreadable, Compression::None, 1), Err(MadeError::Io(_))));
    }
}
