//! A signed binary cache on which the tests measure and prove: real Debian packages, with the references that they
//! really have among each other, made into store paths and compressed and signed by the real `nix`.

mod nix;
mod packages;
mod store;

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

/// Raised when the way of making it changes.
const RECIPE: u32 = 1;

/// The packages whose closures are the corpus: small programs that share libraries.
const ROOTS: [&str; 8] = ["curl", "file", "jq", "less", "nano", "sqlite3", "tmux", "wget"];

/// A corpus smaller than this would prove little.
const FEWEST: usize = 40;

/// The folder with `cache-xz`, `cache-zstd`, `key.pub`, `key.sec`, `roots.txt` and `paths.txt`.
pub fn get(session: &Session, lock: &Lock) -> Result<PathBuf> {
    let key = Key::new("corpus", RECIPE).text("roots", &ROOTS.join(" ")).finish();
    if session.cache.has("corpus", &key) {
        session.tell.say("the corpus, a signed cache of Debian packages: made already");
    }
    session.cache.entry(lock, "corpus", &key, |aside| {
        session.tell.step("the corpus, a signed cache of Debian packages", || make(session, aside))
    })
}

fn make(session: &Session, into: &Path) -> Result<()> {
    apt::lists(session)?;
    let packages = Packages::closure(&ROOTS)?;
    ensure!(packages.names().count() >= FEWEST, "apt knows too few of the packages: run `apt-get update`");
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
    for compression in ["xz", "zstd"] {
        let mut copy =
            nix.copy(&into.join(format!("cache-{compression}")), compression, &into.join("key.sec"));
        let name = format!("nix copy {compression}");
        job::must(&session.tell, &session.cache.logs(), &name, &mut copy)?;
    }
    write_list(&into.join("paths.txt"), paths.iter().map(StorePath::path))?;
    let roots = paths.iter().filter(|path| ROOTS.contains(&path.package()));
    write_list(&into.join("roots.txt"), roots.map(StorePath::path))?;
    // Only the caches stay. The store's files are read-only, which root does not mind.
    fs::remove_dir_all(&work).context("removing the chroot store")
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
