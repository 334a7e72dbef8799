//! How much memory a process takes, and took at most: `VmRSS` and `VmHWM` of proc(5), which count what is resident, its program
//! included.

use std::fs;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// How often a running process is looked at. The figure only grows, so that what is missed is what it grew in its last
/// moments.
const LOOK: Duration = Duration::from_millis(10);

/// A mebibyte.
pub const MIB: f64 = 1_048_576.0;

/// The peak of a running process so far, in bytes; `None` when it has ended.
pub fn bytes(pid: u32) -> Option<f64> {
    parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

/// What a running process takes now, in bytes; `None` when it has ended.
pub fn now(pid: u32) -> Option<f64> {
    parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// Waits for a process, which has to succeed, and returns its peak in bytes.
pub fn of(mut child: Child) -> Result<f64> {
    let mut peak = 0.0;
    loop {
        if let Some(now) = bytes(child.id()) {
            peak = now;
        }
        if let Some(status) = child.try_wait().context("cannot wait for a process")? {
            ensure!(status.success(), "a process that was measured ended with {status}");
            return Ok(peak);
        }
        std::thread::sleep(LOOK);
    }
}

fn parse(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_peak_is_read() {
        let status = "Name:\tx\nVmHWM:\t   12 kB\nVmRSS:\t  8 kB\n";
        assert_eq!(["VmHWM:", "VmRSS:"].map(|field| parse(status, field)), [Some(12_288.0), Some(8_192.0)]);
        assert_eq!(parse("Name:\tx\n", "VmHWM:"), None, "a process that has ended has no memory");
        assert!(of(Command::new("sleep").arg("0.1").spawn().unwrap()).unwrap() > 0.0);
        assert!(of(Command::new("false").spawn().unwrap()).is_err());
    }
}
