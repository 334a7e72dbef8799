//! The real nix, on a store of its own below a folder, so that the machine's is left alone.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::corpus::store::StorePath;
use crate::job;
use crate::key::hex;

/// Nix with its settings, its home and its store in one folder.
pub struct Nix {
    root: PathBuf,
    settings: PathBuf,
    home: PathBuf,
}

impl Nix {
    /// Writes the settings. The store is `work/root`.
    pub fn new(work: &Path) -> Result<Self> {
        let nix = Self { root: work.join("root"), settings: work.join("settings"), home: work.join("home") };
        fs::create_dir_all(&nix.settings)?;
        fs::create_dir_all(&nix.home)?;
        let settings =
            "sandbox = false\nbuild-users-group =\nexperimental-features = nix-command\nsubstituters =\n";
        fs::write(nix.settings.join("nix.conf"), settings)?;
        Ok(nix)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", &self.home).env("NIX_CONF_DIR", &self.settings).env_remove("NIX_REMOTE");
        command.env_remove("NIX_PATH").env_remove("NIX_CONFIG").env_remove("NIX_USER_CONF_FILES");
        command
    }

    /// Tells the store's database what stands in the store. `--register-validity` of nix 2.8 would look for the files
    /// outside the root, so the hashes are taken here.
    pub fn register(&self, paths: &[StorePath]) -> Result<()> {
        let mut database = String::new();
        for path in paths {
            let (hash, size) = self.nar(path.path())?;
            database += &path.registration(&hash, size);
        }
        let mut load = self.command("nix-store");
        load.arg("--store").arg(&self.root).arg("--load-db");
        let mut load = load.stdin(Stdio::piped()).spawn().context("cannot start nix-store")?;
        load.stdin.take().context("no pipe to nix-store")?.write_all(database.as_bytes())?;
        ensure!(load.wait()?.success(), "nix-store --load-db refused the packages");
        Ok(())
    }

    /// Hash (hexadecimal) and size of a path's NAR.
    fn nar(&self, path: &str) -> Result<(String, u64)> {
        let mut dump = self.command("nix-store");
        dump.arg("--dump").arg(self.root.join(path.trim_start_matches('/'))).stdout(Stdio::piped());
        let mut dump = dump.spawn().context("cannot start nix-store")?;
        let mut nar = dump.stdout.take().context("no pipe from nix-store")?;
        let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            let read = nar.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            size += read as u64;
        }
        ensure!(dump.wait()?.success(), "nix-store --dump {path} failed");
        Ok((hex(&hash.finalize()), size))
    }

    /// Makes a signing key: `key.sec` and `key.pub` in that folder.
    pub fn key(&self, name: &str, into: &Path) -> Result<()> {
        let mut make = self.command("nix-store");
        make.args(["--generate-binary-cache-key", name]).args([into.join("key.sec"), into.join("key.pub")]);
        job::output(&mut make).map(drop)
    }

    /// The command that copies the whole store into a signed binary cache. `compression` may be followed by more settings of
    /// nix's, each after a `&`.
    pub fn copy(&self, cache: &Path, compression: &str, key: &Path) -> Command {
        let url =
            format!("file://{}?compression={compression}&secret-key={}", cache.display(), key.display());
        let mut copy = self.command("nix");
        copy.args(["copy", "--no-check-sigs", "--all", "--from"]).arg(&self.root).args(["--to", &url]);
        copy
    }
}
