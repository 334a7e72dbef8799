//! From the file as written to a configuration that can be used.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use granary_fetch::Limits;
use granary_nix::{CacheInfo, STORE_DIR, StorePath};
use url::Url;

use super::channels::check as check_channels;
use super::pull_through::check as check_pull_through;
use super::raw::{Raw, RawCacheInfo, RawLimits, RawListen, RawMap, RawPublish};
use super::upstreams::{check_bandwidth, check_upstreams};
use super::{Config, ConfigError, MapSource, Wanted, clients, tls};
use crate::front::safe_url;

pub(super) type Checked<T> = Result<T, ConfigError>;

const MAX_ROOTS: usize = 10_000;
/// Longest interval: a day.
const MAX_SECONDS: u64 = 86_400;

pub(super) fn check(raw: Raw) -> Checked<Config> {
    let Raw {
        name,
        directory,
        upstreams,
        proxy,
        store_paths,
        map,
        channels,
        pull_through,
        url,
        publish: RawPublish { narinfo },
        listen: RawListen { http, https, agent },
        tls,
        clients,
        front_directory,
        cache_info: RawCacheInfo { store_dir, priority },
        sync_seconds,
        limits,
        push,
        retention,
        capacity,
        scrub,
        extras,
    } = raw;
    let directory = path("directory", &directory)?;
    let proxy = proxy.as_ref().map(super::proxy::check).transpose()?;
    let front_directory = match front_directory {
        Some(text) => path("frontDirectory", &text)?,
        None => directory.join(".granary/front"),
    };
    if store_dir != STORE_DIR {
        return Err(field("cacheInfo.storeDir", format!("only {STORE_DIR} is supported, not {store_dir:?}")));
    }
    let http = http.map(|http| address("listen.http", &http)).transpose()?;
    let agent = address("listen.agent", &agent)?;
    let tls = tls::check(tls, https.as_deref(), &directory, &front_directory)?;
    check_ports(http, tls.as_ref().map(|tls| tls.listen), agent)?;
    let secret = tls.is_some();
    let push_in_clear = push.as_ref().is_some_and(|push| super::push::in_clear(push, http));
    Ok(Config {
        name: parsed("name", &name, "use lower-case letters, digits and dashes")?,
        directory,
        upstreams: check_upstreams(upstreams, proxy.as_ref())?,
        proxy,
        wanted: check_wanted(store_paths, map, pull_through.is_some() || !channels.is_empty())?,
        channels: check_channels(&channels)?,
        pull_through: pull_through.as_ref().map(check_pull_through).transpose()?,
        url: url.map(|url| web_url("url", &url)).transpose()?,
        publish: narinfo,
        http,
        tls,
        clients: clients::check(clients)?,
        agent,
        front_directory,
        cache_info: CacheInfo { store_dir, want_mass_query: true, priority: Some(priority.into()) },
        sync_every: seconds("syncSeconds", sync_seconds)?,
        limits: check_limits(&limits)?,
        push: push.map(|push| super::push::check(push, http.unwrap_or(agent), secret)).transpose()?,
        push_in_clear,
        retention: retention.map(Into::into),
        capacity: capacity.as_ref().map(super::capacity::check).transpose()?,
        scrub: super::scrub::check(&scrub)?,
        extras,
    })
}

/// `others`: something else than store paths says what is kept.
fn check_wanted(store_paths: Option<Vec<String>>, map: Option<RawMap>, others: bool) -> Checked<Wanted> {
    match (store_paths, map) {
        (Some(_), Some(_)) => {
            Err(field("storePaths", "leave it out: with a map, the map's policies say what is kept"))
        }
        (None, None) if others => Ok(Wanted::Roots(Vec::new())),
        (None, None) => {
            Err(field("storePaths", "list the store paths to keep (their closure follows), or set map"))
        }
        (Some(paths), None) if paths.is_empty() => Err(field("storePaths", "list at least one store path")),
        (Some(paths), None) if paths.len() > MAX_ROOTS => {
            Err(field("storePaths", format!("{} are too many; {MAX_ROOTS} are allowed", paths.len())))
        }
        (Some(paths), None) => {
            let root = |(index, text): (usize, &String)| {
                let hint = "write a full store path, /nix/store/<hash>-<name>";
                parsed::<StorePath>(&format!("storePaths[{index}]"), text, hint)
            };
            Ok(Wanted::Roots(paths.iter().enumerate().map(root).collect::<Checked<_>>()?))
        }
        (None, Some(RawMap { url: None, file: None, .. })) => {
            Err(field("map", "set map.url, map.file, or both: the mirror map is read there"))
        }
        (None, Some(RawMap { url, file, poll_seconds })) => Ok(Wanted::Map(MapSource {
            url: url.map(|url| web_url("map.url", &url)).transpose()?,
            file: file.map(|file| path("map.file", &file)).transpose()?,
            poll: seconds("map.pollSeconds", poll_seconds)?,
        })),
    }
}

