//! What a NAR file must be.

use std::io::{self, BufRead, BufReader, Read};

use granary_nix::nar::{FileDigest, NarReader};
use granary_nix::{Compression, ContentProof, Hash, NarInfo};
use granary_placement::report::RefusalReason;
use sha2::{Digest as _, Sha256};

use crate::Fault;
use crate::decode::decoder;

/// Bytes that are read and hashed at once.
const BLOCK: usize = 64 << 10;

/// What a narinfo says about its NAR file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// How the file is compressed.
    pub compression: Compression,
    /// The file's hash, if stated.
    pub file_hash: Option<Hash>,
    /// The file's size in bytes, if stated.
    pub file_size: Option<u64>,
    /// The decompressed NAR's hash.
    pub nar_hash: Hash,
    /// The decompressed NAR's size in bytes.
    pub nar_size: u64,
    /// The hash of the one file that the NAR must hold, when the artifact's content address says that. NarHash alone does not
    /// show it, and without a signature nothing else proves the content; Nix refuses a NAR that is not so in any case.
    pub content: Option<Hash>,
}

/// What was found in a NAR file that is what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The file's hash, computed here.
    pub file_hash: Hash,
    /// The file's size in bytes, counted here.
    pub file_size: u64,
    /// The NAR's hash.
    pub nar_hash: Hash,
    /// The NAR's size in bytes.
    pub nar_size: u64,
}

impl From<&NarInfo> for Expected {
    fn from(info: &NarInfo) -> Self {
        let NarInfo { compression, file_hash, file_size, nar_hash, nar_size, .. } = *info;
        let content = match info.content_proof() {
            Some(ContentProof::File(hash)) => Some(hash),
            // NarHash is compared in any case.
            Some(ContentProof::NarHash) | None => None,
        };
        Self { compression, file_hash, file_size, nar_hash, nar_size, content }
    }
}

impl Expected {
    /// The most bytes that the file may have: what is stated, else what the NAR can be at worst after compression.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        self.file_size
            .unwrap_or_else(|| self.nar_size.saturating_add(self.nar_size / 16).saturating_add(64 << 10))
    }

    /// Reads a NAR file to its end and compares. Needs little memory whatever the sizes; at most NarSize and one bytes are
    /// decompressed. Blocks, and keeps a core busy.
    ///
    /// The outer error is the reader's. Of several faults the one nearest to the cause is given: FileSize, FileHash, then
    /// NarSize, NarHash, and the content address.
    pub fn check(&self, file: impl Read) -> io::Result<Result<Verified, Fault>> {
        let mut file = BufReader::with_capacity(BLOCK, Tee::new(file));
        let mut content = self.content.map(|_| Content::new(self.nar_size));
        let nar = decode(self.compression, self.nar_size, &mut file, content.as_mut());
        // The decoder may have stopped early: at a fault, or at the end of what it knows.
        io::copy(&mut file, &mut io::sink())?;
        let (file_hash, file_size) = file.into_inner().finish()?;
        Ok(self.compare(file_hash, file_size, nar).and_then(|verified| {
            self.compare_content(content.and_then(Content::finish))?;
            Ok(verified)
        }))
    }

    /// `found` is the hash of the NAR's one file, if it is one.
    fn compare_content(&self, found: Option<Hash>) -> Result<(), Fault> {
        match self.content {
            Some(expected) if found != Some(expected) => {
                let found =
                    found.map_or_else(|| "more than one plain file".into(), |found| found.to_string());
                let message = format!("the NAR has {found}; the content address says {expected}");
                Err(Fault::new(RefusalReason::NarHash, message))
            }
            _ => Ok(()),
        }
    }

    fn compare(
        &self,
        file_hash: Hash,
        file_size: u64,
        nar: io::Result<(Hash, u64)>,
    ) -> Result<Verified, Fault> {
        if let Some(stated) = self.file_size.filter(|stated| *stated != file_size) {
            return Err(file_size_fault(stated, file_size));
        }
        if let Some(stated) = self.file_hash.filter(|stated| *stated != file_hash) {
            let message = format!("the NAR file has the hash {file_hash}; the narinfo says {stated}");
            return Err(Fault::new(RefusalReason::FileHash, message));
        }
        let (nar_hash, nar_size) = nar.map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => Fault::new(RefusalReason::UnknownCompression, error.to_string()),
            _ => Fault::new(
                RefusalReason::NarHash,
                format!("the NAR file cannot be decompressed as {}: {error}", self.compression),
            ),
        })?;
        if nar_size != self.nar_size {
            let than = if nar_size > self.nar_size { "more than" } else { "only" };
            let found = nar_size.min(self.nar_size);
            let message = format!("the NAR has {than} {found} bytes; the narinfo says {}", self.nar_size);
            return Err(Fault::new(RefusalReason::NarSize, message));
        }
        if nar_hash != self.nar_hash {
            let message = format!("the NAR has the hash {nar_hash}; the narinfo says {}", self.nar_hash);
            return Err(Fault::new(RefusalReason::NarHash, message));
        }
        Ok(Verified { file_hash, file_size, nar_hash, nar_size })
    }
}

/// The fault of a file that has another size than stated.
pub(crate) fn file_size_fault(stated: u64, found: u64) -> Fault {
    Fault::new(RefusalReason::FileSize, format!("the NAR file has {found} bytes; the narinfo says {stated}"))
}

/// The hash of the one file in a NAR, while that is read.
struct Content {
    reader: NarReader,
    digest: FileDigest,
}

impl Content {
    fn new(nar_size: u64) -> Self {
        Self { reader: NarReader::new(nar_size), digest: FileDigest::default() }
    }

    fn read(&mut self, bytes: &[u8]) {
        // What is no NAR is told at the end, and again by every call until then.
        let _ = self.reader.push(bytes, &mut |event| self.digest.event(&event));
    }

    fn finish(self) -> Option<Hash> {
        self.reader.finish().ok()?;
        self.digest.finish()
    }
}

/// The hash and the size of the decompressed bytes, of which `limit` and one are read at most. `content` sees them too.
fn decode(
    compression: Compression,
    limit: u64,
    file: impl BufRead,
    mut content: Option<&mut Content>,
) -> io::Result<(Hash, u64)> {
    let mut nar = decoder(compression, file)?.take(limit.saturating_add(1));
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut size = 0;
    loop {
        match nar.read(&mut block) {
            Ok(0) => return Ok((Hash::from_bytes(hasher.finalize().into()), size)),
            Ok(length) => {
                hasher.update(&block[..length]);
                size += length as u64;
                if let Some(content) = &mut content {
                    content.read(&block[..length]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Hashes and counts what is read through it, and keeps the reader's own error apart from the decoder's.
struct Tee<R> {
    inner: R,
    hasher: Sha256,
    size: u64,
    error: Option<io::Error>,
}

impl<R> Tee<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0, error: None }
    }

    fn finish(self) -> io::Result<(Hash, u64)> {
        let Self { inner: _, hasher, size, error } = self;
        error.map_or_else(|| Ok((Hash::from_bytes(hasher.finalize().into()), size)), Err)
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(length) => {
                self.hasher.update(&buffer[..length]);
                self.size += length as u64;
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.error = Some(io::Error::new(error.kind(), error.to_string()));
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
