use std::collections::HashMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

/// What a writer makes of these bytes that empties its table when it is full, if `flags` say so.
pub fn compressed(bytes: &[u8], flags: u8) -> Vec<u8> {
    let (has_clear, widest) = (flags & HAS_CLEAR != 0, u32::from(flags & WIDEST));
    let mut out = Written { file: vec![0x1f, 0x9d, flags], ..Written::default() };
    let mut table = HashMap::new();
    let (mut width, mut free) = (FIRST_WIDTH, first_free(has_clear));
    let mut code: Option<usize> = None;
    for &byte in bytes {
        let Some(before) = code else {
            code = Some(byte.into());
            continue;
        };
        if let Some(&longer) = table.get(&(before, byte)) {
            code = Some(longer);
            continue;
        }
        out.code(before, width);
        code = Some(byte.into());
        // The reader completes an entry one code later, and so sees only then that it needs wider codes.
        if free >> width != 0 && width < widest {
            out.restart(width);
            width += 1;
        }
        if free < 1 << widest {
            table.insert((before, byte), free);
            free += 1;
        } else if has_clear {
            out.code(CLEAR, width);
            out.restart(width);
            table.clear();
            (width, free) = (FIRST_WIDTH, first_free(true));
        }
    }
    if let Some(code) = code {
        out.code(code, width);
    }
    out.finish()
}

#[derive(Default)]
struct Written {
    file: Vec<u8>,
    bits: u64,
    held: u32,
    in_group: usize,
}

impl Written {
    fn code(&mut self, code: usize, width: u32) {
        self.bits |= (code as u64) << self.held;
        self.held += width;
        while self.held >= 8 {
            self.byte();
        }
    }

    fn byte(&mut self) {
        self.file.push((self.bits & 0xff) as u8);
        self.bits >>= 8;
        self.held = self.held.saturating_sub(8);
        self.in_group += 1;
    }

    fn restart(&mut self, width: u32) {
        while self.held > 0 || !self.in_group.is_multiple_of(width as usize) {
            self.byte();
        }
        self.in_group = 0;
    }

    fn finish(mut self) -> Vec<u8> {
        if self.held > 0 {
            self.byte();
        }
        self.file
    }
}

fn read(file: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Lzw::new(file)?.read_to_end(&mut out).map(|_| out)
}

fn gzip(file: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(file).unwrap());
        child.wait_with_output().unwrap().stdout
    })
}

/// Bytes that repeat themselves, but not soon.
fn text(length: u32) -> Vec<u8> {
    (0..length).flat_map(|number| (number.wrapping_mul(number) >> 7).to_le_bytes()).collect()
}

/// With every width, with and without the code that empties the table, over each change of the width, and as gzip reads it.
#[test]
fn it_reads_what_gzip_reads() {
    let all = text(60_000);
    for flags in (10..=16).flat_map(|widest| [widest, widest | HAS_CLEAR]) {
        for bytes in [&all[..], &all[..1], &[], b"aaaaaaaaaaaaaaaaaaaaaaaa"] {
            let file = compressed(bytes, flags);
            assert!(read(&file).unwrap() == bytes, "{flags:#x}, {} bytes", bytes.len());
            assert!(gzip(&file) == bytes, "gzip, {flags:#x}, {} bytes", bytes.len());
        }
    }
    let near = compressed(&all[..3_000], 16 | HAS_CLEAR);
    for length in 3..near.len() {
        if let Ok(short) = read(&near[..length]) {
            assert!(all.starts_with(&short) && short.len() < 3_000, "{length} bytes");
        }
    }
}

#[test]
fn what_is_no_such_file_is_an_error() {
    for file in [&b""[..], b"\x1f\x9d", b"\x1f\x8b\x90abc", b"\x1f\x9d\x89abc", b"\x1f\x9d\x91abc"] {
        assert!(read(file).is_err(), "{file:?}");
    }
    // 257 as the first code, and 300 as the second.
    assert!(read(&[0x1f, 0x9d, 0x90, 0x01, 0x01]).is_err());
    assert!(read(&[0x1f, 0x9d, 0x90, b'a', 0x58, 0x02]).is_err());
    // A byte of a code of nine bits.
    assert!(read(&[0x1f, 0x9d, 0x90, b'a']).is_err());
}

/// Whatever the bytes are, it ends, and takes no more room than its table.
#[test]
fn no_bytes_make_it_panic() {
    let mut seed = 1_u64;
    for (round, widest) in (0..2_000).zip((10..=16).cycle()) {
        let flags = if round % 3 == 0 { widest | HAS_CLEAR } else { widest };
        let mut file = vec![0x1f, 0x9d, flags];
        file.extend((0..200).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        }));
        let _ = Lzw::new(&file[..]).unwrap().take(1 << 20).read_to_end(&mut Vec::new());
    }
}
