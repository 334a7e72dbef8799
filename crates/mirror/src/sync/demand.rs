//! What the job wants altogether, or that it is not known.

use std::collections::HashSet;
use std::sync::Arc;

use granary_nix::{HashPart, StorePath, Trust};

use super::job::{Job, PolicyJob};
use super::memory::Memory;
use super::obtain::{Context, Problem};
use super::outcome::Demand;
use super::resolve::{Closure, resolve};

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
    if let Some(reason) = doubt(&job.policies, closure) {
        return Demand::Unknown(reason);
    }
    let mut wanted: HashSet<HashPart> = closure.found.keys().copied().collect();
    if !elsewhere.is_empty() && context.tree.has_more_than(&wanted) {
        let elsewhere = resolve(context, memory, trust, elsewhere.iter()).await;
        if let Some(reason) = lost(&elsewhere) {
            return Demand::Unknown(reason);
        }
        wanted.extend(elsewhere.found.into_keys());
    }
    Demand::Known(wanted)
}

/// Why the policies do not say what is wanted.
fn doubt(policies: &[PolicyJob], closure: &Closure) -> Option<String> {
    if policies.is_empty() {
        return Some("no policy asks for anything here".into());
    }
    let empty = policies.iter().find(|policy| policy.roots.is_empty());
    empty.map(|policy| format!("the policy {} names no store paths", policy.name)).or_else(|| lost(closure))
}

/// Whatever is lost may refer to anything.
fn lost(closure: &Closure) -> Option<String> {
    let (path, Problem { fault, .. }): &(StorePath, Problem) =
        closure.lost.values().min_by_key(|(path, _)| path)?;
    Some(format!("{path} cannot be resolved: {}: {fault}", fault.reason))
}
