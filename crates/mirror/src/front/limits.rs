//! What `nginx.conf` says about clients that take too much. Pure.

use std::fmt::Write as _;

use crate::config::Clients;

/// Open files that nginx caches in each worker; see `open_file_cache` in the template.
const CACHED_FILES: u32 = 8192;
/// Others: logs, listening sockets, pipes.
const OTHER_FILES: u32 = 256;
/// Fewer connections than these are none.
const FEWEST: u32 = 32;
/// How many seconds' worth of requests wait their turn, and at least how many: more connections than an honest client has.
const WAITING: (u32, u32) = (10, 250);

/// The parts of the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Connections of each worker. One that is passed on to the agent counts twice.
    pub connections: u32,
    /// Files that each worker may have open.
    pub files: u32,
    /// Files that it keeps open for the next request.
    pub cached: u32,
    /// NAR files to one address at once.
    pub transfers: u32,
    /// Lines for `http`.
    pub http: String,
    /// Lines for `server`.
    pub server: String,
    /// Whether every request has to be counted.
    pub counted: bool,
}

/// `workers` share the connections. With `open_files`, a worker cannot have more open; then there are fewer connections,
/// and no request fails for want of a file.
pub(super) fn limits(clients: &Clients, workers: usize, open_files: Option<u32>) -> Limits {
    let Clients {
        connections_per_address,
        requests_per_second,
        max_connections,
        header_seconds,
        trusted_proxies,
    } = clients;
    let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
    let wanted = max_connections.div_ceil(workers);
    let needed = wanted.saturating_mul(2).saturating_add(CACHED_FILES + OTHER_FILES);
    let files = open_files.map_or(needed, |most| needed.min(most));
    let (connections, cached) =
        if files == needed { (wanted, CACHED_FILES) } else { shared_out(files, wanted) };
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
        files,
        cached,
        transfers: *connections_per_address,
        http,
        server,
        counted: requests_per_second.is_some(),
    }
}

/// How many connections of everybody nginx takes, where the open files that it may have allow fewer than it should.
#[must_use]
pub fn fewer_connections(clients: &Clients, workers: usize, open_files: Option<u32>) -> Option<u32> {
    let Limits { connections, .. } = limits(clients, workers, open_files);
    let all = connections.saturating_mul(u32::try_from(workers).unwrap_or(u32::MAX).max(1));
    (all < clients.max_connections).then_some(all)
}

/// The connections and cached files that so many open files allow.
fn shared_out(files: u32, wanted: u32) -> (u32, u32) {
    let free = files.saturating_sub(OTHER_FILES.min(files / 4));
    let cached = CACHED_FILES.min(free / 4);
    (wanted.min((free - cached) / 2).max(FEWEST), cached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_and_each_may_need_two_files() {
        let clients = Clients { max_connections: 1000, ..Clients::default() };
        let one = limits(&clients, 1, None);
        assert_eq!((one.connections, one.files), (1000, 2000 + CACHED_FILES + OTHER_FILES));
        assert_eq!(limits(&clients, 3, None).connections, 334);
        assert_eq!(limits(&clients, 0, None).connections, 1000);
    }

    #[test]
    fn with_few_open_files_there_are_few_connections() {
        let clients = Clients { max_connections: 1000, ..Clients::default() };
        let needed = limits(&clients, 1, None).files;
        for most in [64, 100, 256, 1024, 4096, needed - 1, needed, u32::MAX] {
            let one = limits(&clients, 1, Some(most));
            assert!(
                one.files <= most && one.connections >= FEWEST && one.connections <= 1000,
                "{most}: {one:?}"
            );
            assert_eq!(one.files == needed && one.cached == CACHED_FILES, most >= needed, "{most}: {one:?}");
            let open = one.connections * 2 + one.cached;
            assert_eq!(
                fewer_connections(&clients, 1, Some(most)),
                Some(one.connections).filter(|all| *all < 1000)
            );
            assert!(open < most || one.connections == FEWEST, "{most}: {one:?}");
        }
    }

    #[test]
    fn requests_are_counted_only_when_they_are_bounded() {
        let free = limits(&Clients::default(), 2, None);
        assert!(!free.counted && !free.server.contains("limit_req") && !free.http.contains("limit_req"));
        let bound =
            |rate| limits(&Clients { requests_per_second: Some(rate), ..Clients::default() }, 2, None);
        assert!(bound(20).counted && bound(20).http.contains("rate=20r/s;"));
        assert!(bound(20).server.contains("burst=250;"), "more than the connections of an honest client");
        assert!(bound(1000).server.contains("burst=10000;"));
    }

    #[test]
    fn the_word_of_a_proxy_is_taken_only_when_it_is_named() {
        assert!(!limits(&Clients::default(), 1, None).http.contains("real_ip"));
        let trusted_proxies = vec!["10.0.0.0/8".to_owned(), "::1".to_owned()];
        let http = limits(&Clients { trusted_proxies, ..Clients::default() }, 1, None).http;
        assert!(http.contains("set_real_ip_from 10.0.0.0/8;\n    set_real_ip_from ::1;\n    real_ip_header"));
    }
}
