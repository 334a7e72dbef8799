//! A file of code, and the tests in it.

use std::collections::HashSet;
use std::path::Path;

/// What stands before a function that is a test.
const ATTRIBUTES: [&str; 2] = ["#[test]", "#[tokio::test"];
/// Macros that are given the names of functions and make tests of them, and how what they are given ends.
const LISTS: [(&str, &str); 2] = [("cases![", "];"), ("with_every_version! {", "\n}")];

/// One file of code.
pub struct Source {
    /// The folders above it and its own name, without those that are no module's.
    modules: Vec<String>,
    /// The names of its tests.
    tests: HashSet<String>,
}

impl Source {
    pub fn new(path: &Path, code: &str) -> Self {
        let parts = path.with_extension("");
        let parts = parts.iter().map(|part| part.to_string_lossy().into_owned());
        let modules = parts.filter(|part| !["mod", "main", "lib"].contains(&part.as_str())).collect();
        Self { modules, tests: marked(code).chain(listed(code)).map(str::to_owned).collect() }
    }

    /// Whether it has tests and is in this module, or is that.
    pub fn is_within(&self, name: &str) -> bool {
        let within: Vec<&str> = name.split("::").collect();
        !self.tests.is_empty() && self.modules.windows(within.len()).any(|some| some == within)
    }

    /// Whether it has this test, in these modules if any are named; unit tests are in one more, `tests`.
    pub fn has(&self, name: &str) -> bool {
        let mut within: Vec<&str> = name.split("::").collect();
        let test = within.pop().unwrap_or_default();
        let unit = within.strip_suffix(&["tests"]).unwrap_or(&within);
        self.tests.contains(test) && [&within, unit].iter().any(|within| self.ends_with(within))
    }

    fn ends_with(&self, within: &[&str]) -> bool {
        let skipped = self.modules.len().checked_sub(within.len());
        skipped.is_some_and(|skipped| self.modules.iter().skip(skipped).eq(within))
    }
}

/// The functions with a test's attribute; other attributes and comments may stand between.
fn marked(code: &str) -> impl Iterator<Item = &str> {
    let lines = code.lines().map(str::trim).scan(false, |marked, line| {
        let is_test = ATTRIBUTES.iter().any(|attribute| line.starts_with(attribute));
        let name = line.split_once("fn ").filter(|_| *marked).and_then(|(_, rest)| words(rest).next());
        let between = line.is_empty() || line.starts_with("#[") || line.starts_with("//");
        *marked = is_test || *marked && between;
        Some(name.filter(|_| !between))
    });
    lines.flatten()
}

/// The functions that a macro makes tests of.
fn listed(code: &str) -> impl Iterator<Item = &str> {
    LISTS.iter().flat_map(move |(start, end)| {
        let lists = code.split(start).skip(1).filter_map(move |rest| rest.split(end).next());
        lists.flat_map(words)
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}
