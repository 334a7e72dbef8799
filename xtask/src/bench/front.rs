//! `cargo xtask bench front`: nginx as Granary sets it up, Mirrors line included, against a bare nginx over the same files.

mod holder;
mod loads;
mod map;
mod wrk;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::corpus::Corpus;
use super::server::PlainNginx;
use super::table::{Row, median};
use holder::Holder;
use wrk::microseconds;

/// Rounds that count. In each, both servers get the same load, and the one that was second is first in the next.
const ROUNDS: usize = 9;

/// One kind of request, and the share of bare nginx's rate that the design asks for.
struct Load {
    figure: &'static str,
    goal: f64,
    connections: u32,
    /// Paths that are asked for in turn.
    paths: Vec<String>,
    /// Whether each of them is there.
    there: bool,
    per: Per,
}

/// What processor time is counted by.
#[derive(Clone, Copy)]
enum Per {
    Request,
    /// Files differ in size, and a round ends in the middle of some.
    Gigabyte,
}

/// Measures narinfos, absent narinfos and NARs.
pub fn rows(corpus: &Corpus, mirror: &Path, scratch: &Path) -> Result<Vec<Row>> {
    println!("  {}", super::ncps::skipped());
    let tree = scratch.join("tree");
    let upstream = PlainNginx::start(&corpus.cache("xz"), &scratch.join("upstream"))?;
    let front = Holder::start(corpus, mirror, &upstream, &tree, scratch)?;
    let nginx = front.nginx(&tree)?;
    let bare = PlainNginx::start(&tree, &scratch.join("bare"))?;
    let loads = loads::all(&tree)?;
    let narinfos = loads.iter().filter(|load| load.there && matches!(load.per, Per::Request));
    narinfos.flat_map(|load| &load.paths).try_for_each(|narinfo| front.has_mirrors(narinfo))?;
    loads
        .into_iter()
        .map(|load| {
            let script = scratch.join("paths.lua");
            fs::write(&script, wrk::script(&load.paths)).context("cannot write the list of requests")?;
            println!("  {}, {ROUNDS} rounds", load.figure);
            let mut rounds = Vec::new();
            // The first one fills caches.
            for round in 0..=ROUNDS {
                let ours = || microseconds(&front.url, nginx, &load, &script);
                let theirs = || microseconds(&bare.url(), bare.pid(), &load, &script);
                rounds.push(if round % 2 == 0 {
                    let ours = ours()?;
                    (ours, theirs()?)
                } else {
                    let theirs = theirs()?;
                    (ours()?, theirs)
                });
            }
            Ok(row(&load, &rounds[1..]))
        })
        .collect()
}

/// The middle of the rounds' ratios: both halves of a round ran under the same conditions, whatever else the machine did.
fn row(load: &Load, rounds: &[(f64, f64)]) -> Row {
    let middle = |figure: fn(&(f64, f64)) -> f64| median(&rounds.iter().map(figure).collect::<Vec<_>>());
    let (ours, theirs) = (middle(|round| round.0), middle(|round| round.1));
    let detail = match load.per {
        Per::Request => format!("{ours:.1} µs CPU a request, bare nginx {theirs:.1} µs"),
        Per::Gigabyte => format!("{:.0} ms CPU a GiB, bare nginx {:.0} ms", ours / 1e3, theirs / 1e3),
    };
    Row {
        figure: load.figure.to_owned(),
        ratio: middle(|(ours, theirs)| theirs / ours),
        goal: Some(load.goal),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_compared_with_itself() {
        let load = Load {
            figure: "NAR bytes",
            goal: 0.98,
            connections: 1,
            paths: Vec::new(),
            there: true,
            per: Per::Gigabyte,
        };
        // The machine was three times as slow in the second round, for both.
        let row = row(&load, &[(100.0, 110.0), (300.0, 330.0), (200.0, 100.0)]);
        assert!((row.ratio - 1.1).abs() < 1e-9, "{row:?}");
    }
}
