//! Where NAR URLs and redirects of a source may lead.

use std::fmt;
use std::str::FromStr;

use granary_nix::{BaseUrl, NarUrlError, Origins};
use url::{Host as UrlHost, Url};

use super::Reach;

/// Where a source may lead besides to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// NAR URLs nowhere else; redirects to any host that is no nearer to us than the source itself, see [`Reach`].
    #[default]
    Usual,
    /// Both to these hosts, wherever they are, and to no others.
    Only(Vec<Host>),
}

/// A host that may be led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// In lower case.
    name: String,
    /// Whether what is meant are the names below it.
    below: bool,
    /// `None` for the ports that http and https have by themselves.
    port: Option<u16>,
}

/// Why a text names no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no host; write <name>, <name>:<port> or *.<domain>")]
pub struct HostError {
    text: String,
}

/// Why a redirect is not followed. What it leads to is told without its query, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeadError {
    /// There is no address in it.
    #[error("a redirect to something that is no URL")]
    Malformed,
    /// Neither http nor https.
    #[error("a redirect to something that is neither http nor https")]
    Scheme,
    /// From https to http.
    #[error("a redirect to {0} from https to http")]
    Downgrade(String),
    /// It carries a user name or a password.
    #[error("a redirect to {0} with a user name or a password")]
    Credentials(String),
    /// Not one of the allowed hosts.
    #[error("a redirect to {0}, which is not in allowedHosts")]
    NotAllowed(String),
    /// An address in a network that the source is not in.
    #[error(
        "a redirect to {0}, which is nearer to this machine than who sends there; name it in allowedHosts if it is right"
    )]
    TooNear(String),
}

/// How a URL is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is the source's own: with its credentials.
    Own,
    /// A host that the configuration names.
    Listed,
    /// Any other: only at addresses that are no nearer than this.
    Within(Reach),
}

impl Hosts {
    /// Where the NAR file of a narinfo with this `URL` field is.
    pub fn nar_url(&self, base: &BaseUrl, field: &str) -> Result<Url, NarUrlError> {
        let Self::Only(hosts) = self else { return base.resolve(field, Origins::Upstream) };
        match base.resolve(field, Origins::Upstream) {
            Err(outside @ NarUrlError::Outside { .. }) => {
                let url = base.resolve(field, Origins::Any)?;
                let allowed =
                    hosts.iter().any(|host| host.is(&url)) && (url.scheme() == "https" || !base.is_https());
                if allowed { Ok(url) } else { Err(outside) }
            }
            result => result,
        }
    }

    /// How to ask for a URL of the source: its own, or one that [`Self::nar_url`] gave.
    #[must_use]
    pub fn way(base: &BaseUrl, url: &Url) -> Way {
        if base.is_origin_of(url) { Way::Own } else { Way::Listed }
    }

    /// Where a redirect leads: `location` is what an answer to a request for `from` says, and came from an address of the
    /// kind `reach`.
    pub fn lead(
        &self,
        base: &BaseUrl,
        from: &Url,
        reach: Reach,
        location: &str,
    ) -> Result<(Url, Way), LeadError> {
        let mut url = from.join(location).map_err(|_| LeadError::Malformed)?;
        url.set_fragment(None);
        let shown = || shown(&url);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(LeadError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LeadError::Credentials(shown()));
        }
        if url.scheme() == "http" && (from.scheme() == "https" || base.is_https()) {
            return Err(LeadError::Downgrade(shown()));
        }
        let way = match self {
            _ if base.is_origin_of(&url) => Way::Own,
            Self::Only(hosts) if hosts.iter().any(|host| host.is(&url)) => Way::Listed,
            Self::Only(_) => return Err(LeadError::NotAllowed(shown())),
            Self::Usual => {
                let near = match url.host() {
                    Some(UrlHost::Ipv4(address)) => !reach.may_lead_to(address.into()),
                    Some(UrlHost::Ipv6(address)) => !reach.may_lead_to(address.into()),
                    // What a name stands for is looked at when it is asked for.
                    Some(UrlHost::Domain(_)) => false,
                    None => true,
                };
                if near {
                    return Err(LeadError::TooNear(shown()));
                }
                Way::Within(reach)
            }
        };
        Ok((url, way))
    }
}

/// A URL without what can be a secret: its query, which may be a signature that lets anybody in, and user and password.
#[must_use]
pub fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

