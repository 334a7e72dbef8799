//! nginx in front of the tree: what it is told, and keeping it running.
//!
//! Rendering is pure: [`render`] turns the settings and the lists of mirrors into two files. [`files`] puts them
//! where nginx reads them, and [`Supervisor`] runs nginx and makes it read them again.

mod faults;
mod files;
mod limits;
mod lists;
mod pair;
mod parts;
mod place;
mod record;
mod render;
mod supervisor;

pub use faults::{faults_socket, unreadable};
pub use files::{FilesError, write_rendered};
pub use limits::fewer_connections;
pub use lists::{Lists, safe_url};
pub use pair::{Pair, PairError, Placed};
pub use place::{earlier, place};
pub use record::{record_path, take_record};
pub use render::{Publish, Rendered, Settings, render};
pub use supervisor::{Supervisor, SupervisorError};
