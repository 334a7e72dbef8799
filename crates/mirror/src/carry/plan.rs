//! What is to be carried: the closure, references first, and what of it is missing.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use granary_fetch::Fault;
use granary_nix::{HashPart, NarInfo, StorePath, Trust};
use granary_placement::report::RefusalReason;

use super::{CarryError, Origin, Target, Trouble};
use crate::tree::references_first;
use crate::verify::on_all_cores;

/// What the origin's narinfos say.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The artifacts with a narinfo that holds, references before referrers.
    pub(super) order: Vec<NarInfo>,
    /// Those without, and why.
    pub(super) lost: HashMap<HashPart, Trouble>,
}

/// The plan for the closure of `roots`, or for everything.
pub(super) fn plan(origin: &Origin, trust: &Trust, roots: &[StorePath]) -> Result<Plan, CarryError> {
    let mut names: HashMap<HashPart, StorePath> =
        roots.iter().map(|root| (root.hash_part(), root.clone())).collect();
    let mut open =
        if roots.is_empty() { origin.all()? } else { roots.iter().map(StorePath::hash_part).collect() };
    let mut seen: HashSet<HashPart> = open.iter().copied().collect();
    let (mut found, mut lost) = (HashMap::new(), HashMap::new());
    while !open.is_empty() {
        for (hash, answer) in origin.narinfos(&std::mem::take(&mut open), trust) {
            match admit(answer, names.get(&hash)) {
                Ok(info) => {
                    for reference in &info.references {
                        names.entry(reference.hash_part()).or_insert_with(|| reference.clone());
                        if seen.insert(reference.hash_part()) {
                            open.push(reference.hash_part());
                        }
                    }
                    found.insert(hash, info);
                }
                Err(fault) => {
                    let artifact = names.get(&hash).map_or_else(|| hash.to_string(), StorePath::to_string);
                    lost.insert(hash, Trouble { artifact, fault });
                }
            }
        }
    }
    let order = references_first(&found.keys().copied().collect(), |hash: &HashPart| {
        found
            .get(hash)
            .into_iter()
            .flat_map(|info: &NarInfo| info.references.iter().map(StorePath::hash_part))
    });
    let mut plan = Plan { order: Vec::with_capacity(order.len()), lost };
    for hash in order {
        let Some(info) = found.remove(&hash) else { continue };
        match info.references.iter().find(|reference| found.contains_key(&reference.hash_part())) {
            None => plan.order.push(info),
            // What comes later needs this one, by whatever ways.
            Some(later) => {
                let message =
                    format!("it and {later} need each other, so neither can be there before the other");
                let fault = Fault::new(RefusalReason::MissingReference, message);
                let trouble = Trouble { artifact: info.store_path.to_string(), fault };
                plan.lost.insert(info.store_path.hash_part(), trouble);
            }
        }
    }
    Ok(plan)
}

/// The narinfo, if it is about the path that is wanted.
fn admit(answer: super::origin::Answer, wanted: Option<&StorePath>) -> Result<NarInfo, Fault> {
    let info = answer?.ok_or_else(|| Fault::new(RefusalReason::NotFound, "the source does not have it"))?;
    if wanted.is_none_or(|wanted| *wanted == info.store_path) {
        return Ok(info);
    }
    let message = format!("the source has {} under its hash", info.store_path);
    Err(Fault::new(RefusalReason::WrongPath, message))
}

/// What of a plan is left to do.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// In the plan's order: whether the target has it already.
    pub(super) present: Vec<bool>,
    /// Bytes of the NAR files that are missing, as far as they are stated.
    pub(super) bytes: u64,
    /// The artifacts that are missing.
    pub(super) artifacts: u64,
    /// The largest missing NAR file.
    pub(super) largest: Option<(u64, String)>,
    /// Where it goes.
    pub(super) directory: PathBuf,
}

impl Tasks {
    /// Reads whatever the target has of the plan, on all cores.
    pub(super) fn of(plan: &Plan, target: &Target, trust: &Trust) -> Self {
        let numbers: Vec<usize> = (0..plan.order.len()).collect();
        let mut tasks = Self {
            present: vec![false; numbers.len()],
            directory: target.directory().to_owned(),
            ..Self::default()
        };
        for (number, here) in
            on_all_cores(&numbers, |number| (*number, target.has(&plan.order[*number], trust)))
        {
            tasks.present[number] = here;
        }
        for (info, _) in plan.order.iter().zip(&tasks.present).filter(|(_, here)| !**here) {
            let size = info.file_size.unwrap_or_default();
            tasks.artifacts += 1;
            tasks.bytes = tasks.bytes.saturating_add(size);
            if tasks.largest.as_ref().is_none_or(|(largest, _)| size > *largest) {
                tasks.largest = Some((size, info.store_path.to_string()));
            }
        }
        tasks
    }
}
