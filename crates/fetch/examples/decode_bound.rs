//! What the cores must do for a verified copy of a cache, and nothing else: every file below `CACHE/nar` decompressed and
//! hashed before and after, on all cores, the largest first, from memory to nowhere. `cargo xtask bench sync` compares.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use granary_fetch::decode::decoder;
use granary_nix::Compression;
use sha2::{Digest as _, Sha256};

const BLOCK: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let cache = std::env::args_os().nth(1).ok_or("name the folder of a binary cache")?;
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(Path::new(&cache).join("nar"))? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    let (next, total) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || -> io::Result<()> {
        while let Some((_, path)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            total.fetch_add(decode(path)?, Ordering::Relaxed);
        }
        Ok(())
    };
    let cores = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        })
    })?;
    println!("{} files, {} bytes of NAR", files.len(), total.into_inner());
    Ok(())
}

/// How many bytes a file decompresses to.
fn decode(path: &Path) -> io::Result<u64> {
    let compression = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => Compression::Xz,
        Some("zst") => Compression::Zstd,
        Some("nar") => Compression::None,
        other => return Err(io::Error::other(format!("no decoder here for {other:?}"))),
    };
    let mut hasher = Sha256::new();
    let mut nar = decoder(
        compression,
        BufReader::with_capacity(BLOCK, Hashed { file: File::open(path)?, hasher: Sha256::new() }),
    )?;
    let (mut block, mut size) = (vec![0; BLOCK], 0);
    loop {
        match nar.read(&mut block)? {
            0 => break,
            length => {
                hasher.update(&block[..length]);
                size += length as u64;
            }
        }
    }
    std::hint::black_box(hasher.finalize());
    Ok(size)
}

struct Hashed {
    file: File,
    hasher: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}
