//! Reading very many small files: by several threads, so that neither a slow disk nor one core holds up a start.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use granary_nix::HashPart;

use super::{TreeError, layout};

/// Artifacts that a thread takes at once.
const PART: usize = 256;
/// Threads for each core: a thread that waits for the disk uses none.
const PER_CORE: usize = 4;

/// The artifacts whose narinfos are in a directory.
pub(super) fn narinfos_in(directory: &Path) -> Result<Vec<HashPart>, TreeError> {
    let mut hashes = Vec::new();
    for entry in fs::read_dir(directory).map_err(TreeError::io("list", directory))? {
        let entry = entry.map_err(TreeError::io("list", directory))?;
        hashes.extend(layout::hash_of(&entry.file_name()));
    }
    Ok(hashes)
}

/// Reads something about each artifact, and takes what was found, in any order. What is found is small: it waits in memory
/// until it is taken. The first error ends it.
pub(super) fn read_each<T: Send>(
    hashes: &[HashPart],
    read: impl Fn(&HashPart) -> Result<Option<T>, TreeError> + Sync,
    mut take: impl FnMut(HashPart, T),
) -> Result<(), TreeError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores * PER_CORE).min(hashes.len().div_ceil(PART));
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (give, found) = mpsc::sync_channel(threads);
        for _ in 0..threads {
            let (give, next, read) = (give.clone(), &next, &read);
            scope.spawn(move || {
                let parts = std::iter::from_fn(|| {
                    let from = next.fetch_add(PART, Ordering::Relaxed);
                    hashes.get(from..hashes.len().min(from.saturating_add(PART)))
                });
                for part in parts.take_while(|part| !part.is_empty()) {
                    let one = |hash: &HashPart| Some((*hash, read(hash).transpose()?));
                    let found: Result<Vec<(HashPart, T)>, TreeError> =
                        part.iter().filter_map(one).map(|(hash, it)| Ok((hash, it?))).collect();
                    let failed = found.is_err();
                    // Nobody listens after an error.
                    if give.send(found).is_err() || failed {
                        return;
                    }
                }
            });
        }
        drop(give);
        for some in found {
            for (hash, it) in some? {
                take(hash, it);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use granary_nix::Hash;

    use super::*;

    fn hashes(count: usize) -> Vec<HashPart> {
        (0..count).map(|number| Hash::of(&number.to_le_bytes()).to_nix32()[..32].parse().unwrap()).collect()
    }

    #[test]
    fn each_is_read_once_and_what_is_nothing_is_left_out() {
        for count in [0, 1, PART - 1, PART, PART + 1, 20 * PART + 7] {
            let hashes = hashes(count);
            let mut taken = HashMap::new();
            let read = |hash: &HashPart| Ok((hash.to_string().as_str() > "8").then(|| hash.to_string()));
            read_each(&hashes, read, |hash, text| assert!(taken.insert(hash, text).is_none())).unwrap();
            let wanted = hashes.iter().filter(|hash| hash.to_string().as_str() > "8").count();
            assert_eq!(taken.len(), wanted, "{count}");
            assert!(taken.iter().all(|(hash, text)| hash.to_string() == *text));
        }
    }

    #[test]
    fn an_error_ends_it() {
        let hashes = hashes(50 * PART);
        let bad = hashes[3 * PART];
        let read = |hash: &HashPart| {
            if *hash == bad {
                let error = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
                return Err(TreeError::io("read", Path::new("/tree"))(error));
            }
            Ok(Some(()))
        };
        let mut taken = 0;
        let error = read_each(&hashes, read, |_, ()| taken += 1).unwrap_err();
        assert!(error.to_string().contains("/tree") && taken < hashes.len());
    }
}