impl Host {
    pub(super) fn is(&self, url: &Url) -> bool {
        let Self { name, below, port } = self;
        let ports = match port {
            Some(port) => url.port_or_known_default() == Some(*port),
            None => url.port().is_none(),
        };
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let named = match host.strip_suffix(name.as_str()) {
            Some(sub) if *below => sub.len() > 1 && sub.ends_with('.'),
            Some(sub) => sub.is_empty(),
            None => false,
        };
        ports && named
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let bad = || HostError { text: text.chars().take(80).collect() };
        let (below, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        let url = Url::parse(&format!("http://{rest}")).map_err(|_| bad())?;
        let plain = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && !rest.contains(['/', '*', '@', '?', '#']);
        let name = url.host_str().filter(|_| plain).ok_or_else(bad)?.to_ascii_lowercase();
        if below && !matches!(url.host(), Some(UrlHost::Domain(_))) {
            return Err(bad());
        }
        // The parser drops the port that http has by itself.
        let port = match rest.rsplit_once(':') {
            Some((_, digits)) if !rest.ends_with(']') => Some(digits.parse().map_err(|_| bad())?),
            _ => None,
        };
        Ok(Self { name, below, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, below, port } = self;
        f.write_str(if *below { "*." } else { "" })?;
        f.write_str(name)?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> BaseUrl {
        text.parse().unwrap()
    }

    fn only(hosts: &[&str]) -> Hosts {
        Hosts::Only(hosts.iter().map(|host| host.parse().unwrap()).collect())
    }

    /// Where a redirect from the cache `base`, at a public address, leads.
    fn lead(hosts: &Hosts, base: &str, to: &str) -> Result<Way, LeadError> {
        let base: BaseUrl = base.parse().unwrap();
        let from = base.join("nar/x").unwrap();
        hosts.lead(&base, &from, Reach::Public, to).map(|(_, way)| way)
    }

    #[test]
    fn hosts_are_named_with_their_ports() {
        let is = |host: &str, url: &str| host.parse::<Host>().unwrap().is(&Url::parse(url).unwrap());
        assert!(
            is("s3.Example.org", "https://S3.example.org/x") && is("s3.example.org", "http://s3.example.org")
        );
        assert!(!is("s3.example.org", "https://s3.example.org:8443/x"), "another port is another server");
        assert!(is("minio:9000", "http://minio:9000/x") && !is("minio:9000", "http://minio/x"));
        assert!(is("minio:80", "http://minio/x") && !is("minio:80", "https://minio/x"));
        assert!(
            is("*.example.org", "https://a.b.example.org/") && !is("*.example.org", "https://example.org/")
        );
        assert!(
            !is("*.example.org", "https://evilexample.org/") && !is("example.org", "https://a.example.org/")
        );
        assert!(is("[fd00::1]:9000", "http://[fd00::1]:9000/") && is("10.0.0.1", "http://10.0.0.1/"));
        for bad in ["", "http://a", "a/b", "a b", "*", "*.", "a:b", "me@a", "*.10.0.0.1", "a:99999", "a.*.b"]
        {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
        for text in ["*.example.org", "minio:9000", "[fd00::1]:9000"] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nar_urls_lead_elsewhere_only_to_listed_hosts() {
        let nar = |hosts: &Hosts, url: &str| hosts.nar_url(&base("https://c.example/p"), url).is_ok();
        let listed = only(&["d.example"]);
        for hosts in [&Hosts::Usual, &listed] {
            assert!(nar(hosts, "nar/x") && nar(hosts, "https://c.example/p/x"));
            for bad in
                ["../x", "/x", "file:///x", "https://e.example/x", "http://d.example/x", "//d.example/x"]
            {
                assert!(!nar(hosts, bad), "{bad}");
            }
        }
        assert!(nar(&listed, "https://d.example/x") && !nar(&Hosts::Usual, "https://d.example/x"));
        assert!(!nar(&listed, "https://me@d.example/x"));
    }

    #[test]
    fn redirects_lead_to_hosts_that_are_no_nearer() {
        let usual = |to: &str| lead(&Hosts::Usual, "https://c.example/p", to);
        assert_eq!(usual("/elsewhere?x"), Ok(Way::Own));
        assert_eq!(usual("https://bucket.s3.example/x?X-Amz-Signature=1"), Ok(Way::Within(Reach::Public)));
        for near in
            ["https://127.0.0.1/", "https://10.0.0.1", "https://169.254.169.254/latest", "https://[::1]/"]
        {
            assert!(matches!(usual(near), Err(LeadError::TooNear(_))), "{near}");
        }
        for down in ["http://c.example/p/x", "http://d.example"] {
            assert!(matches!(usual(down), Err(LeadError::Downgrade(_))), "{down}");
        }
        assert_eq!(usual("file:///etc/passwd"), Err(LeadError::Scheme));
        assert_eq!(usual("http://["), Err(LeadError::Malformed));
        let secret = usual("https://me:pw@d.example/x?y").unwrap_err();
        assert_eq!(secret, LeadError::Credentials("https://d.example/x".into()), "and it is not told");
        let http = lead(&Hosts::Usual, "http://c.example", "http://d.example/x");
        assert_eq!(http, Ok(Way::Within(Reach::Public)), "no step down from http");
        let numbers = lead(&Hosts::Usual, "http://c.example", "http://2130706433/x");
        assert!(matches!(numbers, Err(LeadError::TooNear(_))), "another notation of 127.0.0.1");
    }

    #[test]
    fn a_list_is_the_whole_list() {
        let hosts = only(&["d.example", "10.0.0.1:9000"]);
        let lead = |to: &str| lead(&hosts, "https://c.example", to);
        assert_eq!(lead("https://d.example/x"), Ok(Way::Listed));
        assert_eq!(lead("https://10.0.0.1:9000/x"), Ok(Way::Listed), "listed, so it may be near");
        assert_eq!(lead("https://c.example/y"), Ok(Way::Own));
        let error = lead("https://e.example/x?token=1").unwrap_err();
        assert_eq!(error, LeadError::NotAllowed("https://e.example/x".into()), "the query is not told");
        assert!(matches!(lead("http://d.example/x"), Err(LeadError::Downgrade(_))));
    }

    #[test]
    fn once_on_https_nothing_leads_back() {
        let base = base("http://c.example");
        let from = Url::parse("https://d.example/x").unwrap();
        let lead = Hosts::Usual.lead(&base, &from, Reach::Public, "http://c.example/y");
        assert!(matches!(lead, Err(LeadError::Downgrade(_))));
    }
}
