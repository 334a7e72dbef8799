//! How a source is asked: with which credentials, up to which hosts, how much at once.

pub mod credentials;
pub mod hosts;
pub mod netrc;
pub mod proxy;
pub mod reach;

use std::path::PathBuf;

use hosts::{Way, shown};
use url::Url;

pub use credentials::{Credentials, CredentialsError};
pub use hosts::{Host, HostError, Hosts};
pub use proxy::{Proxy, ProxyError, Proxying};
pub use reach::Reach;

/// What a source may have of its own. The default is a public cache: no credentials, the system's authorities, as fast and
/// as much at once as the limits of the whole allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// What is sent to the source, and to nobody else.
    pub credentials: Option<Credentials>,
    /// Where its NAR URLs and redirects may lead.
    pub hosts: Hosts,
    /// A file of PEM certificates: authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// By whom it, and whatever it leads to, is asked.
    pub proxy: Option<Proxy>,
    /// Most requests to it at once.
    pub connections: Option<usize>,
    /// Most bytes that are taken from it in a second.
    pub bandwidth: Option<u64>,
}

/// An error with the place where it happened, if that is not the source itself.
pub(crate) fn at(url: &Url, way: Way, words: String) -> String {
    if way == Way::Own { words } else { format!("at {}: {words}", shown(url)) }
}
