//! Step 2: what the reports say about one policy, added up. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use granary_placement::report::{PolicyReport, Refusal};

use super::dereference::Placed;
use crate::reports::Observed;

/// Refusals that are named in a message, one for each mirror.
const EXAMPLES: usize = 3;

/// The sums over a policy's mirrors. Only mirrors that answer count, and only what they say about this placement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Mirrors that count.
    pub reporting: usize,
    /// Mirrors that do not answer, by name.
    pub silent: Vec<String>,
    /// Mirrors of which a new leader does not know yet whether they answer.
    pub unasked: Vec<String>,
    /// Mirrors that answer, but do not yet speak about this placement.
    pub behind: Vec<String>,
    /// The catalogs that mirrors have: digest, artifacts and who says so.
    pub catalogs: BTreeMap<String, (u64, Vec<String>)>,
    /// Why mirrors without a catalog have none: who, and the reason.
    pub catalog_errors: Vec<(String, String)>,
    /// Verified copies.
    pub copies: u64,
    /// Bytes of these copies' NAR files.
    pub bytes: u64,
    /// Artifacts refused, summed over mirrors.
    pub refused: u64,
    /// A refusal of each mirror that has one, in words.
    pub refusals: Vec<String>,
}

impl Count {
    /// Adds up what a policy's mirrors say.
    pub fn of(placed: &Placed, observed: &HashMap<String, Observed>, now: Instant) -> Self {
        let mut count = Self::default();
        for mirror in &placed.entry.mirrors {
            let name = mirror.as_str();
            let seen = observed.get(name);
            let Some(report) = seen.and_then(|seen| seen.current(now)) else {
                let is_silent = seen.is_some_and(|seen| seen.silent(now));
                let list = if is_silent { &mut count.silent } else { &mut count.unasked };
                list.push(name.to_owned());
                continue;
            };
            let about = report.policies.iter().find(|policy| policy.name == placed.entry.name);
            match about.filter(|_| report.epoch >= placed.placement_epoch) {
                Some(about) => count.add(name, about),
                None => count.behind.push(name.to_owned()),
            }
        }
        count.refusals.truncate(EXAMPLES);
        count
    }

    fn add(&mut self, name: &str, about: &PolicyReport) {
        self.reporting += 1;
        match (&about.catalog, &about.catalog_error) {
            (Some(catalog), _) => {
                let (artifacts, who) = self.catalogs.entry(catalog.digest.clone()).or_default();
                *artifacts = catalog.artifacts;
                who.push(name.to_owned());
            }
            (None, Some(error)) => self.catalog_errors.push((name.to_owned(), error.clone())),
            (None, None) => {}
        }
        self.copies = self.copies.saturating_add(about.verified);
        self.bytes = self.bytes.saturating_add(about.verified_bytes);
        self.refused = self.refused.saturating_add(about.refused);
        if let Some(Refusal { store_path, reason, message, source: _ }) = &about.refusal {
            self.refusals.push(format!("{name}: {store_path} ({reason}: {message})"));
        }
    }

    /// How many artifacts the catalog has; with several catalogs, the largest.
    pub fn artifacts(&self) -> Option<u64> {
        self.catalogs.values().map(|(artifacts, _)| *artifacts).max()
    }
}
