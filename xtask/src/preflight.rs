//! What has to be there before anything starts. Each thing that is missing gets a sentence that says what to do.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{job, paths};

/// Free disk that a first run needs: Go's and Cargo's build folders and the cache folder itself.
const COLD_GIB: u64 = 12;

/// Free disk that a run needs when everything that takes long is already in the cache.
const WARM_GIB: u64 = 3;

/// The oldest Go that builds the pinned Kubernetes and Helm.
const GO: (u32, u32) = (1, 26);

/// Checks the machine. `cold` tells whether the big things still have to be built in `cache`.
pub fn check(cache: &Path, cold: bool) -> Result<()> {
    debian(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())?;
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "this has to run as root: it installs packages, makes network namespaces and runs containers. \
             Become root (`sudo -s`) and start it again, or run it in a container or virtual machine of its own"
        );
    }
    let needed = if cold { COLD_GIB } else { WARM_GIB };
    let free = free_gib(cache)?;
    if free < needed {
        bail!(
            "only {free} GiB are free where {} is, and {needed} are needed; make room, or set GRANARY_CACHE \
             to a folder on a larger disk",
            cache.display()
        );
    }
    for (tool, advice) in [
        ("go", "install Go 1.26 or newer (https://go.dev/dl) and put it in PATH"),
        ("cargo", "install Rust with rustup (https://rustup.rs)"),
        ("cc", "install a C compiler (apt-get install build-essential)"),
    ] {
        if paths::program(tool).is_none() {
            bail!("{tool} is missing: {advice}");
        }
    }
    go(&job::output(Command::new("go").args(["env", "GOVERSION"]))?)
}

/// Debian and what is made of it: the packages come from apt.
fn debian(os_release: &str) -> Result<()> {
    let field = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    if field("ID") == "debian" || field("ID_LIKE").split(' ').any(|like| like == "debian") {
        return Ok(());
    }
    bail!(
        "this needs Debian 12 or newer (its containerd, nginx and nix come from apt), and this is {:?}; \
         run it in a Debian virtual machine",
        field("PRETTY_NAME")
    )
}

/// Whether that Go is new enough. Versions read `go1.26.8`.
fn go(version: &str) -> Result<()> {
    let version = version.trim();
    let mut parts = version.trim_start_matches("go").split('.').map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < GO {
        bail!("Go {}.{} or newer is needed, and this is {version}: see https://go.dev/dl", GO.0, GO.1);
    }
    Ok(())
}

fn free_gib(path: &Path) -> Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path).with_context(|| format!("looking at {}", path.display()))?;
    Ok(stat.blocks_available() * stat.fragment_size() / (1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_its_children_pass() {
        debian("NAME=x\nID=debian\n").unwrap();
        debian("ID=ubuntu\nID_LIKE=\"something debian\"\n").unwrap();
        let error = debian("PRETTY_NAME=\"Fedora Linux\"\nID=fedora\nID_LIKE=\"rhel\"\n").unwrap_err();
        assert!(error.to_string().contains("Fedora Linux"), "{error}");
    }

    #[test]
    fn an_old_go_is_refused() {
        go("go1.26.8\n").unwrap();
        go("go1.30").unwrap();
        assert!(go("go1.25.9").is_err());
        assert!(go("devel").is_err());
    }

    #[test]
    fn the_disk_has_some_size() {
        assert!(free_gib(Path::new("/no/such/folder")).is_err());
        assert!(free_gib(Path::new("/")).unwrap() < 1 << 40);
    }
}
