//! Whether the target can take it all, looked at before anything is copied.

use std::path::Path;

use nix::sys::statfs::{MSDOS_SUPER_MAGIC, statfs};

use super::beside::Weight;
use super::plan::Tasks;
use super::{CarryError, Target};
use crate::words::size;

/// Largest file of a FAT filesystem, in bytes.
const FAT_FILE: u64 = (1 << 32) - 1;
/// Files with names as long as those of NAR files that one directory of a FAT filesystem holds: its 65,536 entries, of
/// which each name needs six.
const FAT_FILES: u64 = 10_900;
/// Entries of a directory of a FAT filesystem, of which a narinfo's name needs five and a listing's four.
const FAT_ENTRIES: u64 = 65_500;
/// What a small file takes at most besides its bytes: a block that is not full.
const BLOCK: u64 = 4 << 10;
/// What an artifact takes besides its NAR file: the narinfo, and two blocks that are not full.
const EACH: u64 = 12 << 10;

/// What a filesystem offers.
#[derive(Clone, Copy, Debug)]
struct Room {
    free: u64,
    fat: bool,
}

/// Refuses what cannot fit.
pub(super) fn check(target: &Target, tasks: &Tasks, beside: Weight) -> Result<(), CarryError> {
    let Some(room) = look(target.directory()) else { return Ok(()) };
    let there = tasks.present.iter().filter(|present| **present).count() as u64;
    match shortage(room, tasks, beside, there) {
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
fn shortage(room: Room, tasks: &Tasks, beside: Weight, there: u64) -> Option<String> {
    let at = tasks.directory.display();
    let with_blocks = |bytes: u64, files: u64, each| bytes.saturating_add(files.saturating_mul(each));
    let needed = with_blocks(tasks.bytes, tasks.artifacts, EACH);
    let needed = needed.saturating_add(with_blocks(beside.bytes, beside.files, BLOCK));
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
    if files > FAT_FILES {
        return Some(format!(
            "{at} is a FAT filesystem, of which a directory holds about {FAT_FILES} NAR files; these are {files}; \
             format it as exFAT or ext4"
        ));
    }
    let listings = beside.listings;
    (files * 5 + listings * 4 > FAT_ENTRIES).then(|| {
        format!(
            "{at} is a FAT filesystem, of which a directory does not hold {files} narinfos and {listings} listings; \
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
        let none = Weight::default();
        assert_eq!(shortage(room(20 << 10, false), &tasks(1, 8 << 10, 8 << 10), none, 0), None);
        let short = shortage(room(19 << 10, false), &tasks(1, 8 << 10, 8 << 10), none, 0).unwrap();
        assert_eq!(short, "/mnt has 19.0 KiB free; 20.0 KiB are needed");
        let (large, much) = (tasks(1, 1 << 32, 1 << 32), 1 << 40);
        assert_eq!(shortage(room(much, false), &large, none, 0), None);
        assert!(
            shortage(room(much, true), &large, none, 0).unwrap().contains("has 4.0 GiB; format it as exFAT")
        );
        assert_eq!(shortage(room(much, true), &tasks(1, FAT_FILE, FAT_FILE), none, 10_000), None);
        assert!(
            shortage(room(much, true), &tasks(10_000, 9, 1), none, 1_000)
                .unwrap()
                .contains("these are 11000")
        );
    }

    #[test]
    fn what_stands_beside_artifacts_needs_room_too() {
        let tasks = Tasks { directory: "/mnt".into(), artifacts: 7_000, ..Tasks::default() };
        let free = 1 << 20;
        let room = |fat| Room { free: free + 7_000 * EACH, fat };
        let short = |fat, beside| shortage(room(fat), &tasks, beside, 0);
        let logs = |bytes| Weight { bytes, files: 1, listings: 0 };
        assert_eq!(short(false, logs(free - BLOCK)), None);
        assert!(short(false, logs(free)).is_some());
        let listings = |listings| Weight { bytes: 0, files: 0, listings };
        assert_eq!(short(true, listings(7_000)), None);
        assert!(short(true, listings(7_700)).unwrap().contains("7000 narinfos and 7700 listings"));
    }
}
