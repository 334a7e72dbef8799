//! A process group: asked to end, given time, killed.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Several times what a cluster's supervisor needs to remove its control groups.
const GRACE: Duration = Duration::from_secs(20);

/// How often it is looked whether a group is empty.
const LOOK: Duration = Duration::from_millis(50);

/// A process group, by the id of the process that leads it.
#[derive(Clone, Copy)]
pub struct Group(Pid);

impl Group {
    /// The group that a child leads, because it was started so.
    pub fn of(child: &Child) -> Result<Self> {
        Self::named(child.id())
    }

    /// The group with this id.
    pub fn named(id: u32) -> Result<Self> {
        Ok(Self(Pid::from_raw(i32::try_from(id).context("a process id out of range")?)))
    }

    /// The id.
    pub fn id(self) -> i32 {
        self.0.as_raw()
    }

    /// Asks all that is in it to end, and kills what has not ended some time later.
    pub fn end(self) {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            // The error is that there is none of that group.
            if killpg(self.0, signal).is_err() || self.empty_within(GRACE) {
                return;
            }
        }
    }

    fn empty_within(self, time: Duration) -> bool {
        let began = Instant::now();
        while self.has_life() {
            if began.elapsed() > time {
                return false;
            }
            thread::sleep(LOOK);
        }
        true
    }

    /// Whether a process of the group runs. One that has ended counts no longer, whether or not it was waited for.
    fn has_life(self) -> bool {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let mut status = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        status.any(|status| member(&status) == Some((self.id(), true)))
    }
}

/// The group of a process, and whether it runs, by what proc(5) calls `stat`: the name is in parentheses, and can
/// have some itself; state, parent and group follow.
fn member(status: &str) -> Option<(i32, bool)> {
    let (_, rest) = status.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    Some((group, !matches!(state, "Z" | "X")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_an_odd_name_is_read() {
        assert_eq!(member("12 (a) b) S 1 7 7 0"), Some((7, true)));
        assert_eq!(member("12 (sh) Z 1 7 7 0"), Some((7, false)));
        assert_eq!(member("12"), None);
    }
}
