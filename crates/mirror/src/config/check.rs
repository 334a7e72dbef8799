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
mod tests {
    use std::path::Path;

    use super::*;
    use crate::front::Publish;

    const KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
    const ROOT: &str = "/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0";

    fn good() -> String {
        format!(
            "directory: /srv/granary\nupstreams:\n- {{url: 'https://cache.nixos.org', publicKeys: ['{KEY}']}}\nstorePaths: [{ROOT}]\n"
        )
    }

    #[test]
    fn the_smallest_file_has_defaults() {
        let config = Config::parse(&good()).unwrap();
        assert_eq!(config.name.as_str(), "local");
        assert_eq!(config.front_directory, Path::new("/srv/granary/.granary/front"));
        assert_eq!((config.http.unwrap().port(), config.agent.port()), (8080, 8081));
        assert_eq!(config.publish, Publish::Compatible);
        assert_eq!(config.cache_info.to_text(), "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n");
        assert_eq!(config.upstreams[0].priority, 40);
        assert_eq!(config.limits.connections, 8);
        assert!(matches!(config.wanted, Wanted::Roots(roots) if roots.len() == 1));
    }

    #[test]
    fn what_the_operator_writes_is_taken() {
        let config = Config::parse(&format!(
            "name: north-0\ndirectory: /srv/granary\nurl: https://north-0.example.org\n\
             upstreams: [{{url: 'https://cache.nixos.org', publicKeys: ['{KEY}'], priority: 40}}]\n\
             map: {{url: 'http://granary-operator.granary-system.svc:8080/v1/map/granary', \
             file: /etc/granary/map/map.json, pollSeconds: 2}}\npublish: {{narinfo: Never}}\n\
             listen: {{http: '0.0.0.0:8080', agent: '0.0.0.0:8081'}}\nfrontDirectory: /run/granary/front\n"
        ))
        .unwrap();
        assert_eq!(config.publish, Publish::Never);
        assert_eq!(config.front_directory, Path::new("/run/granary/front"));
        let Wanted::Map(map) = config.wanted else { panic!("a map is followed") };
        assert_eq!(
            (map.file.as_deref(), map.poll.as_secs()),
            (Some(Path::new("/etc/granary/map/map.json")), 2)
        );
        assert!(map.url.is_some());
    }

    #[test]
    fn upstreams_are_asked_in_order_of_priority() {
        let more = format!(
            "{}- {{url: 'http://b', publicKeys: ['{KEY}'], priority: 10}}\n- {{url: 'http://c', publicKeys: ['{KEY}']}}\n",
            good().replace(&format!("storePaths: [{ROOT}]\n"), "")
        ) + &format!("storePaths: [{ROOT}]\n");
        let hosts: Vec<String> =
            Config::parse(&more).unwrap().upstreams.iter().map(|u| u.url.to_string()).collect();
        assert!(
            hosts[0].contains("//b") && hosts[1].contains("cache.nixos.org") && hosts[2].contains("//c"),
            "{hosts:?}"
        );
    }

    #[test]
    fn every_error_names_its_field() {
        let roots = format!("storePaths: [{ROOT}]\n");
        // What is replaced in the good file, by what, and what the error must say.
        let cases: &[(&str, &str, &[&str])] = &[
            ("directory: /srv/granary\n", "", &["directory"]),
            ("/srv/granary", "'/srv/$x'", &["directory:", "'$'"]),
            ("https://cache.nixos.org'", "ftp://cache.nixos.org'", &["upstreams[0].url:"]),
            ("https://cache.nixos.org'", "nonsense'", &["upstreams[0].url:"]),
            (KEY, "cache.nixos.org-1:AAAA", &["upstreams[0].publicKeys[0]:", "trusted-public-keys"]),
            (&format!("['{KEY}']"), "[]", &["upstreams[0].publicKeys:", "signature"]),
            ("publicKeys", "publicKey", &["upstreams[0]", "publicKey"]),
            (ROOT, "/nix/store/app", &["storePaths[0]:", "/nix/store/<hash>-<name>"]),
            (ROOT, "", &["storePaths:", "at least one"]),
            (&roots, "", &["storePaths:", "or set map"]),
            (&roots, &format!("{roots}map: {{file: /x}}\n"), &["storePaths:", "leave it out"]),
            (&roots, "map: {}\n", &["map:", "map.url"]),
            (&roots, "map: {url: 'ftp://x'}\n", &["map.url:"]),
            (&roots, "map: {file: /x, pollSeconds: 0}\n", &["map.pollSeconds:", "between 1"]),
            (&roots, &format!("{roots}name: North_0\n"), &["name:", "lower-case"]),
            (&roots, &format!("{roots}url: 'https://a b'\n"), &["url:"]),
            (
                &roots,
                &format!("{roots}publish: {{narinfo: Sometimes}}\n"),
                &["publish.narinfo", "Compatible"],
            ),
            (&roots, &format!("{roots}listen: {{http: localhost}}\n"), &["listen.http:", "0.0.0.0:8080"]),
            (&roots, &format!("{roots}listen: {{http: '127.0.0.1:0'}}\n"), &["listen.http:"]),
            (
                &roots,
                &format!("{roots}listen: {{agent: '127.0.0.1:8080'}}\n"),
                &["listen.agent:", "different ports"],
            ),
            (&roots, &format!("{roots}frontDirectory: ''\n"), &["frontDirectory:", "empty"]),
            (
                &roots,
                &format!("{roots}cacheInfo: {{storeDir: /gnu/store}}\n"),
                &["cacheInfo.storeDir:", "/nix/store"],
            ),
            (&roots, &format!("{roots}cacheInfo: {{priority: -1}}\n"), &["cacheInfo.priority"]),
            (&roots, &format!("{roots}syncSeconds: 0\n"), &["syncSeconds:"]),
            (&roots, &format!("{roots}limits: {{connections: 0}}\n"), &["limits.connections:"]),
            (&roots, &format!("{roots}limits: {{decoders: 1000}}\n"), &["limits.decoders:"]),
            (&roots, &format!("{roots}limits: {{maxNarSize: 0}}\n"), &["limits.maxNarSize:"]),
            (&roots, &format!("{roots}limits: {{silenceSeconds: 0}}\n"), &["limits.silenceSeconds:"]),
            (&roots, &format!("{roots}limits: {{bandwidth: 50Mb}}\n"), &["limits", "bandwidth", "Mi"]),
            (&roots, &format!("{roots}limits: {{speed: 1}}\n"), &["limits", "speed"]),
            (&roots, &format!("{roots}storage: x\n"), &["storage"]),
        ];
        for (from, to, words) in cases {
            let yaml = good().replacen(from, to, 1);
            assert_ne!(yaml, good(), "{from} is not in the good file");
            let error = Config::parse(&yaml).expect_err(&yaml).to_string();
            for word in *words {
                assert!(error.contains(word), "{yaml}\n→ {error}\nlacks {word:?}");
            }
        }
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let error = Config::load(Path::new("/no/such/granary.yaml")).unwrap_err().to_string();
        assert!(error.contains("/no/such/granary.yaml"), "{error}");
    }
}
