//! A signed binary cache on which the tests measure and prove: real Debian packages, with the references that they
//! really have among each other, made into store paths and compressed and signed by the real `nix`.

mod nix;
mod packages;
mod store;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cache::Lock;
use crate::corpus::nix::Nix;
use crate::corpus::packages::Packages;
use crate::corpus::store::StorePath;
use crate::key::Key;
use crate::setup::Session;
use crate::{apt, job};

/// A corpus that can be made.
pub struct Corpus {
    /// The kind of entry in the cache folder.
    kind: &'static str,
    /// For people.
    name: &'static str,
    /// Raised when the way of making it changes.
    recipe: u32,
    /// The packages whose closures it is.
    roots: &'static [&'static str],
    /// Packages that it has at most; those nearest to the roots stay.
    most: usize,
    /// One smaller than this would prove little.
    fewest: usize,
    /// The compressions, and what nix is told about each.
    compressions: [(&'static str, &'static str); 2],
}

/// For the tests, and for a quick benchmark: small programs that share libraries.
pub const SMALL: Corpus = Corpus {
    kind: "corpus",
    name: "the corpus, a signed cache of Debian packages",
    recipe: 1,
    roots: &["curl", "file", "jq", "less", "nano", "sqlite3", "tmux", "wget"],
    most: usize::MAX,
    fewest: 40,
    compressions: [("xz", ""), ("zstd", "")],
};

/// For the benchmarks: sizes spread as they are in the caches of distributions, the ten largest with half of the bytes.
///
/// nix compresses with xz's level 6 unless told otherwise, which takes three times as long as 3 and makes files that are
/// a tenth smaller; they decompress as fast.
pub const LARGE: Corpus = Corpus {
    kind: "bench-corpus",
    name: "the corpus of the benchmarks, a signed cache of Debian packages (1.5 GB, made once)",
    recipe: 1,
    roots: &[
        "chromium",
        "libllvm14",
        "gcc-12",
        "g++-12",
        "python3.11",
        "libicu72",
        "ffmpeg",
        "vim",
        "git",
        "openssh-client",
        "nginx-light",
        "postgresql-15",
        "imagemagick-6.q16",
        "graphviz",
        "perl",
        "libqt5core5a",
        "libgtk-3-0",
        "samba-libs",
        "cmake",
        "tmux",
        "ripgrep",
        "jq",
        "sqlite3",
        "rsync",
    ],
    most: 280,
    fewest: 240,
    compressions: [("xz", "&compression-level=3&parallel-compression=true"), ("zstd", "")],
};

impl Corpus {
    fn key(&self) -> String {
        Key::new(self.kind, self.recipe).text("roots", &self.roots.join(" ")).finish()
    }

    /// Whether it was made already.
    pub fn is_there(&self, session: &Session) -> bool {
        session.cache.has(self.kind, &self.key())
    }

    /// The folder with `cache-xz`, `cache-zstd`, `key.pub`, `key.sec`, `roots.txt` and `paths.txt`.
    pub fn get(&self, session: &Session, lock: &Lock) -> Result<PathBuf> {
        if self.is_there(session) {
            session.tell.say(&format!("{}: made already", self.name));
        }
        session.cache.entry(lock, self.kind, &self.key(), |aside| {
            session.tell.step(self.name, || self.make(session, aside))
        })
    }

    fn make(&self, session: &Session, into: &Path) -> Result<()> {
        apt::lists(session)?;
        let packages = Packages::closure(self.roots, self.most)?;
        ensure!(
            packages.names().count() >= self.fewest,
            "apt knows too few of the packages: run `apt-get update`"
        );
        let work = into.join("work");
        fs::create_dir_all(&work)?;
        download(session, &packages, &work)?;
        let paths = store::place(&packages, &work)?;
        session.tell.say(&format!(
            "  {} packages are now store paths; nix hashes, signs and compresses them",
            paths.len()
        ));
        let nix = Nix::new(&work)?;
        nix.register(&paths)?;
        nix.key("granary-corpus-1", into)?;
        for (compression, options) in self.compressions {
            let cache = into.join(format!("cache-{compression}"));
            let mut copy = nix.copy(&cache, &format!("{compression}{options}"), &into.join("key.sec"));
            let name = format!("nix copy {compression}");
            job::must(&session.tell, &session.cache.logs(), &name, &mut copy)?;
        }
        write_list(&into.join("paths.txt"), paths.iter().map(StorePath::path))?;
        write_list(&into.join("roots.txt"), self.tops(&paths))?;
        // Only the caches stay. The store's files are read-only, which root does not mind.
        fs::remove_dir_all(&work).context("removing the chroot store")
    }

    /// The roots, and what no other path refers to: their closure is everything, with the circles cut.
    fn tops<'p>(&self, paths: &'p [StorePath]) -> impl Iterator<Item = &'p str> {
        let referred: HashSet<&str> = paths.iter().flat_map(StorePath::needs).collect();
        paths
            .iter()
            .filter(move |path| self.roots.contains(&path.package()) || !referred.contains(path.path()))
            .map(StorePath::path)
    }
}

fn download(session: &Session, packages: &Packages, work: &Path) -> Result<()> {
    let debs = work.join("debs");
    fs::create_dir_all(&debs)?;
    let mut fetch = apt::apt_get(&["download", "-o", "APT::Sandbox::User=root"]);
    fetch.args(packages.names()).current_dir(&debs);
    job::must(&session.tell, &session.cache.logs(), "apt-get download", &mut fetch)?;
    for deb in fs::read_dir(&debs)? {
        let deb = deb?.path();
        let name = job::output(Command::new("dpkg-deb").arg("-f").arg(&deb).arg("Package"))?;
        let tree = work.join("unpacked").join(name.trim());
        fs::create_dir_all(&tree)?;
        job::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&tree))?;
    }
    Ok(())
}

fn write_list<'a>(file: &Path, lines: impl Iterator<Item = &'a str>) -> Result<()> {
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}
