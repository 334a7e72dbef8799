//! The real Helm, with a home of its own, so that the user's settings neither matter nor change.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use granary_e2e::paths;
use serde_json::Value;
use tempfile::TempDir;

/// Where the tests install the release.
pub const NAMESPACE: &str = "granary-system";

/// Helm and a folder for what it and a test write.
pub struct Helm {
    program: PathBuf,
    home: TempDir,
}

impl Helm {
    /// Helm, or nothing when this is a plain `cargo test` on a machine without it.
    pub fn find() -> Option<Self> {
        let program = env::var_os("GRANARY_BIN").map(|bin| PathBuf::from(bin).join("helm"));
        match program.filter(|program| program.is_file()) {
            Some(program) => Some(Self { program, home: tempfile::tempdir().unwrap() }),
            None if env::var_os("GRANARY_REQUIRE_TOOLS").is_some() => {
                panic!("there is no helm in GRANARY_BIN")
            }
            None => {
                println!("skipped: run cargo xtask test");
                None
            }
        }
    }

    /// A folder that is removed with this.
    pub fn scratch(&self) -> String {
        self.home.path().to_str().unwrap().to_owned()
    }

    /// Runs Helm in the folder of the charts. What it printed, or what it complained about.
    pub fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.program)
            .args(args)
            .current_dir(paths::repository().join("charts"))
            .env("HOME", self.home.path())
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("KUBECONFIG")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// The objects of the operator's chart, released as `granary`.
    pub fn operator(&self, args: &[&str]) -> Vec<Value> {
        self.release("granary", args)
    }

    /// The objects of the operator's chart under any release name.
    pub fn release(&self, name: &str, args: &[&str]) -> Vec<Value> {
        let template = ["template", name, "granary", "--namespace", NAMESPACE, "--include-crds"];
        objects(&self.run(&[template.as_slice(), args].concat()).unwrap())
    }
}

/// Every object of a text of YAML documents. A key that is there twice is an error, as it is for the API server.
pub fn objects(text: &str) -> Vec<Value> {
    let parse = |document: &str| -> Value {
        let parsed: serde_yaml::Value =
            serde_yaml::from_str(document).unwrap_or_else(|error| panic!("{error} in {document}"));
        serde_json::to_value(parsed).unwrap()
    };
    // A document can begin with the separator, or with a comment and no object at all.
    format!("\n{text}").split("\n---").map(parse).filter(|object| !object.is_null()).collect()
}

/// The one object of a kind and a name.
pub fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found =
        objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let first = found.next().unwrap_or_else(|| panic!("there is no {kind} {name}"));
    assert!(found.next().is_none(), "there are two of {kind} {name}");
    first
}

/// Kind and name of each object, sorted.
pub fn names(objects: &[Value]) -> Vec<String> {
    let name = |object: &Value| {
        let kind = object["kind"].as_str().unwrap();
        format!("{kind} {}", object["metadata"]["name"].as_str().unwrap())
    };
    let mut names: Vec<_> = objects.iter().map(name).collect();
    names.sort();
    names
}
