//! Newer versions of the real nix than the machine's own: Debian's packages of other releases, unpacked into the cache
//! folder and started by the C library that came with them. Nothing of them is installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cache::Lock;
use crate::key::Key;
use crate::setup::Session;
use crate::{apt, job};

/// Raised when the way of making them changes.
const RECIPE: u32 = 1;

/// A release of Debian whose nix the tests use.
struct Suite {
    /// Its name in the archive.
    name: &'static str,
    /// The variable by which the tests find it.
    variable: &'static str,
    /// Whether its packages change from day to day. What was got first stays until the cache entry is removed.
    moves: bool,
}

/// Debian 13, and what comes after it.
const SUITES: [Suite; 2] = [
    Suite { name: "trixie", variable: "GRANARY_NIX_TRIXIE", moves: false },
    Suite { name: "sid", variable: "GRANARY_NIX_SID", moves: true },
];

/// What stands in a variable in place of a folder when the suite cannot be had.
const UNREACHABLE: &str = "unreachable";

/// The variables that the tests read: a folder with `bin/nix`, `bin/nix-store` and `version`, or why there is none.
pub fn get(session: &Session, lock: &Lock) -> Result<Vec<(&'static str, PathBuf)>> {
    SUITES.iter().map(|suite| Ok((suite.variable, one(session, lock, suite)?))).collect()
}

fn one(session: &Session, lock: &Lock, suite: &Suite) -> Result<PathBuf> {
    let kind = format!("nix-{}", suite.name);
    let key = Key::new(&kind, RECIPE).text("arch", std::env::consts::ARCH).finish();
    if !session.cache.has(&kind, &key) {
        let archive = match archive(session, suite) {
            Ok(archive) => archive,
            Err(error) => {
                session.tell.say(&format!("nix of Debian {}: not to be had: {error:#}", suite.name));
                return Ok(UNREACHABLE.into());
            }
        };
        session.cache.entry(lock, &kind, &key, |aside| {
            session
                .tell
                .step(&format!("nix of Debian {}", suite.name), || make(session, suite, &archive, aside))
        })?;
    }
    let place = session.cache.entry(lock, &kind, &key, |_| bail!("{kind} is gone"))?;
    let version = fs::read_to_string(place.join("version"))?;
    session.tell.say(&format!("nix of Debian {}: {}", suite.name, version.trim()));
    Ok(place)
}

/// The archive that this machine's own packages come from, if it has the suite.
fn archive(session: &Session, suite: &Suite) -> Result<String> {
    apt::lists(session)?;
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"]);
    let archive = debian_archive(&job::output(&mut targets)?).context("apt knows no archive of Debian")?;
    let probe = session.cache.root().join("tmp/InRelease");
    let mut download = Command::new("/usr/lib/apt/apt-helper");
    download.args(["download-file", &format!("{archive}/dists/{}/InRelease", suite.name)]).arg(&probe);
    let found = job::output(&mut download).map(drop);
    // It was only to see that it is there.
    let _ = fs::remove_file(&probe);
    found.map(|()| archive)
}

/// The first of apt's index files that is of Debian itself.
fn debian_archive(targets: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let archive = line.strip_prefix("Debian|Debian|")?;
        Some(archive.trim_end_matches('/').to_owned())
    })
}

fn make(session: &Session, suite: &Suite, archive: &str, into: &Path) -> Result<()> {
    let root = into.join("root");
    let mut strap = Command::new("mmdebstrap");
    strap.args(["--variant=extract", "--include=nix-bin"]);
    if suite.moves {
        // A mirror that is some days behind is no harm here; what it says is signed all the same.
        strap.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    }
    strap.arg(suite.name).arg(&root).arg(archive);
    job::must(&session.tell, &session.cache.logs(), &format!("mmdebstrap {}", suite.name), &mut strap)?;
    for unused in ["var", "usr/share/doc", "usr/share/man", "usr/share/locale"] {
        let unused = root.join(unused);
        if unused.exists() {
            fs::remove_dir_all(unused)?;
        }
    }
    let bin = into.join("bin");
    fs::create_dir(&bin)?;
    for program in ["nix", "nix-store"] {
        let file = bin.join(program);
        fs::write(&file, script(program, &loader(&root)?))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    let version = job::output(Command::new(bin.join("nix")).arg("--version"))?;
    ensure!(version.starts_with("nix (Nix) "), "nix of {} says {version:?}", suite.name);
    fs::write(into.join("version"), version).context("writing the version")
}

/// Starts the program by its own loader, with its own libraries, wherever the folder is.
fn script(program: &str, loader: &str) -> String {
    let libraries = format!("$root/usr/lib/{}-linux-gnu:$root/usr/lib", std::env::consts::ARCH);
    format!(
        "#!/bin/sh\nroot=$(dirname \"$(dirname \"$(readlink -f \"$0\")\")\")/root\n\
         exec \"$root/{loader}\" --argv0 {program} --library-path \"{libraries}\" \"$root/usr/bin/nix\" \"$@\"\n"
    )
}

/// The loader of the unpacked C library. Links in the root would lead out of the folder.
fn loader(root: &Path) -> Result<String> {
    for folder in [
        "usr/lib64".to_owned(),
        "usr/lib".to_owned(),
        format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH),
    ] {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with("ld-linux") && name.contains(".so") {
                return Ok(format!("{folder}/{name}"));
            }
        }
    }
    bail!("the packages have no loader")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_the_one_that_this_machine_uses() {
        let targets = "Google|Cloud|https://elsewhere.example/apt/\nDebian|Debian-Security|https://one.example/security/\n\
                       Debian|Debian|https://one.example/debian/\nDebian|Debian|https://two.example/debian/\n";
        assert_eq!(debian_archive(targets).as_deref(), Some("https://one.example/debian"));
        assert_eq!(debian_archive("Ubuntu|Ubuntu|https://three.example\n"), None);
    }

    #[test]
    fn the_loader_is_found_where_each_machine_has_it() {
        for place in ["usr/lib64/ld-linux-x86-64.so.2", "usr/lib/ld-linux-aarch64.so.1"] {
            let root = tempfile::tempdir().unwrap();
            assert!(loader(root.path()).is_err());
            let file = root.path().join(place);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
            assert_eq!(loader(root.path()).unwrap(), place);
        }
    }

    #[test]
    fn the_script_passes_everything_on() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, root) = (dir.path().join("bin"), dir.path().join("root"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(root.join("usr/lib64")).unwrap();
        // A loader that shows what it was given.
        let loader = root.join("usr/lib64/ld");
        fs::write(&loader, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
        let file = bin.join("nix-store");
        fs::write(&file, script("nix-store", "usr/lib64/ld")).unwrap();
        for file in [&loader, &file] {
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let said = job::output(Command::new(&file).args(["--realise", "a b"])).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((lines[1], lines[5], lines[6]), ("nix-store", "--realise", "a b"), "{said}");
        assert!(lines[4].ends_with("root/usr/bin/nix"), "{said}");
    }
}
