//! Where an upstream's files are, and which URLs its narinfos may name.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use url::Url;

use crate::text::{excerpt, serde_as_string};

/// The URL of a binary cache: http or https, no credentials, query or fragment. Shown without a final slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseUrl(
    /// Its path ends in a slash, so that joining a file name to it keeps the whole path.
    Url,
);

/// Why a text is not the URL of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BaseUrlError {
    /// Not a URL.
    #[error("{text:?} is not a URL: {error}")]
    Malformed {
        /// The text, shortened.
        text: String,
        /// What the URL parser says.
        error: url::ParseError,
    },
    /// Neither http nor https.
    #[error("scheme {scheme:?} is not allowed; a cache's URL begins with http:// or https://")]
    Scheme {
        /// The scheme given.
        scheme: String,
    },
    /// A user name or a password, which would end in logs and reports.
    #[error("a cache's URL cannot carry a user name or a password")]
    Credentials,
    /// A query or a fragment, to which no path can be appended.
    #[error("a cache's URL cannot have a query or a fragment")]
    Query,
}

/// Which servers a narinfo's absolute URL may name. The URL is not signed: whoever can alter a narinfo on its way can
/// make the reader send a request to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origins {
    /// Only places below the cache's own URL.
    #[default]
    Upstream,
    /// Any http or https server.
    Any,
}

/// Why a narinfo's `URL` is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NarUrlError {
    /// Nothing given.
    #[error("URL is empty")]
    Empty,
    /// White space, a control character or a backslash, which URL parsers drop or turn into something else.
    #[error("URL {url:?} has the character {character:?}")]
    Character {
        /// The URL, shortened.
        url: String,
        /// The first such character.
        character: char,
    },
    /// A scheme other than http and https; `file:` would read the reader's own files.
    #[error("URL {url:?} has scheme {scheme:?}; only http and https are allowed")]
    Scheme {
        /// The URL, shortened.
        url: String,
        /// The scheme, in lower case, shortened.
        scheme: String,
    },
    /// A leading slash: below the cache's URL to Nix up to 2.31, below the host to later ones; `//host` alike.
    #[error("URL {url:?} begins with a slash, which means different places to different versions of Nix")]
    LeadingSlash {
        /// The URL, shortened.
        url: String,
    },
    /// Not a URL.
    #[error("URL {url:?} is malformed: {error}")]
    Malformed {
        /// The URL, shortened.
        url: String,
        /// What the URL parser says.
        error: url::ParseError,
    },
    /// A user name or a password in an absolute URL.
    #[error("URL carries a user name or a password")]
    Credentials,
    /// Outside the cache: by `..`, or another server where only the cache's own is allowed.
    #[error("URL {url:?} leads outside of {base}")]
    Outside {
        /// The URL, shortened.
        url: String,
        /// The cache's URL.
        base: BaseUrl,
    },
}

impl BaseUrl {
    /// The URL of a file of the cache by its relative name, such as `nix-cache-info` or `<hash part>.narinfo`. The name
    /// is our own, not a stranger's: for the `URL` of a narinfo there is [`Self::resolve`].
    pub fn join(&self, name: &str) -> Result<Url, NarUrlError> {
        self.resolve(name, Origins::Upstream)
    }

    /// Where the `URL` field of one of the cache's narinfos leads. A relative one is appended to the cache's URL; an
    /// absolute one must be http or https and allowed by `origins`. The fragment, which no server sees, is dropped.
    pub fn resolve(&self, field: &str, origins: Origins) -> Result<Url, NarUrlError> {
        let shown = || excerpt(field);
        if field.is_empty() {
            return Err(NarUrlError::Empty);
        }
        if let Some(character) = field.chars().find(|&c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(NarUrlError::Character { url: shown(), character });
        }
        if field.starts_with('/') {
            return Err(NarUrlError::LeadingSlash { url: shown() });
        }
        let absolute = match scheme_of(field).as_deref() {
            Some("http" | "https") => true,
            Some(scheme) => return Err(NarUrlError::Scheme { url: shown(), scheme: excerpt(scheme) }),
            None => false,
        };
        let whole = if absolute { field.to_owned() } else { format!("{}{field}", self.0) };
        let mut url = Url::parse(&whole).map_err(|error| NarUrlError::Malformed { url: shown(), error })?;
        url.set_fragment(None);
        if has_credentials(&url) {
            return Err(NarUrlError::Credentials);
        }
        let inside = url.origin() == self.0.origin() && url.path().starts_with(self.0.path());
        if inside || (absolute && origins == Origins::Any) {
            Ok(url)
        } else {
            Err(NarUrlError::Outside { url: shown(), base: self.clone() })
        }
    }

    /// Whether `url` is on the same server: scheme, host and port.
    #[must_use]
    pub fn is_origin_of(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }

