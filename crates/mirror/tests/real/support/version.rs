//! The versions of nix that the tests use: the machine's own, and newer ones that `cargo xtask setup` unpacked.

use std::path::PathBuf;

/// One of them.
#[derive(Clone, Debug)]
pub struct Version {
    /// A folder with its programs; without it they are looked up in `PATH`.
    bin: Option<PathBuf>,
}

impl Version {
    pub fn machine() -> Self {
        Self { bin: None }
    }

    /// The one that this variable names. Says so when there is none, and fails when there must be one.
    pub fn by(variable: &str) -> Option<Self> {
        let required = std::env::var_os("GRANARY_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        match std::env::var_os(variable).map(PathBuf::from) {
            Some(reason) if reason.as_os_str() == "unreachable" => {
                println!("skipped: the set-up could not reach the packages of {variable}");
                None
            }
            Some(folder) => {
                let version = std::fs::read_to_string(folder.join("version")).unwrap_or_else(|error| {
                    panic!(
                        "{variable} names {}, where no nix is: {error}; run cargo xtask setup",
                        folder.display()
                    )
                });
                println!("{variable}: {}", version.trim());
                Some(Self { bin: Some(folder.join("bin")) })
            }
            None => {
                assert!(
                    !required,
                    "{variable} must name a newer nix (GRANARY_REQUIRE_TOOLS=1); run cargo xtask setup"
                );
                println!("skipped: {variable} is not set; run cargo xtask test");
                None
            }
        }
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.as_ref().map_or_else(|| name.into(), |bin| bin.join(name))
    }
}
