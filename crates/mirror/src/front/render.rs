//! Renders `nginx.conf` and `mirrors.map`. Pure.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::faults::faults_socket;
use super::limits::{Limits, limits};
use super::parts::{
    ABSENT_LOCATION, FAULTS, LINE, LINE_LOCATION, NARINFO, PAGE, PUSH, PUSH_MAP, PUSH_NARINFO, PUSH_SERVER,
    RECORD, absent, record,
};
use super::{Lists, Placed};
use crate::config::Clients;
use crate::listen::reachable;

const TEMPLATE: &str = include_str!("nginx.conf.in");

/// HTTPS. Every Nix that there is has TLS 1.2, and every cipher here keeps what was sent secret when the key is lost.
const TLS: &str = r#"        ssl_certificate "@CERTIFICATE@";
        ssl_certificate_key "@KEY@";
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;
        ssl_prefer_server_ciphers off;
        ssl_session_cache shared:granary_tls:4m;
        ssl_session_timeout 1h;
        ssl_session_tickets off;
"#;

/// Who gets the `Mirrors:` line inside a narinfo. The `Link` header, which no narinfo parser sees, always goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Publish {
    /// Everyone.
    Always,
    /// User agents known to accept it: Nix, Lix and Granary itself. Strict parsers refuse unknown keys.
    #[default]
    Compatible,
    /// Nobody.
    Never,
}

/// What nginx is told besides the lists of mirrors. Paths are absolute and hold no quote, backslash, `$` or
/// control character: the configuration's validation refuses such paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The mirror's name, shown at `/`.
    pub name: String,
    /// Its public URL, shown there too.
    pub url: Option<String>,
    /// The tree.
    pub root: PathBuf,
    /// Where the rendered files, the pid file and nginx's temporary files are.
    pub directory: PathBuf,
    /// Where nginx listens for plain HTTP.
    pub http: Vec<SocketAddr>,
    /// Where it listens for HTTPS, and with what.
    pub https: Option<(Vec<SocketAddr>, Placed)>,
    /// Where the agent listens; nginx asks it on loopback when the address is a wildcard.
    pub agent: SocketAddr,
    /// Who gets the line.
    pub publish: Publish,
    /// The text of `nix-cache-info`, `Key: value` lines.
    pub cache_info: String,
    /// Whether the agent is asked for narinfos that are not here.
    pub pull_through: bool,
    /// What clients may take.
    pub clients: Clients,
    /// Worker processes.
    pub workers: usize,
    /// The most files that each of them may have open.
    pub open_files: Option<u32>,
    /// Whether a PUT is handed to the agent.
    pub push: bool,
    /// Whether that is so for one that came over plain HTTP too.
    pub push_in_clear: bool,
}

/// The two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// `nginx.conf`.
    pub nginx_conf: String,
    /// `mirrors.map`, included by it.
    pub mirrors_map: String,
}

