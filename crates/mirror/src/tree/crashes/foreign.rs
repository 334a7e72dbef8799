//! The same on filesystems where the files of a batch are synced each by itself: there nothing makes up for one that is forgotten.

use std::panic::catch_unwind;

use super::interrupt;
use crate::tree::disk::power::{Filesystem, on};

/// Histories of each kind: fewer, as only the syncs are others.
const SEEDS: u64 = 2;
/// Interruptions that all of them must come to.
const LEAST: usize = 1000;
/// Without removals, with them, and with files beside the artifacts.
const KINDS: [(bool, bool); 3] = [(false, false), (true, false), (true, true)];

#[test]
fn a_machine_that_syncs_each_file_by_itself_and_stops_before_any_step_leaves_a_valid_cache() {
    let kind = |(removals, beside)| (0..SEEDS).map(move |seed| interrupt(seed, true, removals, beside));
    let count: usize = on(Filesystem::Foreign, || KINDS.into_iter().flat_map(kind).sum());
    assert!(count >= LEAST, "{count} interruptions");
}

#[test]
fn where_files_keep_no_checksums_whatever_ends_before_any_step_leaves_a_valid_cache() {
    let histories = |power_cut| (0..SEEDS).map(move |seed| interrupt(seed, power_cut, true, true));
    let count: usize =
        on(Filesystem::WithoutAttributes, || [false, true].into_iter().flat_map(histories).sum());
    assert!(count >= LEAST, "{count} interruptions");
}

/// Nothing that is to be relied upon, but that the test above would see such a fault.
#[test]
fn one_file_of_a_batch_whose_sync_is_forgotten_does_not_go_unnoticed() {
    for seed in 0..SEEDS {
        // A process that ends loses nothing; a machine does.
        let interrupted = |power_cut| on(Filesystem::Forgetful, || interrupt(seed, power_cut, false, false));
        assert!(interrupted(false) > 0);
        let seen = catch_unwind(|| interrupted(true)).unwrap_err();
        let told = seen.downcast_ref::<String>().unwrap();
        assert!(told.contains(&format!("seed {seed}, step ")), "{told}");
    }
}
