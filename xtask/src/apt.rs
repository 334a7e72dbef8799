//! Debian packages: only what is missing, and without starting any of the services that come with them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::Session;
use crate::{job, paths};

/// Each package with a file that proves that it, or another package with the same programs, is there.
const PACKAGES: [(&str, &str); 23] = [
    ("busybox-static", "busybox"),
    ("conntrack", "conntrack"),
    ("containerd", "containerd"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("curl", "curl"),
    ("ethtool", "ethtool"),
    ("iproute2", "ip"),
    ("iptables", "iptables"),
    ("libc6-dev", "/usr/include/unistd.h"),
    ("mmdebstrap", "mmdebstrap"),
    ("mount", "mount"),
    ("nftables", "nft"),
    ("nginx-light", "nginx"),
    ("nix-bin", "nix-store"),
    ("openssl", "openssl"),
    ("procps", "sysctl"),
    ("runc", "runc"),
    ("socat", "socat"),
    ("tinyproxy-bin", "tinyproxy"),
    ("util-linux", "nsenter"),
    ("wrk", "wrk"),
    ("xz-utils", "xz"),
    ("zstd", "zstd"),
];

/// What dpkg's tools ask before they start a service. 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing.
pub fn install(session: &Session) -> Result<()> {
    let missing = missing(&|file| paths::program(file).is_some());
    if missing.is_empty() {
        session.tell.say("Debian packages: all there");
        return Ok(());
    }
    session.tell.step(&format!("Debian packages: {}", missing.join(" ")), || {
        let _quiet = NoServices::begin(Path::new(POLICY))?;
        if lists_are_empty()? {
            update(session)?;
        }
        if get(session, &missing).is_err() {
            // The lists may be older than what the archive still has.
            update(session)?;
            get(session, &missing)?;
        }
        Ok(())
    })
}

/// Fetches the lists of packages when there are none.
pub fn lists(session: &Session) -> Result<()> {
    if lists_are_empty()? { update(session) } else { Ok(()) }
}

/// Fetches the lists of packages.
pub fn update(session: &Session) -> Result<()> {
    job::must(&session.tell, &session.cache.logs(), "apt-get update", &mut apt_get(&["update"]))
}

/// An `apt-get` that asks nothing.
pub fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-y", "-o", "DPkg::Lock::Timeout=120"]).args(args);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    command
}

fn get(session: &Session, packages: &[&str]) -> Result<()> {
    let mut command = apt_get(&["install", "--no-install-recommends"]);
    command.args(packages);
    job::must(&session.tell, &session.cache.logs(), "apt-get install", &mut command)
}

fn missing(present: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
    PACKAGES.iter().filter(|(_, file)| !present(file)).map(|(package, _)| *package).collect()
}

fn lists_are_empty() -> Result<bool> {
    let lists = Path::new("/var/lib/apt/lists");
    if !lists.is_dir() {
        return Ok(true);
    }
    let mut names = fs::read_dir(lists)?.map(|entry| Ok(entry?.file_name()));
    let found = names.find(|name: &Result<_>| {
        name.as_ref().is_ok_and(|name| name.to_string_lossy().contains("_Packages"))
    });
    Ok(found.is_none())
}

/// While this lives, a package that is installed starts no service. A policy that was there already stays.
struct NoServices<'a> {
    ours: Option<&'a Path>,
}

impl<'a> NoServices<'a> {
    fn begin(policy: &'a Path) -> Result<Self> {
        if policy.exists() {
            return Ok(Self { ours: None });
        }
        fs::write(policy, "#!/bin/sh\nexit 101\n")
            .with_context(|| format!("writing {}", policy.display()))?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(Self { ours: Some(policy) })
    }
}

impl Drop for NoServices<'_> {
    fn drop(&mut self) {
        if let Some(policy) = self.ours
            && let Err(error) = fs::remove_file(policy)
        {
            eprintln!("warning: {} could not be removed: {error}", policy.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert!(missing(&|_| true).is_empty());
        assert_eq!(missing(&|file| file != "nft"), ["nftables"]);
        assert_eq!(missing(&|_| false).len(), PACKAGES.len());
    }

    #[test]
    fn the_service_policy_goes_when_it_is_ours_and_stays_when_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy");
        let quiet = NoServices::begin(&policy).unwrap();
        assert!(policy.exists());
        drop(quiet);
        assert!(!policy.exists());
        fs::write(&policy, "theirs").unwrap();
        drop(NoServices::begin(&policy).unwrap());
        assert_eq!(fs::read_to_string(&policy).unwrap(), "theirs");
    }
}