    /// Whether the cache is asked over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Host name or address, for logs and metrics.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Without the final slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

/// The scheme in lower case, when the text begins with one: a letter, then letters, digits and `+-.`, then a colon.
fn scheme_of(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once(':')?;
    let form = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    form.then(|| scheme.to_ascii_lowercase())
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut url =
            Url::parse(text).map_err(|error| BaseUrlError::Malformed { text: excerpt(text), error })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BaseUrlError::Scheme { scheme: excerpt(url.scheme()) });
        }
        if has_credentials(&url) {
            return Err(BaseUrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::Query);
        }
        let path = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({self})")
    }
}

serde_as_string!(BaseUrl);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base(text: &str) -> BaseUrl {
        text.parse().unwrap()
    }

    fn resolved(field: &str, origins: Origins) -> Result<String, NarUrlError> {
        base("https://c.example/p").resolve(field, origins).map(String::from)
    }

    #[test]
    fn a_base_is_shown_without_its_final_slash() {
        for text in ["https://c.example", "https://c.example/", "HTTPS://C.example:443//"] {
            assert_eq!(base(text).to_string(), "https://c.example");
            assert_eq!(
                base(text).join("nix-cache-info").unwrap().as_str(),
                "https://c.example/nix-cache-info"
            );
        }
        assert_eq!(base("http://h:8080/a/b/").to_string(), "http://h:8080/a/b");
        assert_eq!(base("http://h:8080/a/b").host(), "h");
    }

    #[test]
    fn what_cannot_be_a_base_is_refused() {
        let error = |text: &str| text.parse::<BaseUrl>().unwrap_err();
        assert!(matches!(error("cache.nixos.org"), BaseUrlError::Malformed { .. }));
        assert_eq!(error("file:///srv"), BaseUrlError::Scheme { scheme: "file".into() });
        assert_eq!(error("https://me:pw@c.example"), BaseUrlError::Credentials);
        assert_eq!(error("https://c.example?priority=1"), BaseUrlError::Query);
    }

    #[test]
    fn relative_urls_are_appended() {
        for (field, want) in [
            ("nar/x.nar.xz", "https://c.example/p/nar/x.nar.xz"),
            ("nar/x.nar?hash=1#f", "https://c.example/p/nar/x.nar?hash=1"),
            ("nar/a:b.nar", "https://c.example/p/nar/a:b.nar"),
            ("some/../nar/x", "https://c.example/p/nar/x"),
        ] {
            assert_eq!(resolved(field, Origins::Upstream), Ok(want.into()), "{field}");
        }
    }

    #[test]
    fn absolute_urls_by_origin() {
        let own = "HTTPS://c.example/p/nar/x";
        assert_eq!(resolved(own, Origins::Upstream), Ok("https://c.example/p/nar/x".into()));
        for other in [
            "https://d.example/x",
            "http://c.example/p/x",
            "https://c.example:8443/p/x",
            "https://c.example/q",
        ] {
            assert_eq!(resolved(other, Origins::Any), Ok(other.into()));
            assert!(
                matches!(resolved(other, Origins::Upstream), Err(NarUrlError::Outside { .. })),
                "{other}"
            );
        }
        assert_eq!(resolved("http://me@d.example/x", Origins::Any), Err(NarUrlError::Credentials));
    }

    #[test]
    fn no_way_out_of_the_upstream() {
        for field in ["../x", "nar/../../x", "%2e%2e/x", ".%2E/x", "nar/../../p", "nar/%2e%2e/.."] {
            assert!(matches!(resolved(field, Origins::Any), Err(NarUrlError::Outside { .. })), "{field}");
        }
        for field in ["/nar/x", "//d.example/x"] {
            assert!(
                matches!(resolved(field, Origins::Any), Err(NarUrlError::LeadingSlash { .. })),
                "{field}"
            );
        }
        for field in ["file:///etc/passwd", "FILE:/x", "ftp://d/x", "data:x", "nar:x"] {
            assert!(matches!(resolved(field, Origins::Any), Err(NarUrlError::Scheme { .. })), "{field}");
        }
        for field in ["nar/ x", "ht\ttp://d/x", "..\\x", "nar/x\r", "\u{a0}x"] {
            assert!(matches!(resolved(field, Origins::Any), Err(NarUrlError::Character { .. })), "{field:?}");
        }
        assert_eq!(resolved("", Origins::Any), Err(NarUrlError::Empty));
        assert!(matches!(resolved("http://", Origins::Any), Err(NarUrlError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn whatever_resolves_stays_below_the_base(field in "[a-z./%2eE:?#@\\\\]{0,24}|\\PC{0,24}") {
            if let Ok(url) = resolved(&field, Origins::Upstream) {
                prop_assert!(url.starts_with("https://c.example/p/"), "{}", url);
            }
        }
    }
}
