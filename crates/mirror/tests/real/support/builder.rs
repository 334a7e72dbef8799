//! What a real Nix builds, with everything that it writes beside artifacts: logs, realisations, listings, the debug index.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Version, text};

/// The build id that `app` has debug information of.
pub const BUILD_ID: &str = "3da4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c";

/// Derivations whose builder is the machine's own shell.
const EXPRESSIONS: &str = r#"
{
  app = derivation {
    name = "app-debug";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" ''
      echo built with debug information
      /bin/mkdir -p $out/lib/debug/.build-id/3d
      echo elf > $out/lib/debug/.build-id/3d/a4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c.debug
    '' ];
  };
  addressed = derivation {
    name = "addressed";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "echo built by its content; echo hello > $out" ];
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
  };
}
"#;

/// Nix with content-addressed derivations, that can build in stores of its own. Only root can have it do that.
pub struct Builder {
    base: PathBuf,
    version: Version,
}

impl Builder {
    pub fn new(base: &Path) -> Self {
        Self::of(base, Version::machine())
    }

    pub fn of(base: &Path, version: Version) -> Self {
        let base = base.join("builder");
        std::fs::create_dir_all(base.join("conf")).unwrap();
        let conf = "sandbox = false\nexperimental-features = nix-command ca-derivations\nbuild-users-group =\n\
                    substituters =\nsandbox-paths = /bin/sh /bin/mkdir /lib /lib64\n";
        std::fs::write(base.join("conf/nix.conf"), conf).unwrap();
        std::fs::write(base.join("expressions.nix"), EXPRESSIONS).unwrap();
        Self { base, version }
    }

    pub fn file(&self) -> PathBuf {
        self.base.join("expressions.nix")
    }

    pub fn nix(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.version.program("nix"));
        command.args(arguments).env("HOME", &self.base).env("NIX_CONF_DIR", self.base.join("conf"));
        command.env_remove("NIX_REMOTE").output().unwrap()
    }

    pub fn good(&self, arguments: &[&str]) -> String {
        let output = self.nix(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Builds an expression, or substitutes it when nothing may be built; the output's path.
    pub fn build(&self, store: &Path, name: &str, more: &[&str]) -> String {
        let file = self.file();
        let arguments = ["build", "--store", text(store), "--no-link", "--json", "-f", text(&file), name];
        let json: serde_json::Value =
            serde_json::from_str(&self.good(&[&arguments[..], more].concat())).unwrap();
        json[0]["outputs"]["out"].as_str().unwrap().to_owned()
    }

    /// Substitutes the content-addressed one from a cache, into a new store, where nothing may be built.
    pub fn substitute_addressed(&self, store: &Path, cache: &str, key: &str) -> String {
        let options = ["--max-jobs", "0", "--option", "substituters", cache];
        let keys = ["--option", "trusted-public-keys", key];
        self.build(store, "addressed", &[&options[..], &keys].concat())
    }
}

/// A store with `app` and `addressed`, and a key.
pub struct Built {
    pub builder: Builder,
    pub store: PathBuf,
    pub secret: PathBuf,
    pub key: String,
    pub app: String,
    pub addressed: String,
}

impl Built {
    /// `None`, with a word about it, where nothing can be built.
    pub fn make(base: &Path) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: only root can have Nix build in a store of its own");
            return None;
        }
        let (builder, store) = (Builder::new(base), base.join("built"));
        let (secret, public) = (base.join("built.sec"), base.join("built.pub"));
        let keygen = ["--generate-binary-cache-key", "test-1", text(&secret), text(&public)];
        assert!(Command::new("nix-store").args(keygen).status().unwrap().success());
        let key = std::fs::read_to_string(public).unwrap().trim().to_owned();
        let [app, addressed] = ["app", "addressed"].map(|name| builder.build(&store, name, &[]));
        Some(Self { builder, store, secret, key, app, addressed })
    }

    /// What `--to` says to have everything signed, listed and indexed.
    pub fn options(&self) -> String {
        format!("secret-key={}&write-nar-listing=true&index-debug-info=true", self.secret.display())
    }

    /// The arguments by which Nix copies one of them to a cache; `copy` or `store copy-log`.
    pub fn copy(&self, command: &[&str], name: &str, to: &str) -> Vec<String> {
        let file = self.builder.file();
        let rest = ["--from", text(&self.store), "--to", to, "-f", text(&file), name];
        command.iter().chain(&rest).map(|word| (*word).to_owned()).collect()
    }

    /// A cache of both, with everything beside them.
    pub fn cache(&self, cache: &Path) {
        let to = format!("file://{}?{}", cache.display(), self.options());
        for name in ["app", "addressed"] {
            for command in [&["copy"][..], &["store", "copy-log"]] {
                let words = self.copy(command, name, &to);
                self.builder.good(&words.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
    }
}

/// The files in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
