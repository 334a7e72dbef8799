//! What a URL, a public key, a host path and a store path may look like: once as CEL for the API server, once as a function
//! for the operator. The tests at the bottom keep the two forms about the same words.
//!
//! URLs end up in nginx's configuration and in `Mirrors:` lines, host paths in a root container's arguments: the alphabets are
//! narrow on purpose, and a query, a fragment, a password or white space is never let in.

use std::net::{Ipv4Addr, Ipv6Addr};

/// `spec.url` of a mirror: `{ordinal}` stands for a replica's number.
pub const PUBLIC_URL: &str = r"self.replace('{ordinal}', '0').matches(r'^https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~%-]+)*$')";
pub const PUBLIC_URL_MESSAGE: &str = "not a URL that clients can use: write http://host[:port][/path] or https://…, without a trailing slash, a query, a user name or a password";

/// The URL of a binary cache to pull from.
pub const UPSTREAM_URL: &str =
    r"self.matches(r'^https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~%-]+)*$')";
pub const UPSTREAM_URL_MESSAGE: &str = "not the URL of a binary cache: write http://host[:port][/path] or https://…, without a trailing slash, a query, a user name or a password";

/// The URL of a channel.
pub const CHANNEL_URL: &str = r"self.matches(r'^https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~%-]+)*/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$')";
pub const CHANNEL_URL_MESSAGE: &str = "not the URL of a channel: write http://host[:port]/…/name or https://…, for example https://channels.nixos.org/nixos-26.05, without a trailing slash or a query";

/// A list of Nix public keys: name, colon, 32 bytes in base64.
pub const PUBLIC_KEYS: &str = r"self.all(k, k.matches(r'^[A-Za-z0-9._-]+:[A-Za-z0-9+/]{43}=$'))";
pub const PUBLIC_KEYS_MESSAGE: &str = "not a Nix public key: write name:base64 as in nix.conf's trusted-public-keys, for example cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";

/// A directory on a node.
pub const HOST_PATH: &str =
    r"self.matches(r'^(/[A-Za-z0-9._-]+)+$') && !self.split('/').exists(part, part == '.' || part == '..')";
pub const HOST_PATH_MESSAGE: &str = "not a directory for a mirror: write an absolute path below / without '.' or '..', of letters, digits, '.', '_' and '-', for example /srv/granary";

/// A list of store paths.
pub const STORE_PATHS: &str =
    r"self.all(p, p.matches(r'^/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9A-Za-z+._?=-]+$'))";
pub const STORE_PATHS_MESSAGE: &str = "not a store path: write whole store paths, /nix/store/<32 characters>-<name>, without a trailing slash or anything below them";

/// A region, zone or organization.
pub const DOMAIN: &str = r"self.matches(r'^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$')";
pub const DOMAIN_MESSAGE: &str =
    "write at most 63 letters, digits, '.', '_' and '-', beginning and ending with a letter or digit";

/// A list of host names.
pub const HOSTS: &str = r"self.all(h, h.matches(r'^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$'))";
pub const HOSTS_MESSAGE: &str =
    "not a host: write names such as cdn.example.org, without a scheme, a port or a path";

/// The URL of an HTTP proxy.
pub const PROXY_URL: &str = r"self.matches(r'^http://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$')";
pub const PROXY_URL_MESSAGE: &str =
    "not the URL of a proxy: write http://host:port, without a path, a user name or a password";

/// A list of hosts that no proxy is asked for.
pub const PROXY_EXCEPT: &str =
    r"self.all(h, h.matches(r'^([*][.])?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$'))";
pub const PROXY_EXCEPT_MESSAGE: &str = "not a host: write names such as minio.example.edu, minio:9000 or *.example.edu, without a scheme or a path";

/// The name of a Kubernetes object.
pub const OBJECT_NAME: &str = r"self.matches(r'^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')";
pub const OBJECT_NAME_MESSAGE: &str = "not the name of an object: write lower case letters, digits, '-' and '.', beginning and ending with a letter or digit";

/// A key of a Secret or a ConfigMap. It becomes the name of a file.
pub const SECRET_KEY: &str = r"self.matches(r'^[A-Za-z0-9_-][A-Za-z0-9._-]*$')";
pub const SECRET_KEY_MESSAGE: &str = "not a key of a Secret: write letters, digits, '.', '_' and '-'";

