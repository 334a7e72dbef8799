//! What the job wants altogether, or that it is not known.

use std::sync::Arc;

use granary_nix::{StorePath, Trust};

use super::job::{Job, Roots};
use super::memory::Memory;
use super::obtain::{Context, Problem};
use super::outcome::Demand;
use super::resolve::{Closure, Need, resolve};
use crate::compact::HashParts;

/// Finds it out, if the job asks. `closure` is that of the policies that select this mirror; the closures of the others are
/// only resolved when something is here, or in the trash, that is not in it.
pub(super) async fn find_out(
    context: &Context,
    memory: &mut Memory,
    trust: &Arc<Trust>,
    job: &Job,
    closure: &Closure,
) -> Demand {
    let Some(elsewhere) = &job.elsewhere else { return Demand::Unknown("nobody asks".into()) };
    if let Some(reason) = doubt(job, closure) {
        return Demand::Unknown(reason);
    }
    let mut wanted = closure.hashes(&memory.graph);
    if !elsewhere.is_empty() && context.tree.has_more_than(&wanted) {
        let closure = resolve(context, memory, trust, elsewhere.iter(), Need::Names).await;
        if let Some(reason) = lost(&closure, &listed([elsewhere])) {
            return Demand::Unknown(reason);
        }
        wanted.extend(closure.found().map(|node| memory.graph.hash(node)));
    }
    Demand::Known(wanted)
}

/// Why the policies do not say what is wanted.
fn doubt(job: &Job, closure: &Closure) -> Option<String> {
    let Job { policies, sources: _, elsewhere, others } = job;
    if policies.is_empty() && !others {
        return Some("no policy asks for anything here".into());
    }
    let mut all = policies.iter().map(|policy| &policy.roots).chain(elsewhere);
    if let Some(reason) = all.find_map(|roots| roots.unknown.clone()) {
        return Some(reason);
    }
    let empty = policies.iter().find(|policy| policy.roots.is_empty());
    empty
        .map(|policy| format!("the policy {} names no store paths", policy.name))
        .or_else(|| lost(closure, &listed(policies.iter().map(|policy| &policy.roots))))
}

/// What is only listed.
pub(super) fn listed<'r>(roots: impl IntoIterator<Item = &'r Roots>) -> HashParts {
    let (mut listed, mut named) = (HashParts::default(), HashParts::default());
    for Roots { named: here, listed: there, unknown: _ } in roots {
        named.extend(here.iter().map(StorePath::hash_part));
        listed.extend(there.iter().map(StorePath::hash_part));
    }
    for hash in named.iter() {
        listed.remove(&hash);
    }
    listed
}

/// Whatever is lost may refer to anything.
fn lost(closure: &Closure, listed: &HashParts) -> Option<String> {
    let (path, Problem { fault, .. }) = closure.unexplained(listed).min_by_key(|(path, _)| *path)?;
    Some(format!("{path} cannot be resolved: {}: {fault}", fault.reason))
}
