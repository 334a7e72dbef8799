//! The generated corpus as the benchmarks see it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A signed cache made by the real Nix, in two compressions.
#[derive(Debug)]
pub struct Corpus {
    folder: PathBuf,
    /// The cache's public key, `name:base64`.
    pub key: String,
    /// Store paths whose closure is the whole.
    pub roots: Vec<String>,
    /// Every store path.
    pub paths: Vec<String>,
}

impl Corpus {
    /// Reads the lists and the key of the corpus in `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let file = folder.join(name);
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        let lines = |text: String| {
            text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let corpus = Self {
            folder: folder.to_owned(),
            key: read("key.pub")?.trim().to_owned(),
            roots: lines(read("roots.txt")?),
            paths: lines(read("paths.txt")?),
        };
        ensure!(!corpus.paths.is_empty(), "{} lists no store path", folder.join("paths.txt").display());
        Ok(corpus)
    }

    /// The binary cache in one compression, `xz` or `zstd`.
    pub fn cache(&self, compression: &str) -> PathBuf {
        self.folder.join(format!("cache-{compression}"))
    }

    /// A configuration for `granary-mirror` that keeps the whole corpus in `tree`. nginx listens on `port`, the agent on
    /// the next one.
    pub fn lan_config(&self, tree: &Path, upstream: &str, port: u16) -> String {
        let roots = self.roots.iter().map(|root| format!("- {root}")).collect::<Vec<_>>().join("\n");
        let agent = port + 1;
        format!(
            "directory: {}\nupstreams:\n- url: {upstream}\n  publicKeys: [\"{}\"]\nstorePaths:\n{roots}\nlisten: {{http: \"127.0.0.1:{port}\", agent: \"127.0.0.1:{agent}\"}}\n",
            tree.display(),
            self.key,
        )
    }
}

/// The number of narinfos in a tree; 0 while there is none.
pub fn published(tree: &Path) -> usize {
    let Ok(listing) = fs::read_dir(tree) else { return 0 };
    listing
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "narinfo"))
        .count()
}
