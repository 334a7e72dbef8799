//! `export` and `import`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use granary_fetch::access::Proxy;
use granary_fetch::{Fetcher, Limits, Source, SourceKind};
use granary_nix::{CacheInfo, StorePath, Trust};
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::{CommandError, keys, one_line};
use crate::agent::AgentError;
use crate::carry::{self, CarryError, Flaw, Observer, Origin, Outcome, Target, Trouble};
use crate::cli::{Carried, Export, Import};
use crate::config::{Config, Extras};
use crate::tree::{Layout, Tree};
use crate::words::size;

pub(super) async fn export(args: Export, stop: CancellationToken) -> Result<ExitCode, CommandError> {
    let Export { config, from, to, what } = args;
    let config = config.map(|file| Config::load(&file)).transpose()?;
    let limits = limits(config.as_ref());
    let (trusted, wants) = (trusted(config.as_ref(), &what)?, wants(config.as_ref()));
    let origin = match (config, from) {
        (Some(config), _) => Origin::Directory(config.directory),
        (None, from) => origin(&from.unwrap_or_default(), &trusted, limits, what.proxy.clone())?,
    };
    let to = std::path::absolute(to)?;
    apart(&origin, &to)?;
    run(origin, (trusted, wants), what, stop, move || Ok(Target::plain(&to)?)).await
}

pub(super) async fn import(args: Import, stop: CancellationToken) -> Result<ExitCode, CommandError> {
    let Import { from, config, to, what } = args;
    let config = config.map(|file| Config::load(&file)).transpose()?;
    let (trusted, wants) = (trusted(config.as_ref(), &what)?, wants(config.as_ref()));
    let origin = origin(&from, &trusted, limits(config.as_ref()), proxy(config.as_ref(), &from, &what))?;
    let (to, info) = match config {
        Some(config) => (config.directory, Some(config.cache_info)),
        None => (std::path::absolute(to.unwrap_or_default())?, None),
    };
    apart(&origin, &to)?;
    let open = move || {
        let info = info.unwrap_or_else(|| cache_info(&to));
        Ok(Target::Tree(Box::new(Tree::open(&to, &info).map_err(CarryError::from)?)))
    };
    run(origin, (trusted, wants), what, stop, open).await
}

/// What a mirror says of itself already, or would say by default.
fn cache_info(directory: &Path) -> CacheInfo {
    let text = std::fs::read(Layout::new(directory).cache_info()).ok();
    text.and_then(|text| CacheInfo::parse(&text).ok()).unwrap_or(CacheInfo {
        want_mass_query: true,
        priority: Some(30),
        ..CacheInfo::default()
    })
}

fn limits(config: Option<&Config>) -> Limits {
    config.map(|config| config.limits.clone()).unwrap_or_default()
}

/// The proxy of the command line, or that of the configuration.
fn proxy(config: Option<&Config>, from: &str, what: &Carried) -> Option<Proxy> {
    let configured = || config?.proxy.as_ref()?.of_source(&from.parse().ok()?).cloned();
    what.proxy.clone().or_else(configured)
}

/// The files beside artifacts that the mirror keeps; without a mirror all of them.
fn wants(config: Option<&Config>) -> Extras {
    config.map(|config| config.extras).unwrap_or_default()
}

/// What every upstream of the configuration may vouch for, the keys that it takes pushes by, and those of the command line.
fn trusted(config: Option<&Config>, what: &Carried) -> Result<Trust, CommandError> {
    let given = Trust::from(&keys(&what.public_keys)?);
    Ok(Trust::any_of([&config.map(Config::trust).unwrap_or_default(), &given]))
}

