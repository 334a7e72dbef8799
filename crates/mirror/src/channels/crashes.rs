//! The power cut before every step of what is written for a channel: a revision is complete or it is not, and what was
//! complete stays so until the next is.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use granary_fetch::{Limits, WebClient};
use granary_nix::CacheInfo;
use jiff::Timestamp;

use super::{Lists, Revision, State};
use crate::config::Channel;
use crate::tree::crashes::{Numbers, directory, files};
use crate::tree::disk::{self, power};
use crate::tree::{Tree, TreeError};

/// What the channel is at, one after the other: it goes back once.
const RELEASES: [usize; 6] = [0, 1, 2, 1, 3, 4];
/// Complete revisions that are kept.
const KEEP: usize = 2;
/// Runs, each with other things lost.
const SEEDS: u64 = 4;

pub(super) fn channel() -> Channel {
    let (name, url) = ("nixos".to_owned(), "https://channels.example/nixos".parse().unwrap());
    Channel { folder: name.clone(), name, url, keep: KEEP, every: None }
}

fn id(release: usize) -> String {
    format!("{release:032}")
}

/// What a release lists: more than fits in one page of a disk.
fn list(release: usize) -> String {
    let line = |number: usize| format!("{number:032}-package-{release}\n");
    (0..200 + release).map(line).collect()
}

fn tag(number: usize) -> String {
    format!("\"{number}\"")
}

fn time(number: usize) -> Timestamp {
    Timestamp::from_second(i64::try_from(number).unwrap()).unwrap()
}

pub(super) fn open(directory: &Path) -> Lists {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = WebClient::new(&Limits::default()).unwrap();
    Lists::new(Arc::new(Tree::open(directory, &CacheInfo::default()).unwrap()), client)
}

/// All of it, or what is left to do of it. The number of the last release that was said to be complete goes into `told`.
fn play(lists: &Lists, told: &Cell<Option<usize>>) -> Result<(), TreeError> {
    let standing = lists.stand(&channel());
    let at = place(&standing.now().state);
    for (number, release) in RELEASES.into_iter().enumerate().skip(at.unwrap_or_default()) {
        if at != Some(number) {
            let (url, paths) = (format!("https://releases.example/{release}"), 200 + release as u64);
            let (id, seen) = (id(release), time(number));
            let revision = Revision { id, url, paths, seen, complete: None, refused: 0 };
            let file = lists.tree.temp();
            disk::write(file.path(), list(release).as_bytes())
                .map_err(|error| TreeError::io("write", file.path())(error))?;
            lists.found(&standing, file, revision, Some(tag(number)))?;
        }
        lists.change(&standing, |state| state.completed(&id(release), 0, time(number), KEEP))?;
        told.set(Some(number));
    }
    // The channel is looked at again and again.
    let looks = [1, 2].map(|later| time(RELEASES.len() + later));
    looks.into_iter().try_for_each(|now| lists.change(&standing, |state| state.looked(true, now)))
}

/// Which of the releases was found last.
fn place(state: &State) -> Option<usize> {
    (0..RELEASES.len()).find(|number| state.tag == Some(tag(*number)))
}

/// What the next process knows.
fn check(lists: &Lists, told: Option<usize>, when: &str) {
    let standing = lists.stand(&channel());
    let state = standing.now().state.clone();
    for revision in &state.revisions {
        let release: usize = revision.id.parse().unwrap();
        let there: Vec<String> =
            lists.read(&standing, revision).unwrap().map(|path| path.base_name().to_owned()).collect();
        assert!(there.iter().eq(list(release).lines()), "{when}: the list of {release} is not whole");
        assert_eq!(revision.paths, there.len() as u64, "{when}");
    }
    let at = place(&state);
    assert!(at >= told, "{when}: {told:?} was said to be complete, and {at:?} is the newest that is known");
    let Some(at) = at else { return };
    assert_eq!(state.revisions[0].id, id(RELEASES[at]), "{when}");
    let complete = state.revisions.iter().position(|revision| revision.complete.is_some());
    match complete {
        // The new one.
        Some(0) => {}
        // The one before, whole, until the new one is.
        Some(_) => {
            assert!(told != Some(at), "{when}");
            assert_eq!(complete, Some(1), "{when}");
            assert_eq!(state.revisions[1].id, id(RELEASES[at - 1]), "{when}");
        }
        None => assert!(at == 0 && told.is_none(), "{when}: nothing is complete"),
    }
}

/// Interrupted before each step, and again while it goes on. How many interruptions.
fn interrupt(seed: u64) -> usize {
    let mut numbers = Numbers(seed, 0);
    let whole = directory();
    let lists = open(whole.path());
    let (result, off) = power::run(usize::MAX, || play(&lists, &Cell::default()));
    result.unwrap();
    let (steps, expected) = (off.steps(), lists.stand(&channel()).now().state.clone());
    drop(lists);
    let expected_files = files(whole.path());
    let mut count = 0;
    for step in 0..steps {
        let (directory, told) = (directory(), Cell::default());
        for (time, steps) in [step, numbers.below(steps)].into_iter().enumerate() {
            let lists = open(directory.path());
            let (result, off) = power::run(steps, || play(&lists, &told));
            count += usize::from(result.is_err());
            drop(lists);
            off.lose_unsynced(|count| numbers.below(count));
            check(
                &open(directory.path()),
                told.get(),
                &format!("seed {seed}, step {step}, time {time}: {steps}"),
            );
        }
        let lists = open(directory.path());
        play(&lists, &told).unwrap();
        let when = format!("seed {seed}, step {step}, completed");
        check(&lists, told.get(), &when);
        assert_eq!(lists.stand(&channel()).now().state, expected, "{when}");
        let folder = lists.tree.layout().channels().join(channel().folder);
        assert_eq!(
            std::fs::read_dir(folder).unwrap().count(),
            expected.revisions.len() + 1,
            "{when}: the state, and no list that it does not name"
        );
        drop(lists);
        assert!(files(directory.path()) == expected_files, "{when}: not the files of an undisturbed one");
    }
    count
}

#[test]
fn a_machine_that_stops_before_any_step_knows_the_old_complete_revision_or_the_new_one() {
    let count: usize = (0..SEEDS).map(interrupt).sum();
    assert!(count >= 100, "{count} interruptions");
}
