//! An HTTP proxy on the way to sources, as in networks that let nobody out directly.

use std::fmt;
use std::str::FromStr;

use granary_nix::BaseUrl;
use url::Url;

use super::Host;

/// A proxy: asked for whole URLs of http, and for connections to hosts of https (RFC 9110, `CONNECT`). Names are looked up by
/// it and not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy(Url);

/// Why a text names no proxy. It can be a secret, and is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no proxy; write http://<host>:<port>, without a user name, a path or a query")]
pub struct ProxyError;

/// Which sources are asked by a proxy: all but these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxying {
    /// The proxy.
    pub proxy: Proxy,
    /// Hosts that are asked directly.
    pub except: Vec<Host>,
}

impl Proxy {
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl Proxying {
    /// The proxy by which a source is asked.
    #[must_use]
    pub fn of_source(&self, source: &BaseUrl) -> Option<&Proxy> {
        self.of(&Url::parse(source.as_str()).ok()?)
    }

    pub(crate) fn of(&self, url: &Url) -> Option<&Proxy> {
        let Self { proxy, except } = self;
        (!except.iter().any(|host| host.is(url))).then_some(proxy)
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let url = Url::parse(text).map_err(|_| ProxyError)?;
        let plain = url.scheme() == "http"
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if plain { Ok(Self(url)) } else { Err(ProxyError) }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_and_a_port() {
        for (text, shown) in [
            ("http://proxy.example.edu:3128", "http://proxy.example.edu:3128"),
            ("http://[fd00::1]:8080/", "http://[fd00::1]:8080"),
            ("http://proxy", "http://proxy"),
        ] {
            assert_eq!(text.parse::<Proxy>().unwrap().to_string(), shown);
        }
        for text in [
            "proxy:3128",
            "https://proxy:1",
            "socks5://p:1",
            "http://u:p@p:1",
            "http://p:1/x",
            "http://p/?q",
            "",
        ] {
            assert!(text.parse::<Proxy>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_for_all_sources_but_those_that_are_named() {
        let except = ["*.internal.example", "minio:9000"].map(|host| host.parse().unwrap()).to_vec();
        let proxying = Proxying { proxy: "http://proxy:3128".parse().unwrap(), except };
        let by = |url: &str| proxying.of_source(&url.parse().unwrap()).is_some();
        assert!(by("https://cache.nixos.org") && by("http://minio") && by("http://internal.example"));
        assert!(!by("http://minio:9000/nix") && !by("https://s3.internal.example/x"));
    }
}
