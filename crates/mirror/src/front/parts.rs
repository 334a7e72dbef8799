//! The texts that `nginx.conf` has only with some settings, or in several places; the rest of it is the template. Pure.

/// How a narinfo leaves, wherever it is read.
pub(super) const NARINFO: &str = r"            default_type text/x-nix-narinfo;
            # Header, file and line leave together, in one call: sendfile would need four more.
            sendfile off;
            postpone_output 32k;
            add_header Link $granary_links;
";

/// Adds the line to a narinfo.
pub(super) const LINE: &str = r#"            # Tag and date of the file say nothing about the line, which changes with the mirror map: a cache that went by
            # them would keep an old line.
            etag off;
            if_modified_since off;
            add_header Last-Modified "";
            addition_types *;
            add_after_body /_mirrors;
"#;

/// What [`LINE`] asks for.
pub(super) const LINE_LOCATION: &str = "
        location = /_mirrors {
            internal;
            default_type text/x-nix-narinfo;
            return 200 $granary_line;
        }
";

/// What becomes of a narinfo that is not here, with pull-through.
const ABSENT: &str = "            error_page 403 405 413 = @refused;
            error_page 404 = @absent;
            error_page 429 @flood;
            recursive_error_pages on;
";

/// Who is asked for it.
pub(super) const ABSENT_LOCATION: &str = "
        # It may be had from an upstream. The agent answers as soon as one has it, and 404 only when all say so.
        location @absent {
            error_log stderr warn;
            proxy_pass http://granary_agent/granary/v1/narinfo/$granary_hash;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_connect_timeout 5s;
            proxy_read_timeout 30s;
            # An agent that is away knows nothing of what may be had. A 5xx would fail the whole build of a Nix before 2.32;
            # at a 404 a client goes to its next substituter, and asks here again in an hour.
            error_page 502 = @no_narinfo;
            # One that takes too long may find it yet: as when an upstream does not answer.
            error_page 504 = @away;
        }

";

/// Where nginx's own trouble is told besides its log.
pub(super) const FAULTS: &str = "        # The agent looks at once at a file that cannot be read.
        error_log \"syslog:server=unix:@DIR@/errors.sock,nohostname\" crit;
";

/// With push: what a client sends is bounded by the agent's quota and not by nginx.
pub(super) const PUSH_SERVER: &str = "
        client_max_body_size 0;
";

/// With push: what becomes of a PUT, by how it came.
pub(super) const PUSH_MAP: &str = "    map \"$request_method $scheme\" $granary_put {
        default \"\";
        \"PUT https\" taken;
        \"PUT http\" @PLAIN@;
    }
";

/// With push: a PUT, which no location takes, goes to the agent as it comes, and the agent's answer back.
pub(super) const PUSH: &str = r#"            error_log stderr warn;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_connect_timeout 5s;
            proxy_send_timeout 120s;
            # A large NAR is verified before its narinfo is answered; a client waits for 300 s.
            proxy_read_timeout 300s;
            if ($granary_put = taken) {
                add_header Cache-Control no-store always;
                break;
                proxy_pass http://granary_agent;
            }
            # Nix shows the words, and does not try again.
            if ($granary_put = readable) {
                add_header Cache-Control no-store always;
                return 403 "this mirror takes pushes over https:// only. Everybody on the way could read the token that came with this request: have it replaced\n";
            }
"#;

/// With push: what is decided for a narinfo before its method is looked at would answer a PUT too.
pub(super) const PUSH_NARINFO: &str = "            if ($request_method = PUT) {
                return 405;
            }
";

/// How the agent is asked for the page: it is on this machine, and quick or dead.
pub(super) const PAGE: &str = r#"            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Granary-Origin $scheme://$http_host;
            proxy_connect_timeout 2s;
            proxy_read_timeout 10s;
"#;

/// What clients had, for pull-through: what has not been asked for the longest leaves first.
pub(super) const RECORD: &str =
    "    # What clients had, a word each, in blocks: the agent reads it and empties the file.
    map $status $granary_had {
        default 0;
        200 1;
        206 1;
        304 1;
    }
    log_format granary_narinfo \"$granary_hash\";
    log_format granary_nar \"$uri\";
";

/// The record in one location.
pub(super) fn record(format: &str) -> String {
    format!("            access_log \"@DIR@/access.log\" {format} buffer=64k flush=5s if=$granary_had;\n")
}

/// What becomes of a narinfo that is not here. `return` answers before anything is counted.
pub(super) fn absent(pull_through: bool, counted: bool) -> String {
    let asked = if pull_through { ABSENT } else { "" };
    let at_once = if counted { "" } else { "            return 404;\n" };
    format!("{asked}{at_once}")
}
