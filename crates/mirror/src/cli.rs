//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use granary_fetch::access::Proxy;
use granary_nix::StorePath;

/// One mirror of Nix binary caches: pulls, verifies, publishes, and serves with nginx.
#[derive(Debug, Parser)]
#[command(name = "granary-mirror", version, max_term_width = 110)]
pub struct Cli {
    /// How log lines on stderr look; the environment variable `RUST_LOG` sets what is logged.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Human, env = "GRANARY_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The look of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole mirror on this machine: sync again and again, and serve with nginx
    Run(Run),
    /// Run the agent alone, as in a mirror's pod: sync, report, answer misses; nginx runs beside it
    Agent(Configured),
    /// Run nginx alone, on the files that the agent renders, and reload it when they change
    Front(Front),
    /// Make a directory and give it to a user; a pod's init container does it as root
    Prepare(Prepare),
    /// Sync once and exit: 0 when everything wanted is here and verified, 1 when anything is not
    Sync(Sync),
    /// Copy a closure, or everything, from a cache to a directory or a disk for an isolated site. Exit 1 on any fault
    Export(Export),
    /// Copy a closure, or everything, from a directory or a disk into a mirror's directory. Exit 1 on any fault
    Import(Import),
    /// Check a whole tree: signatures, hashes, sizes, references. Exit 1 on any fault, one line each
    Verify(Verify),
    /// Say of narinfo files whether they parse and which signatures hold. Exit 1 on any fault
    Narinfo(Narinfo),
}

impl Command {
    /// What is logged without `RUST_LOG`: a command that prints what it does needs no log lines in between.
    #[must_use]
    pub fn log_level(&self) -> &'static str {
        match self {
            Self::Run(_) | Self::Agent(_) | Self::Front(_) | Self::Prepare(_) => "info",
            Self::Sync(_) | Self::Export(_) | Self::Import(_) | Self::Verify(_) | Self::Narinfo(_) => "error",
        }
    }
}

/// A command that needs the configuration.
#[derive(Debug, Args)]
pub struct Configured {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print no progress: only what is refused
    #[arg(long)]
    pub quiet: bool,
}

/// `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Take from this mirror: the directory and the keys of its configuration (YAML)
    #[arg(long, value_name = "FILE", conflicts_with = "from", required_unless_present = "from")]
    pub config: Option<PathBuf>,
    /// Take from this binary cache: a directory, or an http or https address
    #[arg(long, value_name = "DIR|URL", requires = "public_keys")]
    pub from: Option<String>,
    /// The directory that becomes a plain binary cache
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    #[command(flatten)]
    /// What is copied.
    pub what: Carried,
}

/// `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// The binary cache to take from: a directory, or an http or https address
    #[arg(long, value_name = "DIR|URL")]
    pub from: String,
    /// Bring to this mirror: the directory and the keys of its configuration (YAML)
    #[arg(long, value_name = "FILE", conflicts_with = "to", required_unless_present = "to")]
    pub config: Option<PathBuf>,
    /// Bring to this mirror's directory
    #[arg(long, value_name = "DIR", requires = "public_keys")]
    pub to: Option<PathBuf>,
    #[command(flatten)]
    /// What is copied.
    pub what: Carried,
}

/// What `export` and `import` copy, and how they tell of it.
#[derive(Debug, Args)]
pub struct Carried {
    /// A root: it and its closure are copied; may be repeated. Without one, everything that the directory has
    #[arg(long = "store-path", value_name = "PATH")]
    pub store_paths: Vec<StorePath>,
    /// A trusted key, <name>:<base64>, or several in one quoted argument as in trusted-public-keys; may be repeated.
    /// Added to those of the configuration
    #[arg(long = "public-key", value_name = "KEY")]
    pub public_keys: Vec<String>,
    /// An HTTP proxy on the way to an http or https address: http://<host>:<port>. Without it, that of the configuration
    #[arg(long, value_name = "URL")]
    pub proxy: Option<Proxy>,
    /// Print no progress: only what could not be copied
    #[arg(long)]
    pub quiet: bool,
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// nginx: a path, or a name to find in PATH
    #[arg(long, value_name = "PROGRAM", default_value = "nginx")]
    pub nginx: PathBuf,
}

/// `front`.
#[derive(Debug, Args)]
pub struct Front {
    /// Where the agent renders nginx.conf and mirrors.map (its frontDirectory)
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// nginx: a path, or a name to find in PATH
    #[arg(long, value_name = "PROGRAM", default_value = "nginx")]
    pub nginx: PathBuf,
}

/// `prepare`.
#[derive(Debug, Args)]
pub struct Prepare {
    /// The directory; missing parents are made too, and keep their maker as owner
    pub dir: PathBuf,
    /// Who the directory is given to
    #[arg(long, value_name = "UID:GID")]
    pub owner: Owner,
}

/// A user and a group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |number: &str| number.parse().map_err(|error| format!("{number:?}: {error}"));
        let (uid, gid) = text.split_once(':').ok_or("write two numbers, as 64532:64532")?;
        Ok(Self { uid: parse(uid)?, gid: parse(gid)? })
    }
}

/// `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The tree: a Nix binary cache on disk
    pub dir: PathBuf,
    #[command(flatten)]
    /// Whom to trust.
    pub keys: Keys,
    /// Print one JSON document instead of lines
    #[arg(long)]
    pub json: bool,
}

/// `narinfo`.
#[derive(Debug, Args)]
pub struct Narinfo {
    /// The narinfo files; `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    /// Whom to trust.
    pub keys: Keys,
    /// Print one JSON document instead of lines
    #[arg(long)]
    pub json: bool,
}

/// The rules of trust.
#[derive(Debug, Args)]
pub struct Keys {
    /// A trusted key, <name>:<base64>, or several in one quoted argument as in trusted-public-keys; may be repeated
    #[arg(long = "public-key", required_unless_present_any = ["config", "content_addressed"], value_name = "KEY")]
    pub public_keys: Vec<String>,
    /// How many different keys of these must have signed
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub signatures: usize,
    /// Count a narinfo without a signature when its content address makes its store path
    #[arg(long)]
    pub content_addressed: bool,
    /// Trust what the upstreams of this configuration file may vouch for
    #[arg(long, value_name = "FILE", conflicts_with_all = ["public_keys", "signatures", "content_addressed"])]
    pub config: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn files_are_not_taken_for_keys() {
        let cli = Cli::parse_from([
            "granary-mirror",
            "narinfo",
            "--public-key",
            "a:b",
            "one",
            "two",
            "--public-key",
            "c:d",
        ]);
        let Command::Narinfo(narinfo) = cli.command else { panic!("another command") };
        assert_eq!(narinfo.keys.public_keys, ["a:b", "c:d"]);
        assert_eq!(narinfo.files, [PathBuf::from("one"), PathBuf::from("two")]);
    }

    #[test]
    fn an_owner_is_two_numbers() {
        assert_eq!("64532:1".parse(), Ok(Owner { uid: 64532, gid: 1 }));
        for bad in ["64532", "granary:granary", "1:", "-1:0"] {
            assert!(bad.parse::<Owner>().is_err(), "{bad}");
        }
    }
}
