//! Processes that take pushes and pull through, which the system kills before every step that they do on the disk; and the
//! next ones, which have to find a valid cache and do the work to its end.
//!
//! A child is this very program, told to run one test that does nothing when nobody has told it what to do.
//!
//! * [`child`]: one such process.
//! * [`push`]: takes pushes over a socket.
//! * [`site`]: pulls through, for [`through`] what clients ask for, and for [`room`] within little room.

mod child;
mod push;
mod room;
mod site;
mod through;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use granary_nix::{HashPart, PublicKeys};

use crate::tree::Layout;
use crate::tree::crashes::{Numbers, directory};
use crate::verify::{TreeCheck, on_all_cores, verify_tree};

/// How often the system kills a process, at least, for each kind of work.
const KILLS: usize = 200;
/// A step that is never come to.
const NEVER: usize = usize::MAX;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    /// By itself, after so many steps.
    Done(usize),
}

/// Work that can be begun anew, wherever it was interrupted.
trait Work: Sync {
    /// The same for the same seed.
    fn of(seed: u64) -> Self;

    /// Has it done in a process of its own that is killed before step number `step`. What was said to be published is added
    /// to `told`.
    fn run(&self, directory: &Path, step: usize, told: &mut HashSet<HashPart>) -> End;

    /// By which the artifacts are trusted.
    fn keys(&self) -> PublicKeys;

    /// What holds at every moment, besides that the tree is a valid cache.
    fn check(&self, directory: &Path, told: &HashSet<HashPart>, when: &str);

    /// What holds when it is done.
    fn check_done(&self, directory: &Path, check: &TreeCheck, when: &str);
}

/// Nothing but the name of the cache may be missing, and only before there is anything in it. `None` before there is a tree.
fn check_tree(work: &impl Work, directory: &Path, when: &str) -> Option<TreeCheck> {
    if !directory.join(".granary/lock").exists() {
        return None;
    }
    let mut check = verify_tree(directory, &work.keys()).unwrap();
    let early = !directory.join("nix-cache-info").exists() && check.artifacts == 0;
    check.faults.retain(|fault| !(early && fault.path == "nix-cache-info"));
    assert_eq!(check.faults, [], "{when}");
    Some(check)
}

/// What is done, to its end, by a process that nothing kills; its steps.
fn complete(work: &impl Work, directory: &Path, told: &mut HashSet<HashPart>, when: &str) -> usize {
    let end = work.run(directory, NEVER, told);
    let End::Done(steps) = end else { panic!("{when}: {end:?}") };
    let check = check_tree(work, directory, when).unwrap();
    work.check(directory, told, when);
    let half = fs::read_dir(Layout::new(directory).temp()).unwrap().count();
    assert_eq!(half, 0, "{when}: nothing half-written is left");
    work.check_done(directory, &check, when);
    steps
}

/// Two processes in one directory, the first killed before this step and the second before another one, and a third that
/// completes the work. How many were killed.
fn interrupt(work: &impl Work, (seed, step, steps): (u64, usize, usize)) -> usize {
    let (directory, mut told, mut kills) = (directory(), HashSet::new(), 0);
    let mut numbers = Numbers(seed, step as u64 * 1000);
    for step in [step, numbers.below(steps)] {
        let when = format!("seed {seed}, killed before step {step}");
        let end = work.run(directory.path(), step, &mut told);
        kills += usize::from(end == End::Killed);
        check_tree(work, directory.path(), &when);
        work.check(directory.path(), &told, &when);
    }
    complete(work, directory.path(), &mut told, &format!("seed {seed}, step {step}, completed"));
    kills
}

/// As many histories as it takes, each interrupted before every step. Blocks.
fn kill<W: Work>() {
    let (mut works, mut moments): (Vec<W>, Vec<(u64, usize, usize)>) = (Vec::new(), Vec::new());
    for seed in 0.. {
        let work = W::of(seed);
        let directory = directory();
        let steps =
            complete(&work, directory.path(), &mut HashSet::new(), &format!("seed {seed}, undisturbed"));
        moments.extend((0..steps).map(|step| (seed, step, steps)));
        works.push(work);
        // Each is killed a second time, which some do not live to.
        if moments.len() * 3 >= KILLS * 2 {
            break;
        }
    }
    let one = |moment: &(u64, usize, usize)| interrupt(&works[usize::try_from(moment.0).unwrap()], *moment);
    let kills: usize = on_all_cores(&moments, one).into_iter().sum();
    assert!(kills >= KILLS, "{kills} of {} were killed", 2 * moments.len());
}
