//! Carries artifacts from one cache to a directory: what `export` and `import` do for a site without a network.
//!
//! * [`origin`]: where they come from: a directory that is a binary cache, or one behind HTTP.
//! * [`target`]: where they go: a plain binary cache ([`plain`]), or a mirror's tree.
//! * [`plan`]: the closure, references first.
//! * [`room`]: whether the target can take it all.
//! * [`beside`]: what goes with the artifacts: listings, logs, realisations, build traces, the debug index.
//! * [`outcome`]: what became of it, and who watches.
//!
//! Each artifact is verified while its bytes are copied, and becomes visible whole, after all that it references. What
//! the target has already, and is right, is not copied again; so the same call after an interruption goes on from there.
//! A fault of the source concerns the artifact and what needs it, and is told; the rest goes on. A fault of the target
//! ends it all.

mod beside;
mod copy;
mod error;
pub mod origin;
pub mod outcome;
mod plain;
mod plan;
mod room;
pub mod target;
mod work;

pub use error::CarryError;
pub use origin::Origin;
pub use outcome::{Flaw, Observer, Outcome, Trouble};
pub use target::Target;

use granary_nix::{StorePath, Trust};
use tokio_util::sync::CancellationToken;

use crate::config::Extras;
use beside::Shelf;

/// Copies the closure of `roots`, or with no roots everything that the origin has, of which each artifact must meet
/// `trust`; and of the files beside them those that are in `wants`. Ends early, with [`CarryError::Stopped`], when `stop` is cancelled.
///
/// Blocks, and uses all cores.
pub fn carry(
    origin: &Origin,
    target: &Target,
    trust: &Trust,
    roots: &[StorePath],
    wants: Extras,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<Outcome, CarryError> {
    let plan = plan::plan(origin, trust, roots)?;
    let tasks = plan::Tasks::of(&plan, target, trust);
    let shelf = Shelf::of(origin, wants);
    room::check(target, &tasks, shelf.weigh(target, &plan.order))?;
    let (outcome, here) = work::run(origin, target, trust, plan, &tasks, observer, stop)?;
    let outcome = beside::carry(&shelf, target, trust, &here, observer, stop, outcome)?;
    target.finish()?;
    Ok(outcome)
}
