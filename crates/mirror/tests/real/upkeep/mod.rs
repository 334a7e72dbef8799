//! A mirror that keeps what it has: things that nobody wants any more, a full disk, a disk that cannot be written, and rot.

use granary_placement::report::Report;

mod disk;
mod full;
mod progress;
mod retention;
mod rot;

fn has(artifacts: u64) -> impl Fn(&Report) -> bool {
    move |report| report.artifacts == artifacts && report.policies.iter().all(|policy| policy.synced)
}
