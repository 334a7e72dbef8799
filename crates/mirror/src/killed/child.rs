//! One process that is killed, or ends by itself.

use std::env;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdout, Command, Stdio};

use nix::sys::signal::Signal;

use super::End;
use crate::tree::disk::power;

/// The child's instructions: the seed, the step, the directory, and the upstream, if there is one.
const TOLD_BY: [&str; 4] =
    ["GRANARY_TEST_SEED", "GRANARY_TEST_STEP", "GRANARY_TEST_TREE", "GRANARY_TEST_UPSTREAM"];
/// How many steps it did, which is its last word.
const STEPS: &str = "steps";

/// What a child is told to do.
pub(super) struct Orders {
    pub(super) seed: u64,
    pub(super) directory: PathBuf,
    pub(super) upstream: String,
}

impl Orders {
    /// Those of this process, whose steps are counted from now on; `None` when it is nobody's child.
    pub(super) fn given() -> Option<Self> {
        let [Ok(seed), Ok(step), Ok(directory), Ok(upstream)] = TOLD_BY.map(env::var) else { return None };
        power::kill_before(step.parse().unwrap());
        Some(Self { seed: seed.parse().unwrap(), directory: directory.into(), upstream })
    }
}

/// Tells the parent something.
pub(super) fn say(name: &str, value: impl std::fmt::Display) {
    // The line before it may be the harness's, which does not end it.
    println!("\n{name} {value}");
}

/// Tells the parent how many steps were done. Nothing is to be done after it.
pub(super) fn say_goodbye() {
    say(STEPS, power::steps_done());
}

/// Waits until the parent wants the process to end.
pub(super) fn wait_for_the_end() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// The process, as its parent sees it.
pub(super) struct Child {
    process: process::Child,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Runs the ignored test `name` of [`super`].
    pub(super) fn start(name: &str, directory: &Path, (seed, step): (u64, usize), upstream: &str) -> Self {
        let directory = directory.to_str().unwrap().to_owned();
        let values = [seed.to_string(), step.to_string(), directory, upstream.to_owned()];
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("killed::{name}"), "--ignored", "--nocapture", "--test-threads=1"])
            .envs(TOLD_BY.into_iter().zip(values))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// The next thing that it says under one of these names, and the name; `None` when it has ended.
    pub(super) fn hear<'n>(&mut self, names: &[&'n str]) -> Option<(&'n str, String)> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let said = names.iter().find_map(|name| {
                Some((*name, line.strip_prefix(name)?.strip_prefix(' ')?.trim_end().to_owned()))
            });
            if said.is_some() {
                return said;
            }
        }
    }

    /// Has the system kill it now.
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Asks it to end, if it still runs, and waits for that.
    pub(super) fn end(mut self) -> End {
        drop(self.process.stdin.take());
        let steps = self.hear(&[STEPS]).map(|(_, steps)| steps.parse().unwrap());
        let status = self.process.wait().unwrap();
        if let Some(steps) = steps.filter(|_| status.success()) {
            return End::Done(steps);
        }
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
        End::Killed
    }
}
