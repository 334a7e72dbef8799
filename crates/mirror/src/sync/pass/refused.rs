//! What becomes of what was pulled, and what is refused.

use std::time::{Duration, Instant};

use granary_nix::StorePath;
use granary_placement::report::RefusalReason;

use super::Pass;
use crate::journal;
use crate::sync::obtain::Problem;
use crate::sync::plan::Blame;
use crate::sync::pull::{Got, Pulled};
use crate::sync::report::{Refused, passes, refused};
use crate::sync::resolve::Closure;

/// Whether a reference that is to blame may come right by itself.
fn needs_transient(problem: &Problem) -> bool {
    problem.blame.as_ref().is_some_and(|Blame { culprit: _, reason }| passes(*reason))
}

impl Pass<'_> {
    /// What was refused once, and is found now and not to be pulled here, is refused no longer.
    pub(super) fn settle(&mut self, closure: &Closure) {
        let Self { tree, memory, assigned, refusals, .. } = self;
        memory.accept_where(|graph, hash| {
            let Some(node) = graph.node_of(hash) else { return false };
            let wanted_here = assigned.has(node) && !tree.holds(hash);
            closure.has(node) && !refusals.contains_key(hash) && !wanted_here
        });
    }

    pub(super) fn pulled(&mut self, pulled: Pulled) {
        let Pulled { path, result, took } = pulled;
        self.queued(self.queue.saturating_sub(1));
        self.forget_written();
        let hash = path.hash_part();
        match result {
            Ok(Some(Got { bytes, source })) => {
                journal::published(&path, bytes, &source, took);
                self.memory.accept(&hash);
                self.outcome.published += 1;
                self.outcome.published_bytes += bytes;
                self.observer.published(&path, bytes);
            }
            Ok(None) => {
                if let Some(refusal) = self.memory.standing(&hash, Instant::now()).cloned() {
                    self.observer.refused(&refusal, true);
                    self.refusals.insert(hash, Refused { refusal, transient: false });
                }
            }
            Err(problem) => {
                let reason = problem.fault.reason;
                let transient = problem.fault.is_transient() || needs_transient(&problem);
                let bytes = !transient && reason != RefusalReason::MissingReference;
                self.refuse(&path, &problem, transient, bytes, took);
            }
        }
        if Instant::now() >= self.tell {
            self.progress();
        }
    }

    /// `took`: how long was spent on it in this pass.
    pub(super) fn refuse(
        &mut self,
        path: &StorePath,
        problem: &Problem,
        transient: bool,
        bytes: bool,
        took: Duration,
    ) {
        let refused = refused(path, &problem.fault, &problem.source, transient);
        let again = self.memory.refuse(path.hash_part(), &refused.refusal, bytes, Instant::now());
        let (reason, fault, source) = (problem.fault.reason, &problem.fault, &problem.source);
        // That there is no room is told once, and not for each.
        journal::refused(path, reason, fault, source, took, again || reason == RefusalReason::NoSpace);
        self.observer.refused(&refused.refusal, again);
        self.refusals.insert(path.hash_part(), refused);
    }
}
