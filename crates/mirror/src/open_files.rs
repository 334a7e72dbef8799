//! How many files and connections a process may have open: getrlimit(2).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// Raises what this process may have open to the most that it may give itself. The lower limit is for programs that use
/// `select`; with it an agent would have no more than a thousand clients and sources.
pub fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, ?maximum, "the limit on open files cannot be raised");
    }
}

/// How many files a process that this one starts may have open; `None` where it may raise that itself.
#[must_use]
pub fn most() -> Option<u32> {
    let may = capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_RESOURCE));
    if may {
        return None;
    }
    getrlimit(Resource::Nofile).maximum.map(|most| u32::try_from(most).unwrap_or(u32::MAX))
}