/// Renders both files.
#[must_use]
pub fn render(settings: &Settings, lists: &Lists) -> Rendered {
    let Settings {
        name,
        url,
        root,
        directory,
        http,
        https,
        agent,
        publish,
        cache_info,
        clients,
        pull_through,
        workers,
        open_files,
        push,
        push_in_clear,
    } = settings;
    // Without a line to add, nginx can answer with Content-Length and ETag.
    let with_line = *publish != Publish::Never && !lists.is_empty();
    let readers = if *publish == Publish::Always {
        "    map $granary_list $granary_reader {\n        default $granary_list;\n    }\n"
    } else {
        "    # Only agents known to skip a key they do not know.\n    map $http_user_agent $granary_reader {\n        \
         default \"\";\n        \"~(?:^| )(?:Nix|Lix|granary[a-z-]*)/\" $granary_list;\n    }\n"
    };
    let vary = if with_line && *publish == Publish::Compatible {
        "            add_header Vary User-Agent;\n"
    } else {
        ""
    };
    let of_location = |format: &str| if *pull_through { record(format) } else { String::new() };
    let line = if with_line { LINE } else { "" };
    let line_location = if with_line { LINE_LOCATION } else { "" };
    // Both were checked: no character of theirs means anything to nginx.
    let greeting =
        format!("{name} is a Nix binary cache. Substituter: {}", url.as_deref().unwrap_or("this address"));
    let Limits { connections, files, cached, transfers, http: http_limits, server: server_limits, counted } =
        limits(clients, *workers, *open_files);
    let listened = http.iter().chain(https.iter().flat_map(|(addresses, _)| addresses)).next();
    let own = listened.map_or(Ipv4Addr::LOCALHOST.into(), |address| reachable(*address).ip());
    let nginx_conf = TEMPLATE
        .replace("@CONNECTIONS@", &connections.to_string())
        .replace("@FILES@", &files.to_string())
        .replace("@CACHED@", &cached.to_string())
        .replace("@TRANSFERS@", &transfers.to_string())
        .replace("@HTTP_LIMITS@\n", &http_limits)
        .replace("@SERVER_LIMITS@\n", &server_limits)
        .replace("@ABSENT@", &absent(*pull_through, counted))
        .replace("@WORKERS@", &workers.to_string())
        .replace("@READERS@\n", readers)
        .replace("@NARINFO@", &format!("{NARINFO}{}{vary}{line}", of_location("granary_narinfo")))
        .replace("@LINE_LOCATION@", line_location)
        .replace("@UNREADABLE@", if *pull_through { "= @absent" } else { "=404 @no_narinfo" })
        .replace("@RECORD@", if *pull_through { RECORD } else { "" })
        .replace("@RECORD_NAR@", &of_location("granary_nar"))
        .replace("@ABSENT_LOCATION@", if *pull_through { ABSENT_LOCATION } else { "" })
        .replace("@PAGE@", PAGE)
        .replace("@OWN@", &own.to_string())
        .replace("@FAULTS@\n", if faults_socket(directory).is_some() { FAULTS } else { "" })
        .replace("@PUSH_MAP@\n", if *push { PUSH_MAP } else { "" })
        .replace("@PLAIN@", if *push_in_clear { "taken" } else { "readable" })
        .replace("@PUSH_SERVER@", if *push { PUSH_SERVER } else { "" })
        .replace("@PUSH_NARINFO@", if *push { PUSH_NARINFO } else { "" })
        .replace("@PUSH@", if *push { PUSH } else { "" })
        .replace("@LISTEN@\n", &listen(http, https.as_ref()))
        .replace("@AGENT@", &reachable(*agent).to_string())
        .replace("@CACHE_INFO@", &quoted(cache_info))
        .replace("@GREETING@", &greeting)
        .replace("@DIR@", &quoted(&directory.to_string_lossy()))
        .replace("@ROOT@", &quoted(&root.to_string_lossy()));
    Rendered { nginx_conf, mirrors_map: lists.mirrors_map() }
}

/// What nginx listens on.
fn listen(http: &[SocketAddr], https: Option<&(Vec<SocketAddr>, Placed)>) -> String {
    let line = |address: &SocketAddr, more: &str| format!("        listen {address}{more} backlog=4096;\n");
    let mut lines: String = http.iter().map(|address| line(address, "")).collect();
    if let Some((addresses, Placed { certificate, key, expires: _ })) = https {
        lines.extend(addresses.iter().map(|address| line(address, " ssl http2")));
        lines += &TLS
            .replace("@CERTIFICATE@", &quoted(&certificate.to_string_lossy()))
            .replace("@KEY@", &quoted(&key.to_string_lossy()));
    }
    lines
}