pub const CONFIG_MAP_KEY_MESSAGE: &str = "not a key of a ConfigMap: write letters, digits, '.', '_' and '-'";

/// A list of addresses and networks. The operator checks the numbers in them.
pub const NETWORKS: &str = r"self.all(n, n.matches(r'^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$'))";
pub const NETWORKS_MESSAGE: &str =
    "not an address or a network: write for example 10.0.0.1, 10.0.0.0/8 or fd00::/8";

/// The characters of Nix's base 32.
const NIX32: &[u8] = b"0123456789abcdfghijklmnpqrsvwxyz";
/// The length of a store path's hash part, in characters.
const HASH_PART: usize = 32;

fn all_of(text: &str, extra: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
}

/// Whether a mirror's `spec.url` is one that can be published; `{ordinal}` is allowed in it.
#[must_use]
pub fn is_public_url(url: &str) -> bool {
    is_upstream_url(&url.replace("{ordinal}", "0"))
}

/// Whether a URL can be an upstream: http or https, a host, maybe a port and a path, nothing else, no trailing slash.
#[must_use]
pub fn is_upstream_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return false;
    };
    let mut parts = rest.split('/');
    let authority = parts.next().unwrap_or_default();
    is_authority(authority) && parts.all(|part| all_of(part, b"._~%-"))
}

/// Whether a text is the host of a URL, maybe with a port. What looks like an IPv4 address to who reads URLs (WHATWG URL, 3.5:
/// the last part is a number) has to be one, written as usual: `1.2.3` would be 1.2.0.3.
fn is_authority(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "80"));
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
        || last.to_ascii_lowercase().starts_with("0x");
    all_of(host, b"._-") && (!is_number || host.parse::<Ipv4Addr>().is_ok()) && is_port(port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Whether a text has the form of a Nix public key.
#[must_use]
pub fn is_public_key(key: &str) -> bool {
    key.split_once(':').is_some_and(|(name, base64)| {
        all_of(name, b"._-")
            && base64.strip_suffix('=').is_some_and(|digits| digits.len() == 43 && all_of(digits, b"+/"))
    })
}

/// Whether a text is an absolute directory that a mirror may own: never `/` itself, no `.` and no `..`.
#[must_use]
pub fn is_host_path(path: &str) -> bool {
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|part| all_of(part, b"._-") && part != "." && part != ".."))
}

/// Whether a text is a host name or an IPv4 address.
#[must_use]
pub fn is_host(host: &str) -> bool {
    is_dotted(host) && is_authority(host)
}

/// Whether a text has letters, digits, `.` and `-`, and a letter or digit at either end.
fn is_dotted(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    all_of(text, b".-") && ends(text.bytes().next()) && ends(text.bytes().last())
}

/// Whether a URL can be that of a proxy: http, a host, maybe a port.
#[must_use]
pub fn is_proxy_url(url: &str) -> bool {
    let Some(authority) = url.strip_prefix("http://") else { return false };
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            address.parse::<Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        }
        None => is_authority(authority),
    }
}

/// Whether a text names a host that no proxy is asked for: a name, maybe below `*.`, maybe with a port.
#[must_use]
pub fn is_proxy_except(text: &str) -> bool {
    let (below, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
    let host = rest.split(':').next().unwrap_or_default();
    is_host(host) && is_authority(rest) && !(below && host.parse::<Ipv4Addr>().is_ok())
}

/// Whether a text can be the name of a Kubernetes object.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    is_dotted(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Whether a text can be a key of a Secret; it becomes the name of a file.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    all_of(key, b"._-") && !key.starts_with('.')
}

