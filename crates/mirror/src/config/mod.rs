//! The configuration file: YAML in, a checked [`Config`] out. Every error names the field and says what to do.

mod capacity;
mod channels;
mod check;
mod clients;
pub mod duration;
mod extras;
mod proxy;
mod pull_through;
mod push;
mod raw;
mod retention;
mod scrub;
pub mod size;
mod tls;
mod upstreams;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use granary_fetch::access::Proxying;
use granary_fetch::{Limits, Source};
use granary_nix::{CacheInfo, StorePath, Trust};
use granary_placement::MirrorName;
use url::Url;

use crate::front::Publish;
use crate::push::settings::Push;
use crate::sync::trust_of;
use crate::{capacity as room, retention as keeping, scrub as reading};

pub use channels::Channel;
pub use clients::Clients;
pub use extras::{Extras, Listings};
pub use pull_through::PullThrough;
pub use tls::Tls;

/// Largest configuration file that is read, in bytes: far above 1,000 roots.
const MAX_BYTES: u64 = 4 << 20;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The mirror's name; in a map, `<cachemirror>-<ordinal>`.
    pub name: MirrorName,
    /// The tree: a plain Nix binary cache. Absolute.
    pub directory: PathBuf,
    /// Where artifacts come from, in order of priority.
    pub upstreams: Vec<Source>,
    /// How the lists of channels are asked for; each upstream has its own.
    pub proxy: Option<Proxying>,
    /// What is to be kept.
    pub wanted: Wanted,
    /// Channels whose revisions are kept too.
    pub channels: Vec<Channel>,
    /// Whether what clients ask for is kept too.
    pub pull_through: Option<PullThrough>,
    /// The mirror's own public URL, for its report and greeting.
    pub url: Option<Url>,
    /// Who gets the `Mirrors:` line.
    pub publish: Publish,
    /// Where nginx listens for plain HTTP. `None`: HTTPS alone.
    pub http: Option<SocketAddr>,
    /// HTTPS, if there is any.
    pub tls: Option<Tls>,
    /// What clients may take.
    pub clients: Clients,
    /// Where the agent listens: report, health, metrics, misses.
    pub agent: SocketAddr,
    /// Where nginx's files are rendered. Absolute.
    pub front_directory: PathBuf,
    /// What `nix-cache-info` says.
    pub cache_info: CacheInfo,
    /// How often a pass is repeated when nothing changed.
    pub sync_every: Duration,
    /// Bounds on what a pass uses.
    pub limits: Limits,
    /// Who may push, and how much; nobody when absent.
    pub push: Option<Push>,
    /// Whether tokens may come over plain HTTP: nobody else can read them there, or it was said that nobody does.
    pub push_in_clear: bool,
    /// How long things stay that nobody wants any more; `None`: for ever.
    pub retention: Option<keeping::machine::Rules>,
    /// How much of the disk may be used; `None`: all of it.
    pub capacity: Option<room::Rules>,
    /// How often everything is read again; `None`: never.
    pub scrub: Option<reading::pace::Rules>,
    /// What is kept beside the artifacts.
    pub extras: Extras,
}

/// Where the list of wanted store paths comes from.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// LAN mode: these roots and their closure, all of it here.
    Roots(Vec<StorePath>),
    /// The mirror map says.
    Map(MapSource),
}

/// Where the mirror map is read. At least one of the two is there.
#[derive(Debug, Clone)]
pub struct MapSource {
    /// Polled with its entity tag.
    pub url: Option<Url>,
    /// A mounted file.
    pub file: Option<PathBuf>,
    /// How often both are looked at.
    pub poll: Duration,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not the YAML of a configuration; the message has the field, line and column.
    #[error("this is not a configuration: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// A field has a value that cannot be used.
    #[error("{field}: {problem}")]
    Field {
        /// The field's path in the file, as `upstreams[0].url`.
        field: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file says what cannot be used.
    #[error("{}: {problem}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What of it, and why.
        problem: Box<ConfigError>,
    },
}

impl Config {
    /// Whether others than the policies have things in the tree and the catalog.
    #[must_use]
    pub fn has_guests(&self) -> bool {
        self.pull_through.is_some() || !self.channels.is_empty()
    }

    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.into(), source };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > MAX_BYTES {
            let message = format!("it has {size} bytes; at most {MAX_BYTES} are read");
            return Err(read(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message)));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(read)?)
            .map_err(|problem| ConfigError::In { path: path.into(), problem: Box::new(problem) })
    }

    /// What may stand in this mirror's tree: what any upstream may vouch for, and what was pushed by these keys.
    #[must_use]
    pub fn trust(&self) -> Trust {
        let pushed = self.push.as_ref().map(|push| Trust::from(&push.public_keys));
        Trust::any_of([Some(trust_of(&self.upstreams)), pushed].iter().flatten())
    }

    /// Where nginx is asked from this machine: over plain HTTP, where there is that.
    #[must_use]
    pub fn front(&self) -> SocketAddr {
        // A configuration without both is refused.
        self.http.or(self.tls.as_ref().map(|tls| tls.listen)).unwrap_or(self.agent)
    }

    /// Checks the text of a file.
    pub fn parse(yaml: &str) -> Result<Self, ConfigError> {
        check::check(serde_yaml::from_str(yaml)?)
    }
}
