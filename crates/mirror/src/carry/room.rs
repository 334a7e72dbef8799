//! Whether the target can take it all, looked at before anything is copied.

use std::path::Path;

use nix::sys::statfs::{MSDOS_SUPER_MAGIC, statfs};

use super::plan::Tasks;
use super::{CarryError, Target};
use crate::words::size;

/// Largest file of a FAT filesystem, in bytes.
const FAT_FILE: u64 = (1 << 32) - 1;
/// Files with names as long as those of NAR files that one directory of a FAT filesystem holds: its 65,536 entries, of
/// which each name needs six.
const FAT_FILES: u64 = 10_900;
/// What an artifact takes besides its NAR file: the narinfo, and two blocks that are not full.
const EACH: u64 = 12 << 10;

/// What a filesystem offers.
#[derive(Clone, Copy, Debug)]
struct Room {
    free: u64,
    fat: bool,
}

/// Refuses what cannot fit.
pub(super) fn check(target: &Target, tasks: &Tasks) -> Result<(), CarryError> {
    let Some(room) = look(target.directory()) else { return Ok(()) };
    let there = tasks.present.iter().filter(|present| **present).count() as u64;
    match shortage(room, tasks, there) {
        None => Ok(()),
        Some(problem) => Err(CarryError::NoRoom { problem }),
    }
}

/// `None` where the filesystem does not tell.
fn look(directory: &Path) -> Option<Room> {
    let stat = statfs(directory).ok()?;
    let block = u64::try_from(stat.block_size()).ok()?;
    let free = stat.blocks_available().saturating_mul(block);
    Some(Room { free, fat: stat.filesystem_type() == MSDOS_SUPER_MAGIC })
}

/// What is short, in words.
fn shortage(room: Room, tasks: &Tasks, there: u64) -> Option<String> {
    let at = tasks.directory.display();
    let needed = tasks.bytes.saturating_add(tasks.artifacts.saturating_mul(EACH));
    if needed > room.free {
        let (needed, free) = (size(needed), size(room.free));
        return Some(format!("{at} has {free} free; {needed} are needed"));
    }
    if !room.fat {
        return None;
    }
    if let Some((length, path)) = tasks.largest.as_ref().filter(|(length, _)| *length > FAT_FILE) {
        return Some(format!(
            "{at} is a FAT filesystem, where a file has less than 4 GiB; the NAR file of {path} has {}; format it as \
             exFAT or ext4",
            size(*length)
        ));
    }
    let files = tasks.artifacts.saturating_add(there);
    (files > FAT_FILES).then(|| {
        format!(
            "{at} is a FAT filesystem, of which a directory holds about {FAT_FILES} NAR files; these are {files}; \
             format it as exFAT or ext4"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_fit_is_told_before_anything_is_copied() {
        let tasks = |artifacts, bytes, largest| Tasks {
            artifacts,
            bytes,
            largest: Some((largest, "/nix/store/x".into())),
            directory: "/mnt".into(),
            ..Tasks::default()
        };
        let room = |free, fat| Room { free, fat };
        assert_eq!(shortage(room(20 << 10, false), &tasks(1, 8 << 10, 8 << 10), 0), None);
        let short = shortage(room(19 << 10, false), &tasks(1, 8 << 10, 8 << 10), 0).unwrap();
        assert_eq!(short, "/mnt has 19.0 KiB free; 20.0 KiB are needed");
        let (large, much) = (tasks(1, 1 << 32, 1 << 32), 1 << 40);
        assert_eq!(shortage(room(much, false), &large, 0), None);
        assert!(shortage(room(much, true), &large, 0).unwrap().contains("has 4.0 GiB; format it as exFAT"));
        assert_eq!(shortage(room(much, true), &tasks(1, FAT_FILE, FAT_FILE), 10_000), None);
        assert!(shortage(room(much, true), &tasks(10_000, 9, 1), 1_000).unwrap().contains("these are 11000"));
    }
}
