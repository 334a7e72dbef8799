//! What the commands have in common: where things are, and how everything that they need gets there.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::cache::Cache;
use crate::tell::Tell;
use crate::{apt, clients, corpus, go_tools, images, paths, preflight};

/// One run of a command.
pub struct Session {
    /// The source tree.
    pub root: PathBuf,
    /// Where what is built stays.
    pub cache: Cache,
    /// What the user reads.
    pub tell: Tell,
}

impl Session {
    /// Finds the source tree and the cache folder.
    pub fn open() -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = paths::cache(variable("GRANARY_CACHE"), variable("XDG_CACHE_HOME"), variable("HOME"))?;
        Ok(Self { root: paths::workspace()?, cache: Cache::open(cache)?, tell: Tell::new() })
    }
}

/// Where the parts of the test environment are.
pub struct Ready {
    /// Kubernetes' programs, etcd, CoreDNS, Helm.
    pub bin: PathBuf,
    /// A signed binary cache of real packages.
    pub corpus: PathBuf,
    /// Newer versions of nix, by the variables that name them.
    pub clients: Vec<(&'static str, PathBuf)>,
    /// The image tars; absent when only the base was asked for.
    pub images: Option<PathBuf>,
}

impl Ready {
    /// The environment variables by which the tests and the demo find the parts.
    pub fn variables(&self, session: &Session) -> Vec<(&'static str, PathBuf)> {
        let mut variables = vec![
            ("GRANARY_CACHE", session.cache.root().to_path_buf()),
            ("GRANARY_BIN", self.bin.clone()),
            ("GRANARY_CORPUS", self.corpus.clone()),
        ];
        variables.extend(self.clients.iter().cloned());
        variables.extend(self.images.clone().map(|images| ("GRANARY_IMAGES", images)));
        variables
    }

    /// Sets them for a command.
    pub fn apply(&self, session: &Session, command: &mut Command) {
        command.envs(self.variables(session));
    }
}

/// Installs and builds everything that is not there yet.
pub fn everything(session: &Session, with_images: bool) -> Result<Ready> {
    let lock = session.cache.lock(&session.tell)?;
    // Without Go, its version cannot be part of the key; the check below says so in better words.
    let cold = go_tools::key(session).map_or(true, |key| !session.cache.has("tools", &key));
    preflight::check(session.cache.root(), cold)?;
    apt::install(session)?;
    let bin = go_tools::get(session, &lock)?;
    let corpus = corpus::SMALL.get(session, &lock)?;
    let clients = clients::get(session, &lock)?;
    let images = if with_images { Some(images::get(session, &lock)?) } else { None };
    Ok(Ready { bin, corpus, clients, images })
}

/// What the benchmarks need: packages, and a corpus, which is made when it is first asked for.
pub fn benchmarks(session: &Session, corpus: &corpus::Corpus) -> Result<PathBuf> {
    let lock = session.cache.lock(&session.tell)?;
    preflight::check(session.cache.root(), !corpus.is_there(session))?;
    apt::install(session)?;
    corpus.get(session, &lock)
}

/// `cargo xtask setup`.
pub fn command(session: &Session, base: bool) -> Result<ExitCode> {
    let ready = everything(session, !base)?;
    println!();
    for (name, path) in ready.variables(session) {
        println!("export {name}={}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
