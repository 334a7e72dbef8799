//! One test: its name, its code, and what it gets.

use std::path::PathBuf;
use std::pin::Pin;

use anyhow::Result;
use granary_e2e::cluster::Cluster;

use crate::world::World;

/// What a test has: a namespace of its own in the one cluster.
pub struct Space<'a> {
    pub world: &'a World,
    pub cluster: &'a Cluster,
    /// The namespace, made for this test and removed after it.
    pub namespace: String,
    /// Ports from here on, ten of them, belong to this test: on nodes and on the bridge.
    pub port: u16,
}

impl Space<'_> {
    /// kubectl in the test's namespace.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["-n", &self.namespace], args].concat()).await
    }

    /// Applies objects into the test's namespace.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.cluster.apply_in(&self.namespace, yaml).await
    }

    /// One object or a list of the test's namespace.
    pub async fn get(&self, args: &[&str]) -> Result<serde_json::Value> {
        self.cluster.get(&[&["-n", &self.namespace], args].concat()).await
    }

    /// A folder of the test's own.
    pub fn scratch(&self) -> Result<PathBuf> {
        self.cluster.scratch(&self.namespace)
    }
}

type Code = for<'a> fn(&'a Space<'a>) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A test with a name.
pub struct Case {
    pub topic: &'static str,
    pub test: &'static str,
    /// Whether no other test may run meanwhile, since this one hurts what all of them use.
    pub alone: bool,
    pub code: Code,
}

impl Case {
    /// `topic::test`.
    pub fn name(&self) -> String {
        let topic = self.topic.rsplit("::").next().unwrap_or(self.topic);
        format!("{topic}::{}", self.test)
    }

    /// The namespace for the test: its name in the alphabet of namespaces.
    pub fn namespace(&self) -> String {
        let name = format!("t-{}", self.test.replace('_', "-"));
        name.chars().take(50).collect::<String>().trim_end_matches('-').to_owned()
    }
}

/// Lists async functions of a module as cases; `#[alone]` before those that hurt a node or the operator.
macro_rules! cases {
    ($($(#[$alone:ident])? $test:ident),* $(,)?) => {
        pub fn cases() -> Vec<$crate::case::Case> {
            vec![$($crate::case::Case {
                topic: module_path!(),
                test: stringify!($test),
                alone: $crate::case::cases!(@ $($alone)?),
                code: |space| Box::pin($test(space)),
            }),*]
        }
    };
    (@) => { false };
    (@ alone) => { true };
}
pub(crate) use cases;
