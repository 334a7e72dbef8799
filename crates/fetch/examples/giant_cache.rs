//! Makes a binary cache with one artifact, which is large and compresses well, for `cargo xtask bench memory`:
//! `giant_cache FOLDER BYTES xz|zstd`. Prints the store path and the public key.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use granary_nix::{CacheInfo, Compression, Hash, NarInfo, SecretKey, StorePath, served_nar_name};
use sha2::{Digest as _, Sha256};

/// Bytes that are written at once; the content repeats after them.
const BLOCK: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, bytes, compression] = words.as_slice() else { return Err("FOLDER BYTES xz|zstd".into()) };
    let (folder, bytes): (&Path, u64) = (Path::new(folder), bytes.parse()?);
    fs::create_dir_all(folder.join("nar"))?;
    let file = folder.join("nar/new");
    let output = Hashed::new(BufWriter::new(File::create(&file)?));
    let (compression, nar, packed) = match compression.as_str() {
        "xz" => {
            // The dictionary of preset 6 is what caches have; the fast mode finds repetitions as well.
            let mut options = liblzma::stream::LzmaOptions::new_preset(0)?;
            options.dict_size(8 << 20);
            let mut filters = liblzma::stream::Filters::new();
            filters.lzma2(&options);
            let stream =
                liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32)?;
            let mut encoder = liblzma::write::XzEncoder::new_stream(output, stream);
            let nar = write_nar(&mut encoder, bytes)?;
            (Compression::Xz, nar, encoder.finish()?)
        }
        "zstd" => {
            let mut encoder = zstd::Encoder::new(output, 3)?;
            encoder.window_log(23)?;
            let nar = write_nar(&mut encoder, bytes)?;
            (Compression::Zstd, nar, encoder.finish()?)
        }
        other => return Err(format!("no compression {other:?} here").into()),
    };
    let (file_hash, file_size) = packed.finish()?;
    let url = served_nar_name(file_hash, compression);
    fs::rename(&file, folder.join(&url))?;

    let part = &Hash::of(compression.to_string().as_bytes()).to_nix32()[..32];
    let key = SecretKey::from_seed("giant-1", &[9; 32])?;
    let mut info = NarInfo {
        store_path: StorePath::parse_base_name(&format!("{part}-giant"))?,
        url,
        compression,
        file_hash: Some(file_hash),
        file_size: Some(file_size),
        nar_hash: nar.0,
        nar_size: nar.1,
        references: Vec::new(),
        deriver: None,
        system: None,
        sigs: Vec::new(),
        ca: None,
    };
    info.sigs = vec![key.sign(&info.fingerprint())];
    fs::write(folder.join(info.store_path.hash_part().narinfo_name()), info.to_text())?;
    fs::write(folder.join("nix-cache-info"), CacheInfo::default().to_text())?;
    println!("{}\n{}", info.store_path, key.public_key());
    Ok(())
}

/// Writes the archive of one file of so many bytes; its hash and size.
fn write_nar(output: impl Write, bytes: u64) -> io::Result<(Hash, u64)> {
    let mut nar = Hashed::new(output);
    for word in ["nix-archive-1", "(", "type", "regular", "contents"] {
        token(&mut nar, word.as_bytes())?;
    }
    nar.write_all(&bytes.to_le_bytes())?;
    let block: Vec<u8> = (0..=250_u8).flat_map(|byte| [byte; 4096]).cycle().take(BLOCK).collect();
    let mut left = bytes.next_multiple_of(8);
    while left > 0 {
        let length = left.min(BLOCK as u64);
        nar.write_all(&block[..usize::try_from(length).map_err(io::Error::other)?])?;
        left -= length;
    }
    token(&mut nar, b")")?;
    nar.finish()
}

fn token(nar: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    nar.write_all(&(bytes.len() as u64).to_le_bytes())?;
    nar.write_all(bytes)?;
    nar.write_all(&[0; 8][..bytes.len().next_multiple_of(8) - bytes.len()])
}

struct Hashed<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> Hashed<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    fn finish(mut self) -> io::Result<(Hash, u64)> {
        self.inner.flush()?;
        Ok((Hash::from_bytes(self.hasher.finalize().into()), self.size))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