fn check_limits(raw: &RawLimits) -> Checked<Limits> {
    let RawLimits { connections, decoders, max_nar_size, silence_seconds, connect_seconds, bandwidth } = *raw;
    let decoders = decoders.unwrap_or(Limits::default().decoders);
    for (name, value) in [("limits.connections", connections), ("limits.decoders", decoders)] {
        if !(1..=256).contains(&value) {
            return Err(field(name, format!("{value} is not between 1 and 256")));
        }
    }
    if max_nar_size == Some(0) {
        return Err(field("limits.maxNarSize", "0 would refuse every artifact; leave it out for no bound"));
    }
    Ok(Limits {
        connections,
        decoders,
        max_nar_size,
        silence: seconds("limits.silenceSeconds", silence_seconds)?,
        connect: seconds("limits.connectSeconds", connect_seconds)?,
        bandwidth: check_bandwidth("limits.bandwidth", bandwidth)?,
        ..Limits::default()
    })
}

fn check_ports(http: Option<SocketAddr>, https: Option<SocketAddr>, agent: SocketAddr) -> Checked<()> {
    if http.is_none() && https.is_none() {
        return Err(field(
            "listen.http",
            "without it, set tls and listen.https: nginx has to listen somewhere",
        ));
    }
    let ports: Vec<u16> = http.iter().chain(&https).chain([&agent]).map(SocketAddr::port).collect();
    if ports.iter().collect::<BTreeSet<_>>().len() == ports.len() {
        return Ok(());
    }
    Err(field("listen.agent", "nginx (listen.http, listen.https) and the agent need different ports"))
}

/// An absolute path whose text can stand in nginx's configuration.
pub(super) fn path(name: &str, text: &str) -> Checked<PathBuf> {
    if text.is_empty() {
        return Err(field(name, "it is empty; write a path"));
    }
    if let Some(bad) = text.chars().find(|c| c.is_control() || "\"'\\$;{}".contains(*c)) {
        return Err(field(
            name,
            format!("{text:?} has {bad:?}, which nginx's configuration cannot hold; use another path"),
        ));
    }
    std::path::absolute(text).map_err(|error| field(name, format!("{text:?}: {error}")))
}

pub(super) fn address(name: &str, text: &str) -> Checked<SocketAddr> {
    let address: SocketAddr = parsed(
        name,
        text,
        "write an IP address and a port: [::]:8080 for all, 0.0.0.0:8080 for all of IPv4, or one as 10.0.0.1:8080",
    )?;
    if address.port() == 0 {
        return Err(field(name, "port 0 is no port that others could know; write one from 1 to 65535"));
    }
    Ok(address)
}

pub(super) fn web_url(name: &str, text: &str) -> Checked<Url> {
    if !safe_url(text) {
        return Err(field(name, format!("{text:?} is not an http:// or https:// URL of plain characters")));
    }
    parsed(name, text, "write an http:// or https:// URL")
}

fn seconds(name: &str, value: u64) -> Checked<Duration> {
    if (1..=MAX_SECONDS).contains(&value) {
        Ok(Duration::from_secs(value))
    } else {
        Err(field(name, format!("{value} is not between 1 and {MAX_SECONDS}")))
    }
}

pub(super) fn parsed<T: FromStr>(name: &str, text: &str, hint: &str) -> Checked<T>
where
    T::Err: Display,
{
    text.parse().map_err(|error| field(name, format!("{error}; {hint}")))
}

pub(super) fn field(field: impl Into<String>, problem: impl Into<String>) -> ConfigError {
    ConfigError::Field { field: field.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests;
