//! The cache folder: entries named by what they are built from, made aside and renamed into place.

use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use crate::tell::Tell;

/// Entries of one kind that stay; older ones go when a new one is made.
const KEPT: usize = 3;

/// The folder that holds everything that is built once.
pub struct Cache {
    root: PathBuf,
}

/// Held while entries are made, so that two runs do not build the same thing twice.
pub struct Lock(#[expect(dead_code, reason = "dropping it releases the lock")] Flock<fs::File>);

impl Cache {
    /// Opens the folder and makes it when it is not there.
    pub fn open(root: PathBuf) -> Result<Self> {
        for dir in ["tmp", "logs"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).with_context(|| {
                format!("cannot make {}; set GRANARY_CACHE to a folder that can be written", dir.display())
            })?;
        }
        Ok(Self { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the output of long commands goes.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Waits for the right to make entries, then removes what an interrupted run left half-made.
    pub fn lock(&self, tell: &Tell) -> Result<Lock> {
        let path = self.root.join("lock");
        let file = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((mut file, _)) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                tell.say(&format!(
                    "waiting for another run (process {}) to finish its set-up",
                    holder.trim()
                ));
                Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?
            }
        };
        lock.set_len(0)?;
        lock.rewind()?;
        write!(lock, "{}", std::process::id())?;
        let aside = self.root.join("tmp");
        fs::remove_dir_all(&aside).with_context(|| format!("clearing {}", aside.display()))?;
        fs::create_dir(&aside)?;
        Ok(Lock(lock))
    }

    /// Whether an entry is there.
    pub fn has(&self, kind: &str, key: &str) -> bool {
        self.root.join(kind).join(key).is_dir()
    }

    /// The entry of that kind and key. When it is not there, `build` fills an empty folder, which then becomes it:
    /// a build that fails or is killed leaves no entry.
    pub fn entry(
        &self,
        _lock: &Lock,
        kind: &str,
        key: &str,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let place = self.root.join(kind).join(key);
        if place.is_dir() {
            // The age of an entry is the time since it was last used.
            fs::File::open(&place)?.set_modified(SystemTime::now())?;
            return Ok(place);
        }
        let aside = self.root.join("tmp").join(format!("{kind}-{key}"));
        if aside.exists() {
            bail!("{} is in the way; remove it", aside.display());
        }
        fs::create_dir_all(&aside)?;
        build(&aside)?;
        fs::create_dir_all(self.root.join(kind))?;
        fs::rename(&aside, &place)
            .with_context(|| format!("moving {} to {}", aside.display(), place.display()))?;
        self.prune(kind)?;
        Ok(place)
    }

    /// Keeps the newest entries of a kind.
    fn prune(&self, kind: &str) -> Result<()> {
        let mut entries: Vec<(SystemTime, PathBuf)> = fs::read_dir(self.root.join(kind))?
            .map(|entry| {
                let entry = entry?;
                Ok((entry.metadata()?.modified()?, entry.path()))
            })
            .collect::<Result<_>>()?;
        entries.sort();
        let surplus = entries.len().saturating_sub(KEPT);
        for (_, path) in entries.into_iter().take(surplus) {
            fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().to_path_buf()).unwrap();
        (dir, cache)
    }

    #[test]
    fn an_entry_is_built_once() {
        let (_dir, cache) = cache();
        let lock = cache.lock(&Tell::new()).unwrap();
        let build = |aside: &Path| Ok(fs::write(aside.join("file"), "content")?);
        let place = cache.entry(&lock, "kind", "key", build).unwrap();
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "content");
        let again = cache.entry(&lock, "kind", "key", |_| bail!("built again")).unwrap();
        assert_eq!(again, place);
    }

    #[test]
    fn a_build_that_fails_leaves_no_entry() {
        let (_dir, cache) = cache();
        let lock = cache.lock(&Tell::new()).unwrap();
        let result = cache.entry(&lock, "kind", "key", |aside| {
            fs::write(aside.join("half"), "")?;
            bail!("no")
        });
        assert!(result.is_err());
        assert!(!cache.has("kind", "key"));
        drop(lock);
        // The next run clears what is left of it and can build.
        let lock = cache.lock(&Tell::new()).unwrap();
        let place = cache.entry(&lock, "kind", "key", |_| Ok(())).unwrap();
        assert_eq!(fs::read_dir(place).unwrap().count(), 0);
    }

    #[test]
    fn the_oldest_entries_go() {
        let (_dir, cache) = cache();
        let lock = cache.lock(&Tell::new()).unwrap();
        for (age, key) in ["a", "b", "c", "d", "e"].iter().enumerate() {
            let place = cache.entry(&lock, "kind", key, |_| Ok(())).unwrap();
            let then = SystemTime::now() - std::time::Duration::from_secs(100 - age as u64);
            fs::File::open(place).unwrap().set_modified(then).unwrap();
        }
        assert!(!cache.has("kind", "a"));
        assert!(!cache.has("kind", "b"));
        assert!(cache.has("kind", "c") && cache.has("kind", "d") && cache.has("kind", "e"));
    }
}
