//! Which packages: the closure of a few over what they depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// A package as apt describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Debian's version.
    pub version: String,
    /// What it needs; of alternatives, the first. Names that are no package are possible.
    pub depends: Vec<String>,
}

/// Packages by name.
#[derive(Default)]
pub struct Packages(BTreeMap<String, Package>);

impl Packages {
    /// The closure of these packages over what they depend on, cut off at `most` packages, the nearest first.
    pub fn closure(roots: &[&str], most: usize) -> Result<Self> {
        let mut found = Self::default();
        let mut asked: BTreeSet<String> = BTreeSet::new();
        let mut ask: Vec<String> = roots.iter().map(|root| (*root).to_owned()).collect();
        while !ask.is_empty() && found.0.len() < most {
            let described = parse(&show(&ask)?);
            asked.extend(ask);
            let wanted = described.values().flat_map(|package| package.depends.iter().cloned());
            ask = wanted.filter(|name| !asked.contains(name)).collect();
            ask.sort();
            ask.dedup();
            let room = most - found.0.len();
            found.0.extend(described.into_iter().take(room));
        }
        Ok(found)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Package> {
        self.0.get(name)
    }

    /// Every package after those it depends on, and its dependencies among them. An edge that would close a cycle is
    /// left out: store paths cannot refer to each other in a circle.
    pub fn in_order(&self) -> Vec<(&str, Vec<&str>)> {
        let mut order = Order { packages: self, begun: BTreeSet::new(), done: Vec::new() };
        for name in self.names() {
            order.visit(name);
        }
        order.done
    }
}

struct Order<'a> {
    packages: &'a Packages,
    begun: BTreeSet<&'a str>,
    done: Vec<(&'a str, Vec<&'a str>)>,
}

impl<'a> Order<'a> {
    fn visit(&mut self, name: &'a str) {
        let Some(package) = self.packages.get(name) else { return };
        if !self.begun.insert(name) {
            return;
        }
        let mut references: Vec<&'a str> = Vec::new();
        for dependency in &package.depends {
            self.visit(dependency);
            let finished = self.done.iter().any(|(done, _)| done == dependency);
            if finished && !references.contains(&dependency.as_str()) {
                references.push(dependency);
            }
        }
        self.done.push((name, references));
    }
}

fn show(names: &[String]) -> Result<String> {
    let mut show = Command::new("apt-cache");
    show.args(["show", "--no-all-versions"]).args(names).env("LC_ALL", "C.UTF-8");
    // It fails when one of the names is only a virtual package, and still prints the others.
    let output = show.stdin(Stdio::null()).output().context("cannot start apt-cache")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads the paragraphs that `apt-cache show` prints.
fn parse(text: &str) -> BTreeMap<String, Package> {
    let mut packages = BTreeMap::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
        };
        let depends = [field("Pre-Depends"), field("Depends")]
            .iter()
            .flat_map(|list| list.split(','))
            .filter_map(|entry| entry.trim().split([' ', ':', '(', '|']).next())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        if !field("Package").is_empty() {
            let package = Package { version: field("Version").to_owned(), depends };
            packages.insert(field("Package").to_owned(), package);
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(list: &[(&str, &[&str])]) -> Packages {
        let package = |depends: &[&str]| Package {
            version: "1".to_owned(),
            depends: depends.iter().map(|name| (*name).to_owned()).collect(),
        };
        Packages(list.iter().map(|(name, depends)| ((*name).to_owned(), package(depends))).collect())
    }

    #[test]
    fn paragraphs_are_read() {
        let text = "Package: a\nVersion: 1:2-3\nPre-Depends: z (>= 1)\nDepends: b | c, d:any (<< 2), e\nTag: x::y\n\n\
                    Package: b\nVersion: 4\n";
        let read = parse(text);
        assert_eq!(read["a"].version, "1:2-3");
        assert_eq!(read["a"].depends, ["z", "b", "d", "e"]);
        assert!(read["b"].depends.is_empty());
    }

    #[test]
    fn what_is_needed_comes_first() {
        let packages = packages(&[("a", &["b", "c", "b"]), ("b", &["c"]), ("c", &["virtual"])]);
        assert_eq!(packages.in_order(), [("c", vec![]), ("b", vec!["c"]), ("a", vec!["b", "c"])]);
    }

    #[test]
    fn circles_are_cut() {
        let packages = packages(&[("a", &["b"]), ("b", &["a", "b"])]);
        assert_eq!(packages.in_order(), [("b", vec![]), ("a", vec!["b"])]);
    }
}
