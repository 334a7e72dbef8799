//! The same histories in processes of their own, which the system kills before a step.
//!
//! The child is this very program, told to run one test that does nothing when nobody has told it what to do.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::{env, fs};

use nix::sys::signal::Signal;

use super::*;
use crate::verify::on_all_cores;

/// Kills, each before another step of some history.
const KILLS: usize = 1000;
/// The child's instructions: the seed, the step, the directory, and where it notes what it said was published.
const TOLD_BY: [&str; 4] =
    ["GRANARY_TEST_SEED", "GRANARY_TEST_STEP", "GRANARY_TEST_TREE", "GRANARY_TEST_TOLD"];

/// With things that are published, have files beside them, and are taken out again.
fn history(seed: u64) -> History {
    let mut history = History { beside: true, ..History::new(seed) };
    history.removals = Some(Removals::of(&history, &mut Numbers(seed, 5000)));
    history
}

/// A history, what it comes to undisturbed, and in how many steps.
struct Whole {
    history: History,
    files: BTreeMap<PathBuf, Vec<u8>>,
    steps: usize,
}

impl Whole {
    fn of(seed: u64) -> Self {
        let (history, directory, told) = (history(seed), directory(), RefCell::default());
        let (result, off) = power::run(usize::MAX, || history.play(directory.path(), &told));
        result.unwrap();
        Self { files: files(directory.path()), steps: off.steps(), history }
    }

    /// One process, killed before a step, and what the next one makes of it.
    fn kill(&self, seed: u64, step: usize) {
        let (directory, notes) = (directory(), directory());
        let notes = notes.path().join("told");
        let when = format!("seed {seed}, killed before step {step}");
        let values = [
            seed.to_string(),
            step.to_string(),
            directory.path().to_str().unwrap().to_owned(),
            notes.to_str().unwrap().to_owned(),
        ];
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "tree::crashes::killed::child", "--ignored", "--quiet", "--test-threads=1"])
            .envs(TOLD_BY.into_iter().zip(values))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(child.signal(), Some(Signal::SIGKILL as i32), "{when}: {child}");
        self.history.check(directory.path(), &when);
        for hash in fs::read_to_string(&notes).unwrap().lines() {
            let narinfo = directory.path().join(format!("{hash}.narinfo"));
            assert!(narinfo.exists(), "{when}: {hash} was said to be published");
        }
        self.history.play(directory.path(), &RefCell::default()).unwrap();
        self.history.check(directory.path(), &format!("{when}, completed"));
        assert!(files(directory.path()) == self.files, "{when}: not as undisturbed");
    }
}

#[test]
fn a_thousand_processes_killed_before_every_step_leave_valid_caches() {
    let mut wholes = Vec::new();
    let mut moments: Vec<(u64, usize)> = Vec::new();
    for seed in 0.. {
        let whole = Whole::of(seed);
        moments.extend((0..whole.steps).map(|step| (seed, step)));
        wholes.push(whole);
        if moments.len() >= KILLS {
            break;
        }
    }
    let one = |(seed, step): &(u64, usize)| wholes[usize::try_from(*seed).unwrap()].kill(*seed, *step);
    assert!(on_all_cores(&moments, one).len() >= KILLS);
}

/// Not a test by itself: what is killed.
#[test]
#[ignore = "run by a test of its own, which tells it where it ends"]
fn child() {
    let [Ok(seed), Ok(step), Ok(directory), Ok(notes)] = TOLD_BY.map(env::var) else { return };
    let published = Rc::new(RefCell::default());
    let shared = Rc::clone(&published);
    let note = move || {
        let published: &RefCell<HashSet<HashPart>> = &shared;
        let names: Vec<String> = published.borrow().iter().map(ToString::to_string).collect();
        fs::write(&notes, names.join("\n")).unwrap();
    };
    let history = history(seed.parse().unwrap());
    let play = || history.play(Path::new(&directory), &published);
    power::run_until_killed(step.parse().unwrap(), note, play).unwrap();
}
