//! Channels: the newest revisions of `<url>/store-paths.xz`, kept here with their closures.
//!
//! * [`list`]: the list of a revision, read as a stream.
//! * [`state`]: which revisions are kept.
//! * [`lists`]: both on disk; [`look`]: whether a channel has a new revision.
//! * [`Channels`]: the channels of a mirror's own configuration, with [`bring`]: getting what a revision lists, in batches;
//!   [`mend`]: what rotted; [`round`]: what came of it, and who watches.
//! * [`Followed`]: the channels that the policies of the mirror map name; what they list are roots of these policies.
//!
//! ```text
//! .granary/channels/<folder>/state.json       the revisions that are kept
//! .granary/channels/<folder>/<id>.paths       what each lists
//! ```
//!
//! A revision is complete when everything that it lists is here, except what no upstream gives as it should be; that is
//! written down in one step. A path that fails is tried again, and told, and keeps nothing else from being had. What was
//! complete stays wanted until a newer revision is.

mod bring;
#[cfg(test)]
mod crashes;
mod followed;
mod list;
mod lists;
mod look;
mod mend;
mod own;
mod round;
mod standing;
mod state;

pub use followed::{Followed, Taken};
pub use list::{ListError, Listed, kept_paths, read_list};
pub use look::ChannelError;
pub use own::Channels;
pub use round::{Outcome as RoundOutcome, Watcher};
pub use state::{Revision, State};

use lists::Lists;
use standing::Standing;
