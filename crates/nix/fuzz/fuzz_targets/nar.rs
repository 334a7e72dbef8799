//! An archive means the same in any pieces; one that is accepted has a listing that can be read, and no other spelling.
#![no_main]

use granary_nix::listing::{Listing, ListingError, ListingWriter};
use granary_nix::nar::{MAX_DEPTH, MAX_NAME, MAX_TARGET, NarError, NarEvent, NarReader};
use libfuzzer_sys::fuzz_target;

/// What a reader tells, written as an archive again.
#[derive(Default)]
struct Writer {
    nar: Vec<u8>,
    levels: usize,
    /// Bytes of the current file that are still to come.
    left: u64,
}

fn token(nar: &mut Vec<u8>, bytes: &[u8]) {
    nar.extend((bytes.len() as u64).to_le_bytes());
    nar.extend(bytes);
    nar.resize(nar.len().next_multiple_of(8), 0);
}

impl Writer {
    fn words(&mut self, words: &[&str]) {
        words.iter().for_each(|word| token(&mut self.nar, word.as_bytes()));
    }

    fn begin(&mut self, name: &[u8], kind: &str) {
        assert_eq!(self.left, 0, "a file ends before the next node");
        assert_eq!(name.is_empty(), self.levels == 0);
        assert!(name.len() <= MAX_NAME && self.levels < MAX_DEPTH);
        if self.levels == 0 {
            self.words(&["nix-archive-1"]);
        } else {
            self.words(&["entry", "(", "name"]);
            token(&mut self.nar, name);
            self.words(&["node"]);
        }
        self.words(&["(", "type", kind]);
    }

    fn end(&mut self) {
        self.words(&[")"]);
        if self.levels > 0 {
            self.words(&[")"]);
        }
    }

    fn event(&mut self, event: NarEvent<'_>) {
        match event {
            NarEvent::Directory { name } => {
                self.begin(name, "directory");
                self.levels += 1;
            }
            NarEvent::EndDirectory => {
                assert_eq!(self.left, 0);
                self.levels -= 1;
                self.end();
            }
            NarEvent::File { name, executable, size, offset } => {
                self.begin(name, "regular");
                if executable {
                    self.words(&["executable", ""]);
                }
                self.words(&["contents"]);
                self.nar.extend(size.to_le_bytes());
                assert_eq!(self.nar.len() as u64, offset);
                self.left = size;
                if size == 0 {
                    self.end();
                }
            }
            NarEvent::Contents(bytes) => {
                assert!(!bytes.is_empty());
                self.nar.extend(bytes);
                self.left -= bytes.len() as u64;
                if self.left == 0 {
                    self.nar.resize(self.nar.len().next_multiple_of(8), 0);
                    self.end();
                }
            }
            NarEvent::Symlink { name, target } => {
                assert!((1..=MAX_TARGET).contains(&target.len()));
                self.begin(name, "symlink");
                self.words(&["target"]);
                token(&mut self.nar, target);
                self.end();
            }
            NarEvent::End => assert_eq!((self.left, self.levels), (0, 0)),
        }
    }
}

fn read(nar: &[u8], piece: usize) -> Result<(Vec<u8>, Result<String, ListingError>), NarError> {
    let (mut writer, mut listing) = (Writer::default(), ListingWriter::default());
    let mut reader = NarReader::new(nar.len() as u64);
    for piece in nar.chunks(piece) {
        let mut note = |event: NarEvent<'_>| {
            listing.event(&event);
            writer.event(event);
        };
        reader.push(piece, &mut note)?;
    }
    reader.finish()?;
    Ok((writer.nar, listing.finish()))
}

fuzz_target!(|nar: &[u8]| {
    let whole = read(nar, usize::MAX);
    for piece in [1, 13] {
        assert_eq!(read(nar, piece), whole);
    }
    let Ok((again, listing)) = whole else { return };
    assert_eq!(again, nar);
    match listing {
        Ok(text) => drop(Listing::parse(text.as_bytes()).expect("a listing that was written can be read")),
        Err(ListingError::Utf8 { .. }) => {}
        Err(error) => panic!("{error}"),
    }
});
