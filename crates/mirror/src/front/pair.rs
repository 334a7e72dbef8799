//! A certificate and its key: whether they can be used, and the copy that nginx uses.
//!
//! nginx reads a copy below its own directory, made of a pair that was found good. So a pair that is replaced badly, or
//! half, changes nothing: not what nginx serves, not what it reads again with a new map, not what it starts with.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use granary_nix::Hash;
use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// Longest file that is read, in bytes: a chain of several certificates has a few thousand.
const MAX_BYTES: u64 = 1 << 20;

/// Why a pair cannot be used. Nothing of the key's content is in it.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate is none.
    #[error("{} holds no certificate in PEM form: {problem}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The key is none.
    #[error("{} holds no private key in PEM form and without a password", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// They do not belong together, or the key is of a kind that cannot be used.
    #[error("{} and {} are no pair: {problem}", certificate.display(), key.display())]
    NoPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The copy cannot be made.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Two files that were found to be a pair. It has no `Debug`: one of them is a secret.
pub struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
    expires: Timestamp,
}

/// The copy that nginx uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The certificate, and those that lead to its root.
    pub certificate: PathBuf,
    /// Its key, readable by nobody else.
    pub key: PathBuf,
    /// When clients refuse it.
    pub expires: Timestamp,
}

impl Pair {
    /// Reads and checks both files.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, PairError> {
        let (certificate_text, key_text) = (read(certificate)?, read(key)?);
        let bad = |problem: String| PairError::Certificate { path: certificate.into(), problem };
        let chain = CertificateDer::pem_slice_iter(&certificate_text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| bad(error.to_string()))?;
        let first = chain.first().ok_or_else(|| bad("it has none".into()))?;
        let parsed = Certificate::from_der(first).map_err(|error| bad(error.to_string()))?;
        let until = parsed.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
        let expires = i64::try_from(until)
            .ok()
            .and_then(|until| Timestamp::from_second(until).ok())
            .unwrap_or(Timestamp::MAX);
        let secret =
            PrivateKeyDer::from_pem_slice(&key_text).map_err(|_| PairError::Key { path: key.into() })?;
        CertifiedKey::from_der(chain, secret, &ring::default_provider()).map_err(|error| {
            PairError::NoPair { certificate: certificate.into(), key: key.into(), problem: error.to_string() }
        })?;
        Ok(Self { certificate: certificate_text, key: key_text, expires })
    }

    /// Puts the copy below `directory`, under names of its own, and removes those of earlier pairs: `nginx.conf` names
    /// the files, so both change at once.
    pub fn place(&self, directory: &Path) -> Result<Placed, PairError> {
        let folder = folder(directory);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|source| PairError::Write { path: folder.clone(), source })?;
        let name = Hash::of(&self.certificate).to_hex();
        let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        write(&certificate, &self.certificate)?;
        write(&key, &self.key)?;
        Ok(Placed { certificate, key, expires: self.expires })
    }
}

impl Placed {
    /// The copy that an earlier run left below `directory`, if there is a good one.
    #[must_use]
    pub fn find(directory: &Path) -> Option<Self> {
        let certificates =
            fs::read_dir(folder(directory)).ok()?.filter_map(Result::ok).map(|entry| entry.path());
        certificates.filter(|path| path.extension().is_some_and(|extension| extension == "crt")).find_map(
            |certificate| {
                let key = certificate.with_extension("key");
                let Pair { expires, .. } = Pair::read(&certificate, &key).ok()?;
                Some(Self { certificate, key, expires })
            },
        )
    }

    /// Removes every other copy, once `nginx.conf` no longer names it.
    pub fn remove_others(&self) {
        let Some(folder) = self.key.parent() else { return };
        let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        for path in
            files.map(|entry| entry.path()).filter(|path| *path != self.key && *path != self.certificate)
        {
            // What stays is tried again with the next pair.
            let _ = fs::remove_file(path);
        }
    }
}

fn folder(directory: &Path) -> PathBuf {
    directory.join("tls")
}

fn read(path: &Path) -> Result<Vec<u8>, PairError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
    read.map_err(|source| PairError::Read { path: path.into(), source })?;
    Ok(text)
}

/// Replaces a file by one that only its owner may read.
fn write(path: &Path, content: &[u8]) -> Result<(), PairError> {
    let new = path.with_extension("new");
    // One that was left over could have another mode.
    let _ = fs::remove_file(&new);
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    let written =
        options.open(&new).and_then(|mut file| file.write_all(content)).and_then(|()| fs::rename(&new, path));
    written.map_err(|source| PairError::Write { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_none_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let (certificate, key) = (temp.path().join("a.crt"), temp.path().join("a.key"));
        let error = || Pair::read(&certificate, &key).err().unwrap().to_string();
        assert!(error().contains("cannot read") && error().contains("a.crt"), "{}", error());
        fs::write(&certificate, "nonsense").unwrap();
        fs::write(&key, "nonsense").unwrap();
        assert!(error().contains("a.crt holds no certificate"), "{}", error());
        fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(error().contains("a.crt holds no certificate"), "{}", error());
    }

    #[test]
    fn a_copy_is_readable_by_nobody_else_and_others_go() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let pair = |text: &str| Pair {
            certificate: text.into(),
            key: b"secret".into(),
            expires: Timestamp::UNIX_EPOCH,
        };
        let first = pair("first").place(temp.path()).unwrap();
        let second = pair("second").place(temp.path()).unwrap();
        assert_ne!(first.key, second.key, "nginx.conf names the one or the other");
        assert!(first.key.exists());
        second.remove_others();
        assert!(!first.key.exists() && !first.certificate.exists());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&second.key), mode(&folder(temp.path()))), (0o600, 0o700));
        assert_eq!(fs::read(&second.key).unwrap(), b"secret");
        assert_eq!(Placed::find(temp.path()), None, "what is no pair is not taken up again");
    }
}
