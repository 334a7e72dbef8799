//! Whether `syncfs` says when something was not written.

use std::path::Path;
use std::sync::LazyLock;

use nix::sys::statfs::{self, FsType, statfs};

/// Filesystems of this machine's own disks and memory. Others, such as those of the network and of user space, may do more
/// for `fsync` of a file than for `syncfs`.
const OWN: [FsType; 5] = [
    statfs::EXT4_SUPER_MAGIC,
    statfs::XFS_SUPER_MAGIC,
    statfs::BTRFS_SUPER_MAGIC,
    statfs::OVERLAYFS_SUPER_MAGIC,
    statfs::TMPFS_MAGIC,
];

/// Linux before 5.8 does not tell `syncfs` about failed writes.
const TOLD_SINCE: (u32, u32) = (5, 8);

static TOLD: LazyLock<bool> = LazyLock::new(|| {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|release| is_told(&release))
});

/// Whether one `syncfs` does for every file of the filesystem of `path` what `fsync` does for one, errors included.
pub(super) fn sync_is_complete(path: &Path) -> bool {
    *TOLD && statfs(path).is_ok_and(|found| OWN.contains(&found.filesystem_type()))
}

/// `release` is as `uname -r` prints it.
fn is_told(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= TOLD_SINCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_and_foreign_filesystems_are_not_relied_upon() {
        assert!(is_told("5.8.0") && is_told("6.1.0-40-amd64\n") && is_told("5.10"));
        assert!(!is_told("5.7.19") && !is_told("4.18.0-553.el8") && !is_told("") && !is_told("next"));
        assert!(!sync_is_complete(Path::new("/proc")));
        assert!(!sync_is_complete(Path::new("/no/such/file")));
    }
}
