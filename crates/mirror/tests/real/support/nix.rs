//! A signed binary cache made by the real Nix, and stores that substitute from caches.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use granary_nix::{Hash, NarInfo};

use super::{Artifact, Version, succeeded};

/// The real Nix with a home and a configuration of its own.
pub struct Nix {
    base: PathBuf,
    pub version: Version,
}

impl Nix {
    /// The machine's own.
    pub fn new(base: &Path) -> Self {
        Self::of(base, Version::machine())
    }

    pub fn of(base: &Path, version: Version) -> Self {
        let base = base.join("nix");
        std::fs::create_dir_all(base.join("conf")).unwrap();
        let nix = Self { base, version };
        nix.configure("");
        nix
    }

    /// Writes its `nix.conf`, with these lines at the end.
    pub fn configure(&self, more: &str) {
        let conf = "sandbox = false\nexperimental-features = nix-command ca-derivations\nbuild-users-group =\n\
                    substituters =\nnarinfo-cache-negative-ttl = 0\n";
        std::fs::write(self.base.join("conf/nix.conf"), format!("{conf}{more}")).unwrap();
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.version.program(program));
        command.env("HOME", &self.base).env("NIX_CONF_DIR", self.base.join("conf")).env_remove("NIX_REMOTE");
        command
    }

    /// Runs `nix` on a store or cache, and gives what it prints.
    pub fn ask(&self, arguments: &[&str]) -> String {
        String::from_utf8(good(self.command("nix").args(arguments)).stdout).unwrap()
    }

    /// A chroot store of that name.
    pub fn store(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// Gets a store path into the empty store `name` from one cache, and nothing but this key is trusted.
    pub fn substitute(&self, name: &str, cache: &str, key: &str, path: &str) -> Output {
        self.substitution(name, cache, key, path).output().unwrap()
    }

    /// The command that does that.
    pub fn substitution(&self, name: &str, cache: &str, key: &str, path: &str) -> Command {
        let store = self.base.join(name);
        let mut command = self.command("nix-store");
        command.arg("--store").arg(&store).args(["--realise", path]);
        command.args(["--option", "substituters", cache, "--option", "trusted-public-keys", key]);
        command.args(["--option", "require-sigs", "true", "--option", "narinfo-cache-negative-ttl", "0"]);
        command
    }

    /// A file of a store path in such a store.
    pub fn read(&self, name: &str, path: &str) -> Vec<u8> {
        std::fs::read(format!("{}{path}", self.base.join(name).display())).unwrap()
    }

    /// The artifact is in such a store, with its content.
    pub fn has(&self, store: &str, artifact: &Artifact) {
        let content = self.read(store, &format!("{}/content", artifact.path));
        assert!(content == artifact.content, "{} is damaged", artifact.path);
    }
}

/// A cache that Nix made and signed.
pub struct Corpus {
    /// The store that it was made from.
    pub root: PathBuf,
    pub cache: PathBuf,
    pub secret: PathBuf,
    pub key: String,
    pub nix: Nix,
}

impl Corpus {
    /// Makes the artifacts, references before referrers, and a cache of them all.
    pub fn make(base: &Path, artifacts: &[Artifact]) -> Self {
        let corpus = Self::register(Nix::new(base), base, artifacts);
        corpus.copy("zstd", &["--all"]);
        corpus
    }

    /// The same by another nix, each artifact compressed in the way that stands beside it.
    pub fn compressed(base: &Path, version: Version, artifacts: &[(Artifact, &str)]) -> Self {
        let plain: Vec<Artifact> = artifacts.iter().map(|(artifact, _)| artifact.clone()).collect();
        let corpus = Self::register(Nix::of(base, version), base, &plain);
        for (artifact, compression) in artifacts {
            corpus.copy(compression, &[&artifact.path]);
        }
        corpus
    }

