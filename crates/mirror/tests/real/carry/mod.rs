//! `export` and `import`: a disk for an isolated site, made from a mirror or any cache, read by the real Nix.

use std::path::{Path, PathBuf};

use crate::support::{Artifact, Corpus, folder, library_and_app, run, text, tools, verified};

mod beside;
mod disks;
mod faults;
mod ways;

const PROGRAM: &str = env!("CARGO_BIN_EXE_granary-mirror");

/// An application and its library, something else, and the cache of them all.
struct Fixture {
    corpus: Corpus,
    artifacts: [Artifact; 3],
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Option<Self> {
        if !tools() {
            return None;
        }
        let folder = folder();
        let [library, app] = library_and_app(300_000);
        let other = Artifact::new("other-1.0", 0, b"something else".to_vec(), &[]);
        let artifacts = [library, app, other];
        Some(Self { corpus: Corpus::make(folder.path(), &artifacts), artifacts, folder })
    }

    fn stick(&self) -> PathBuf {
        self.folder.path().join("stick")
    }

    /// Exports from the cache to the stick.
    fn export(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let (from, to) = (&self.corpus.cache, self.stick());
        let all = ["export", "--from", text(from), "--to", text(&to), "--public-key", &self.corpus.key];
        run(&[&all[..], more].concat())
    }

    /// The command that exports to there, for a shell.
    fn shell(&self, to: &Path) -> String {
        let Corpus { cache, key, .. } = &self.corpus;
        format!(
            "'{PROGRAM}' export --from '{}' --public-key '{key}' --to '{}'",
            cache.display(),
            to.display()
        )
    }

    /// Everything on the stick is right.
    fn clean(&self, artifacts: usize) {
        let error = verified(&self.stick(), &self.corpus.key);
        assert!(error.contains(&format!("{artifacts} artifacts")) && !error.contains("note:"), "{error}");
    }
}

fn is_visible(directory: &Path, artifact: &Artifact) -> bool {
    directory.join(artifact.narinfo()).exists()
}