/// A directory, also as `file://`; or a cache behind HTTP.
fn origin(from: &str, trusted: &Trust, limits: Limits, proxy: Option<Proxy>) -> Result<Origin, CommandError> {
    if from.starts_with("http://") || from.starts_with("https://") {
        let problem = |problem: String| CommandError::From { from: from.into(), problem };
        let url = from.parse().map_err(|error: granary_nix::BaseUrlError| problem(error.to_string()))?;
        let mut source = Source::new(url, trusted, 0, SourceKind::Upstream);
        source.access.proxy = proxy;
        let fetcher = Fetcher::new(limits).map_err(AgentError::from)?;
        let runtime = tokio::runtime::Handle::current();
        return Ok(Origin::Cache { source: Box::new(source), fetcher, runtime });
    }
    let directory = std::path::absolute(from.strip_prefix("file://").unwrap_or(from))?;
    if !directory.is_dir() {
        return Err(CommandError::From { from: from.into(), problem: "there is no such directory".into() });
    }
    Ok(Origin::Directory(directory))
}

/// Refuses a target inside of the origin, and the other way round.
fn apart(origin: &Origin, to: &Path) -> Result<(), CarryError> {
    let Origin::Directory(from) = origin else { return Ok(()) };
    let (from, to) = (real(from), real(to));
    if to.starts_with(&from) || from.starts_with(&to) {
        return Err(CarryError::Nested { from, to });
    }
    Ok(())
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            return rest.iter().rev().fold(real, |path, name| path.join(name));
        }
        rest.extend(ancestor.file_name());
    }
    path.to_owned()
}

async fn run(
    origin: Origin,
    (trusted, wants): (Trust, Extras),
    what: Carried,
    stop: CancellationToken,
    open: impl FnOnce() -> Result<Target, CommandError> + Send + 'static,
) -> Result<ExitCode, CommandError> {
    let Carried { store_paths, public_keys: _, proxy: _, quiet } = what;
    let carry = move || {
        let target = open()?;
        let watch = Watch(Progress::new(quiet));
        let outcome = carry::carry(&origin, &target, &trusted, &store_paths, wants, &watch, &stop);
        watch.0.end();
        Ok::<_, CommandError>((outcome?, target.directory().to_owned()))
    };
    let (outcome, to) = tokio::task::spawn_blocking(carry).await.map_err(std::io::Error::from)??;
    let Outcome { copied, bytes, present, troubles, beside, flaws } = outcome;
    if !quiet {
        eprintln!(
            "{}: copied {copied} artifacts, {}; {present} were there; {} could not be copied; {beside} files beside them, \
             {} left out",
            to.display(),
            size(bytes),
            troubles.len(),
            flaws.len()
        );
    }
    Ok(if troubles.is_empty() && flaws.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Watch(Progress);

impl Observer for Watch {
    fn planned(&self, artifacts: u64, bytes: u64) {
        self.0.change(|counts| (counts.artifacts, counts.total) = (artifacts, bytes));
    }

    fn bytes(&self, count: u64) {
        self.0.change(|counts| counts.bytes += count);
    }

    fn done(&self, store_path: &StorePath, _bytes: u64, copied: bool) {
        if copied {
            self.0.change(|counts| counts.done += 1);
            self.0.current(store_path);
        }
    }

    fn trouble(&self, trouble: &Trouble) {
        self.0.line(&one_line(trouble));
    }

    fn flaw(&self, flaw: &Flaw) {
        self.0.line(&one_line(flaw));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_inside_the_source_is_found_through_links_and_missing_folders() {
        let temp = tempfile::tempdir().unwrap();
        let (cache, link) = (temp.path().join("cache"), temp.path().join("link"));
        std::fs::create_dir(&cache).unwrap();
        std::os::unix::fs::symlink(&cache, &link).unwrap();
        let origin = Origin::Directory(cache.clone());
        for bad in [cache.clone(), cache.join("a/b"), link.join("a"), temp.path().to_owned()] {
            assert!(matches!(apart(&origin, &bad), Err(CarryError::Nested { .. })), "{}", bad.display());
        }
        apart(&origin, &temp.path().join("cache-2")).unwrap();
    }
}
