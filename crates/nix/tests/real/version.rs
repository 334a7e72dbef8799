//! The versions of Nix that the tests ask: the machine's own, and newer ones that `cargo xtask setup` unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One of them.
#[derive(Clone, Debug)]
pub struct Version {
    /// A folder with its programs; without it they are looked up in `PATH`.
    bin: Option<PathBuf>,
    /// As in 2.34.
    pub number: (u32, u32),
}

impl Version {
    /// The machine's own. Says so when there is none, and fails when there must be one.
    pub fn machine() -> Option<Self> {
        let Ok(output) = Command::new("nix").arg("--version").output() else {
            assert!(!required(), "nix must be installed (GRANARY_REQUIRE_TOOLS=1)");
            eprintln!("skipped: nix is not installed; run cargo xtask test");
            return None;
        };
        Some(Self { bin: None, number: number(&String::from_utf8(output.stdout).unwrap()) })
    }

    /// The one that this variable names. Says so when there is none, and fails when there must be one.
    pub fn by(variable: &str) -> Option<Self> {
        match std::env::var_os(variable).map(PathBuf::from) {
            Some(reason) if reason.as_os_str() == "unreachable" => {
                eprintln!("skipped: the set-up could not reach the packages of {variable}");
                None
            }
            Some(folder) => {
                let version = fs::read_to_string(folder.join("version")).unwrap_or_else(|error| {
                    panic!("no nix where {variable} says: {error}; run cargo xtask setup")
                });
                eprintln!("{variable}: {}", version.trim());
                Some(Self { bin: Some(folder.join("bin")), number: number(&version) })
            }
            None => {
                assert!(!required(), "{variable} must name a newer nix (GRANARY_REQUIRE_TOOLS=1)");
                eprintln!("skipped: {variable} is not set; run cargo xtask test");
                None
            }
        }
    }

    /// One of its programs, with `home` for its home, and the configuration that lies there in `conf`.
    pub fn command(&self, program: &str, home: &Path) -> Command {
        let mut command =
            Command::new(self.bin.as_ref().map_or_else(|| program.into(), |bin| bin.join(program)));
        // What it remembers of caches is kept in its home.
        command.env("HOME", home).env("XDG_CACHE_HOME", home.join("remembered"));
        command.env("NIX_CONF_DIR", home.join("conf")).env_remove("NIX_REMOTE");
        command
    }
}

/// Puts the configuration of every test into the home of its programs: nothing from outside, and all their verbs.
pub fn conf(home: &Path) {
    let conf = "sandbox = false\nexperimental-features = nix-command\nbuild-users-group =\nsubstituters =\n";
    fs::create_dir_all(home.join("conf")).unwrap();
    fs::write(home.join("conf/nix.conf"), conf).unwrap();
}

/// What a cache calls the narinfo of this store path.
pub fn hash_part(path: &str) -> &str {
    &path["/nix/store/".len()..][..32]
}

fn required() -> bool {
    std::env::var_os("GRANARY_REQUIRE_TOOLS").is_some_and(|value| value == "1")
}

/// The number in `nix (Nix) 2.34.8`.
fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split_whitespace().last().unwrap().split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// Each of these functions as a test with each version of Nix.
macro_rules! with_every_version {
    ($($test:ident),* $(,)?) => {
        with_every_version! { @of nix_of_this_machine: crate::version::Version::machine(); $($test)* }
        with_every_version! {
            @of nix_of_debian_13: crate::version::Version::by("GRANARY_NIX_TRIXIE"); $($test)*
        }
        with_every_version! {
            @of nix_of_debian_unstable: crate::version::Version::by("GRANARY_NIX_SID"); $($test)*
        }
    };
    (@of $name:ident: $version:expr; $($test:ident)*) => {
        mod $name {$(
            #[test]
            fn $test() {
                if let Some(version) = $version {
                    super::$test(&version);
                }
            }
        )*}
    };
}

pub(crate) use with_every_version;
