//! What the operator is told by its environment.

use std::net::SocketAddr;

use clap::Parser;

/// The command line and environment of `granary-operator`.
#[derive(Debug, Parser)]
#[command(name = "granary-operator", version, about)]
pub struct Args {
    /// Address for health, metrics and the mirror map
    #[arg(long, env = "GRANARY_LISTEN", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Full name of the image that holders run
    #[arg(long, env = "GRANARY_MIRROR_IMAGE")]
    mirror_image: String,
    /// Base URL that mirrors fetch the mirror map from
    #[arg(long, env = "GRANARY_MAP_URL")]
    map_url: String,
    /// The only namespace to look after; absent: all
    #[arg(long, env = "GRANARY_WATCH_NAMESPACE")]
    watch_namespace: Option<String>,
    /// Name of this pod: its identity in the leader election
    #[arg(long, env = "POD_NAME")]
    pod_name: String,
    /// Namespace of this pod: where the lease is
    #[arg(long, env = "POD_NAMESPACE")]
    pod_namespace: String,
    /// What is logged, in the syntax of tracing's filters
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    log: String,
}

/// Why the environment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that must say something is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// The map's URL is of no use to a mirror.
    #[error("GRANARY_MAP_URL must begin with http:// or https://, not {0:?}")]
    MapUrl(String),
}

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address for health, metrics and the mirror map.
    pub listen: SocketAddr,
    /// Full name of the image that holders run.
    pub mirror_image: String,
    /// Base URL of the map, without a trailing slash; `/v1/map/<namespace>` follows.
    pub map_url: String,
    /// The only namespace to look after; `None`: all.
    pub watch_namespace: Option<String>,
    /// This replica's identity.
    pub pod_name: String,
    /// Where the lease is.
    pub pod_namespace: String,
    /// What is logged.
    pub log: String,
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        // Complete: an argument that nothing reads does not compile.
        let Args { listen, mirror_image, map_url, watch_namespace, pod_name, pod_namespace, log } = args;
        let told = |name, value: String| {
            let value = value.trim().to_owned();
            if value.is_empty() { Err(ConfigError::Empty(name)) } else { Ok(value) }
        };
        let map_url = told("GRANARY_MAP_URL", map_url)?;
        if !map_url.starts_with("http://") && !map_url.starts_with("https://") {
            return Err(ConfigError::MapUrl(map_url));
        }
        Ok(Self {
            listen,
            mirror_image: told("GRANARY_MIRROR_IMAGE", mirror_image)?,
            map_url: map_url.trim_end_matches('/').to_owned(),
            // A chart that passes the variable on writes an empty one for "all".
            watch_namespace: watch_namespace.filter(|namespace| !namespace.trim().is_empty()),
            pod_name: told("POD_NAME", pod_name)?,
            pod_namespace: told("POD_NAMESPACE", pod_namespace)?,
            log,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(extra: &[&str]) -> Result<Config, ConfigError> {
        let needed = ["granary-operator", "--mirror-image=m:1", "--pod-namespace=granary-system"];
        Args::try_parse_from(needed.iter().chain(extra)).unwrap().try_into()
    }

    #[test]
    fn the_map_url_loses_its_last_slash_and_an_empty_namespace_means_all() {
        let config = config(&["--map-url=http://o:8080/", "--pod-name=p", "--watch-namespace="]).unwrap();
        assert_eq!(config.map_url, "http://o:8080");
        assert_eq!(config.watch_namespace, None);
    }

    #[test]
    fn an_empty_identity_and_a_url_that_is_none_are_refused() {
        let error = |extra: &[&str]| config(extra).unwrap_err().to_string();
        assert_eq!(error(&["--map-url=http://o", "--pod-name= "]), "POD_NAME is empty");
        assert!(error(&["--map-url=o:8080", "--pod-name=p"]).contains("o:8080"));
    }
}
