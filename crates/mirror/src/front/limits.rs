//! What `nginx.conf` says about clients that take too much. Pure.

use std::fmt::Write as _;

use crate::config::Clients;

/// Open files that nginx caches in each worker; see `open_file_cache` in the template.
const CACHED_FILES: u32 = 8192;
/// Others: logs, listening sockets, pipes.
const OTHER_FILES: u32 = 256;
/// How many seconds' worth of requests wait their turn, and at least how many: more connections than an honest client has.
const WAITING: (u32, u32) = (10, 250);

/// The parts of the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Connections of each worker. One that is passed on to the agent counts twice.
    pub connections: u32,
    /// Files that each worker may have open.
    pub files: u32,
    /// NAR files to one address at once.
    pub transfers: u32,
    /// Lines for `http`.
    pub http: String,
    /// Lines for `server`.
    pub server: String,
    /// Whether every request has to be counted.
    pub counted: bool,
}

/// `workers` share the connections.
pub(super) fn limits(clients: &Clients, workers: usize) -> Limits {
    let Clients {
        connections_per_address,
        requests_per_second,
        max_connections,
        header_seconds,
        trusted_proxies,
    } = clients;
    let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
    let connections = max_connections.div_ceil(workers);
    let mut http = format!(
        "    client_header_timeout {header_seconds}s;\n    limit_conn_zone $binary_remote_addr zone=granary_transfers:8m;\n"
    );
    let mut server = String::new();
    for proxy in trusted_proxies {
        // Writing to a String cannot fail.
        let _ = writeln!(http, "    set_real_ip_from {proxy};");
    }
    if !trusted_proxies.is_empty() {
        http += "    real_ip_header X-Forwarded-For;\n    real_ip_recursive on;\n";
    }
    if let Some(rate) = requests_per_second {
        let _ =
            writeln!(http, "    limit_req_zone $binary_remote_addr zone=granary_requests:8m rate={rate}r/s;");
        let waiting = rate.saturating_mul(WAITING.0).max(WAITING.1);
        let _ = writeln!(server, "        limit_req zone=granary_requests burst={waiting};");
    }
    Limits {
        connections,
        files: connections.saturating_mul(2).saturating_add(CACHED_FILES + OTHER_FILES),
        transfers: *connections_per_address,
        http,
        server,
        counted: requests_per_second.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_and_each_may_need_two_files() {
        let clients = Clients { max_connections: 1000, ..Clients::default() };
        let one = limits(&clients, 1);
        assert_eq!((one.connections, one.files), (1000, 2000 + CACHED_FILES + OTHER_FILES));
        assert_eq!(limits(&clients, 3).connections, 334);
        assert_eq!(limits(&clients, 0).connections, 1000);
    }

    #[test]
    fn requests_are_counted_only_when_they_are_bounded() {
        let free = limits(&Clients::default(), 2);
        assert!(!free.counted && !free.server.contains("limit_req") && !free.http.contains("limit_req"));
        let bound = |rate| limits(&Clients { requests_per_second: Some(rate), ..Clients::default() }, 2);
        assert!(bound(20).counted && bound(20).http.contains("rate=20r/s;"));
        assert!(bound(20).server.contains("burst=250;"), "more than the connections of an honest client");
        assert!(bound(1000).server.contains("burst=10000;"));
    }

    #[test]
    fn the_word_of_a_proxy_is_taken_only_when_it_is_named() {
        assert!(!limits(&Clients::default(), 1).http.contains("real_ip"));
        let trusted_proxies = vec!["10.0.0.0/8".to_owned(), "::1".to_owned()];
        let http = limits(&Clients { trusted_proxies, ..Clients::default() }, 1).http;
        assert!(http.contains("set_real_ip_from 10.0.0.0/8;\n    set_real_ip_from ::1;\n    real_ip_header"));
    }
}
