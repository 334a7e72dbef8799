//! Small filesystems that are mounted and unmounted, which needs root.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small filesystem of its own, in memory; gone with the value.
pub struct Small(PathBuf);

impl Small {
    /// Whether there can be one: only root can mount. A test that cannot run says so.
    pub fn is_possible() -> bool {
        let is_root = nix::unistd::geteuid().is_root();
        if !is_root {
            println!("skipped: only root can mount");
        }
        is_root
    }

    pub fn mount(at: &Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=755");
        try_mount(&["-t", "tmpfs", "-o", &options, "tmpfs", at.to_str().unwrap()]).unwrap();
        Self(at.to_owned())
    }

    /// One that has no extended attributes, and no bound.
    pub fn mount_without_attributes(at: &Path) -> Self {
        try_mount(&["-t", "ramfs", "-o", "mode=755", "ramfs", at.to_str().unwrap()]).unwrap();
        Self(at.to_owned())
    }

    pub fn try_remount(&self, options: &str) -> Result<(), String> {
        try_mount(&["-o", &format!("remount,{options}"), self.0.to_str().unwrap()])
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn try_mount(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("mount").args(arguments).output().unwrap();
    output.status.success().then_some(()).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
}
