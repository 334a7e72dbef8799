//! Makes the directory of a mirror that holds many small artifacts, for `cargo xtask bench start`:
//! `full_tree DIRECTORY ARTIFACTS`. Prints the store path from which all of them are reached, and the public key.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use granary_mirror::tree::Layout;
use granary_nix::{Compression, Hash, NarInfo, SecretKey, StorePath, served_nar_name};

/// References of each artifact, as many as in real caches: a tree in which each has this many below it, and itself.
const BELOW: usize = 4;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [directory, count] = words.as_slice() else { return Err("DIRECTORY ARTIFACTS".into()) };
    let (layout, count): (Layout, usize) = (Layout::new(Path::new(directory)), count.parse()?);
    for folder in [layout.nars(), layout.catalog()] {
        fs::create_dir_all(folder)?;
    }
    let key = SecretKey::from_seed("full-1", &[5; 32])?;
    let cores = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| {
                let (layout, key) = (&layout, &key);
                scope.spawn(move || {
                    (core..count).step_by(cores).try_for_each(|number| make(layout, key, number, count))
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })?;
    println!("{}\n{}", path(0)?, key.public_key());
    Ok(())
}

fn path(number: usize) -> Outcome<StorePath> {
    let part = &Hash::of(&number.to_le_bytes()).to_nix32()[..32];
    Ok(StorePath::parse_base_name(&format!("{part}-package-{number}.0"))?)
}

/// Writes the artifact: its narinfo twice, by one inode, and its NAR file, with the time that NAR files have. It holds what
/// the narinfo says, so that the scrub finds nothing to do.
fn make(layout: &Layout, key: &SecretKey, number: usize, count: usize) -> Outcome<()> {
    let below = number * BELOW + 1..(number * BELOW + 1 + BELOW).min(count);
    let mut references: Vec<StorePath> = below.chain([number]).map(path).collect::<Outcome<_>>()?;
    references.sort();
    let nar = format!("{number:64}");
    let hash = Hash::of(nar.as_bytes());
    let mut info = NarInfo {
        store_path: path(number)?,
        url: served_nar_name(hash, Compression::None),
        compression: Compression::None,
        file_hash: Some(hash),
        file_size: Some(nar.len() as u64),
        nar_hash: hash,
        nar_size: nar.len() as u64,
        references,
        deriver: None,
        system: None,
        sigs: Vec::new(),
        ca: None,
    };
    info.sigs = vec![key.sign(&info.fingerprint())];
    let hash = info.store_path.hash_part();
    fs::write(layout.narinfo(&hash), info.to_text())?;
    fs::hard_link(layout.narinfo(&hash), layout.catalog_narinfo(&hash))?;
    let mut file = fs::File::create(layout.served(&info.url))?;
    file.write_all(nar.as_bytes())?;
    Ok(file.set_modified(UNIX_EPOCH + Duration::from_secs(1))?)
}