/// The inside of an nginx string. `$` has no escape and is refused before.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(publish: Publish) -> Settings {
        Settings {
            name: "north-0".into(),
            url: Some("https://cache.example.edu".into()),
            root: "/srv/granary".into(),
            directory: "/run/granary/front".into(),
            http: vec!["0.0.0.0:8080".parse().unwrap()],
            https: None,
            agent: "0.0.0.0:8081".parse().unwrap(),
            publish,
            cache_info: "StoreDir: /nix/store\nPriority: 30\n".into(),
            pull_through: false,
            clients: Clients::default(),
            workers: 2,
            open_files: None,
            push: false,
            push_in_clear: true,
        }
    }

    #[test]
    fn a_put_goes_to_the_agent_only_when_push_is_on() {
        let conf =
            |push| render(&Settings { push, ..settings(Publish::Never) }, &Lists::default()).nginx_conf;
        assert!(!conf(false).contains("PUT") && !conf(false).contains("client_max_body_size"));
        assert!(
            conf(true).contains("if ($granary_put = taken)")
                && conf(true).contains("client_max_body_size 0;")
        );
        assert!(conf(true).contains("proxy_request_buffering off;"));
        // For narinfos, whose location decides by the disk before it looks at the method.
        assert_eq!(conf(true).matches("if ($request_method = PUT)").count(), 1);
    }

    #[test]
    fn a_token_in_the_clear_is_taken_only_where_that_is_said() {
        let conf = |push_in_clear| {
            let settings = Settings { push: true, push_in_clear, ..settings(Publish::Never) };
            render(&settings, &Lists::default()).nginx_conf
        };
        assert!(conf(true).contains("\"PUT http\" taken;") && conf(false).contains("\"PUT http\" readable;"));
        assert!(conf(false).contains("\"PUT https\" taken;"));
    }

    fn one_list() -> Lists {
        Lists::collect([("000".to_owned(), ["https://b"])])
    }

    #[test]
    fn every_placeholder_is_filled() {
        for publish in [Publish::Always, Publish::Compatible, Publish::Never] {
            for (lists, pull_through) in [(Lists::default(), false), (one_list(), true)] {
                let settings = Settings { pull_through, push: pull_through, ..settings(publish) };
                let conf = render(&settings, &lists).nginx_conf;
                let left: Vec<&str> = conf
                    .split('@')
                    .skip(1)
                    .step_by(2)
                    .filter(|word| word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
                    .collect();
                assert!(left.is_empty(), "{publish:?}: {left:?}");
                assert!(conf.contains("server 127.0.0.1:8081;"));
                assert!(conf.contains("Substituter: https://cache.example.edu"));
                assert!(conf.contains(r#"return 200 "StoreDir: /nix/store\nPriority: 30\n";"#));
            }
        }
    }

    #[test]
    fn the_line_is_added_only_when_there_is_one() {
        let added =
            |publish, lists: &Lists| render(&settings(publish), lists).nginx_conf.contains("add_after_body");
        assert!(added(Publish::Always, &one_list()));
        assert!(added(Publish::Compatible, &one_list()));
        assert!(!added(Publish::Never, &one_list()));
        assert!(!added(Publish::Compatible, &Lists::default()));
    }

    #[test]
    fn https_stands_beside_plain_http_or_alone() {
        let placed = Placed {
            certificate: "/run/granary/front/tls/a.crt".into(),
            key: "/run/granary/front/tls/a.key".into(),
            expires: jiff::Timestamp::UNIX_EPOCH,
        };
        let https = Some((vec!["0.0.0.0:8443".parse().unwrap(), "[::]:8443".parse().unwrap()], placed));
        for http in [vec!["0.0.0.0:8080".parse().unwrap()], vec![]] {
            let settings = Settings { http: http.clone(), https: https.clone(), ..settings(Publish::Always) };
            let conf = render(&settings, &Lists::default()).nginx_conf;
            assert_eq!(conf.contains("listen 0.0.0.0:8080 backlog"), !http.is_empty());
            assert!(conf.contains("listen 0.0.0.0:8443 ssl http2 backlog"));
            assert!(conf.contains("listen [::]:8443 ssl http2 backlog"));
            assert!(conf.contains("ssl_certificate_key \"/run/granary/front/tls/a.key\";"));
        }
        assert!(!render(&settings(Publish::Always), &Lists::default()).nginx_conf.contains("ssl"));
    }
}
