//! One run of wrk, and what it cost the server.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Load, Per};
use crate::bench::measure;
use crate::bench::mirror::NIX;

/// Seconds of load for each server in a round.
const SECONDS: u32 = 2;

/// The requests, one after the other and round again.
pub(super) fn script(paths: &[String]) -> String {
    let list = paths.iter().map(|path| format!("\"{path}\"")).collect::<Vec<_>>().join(",\n");
    format!(
        "local paths = {{\n{list}\n}}\nlocal at = 0\nrequest = function()\n  at = at % #paths + 1\n  return wrk.format(\"GET\", paths[at], {{[\"User-Agent\"] = \"{NIX}\"}})\nend\n"
    )
}

/// Processor time of all processes of a server, by what the load counts.
pub(super) fn microseconds(url: &str, server: u32, load: &Load, script: &Path) -> Result<f64> {
    let before = measure::tree_seconds(server)?;
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{}", load.connections), &format!("-d{SECONDS}s"), "-s"])
        .arg(script)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .context("cannot run wrk")?;
    let spent = measure::tree_seconds(server)? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    let Done { requests, bytes, refused } =
        done(&text).with_context(|| format!("wrk printed no counts:\n{text}"))?;
    ensure!(requests > 0, "wrk got no answer from {url}");
    ensure!(
        refused == if load.there { 0 } else { requests },
        "{refused} of {requests} answers of {url} were errors: {}",
        load.figure
    );
    Ok(match load.per {
        Per::Request => spent * 1e6 / f64::from(requests),
        Per::Gigabyte => spent * 1e6 / (bytes / f64::from(1_u32 << 30)),
    })
}

/// What wrk counted.
#[derive(Debug, PartialEq)]
struct Done {
    requests: u32,
    bytes: f64,
    /// Answers that are no success.
    refused: u32,
}

/// From the line `  123456 requests in 3.00s, 45.67MB read` and, if there is one, `  Non-2xx or 3xx responses: 7`.
fn done(text: &str) -> Option<Done> {
    let (requests, rest) = text.lines().find_map(|line| line.trim().split_once(" requests in "))?;
    let read = rest.split_once(", ")?.1.strip_suffix(" read")?;
    let digits = read.find(|c: char| c.is_ascii_alphabetic())?;
    let unit = match &read[digits..] {
        "B" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    let bytes = read[..digits].parse::<f64>().ok()? * 2_f64.powi(unit);
    let refused = text.lines().find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses: "));
    Some(Done {
        requests: requests.parse().ok()?,
        bytes,
        refused: refused.map_or(Some(0), |count| count.parse().ok())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_read_from_wrk() {
        let text =
            "Running 3s test\n  1 threads and 64 connections\n  212345 requests in 3.00s, 1.50KB read\n";
        assert_eq!(done(text), Some(Done { requests: 212_345, bytes: 1536.0, refused: 0 }));
        let text = format!("{text}  Non-2xx or 3xx responses: 7\n");
        assert_eq!(done(&text), Some(Done { requests: 212_345, bytes: 1536.0, refused: 7 }));
        assert_eq!(done("unable to connect"), None);
    }
}
