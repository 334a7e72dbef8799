//! Who may push.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tracing::{error, info};

/// Fewest characters of a token: what is shorter can be guessed.
const LEAST: usize = 16;
/// Most.
const MOST: usize = 512;
/// Most tokens.
const MAX_TOKENS: usize = 256;
/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 256 << 10;

/// A token file that cannot be used. Never has a token in it.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has no token.
    #[error("{} has no token; write one a line, as <name>:<token>", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It has too many.
    #[error("{} has more than {MAX_TOKENS} tokens", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
    },
    /// A line is not usable.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The tokens of a file, as it is now.
#[derive(Debug)]
pub(super) struct Tokens {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    fingerprint: Option<Fingerprint>,
    tokens: Vec<Token>,
}

/// What a change of the file is told by. A mounted Secret is replaced by another file.
type Fingerprint = (u64, u64, i64, i64);

/// A name for the log, and the digest of a token: equal lengths are compared, in the same time whatever they are.
struct Token {
    name: String,
    digest: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, digest: _ } = self;
        write!(f, "Token({name})")
    }
}

impl Tokens {
    /// Reads the file. One that is not there, as a Secret that nobody has made yet, means that nobody may push until it is:
    /// a mirror does more than that.
    pub(super) fn open(path: &Path) -> Result<Self, TokensError> {
        let fingerprint = fingerprint(path);
        let tokens = match load(path) {
            Err(TokensError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                error!(path = %path.display(), "push.tokenFile is not there; nobody can push until it is");
                Vec::new()
            }
            read => read?,
        };
        Ok(Self { path: path.to_owned(), read: Mutex::new(Read { fingerprint, tokens }) })
    }

    /// Whose token an `Authorization` header has: `Bearer <token>`, or `Basic` with the token as the password, which is what
    /// a netrc file makes Nix send. `None` when it is nobody's.
    ///
    /// Looks whether the file has changed. Takes as long for a wrong token as for a right one.
    pub(super) fn who(&self, authorization: Option<&HeaderValue>) -> Option<String> {
        let given = digest(&token_of(authorization?)?);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut read);
        let mut found = u64::MAX;
        for (number, token) in (0_u64..).zip(&read.tokens) {
            let same: Choice = token.digest.ct_eq(&given);
            found.conditional_assign(&number, same);
        }
        let number = usize::try_from(found).ok()?;
        read.tokens.get(number).map(|token| token.name.clone())
    }

    /// Reads the file anew if it is another. One that is not usable changes nothing: tokens are rotated by replacing it.
    fn look(&self, read: &mut Read) {
        let now = fingerprint(&self.path);
        if now == read.fingerprint || now.is_none() {
            return;
        }
        read.fingerprint = now;
        match load(&self.path) {
            Ok(tokens) => {
                info!(tokens = tokens.len(), "the tokens for pushes have changed");
                read.tokens = tokens;
            }
            Err(error) => error!(%error, "the changed push.tokenFile is not taken; the tokens in force stay"),
        }
    }
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

fn load(path: &Path) -> Result<Vec<Token>, TokensError> {
    let read = |source| TokensError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text)).map_err(read)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(read(io::ErrorKind::FileTooLarge.into()));
    }
    parse(path, &text)
}

/// A line is `<name>:<token>` or a token alone; empty lines and those that start with `#` say nothing.
fn parse(path: &Path, text: &str) -> Result<Vec<Token>, TokensError> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(text.lines().map(str::trim)) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (name, token) = match text.split_once(':') {
            Some((name, token)) => (name.to_owned(), token),
            None => (format!("token-{line}"), text),
        };
        let wrong = |problem| Err(TokensError::Line { path: path.to_owned(), line, problem });
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
            return wrong("a name has at most 64 letters, digits, dots, dashes and underscores");
        }
        if !(LEAST..=MOST).contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong(
                "a token has 16 to 512 printable characters without spaces; openssl rand -hex 24 makes one",
            );
        }
        tokens.push(Token { name, digest: digest(token.as_bytes()) });
    }
    match tokens.len() {
        0 => Err(TokensError::Empty { path: path.to_owned() }),
        1..=MAX_TOKENS => Ok(tokens),
        _ => Err(TokensError::TooMany { path: path.to_owned() }),
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn token_of(header: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, rest) = header.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = STANDARD.decode(rest.trim()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef0123";
    const TWO: &str = "fedcba9876543210fedc";

    fn bearer(token: &str) -> HeaderValue {
        format!("Bearer {token}").parse().unwrap()
    }

    #[test]
    fn a_file_may_come_later() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tokens");
        let tokens = Tokens::open(&path).unwrap();
        assert_eq!(tokens.who(Some(&bearer(ONE))), None);
        fs::write(&path, format!("ci:{ONE}\n")).unwrap();
        assert_eq!(tokens.who(Some(&bearer(ONE))).as_deref(), Some("ci"));
        fs::write(&path, "short\n").unwrap();
        assert!(Tokens::open(&path).is_err(), "what is there has to be usable");
    }

    #[test]
    fn a_token_is_taken_in_both_schemes_and_the_file_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("tokens");
        fs::write(&path, format!("# who may push\nci:{ONE}\n\n{TWO}\n")).unwrap();
        let tokens = Tokens::open(&path).unwrap();
        let who = |header: &HeaderValue| tokens.who(Some(header));
        assert_eq!(who(&bearer(ONE)).as_deref(), Some("ci"));
        assert_eq!(who(&bearer(TWO)).as_deref(), Some("token-4"));
        let basic = |pair: &str| format!("basic {}", STANDARD.encode(pair)).parse::<HeaderValue>().unwrap();
        assert_eq!(who(&basic(&format!("anyone:{ONE}"))).as_deref(), Some("ci"));
        for wrong in [
            bearer("0123456789abcdef0124"),
            bearer(""),
            bearer(&ONE[..19]),
            basic(ONE),
            basic(&format!("{ONE}:x")),
            "Basic !".parse().unwrap(),
            format!("Digest {ONE}").parse().unwrap(),
            ONE.parse().unwrap(),
        ] {
            assert_eq!(who(&wrong), None, "{wrong:?}");
        }
        assert_eq!(tokens.who(None), None);
        assert!(!format!("{tokens:?}").contains(ONE) && format!("{tokens:?}").contains("Token(ci)"));

        let replace = |text: &str| {
            let next = temp.path().join("next");
            fs::write(&next, text).unwrap();
            fs::rename(next, &path).unwrap();
        };
        replace("ci:short\n");
        assert_eq!(who(&bearer(ONE)).as_deref(), Some("ci"), "a broken file changes nothing");
        replace(&format!("ci:{TWO}\n"));
        assert_eq!(who(&bearer(ONE)), None);
        assert_eq!(who(&bearer(TWO)).as_deref(), Some("ci"));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_told_by_line_and_without_its_secrets() {
        let path = Path::new("/tokens");
        let error = |text: &str| parse(path, text).unwrap_err().to_string();
        assert!(error("# nobody\n").contains("has no token"));
        let short = error(&format!("a:{ONE}\nb:secret\n"));
        assert!(short.contains("/tokens, line 2: a token has 16 to 512") && !short.contains("secret"));
        assert!(error(&format!("b c:{ONE}\n")).contains("a name has"));
        assert!(error(&format!("a:{ONE}\n").repeat(MAX_TOKENS + 1)).contains("more than"));
    }
}
