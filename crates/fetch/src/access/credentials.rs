//! What proves to a source who asks. It stays in its file: what is kept here is where that is.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use super::netrc;

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Where a secret is. The file is read for each request, so that one that is replaced counts from the next request on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A file that is a bearer token.
    Bearer(PathBuf),
    /// A file that is `<user>:<password>`.
    Basic(PathBuf),
    /// A netrc file, as for Nix's `netrc-file`; the entry of the source's host counts, else its `default`.
    Netrc(PathBuf),
}

/// Why there are no credentials. The words never repeat what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is longer than any secret.
    #[error("{}: more than {MAX_BYTES} bytes are no credentials", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file has nothing, or something that cannot be in a request's header.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file has no entry for the source.
    #[error("{}: there is neither \"machine {host}\" nor \"default\"", path.display())]
    NoEntry {
        /// The file.
        path: PathBuf,
        /// The source's host.
        host: String,
    },
}

impl Credentials {
    /// The `Authorization` header for `host`, from what is in the file now. Blocks for a small file. Its `Debug` does not show
    /// it.
    pub fn header(&self, host: &str) -> Result<HeaderValue, CredentialsError> {
        let (path, text) = match self {
            Self::Bearer(path) => (path, format!("Bearer {}", one_word(path)?)),
            Self::Basic(path) => {
                let pair = read(path)?;
                let pair = pair.trim_end_matches(['\r', '\n']);
                if !pair.contains(':') {
                    return Err(content(path, "write <user>:<password>"));
                }
                (path, basic(pair))
            }
            Self::Netrc(path) => {
                let text = read(path)?;
                let entries = netrc::parse(&text).map_err(|problem| content(path, problem))?;
                let entry = netrc::find(&entries, host)
                    .ok_or_else(|| CredentialsError::NoEntry { path: path.clone(), host: host.into() })?;
                (path, basic(&format!("{}:{}", entry.login, entry.password)))
            }
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| content(path, "it has characters that a request cannot carry"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

fn one_word(path: &Path) -> Result<String, CredentialsError> {
    let text = read(path)?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(word), None) => Ok(word.to_owned()),
        (None, _) => Err(content(path, "it is empty; a token belongs there")),
        _ => Err(content(path, "it has several words; one token belongs there")),
    }
}

fn read(path: &Path) -> Result<String, CredentialsError> {
    let failed = |source| CredentialsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(CredentialsError::TooLong { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|_| content(path, "it is not text"))
}

fn content(path: &Path, problem: &'static str) -> CredentialsError {
    CredentialsError::Content { path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("granary-fetch-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn header(credentials: &Credentials) -> Result<String, String> {
        let value = credentials.header("c.example").map_err(|error| error.to_string())?;
        assert_eq!(format!("{value:?}"), "Sensitive");
        Ok(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_kind_makes_its_header_and_a_replaced_file_counts() {
        let path = file("bearer", "t0ken\n");
        let bearer = Credentials::Bearer(path.clone());
        assert_eq!(header(&bearer).unwrap(), "Bearer t0ken");
        std::fs::write(&path, "other").unwrap();
        assert_eq!(header(&bearer).unwrap(), "Bearer other");
        let basic = Credentials::Basic(file("basic", "me:pass word\n"));
        assert_eq!(header(&basic).unwrap(), format!("Basic {}", STANDARD.encode("me:pass word")));
        let netrc = Credentials::Netrc(file("netrc", "machine c.example login me password pw\n"));
        assert_eq!(header(&netrc).unwrap(), format!("Basic {}", STANDARD.encode("me:pw")));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let cases = [
            (Credentials::Bearer("/no/such/token".into()), "/no/such/token: No such file"),
            (Credentials::Bearer(file("empty", " \n")), "empty"),
            (Credentials::Bearer(file("two", "SECRET SECRET")), "several words"),
            (Credentials::Bearer(file("odd", "SECRET\u{7f}")), "characters"),
            (Credentials::Bearer(file("long", &"SECRET".repeat(20_000))), "more than"),
            (Credentials::Basic(file("no-colon", "SECRET")), "<user>:<password>"),
            (
                Credentials::Netrc(file("other", "machine d.example login SECRET password SECRET")),
                "machine c.example",
            ),
            (Credentials::Netrc(file("broken", "machine c.example login SECRET SECRET")), "netrc"),
        ];
        for (credentials, words) in cases {
            let error = header(&credentials).unwrap_err();
            assert!(error.contains(words) && !error.contains("SECRET"), "{error}");
        }
    }
}
