//! Nothing outlives a command of ours, however it ends.
//!
//! A command starts cargo, which starts test programs, which start clusters; a signal to the command alone reaches none
//! of them. So two processes stand beside the work:
//!
//! 1. the *front*, which the user started: it runs the work in a process group of its own, hands on the signals
//!    that ask for an end, and ends when the group is empty;
//! 2. the *watcher*, which holds the other end of a pipe of the front's: should the front be killed, it ends the group.

mod front;
mod group;
mod watcher;
mod work;

pub use front::again;
pub use group::Group;
pub use watcher::{WATCH, Watcher, watch};
pub use work::{become_program, is_guarded, obey_signals};
