//! `store-paths.xz`: the store paths of a revision, one on each line. Read as a stream, bounded, and kept as a text file
//! of their base names.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use granary_fetch::decode::decoder;
use granary_nix::{Compression, Hash, StorePath};
use sha2::{Digest as _, Sha256};

/// Most bytes of the compressed list.
pub(super) const MOST_COMPRESSED: u64 = 128 << 20;
/// Most bytes of the list itself.
const MOST_BYTES: u64 = 512 << 20;
/// Most lines: `/nix/store/`, a hash part, a dash and a name have 45 bytes at least, and the line its end. So only blank lines
/// meet this bound before the other one, and a bomb of them keeps nobody busy for long.
const MOST_LINES: u64 = MOST_BYTES / 46;
/// Longest line: a store path has 255 bytes and a directory before it.
const LONGEST: u64 = 300;

/// Why a list is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be decompressed, or our disk failed.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Not a list of store paths.
    #[error("line {line} is no store path: {problem}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// Too long.
    #[error("it has more than {MOST_BYTES} bytes or {MOST_LINES} lines")]
    TooLong,
    /// Nothing in it.
    #[error("it lists nothing")]
    Empty,
}

/// What a list turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// By which the revision is known: the first 32 hexadecimal digits of SHA-256 over the list.
    pub id: String,
    /// How many store paths it has.
    pub paths: u64,
}

/// Reads a compressed list, and writes the base names of its store paths to `to`, in their order.
pub fn read_list(compressed: impl Read, to: impl Write) -> Result<Listed, ListError> {
    let text = decoder(Compression::Xz, BufReader::new(compressed))?;
    let mut text = BufReader::new(text.take(MOST_BYTES + 1));
    let (mut to, mut hasher) = (BufWriter::new(to), Sha256::new());
    let (mut bytes, mut paths, mut number, mut line) = (0, 0, 0, Vec::new());
    loop {
        line.clear();
        number += 1;
        let length = text.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if length == 0 {
            break;
        }
        bytes += length as u64;
        if bytes > MOST_BYTES || number > MOST_LINES {
            return Err(ListError::TooLong);
        }
        let problem = |problem: String| ListError::Line { line: number, problem };
        let path = str::from_utf8(&line).map_err(|error| problem(error.to_string()))?.trim_end();
        if path.is_empty() {
            continue;
        }
        let path = StorePath::parse(path).map_err(|error| problem(error.to_string()))?;
        for part in [path.base_name().as_bytes(), b"\n"] {
            hasher.update(part);
            to.write_all(part)?;
        }
        paths += 1;
    }
    to.flush()?;
    drop(to);
    if paths == 0 {
        return Err(ListError::Empty);
    }
    let id = Hash::from_bytes(hasher.finalize().into()).to_hex()[..32].to_owned();
    Ok(Listed { id, paths })
}

/// The store paths of a kept list, and nothing of a line that is none.
pub fn kept_paths(list: impl BufRead) -> impl Iterator<Item = StorePath> {
    list.lines().map_while(Result::ok).filter_map(|line| StorePath::parse_base_name(&line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 2] = [
        "/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0",
        "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60",
    ];

    fn xz(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        liblzma::read::XzEncoder::new(text, 0).read_to_end(&mut out).unwrap();
        out
    }

    fn read(text: &str) -> Result<(Listed, Vec<StorePath>), ListError> {
        let mut kept = Vec::new();
        let listed = read_list(&xz(text.as_bytes())[..], &mut kept)?;
        Ok((listed, kept_paths(&kept[..]).collect()))
    }

    #[test]
    fn a_list_is_read_and_known_by_what_it_lists() {
        let (listed, paths) = read(&format!("{}\n{}\n", PATHS[0], PATHS[1])).unwrap();
        assert_eq!((listed.paths, listed.id.len()), (2, 32));
        assert_eq!(paths.iter().map(ToString::to_string).collect::<Vec<_>>(), PATHS);
        assert_eq!(read(&format!("{}\n\n{}", PATHS[0], PATHS[1])).unwrap().0, listed, "an equal list");
        assert_ne!(read(PATHS[0]).unwrap().0.id, listed.id);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let line = |text: &str| match read(text) {
            Err(ListError::Line { line, .. }) => line,
            other => panic!("{text:?}: {other:?}"),
        };
        assert_eq!(line("<html>\n"), 1);
        assert_eq!(line(&format!("{}\n/etc/passwd\n", PATHS[0])), 2);
        assert_eq!(line(&"a".repeat(5000)), 1);
        assert!(matches!(read("\n"), Err(ListError::Empty)));
        assert!(matches!(read_list(&b"not xz"[..], io::sink()), Err(ListError::Read(_))));
        let whole = xz(format!("{}\n", PATHS[0]).as_bytes());
        let cut = read_list(&whole[..whole.len() - 5], io::sink());
        assert!(matches!(cut, Err(ListError::Read(_))), "{cut:?}");
    }

    #[test]
    fn a_bomb_is_not_read_to_its_end() {
        // Blank lines, and always the same path, compress to next to nothing.
        let path = format!("{}-{}\n", &PATHS[0][..43], "a".repeat(211));
        for (line, most) in [("\n", MOST_LINES), (&*path, MOST_BYTES / path.len() as u64)] {
            let part = 1 << 16;
            let parts = usize::try_from(most).unwrap() / part;
            let bomb = xz(line.repeat(part).as_bytes()).repeat(4 * parts);
            assert!(bomb.len() < 100 << 20);
            let mut left = &bomb[..];
            assert!(matches!(read_list(&mut left, io::sink()), Err(ListError::TooLong)));
            assert!(left.len() > bomb.len() / 2, "{} of {} bytes are not read", left.len(), bomb.len());
        }
    }
}