/// Whether a text is a whole store path in `/nix/store`.
#[must_use]
pub fn is_store_path(path: &str) -> bool {
    path.strip_prefix("/nix/store/").and_then(|base| base.split_at_checked(HASH_PART)).is_some_and(
        |(hash, rest)| {
            hash.bytes().all(|byte| NIX32.contains(&byte))
                && rest.strip_prefix('-').is_some_and(|name| all_of(name, b"+._?=-"))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in
            ["http://a", "https://cache.example.org", "http://10.0.0.1:8080/nix/a-b", "https://a/%20~x"]
        {
            assert!(is_upstream_url(good) && is_public_url(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "ftp://a",
            "http://",
            "http:///x",
            "https://a/",
            "https://a//b",
            "https://u:p@a",
            "https://a?x",
            "https://a#x",
            "https://a b",
            "https://a:port",
            "https://a:",
            "https://a:123456",
            "https://a:65536",
            "https://999.1.1.1",
            "https://1.2.3",
            "https://1.2.3.0X4",
            "https://a/;",
            "HTTPS://a",
        ] {
            assert!(!is_upstream_url(bad) && !is_public_url(bad), "{bad}");
        }
        assert!(is_public_url("https://north-{ordinal}.example.org"));
        assert!(!is_public_url("https://north-{replica}.example.org"));
        assert!(!is_upstream_url("https://north-{ordinal}.example.org"));
    }

    #[test]
    fn keys() {
        assert!(is_public_key("cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="));
        for bad in [
            "",
            "6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
            ":6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
            "a:6NCH=",
            "a b:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
        ] {
            assert!(!is_public_key(bad), "{bad}");
        }
    }

    #[test]
    fn hosts_and_names() {
        for good in ["a", "cdn.example.org", "10.0.0.1", "a-b"] {
            assert!(is_host(good) && is_object_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a:80", "http://a", "a/b", "a b", "a_b"] {
            assert!(!is_host(bad) && !is_object_name(bad), "{bad}");
        }
        for number in ["1.2.3.999", "10.0.0.256", "1.2.3", "7", "1.2.3.0x4", "01.2.3.4"] {
            assert!(!is_host(number) && is_object_name(number), "{number}");
        }
        assert!(!is_host("1.2.3.0X4"));
        assert!(is_host("CDN") && !is_object_name("CDN"));
    }

    #[test]
    fn proxies() {
        for good in
            ["http://proxy", "http://proxy.example.edu:3128", "http://10.0.0.1:8080", "http://[fd00::1]:3128"]
        {
            assert!(is_proxy_url(good), "{good}");
        }
        for bad in [
            "",
            "proxy:3128",
            "https://proxy",
            "http://proxy/",
            "http://u:p@proxy",
            "http://proxy:x",
            "http://proxy:99999",
            "http://999.1.1.1:3128",
            "http://[fd00::1",
            "http://[proxy]:1",
            "http://[fd00::1]x",
        ] {
            assert!(!is_proxy_url(bad), "{bad}");
        }
        for good in ["minio", "minio:9000", "*.example.edu", "*.example.edu:8080", "10.0.0.1"] {
            assert!(is_proxy_except(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.",
            "http://a",
            "a/b",
            "a:",
            "a:x",
            "a:65536",
            "a:+1",
            ".example.edu",
            "*.*.a",
            "*.10.0.0.1",
            "1.2.3.999",
        ] {
            assert!(!is_proxy_except(bad), "{bad}");
        }
    }

    #[test]
    fn secret_keys() {
        assert!(is_secret_key("token") && is_secret_key("_a.B-1"));
        for bad in ["", ".netrc", "..", "a/b", "a b"] {
            assert!(!is_secret_key(bad), "{bad}");
        }
    }

    #[test]
    fn host_paths() {
        assert!(is_host_path("/srv/granary") && is_host_path("/a") && is_host_path("/.hidden"));
        for bad in ["", "/", "srv", "/srv/", "/srv//a", "/srv/../etc", "/..", "/.", "/a b", "/a;b"] {
            assert!(!is_host_path(bad), "{bad}");
        }
    }

    #[test]
    fn store_paths() {
        assert!(is_store_path("/nix/store/00000000000000000000000000000000-hello-2.12"));
        for bad in [
            "",
            "/nix/store",
            "/nix/store/",
            "hello",
            "/nix/store/0000-hello",
            "/nix/store/00000000000000000000000000000000",
            "/nix/store/00000000000000000000000000000000-",
            "/nix/store/e0000000000000000000000000000000-hello",
            "/nix/store/00000000000000000000000000000000-hello/bin",
            "/gnu/store/00000000000000000000000000000000-hello",
        ] {
            assert!(!is_store_path(bad), "{bad}");
        }
    }
}
