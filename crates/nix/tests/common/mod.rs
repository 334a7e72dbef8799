//! What the tests with the real Nix share.

use std::process::Command;

/// Whether Nix is installed; said on the terminal when it is not, and a failure where the tools are required.
pub fn nix_is_installed() -> bool {
    if Command::new("nix").arg("--version").output().is_ok() {
        return true;
    }
    let required = std::env::var_os("GRANARY_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(!required, "nix must be installed (GRANARY_REQUIRE_TOOLS=1)");
    eprintln!("skipped: nix is not installed; run cargo xtask test");
    false
}