    /// Makes the artifacts and a key.
    fn register(nix: Nix, base: &Path, artifacts: &[Artifact]) -> Self {
        let (root, cache) = (base.join("store"), base.join("cache"));
        std::fs::create_dir_all(root.join("nix/store")).unwrap();
        let mut registration = String::new();
        for artifact in artifacts {
            let real = PathBuf::from(format!("{}{}", root.display(), artifact.path));
            std::fs::create_dir_all(&real).unwrap();
            std::fs::write(real.join("content"), &artifact.content).unwrap();
            std::fs::write(real.join("references"), artifact.references.join("\n")).unwrap();
            let nar = good(nix.command("nix-store").arg("--dump").arg(&real)).stdout;
            let hash = Hash::of(&nar).to_hex();
            let (path, size, count) = (&artifact.path, nar.len(), artifact.references.len());
            writeln!(registration, "{path}\n{hash}\n{size}\n\n{count}").unwrap();
            registration.extend(artifact.references.iter().map(|reference| format!("{reference}\n")));
        }
        let mut load = nix.command("nix-store");
        load.arg("--store").arg(&root).arg("--load-db").stdin(Stdio::piped());
        let mut child = load.spawn().unwrap();
        child.stdin.take().unwrap().write_all(registration.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        let (secret, public) = (base.join("key.sec"), base.join("key.pub"));
        good(
            nix.command("nix-store")
                .args(["--generate-binary-cache-key", "test-1"])
                .arg(&secret)
                .arg(&public),
        );
        Self { root, cache, secret, key: std::fs::read_to_string(public).unwrap().trim().into(), nix }
    }

    fn copy(&self, compression: &str, which: &[&str]) {
        let Self { root, cache, secret, nix, .. } = self;
        let to =
            format!("file://{}?compression={compression}&secret-key={}", cache.display(), secret.display());
        let mut copy = nix.command("nix");
        copy.args(["copy", "--no-check-sigs", "--from"]).arg(root).args(["--to", &to]).args(which);
        good(&mut copy);
    }

    /// The list of a channel's newest revision, beside the cache; its URL is the cache's with this name at the end.
    pub fn list(&self, channel: &str, listed: &[&Artifact]) {
        let mut lines = String::new();
        for artifact in listed {
            writeln!(lines, "{}", artifact.path).unwrap();
        }
        let mut compressed = Vec::new();
        liblzma::read::XzEncoder::new(lines.as_bytes(), 1).read_to_end(&mut compressed).unwrap();
        std::fs::create_dir_all(self.cache.join(channel)).unwrap();
        // Whole at once: a mirror may be looking.
        let next = self.cache.join(channel).join("next");
        std::fs::write(&next, compressed).unwrap();
        std::fs::rename(next, self.cache.join(channel).join("store-paths.xz")).unwrap();
    }

    /// The channel answers 404 from now on.
    pub fn unlist(&self, channel: &str) {
        std::fs::remove_file(self.cache.join(channel).join("store-paths.xz")).unwrap();
    }

    /// The narinfo that Nix wrote.
    pub fn narinfo(&self, artifact: &Artifact) -> NarInfo {
        let file = self.cache.join(artifact.narinfo());
        NarInfo::parse(&std::fs::read(file).unwrap()).unwrap()
    }

    /// Its NAR file.
    pub fn nar_file(&self, artifact: &Artifact) -> PathBuf {
        self.cache.join(self.narinfo(artifact).url)
    }

    /// The bytes of its NAR file.
    pub fn nar(&self, artifact: &Artifact) -> Vec<u8> {
        std::fs::read(self.nar_file(artifact)).unwrap()
    }

    /// Nix gets the artifact from this cache into the empty store `store`, with signatures checked, and it is right.
    pub fn substituted(&self, store: &str, url: &str, artifact: &Artifact) {
        succeeded(&self.nix.substitute(store, url, &self.key, &artifact.path));
        self.nix.has(store, artifact);
    }
}

fn good(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    succeeded(&output);
    output
}
