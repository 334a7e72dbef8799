//! The tests that the book names are there, and so are the modules of tests: a table that says what shows a promise must not
//! outlive the test.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::test::Context;
use crate::test::counts::Counts;

/// A name in backquotes that has at least so many words, joined by underscores, is the name of a test.
const WORDS: usize = 4;
/// The same where modules stand before it.
const WORDS_IN_MODULE: usize = 3;

/// Fails with the names that no test and no module with tests has.
pub fn check(context: &Context) -> Result<Counts> {
    let root = &context.session.root;
    let mut named = BTreeSet::new();
    for page in files(&root.join("docs/src"), "md")? {
        named.extend(names(&fs::read_to_string(page)?));
    }
    let mut sources = Vec::new();
    for folder in ["crates", "crds", "operator", "e2e", "xtask"] {
        for file in files(&root.join(folder), "rs")? {
            sources.push(Source::new(file.strip_prefix(root)?, &fs::read_to_string(&file)?));
        }
    }
    let missing = missing(&named, &sources);
    if !missing.is_empty() {
        bail!("the book names tests that are not there: {}", missing.join(", "));
    }
    context
        .session
        .tell
        .say(&format!("{} tests and modules of tests are named in the book, and all are there", named.len()));
    Ok(Counts::one(true))
}

/// The names of tests and of modules in a page.
fn names(page: &str) -> BTreeSet<String> {
    let quoted = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.filter(|text| is_test_name(text) || is_module_name(text)).map(str::to_owned).collect()
}

fn is_test_name(text: &str) -> bool {
    let (within, name) = text.rsplit_once("::").map_or((false, text), |(_, name)| (true, name));
    let words = name.split('_').filter(|word| !word.is_empty()).count();
    // Metrics have prefixes of their own, and are told of elsewhere.
    words >= if within { WORDS_IN_MODULE } else { WORDS }
        && !text.starts_with("granary_")
        && text.split("::").all(is_word)
}

/// A module is named within another one, since a word alone may be anything.
fn is_module_name(text: &str) -> bool {
    text.contains("::") && text.split("::").all(is_word) && !is_test_name(text)
}

fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && text.bytes().all(allowed)
}

/// One file of code.
struct Source {
    /// The folders above it and its own name, without those that are no module's.
    modules: Vec<String>,
    functions: HashSet<String>,
    /// Whether any of them is a test.
    tests: bool,
}

impl Source {
    fn new(path: &Path, code: &str) -> Self {
        let parts = path.with_extension("");
        let parts = parts.iter().map(|part| part.to_string_lossy().into_owned());
        let modules = parts.filter(|part| !["mod", "main", "lib"].contains(&part.as_str())).collect();
        let word = |text: &str| {
            text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().map(str::to_owned)
        };
        let functions = code.split("fn ").skip(1).filter_map(word).collect();
        // Those of a cluster are in a list of their own.
        let tests = ["#[test]", "#[tokio::test", "cases!["].iter().any(|mark| code.contains(mark));
        Self { modules, functions, tests }
    }

    /// Whether it has tests and is in this module, or is that.
    fn is_within(&self, name: &str) -> bool {
        let within: Vec<&str> = name.split("::").collect();
        self.tests && self.modules.windows(within.len()).any(|some| some == within)
    }

    /// Whether it has this function, in these modules if any are named; unit tests are in one more, `tests`.
    fn has(&self, name: &str) -> bool {
        let mut within: Vec<&str> = name.split("::").collect();
        let function = within.pop().unwrap_or_default();
        let unit = within.strip_suffix(&["tests"]).unwrap_or(&within);
        self.functions.contains(function) && [&within, unit].iter().any(|within| self.ends_with(within))
    }

    fn ends_with(&self, within: &[&str]) -> bool {
        let skipped = self.modules.len().checked_sub(within.len());
        skipped.is_some_and(|skipped| self.modules.iter().skip(skipped).eq(within))
    }
}

fn missing(named: &BTreeSet<String>, sources: &[Source]) -> Vec<String> {
    let is_there = |name: &str| {
        let module = is_module_name(name);
        sources.iter().any(|source| if module { source.is_within(name) } else { source.has(name) })
    };
    named.iter().filter(|name| !is_there(name)).cloned().collect()
}

fn files(folder: &Path, extension: &str) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|its| its == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sentences_in_backquotes_are_names_of_tests() {
        let page = "| `a_test_with_words`, `granary_mirror_refused_total` | `two_words` | not_in_any_quotes `nix copy` |\n\
                    `faults::an_endless_body` and `tree::crashes`, `Tree::put_an_extra`, `three_words_only`\n\
                    `real::` and `e2e: nodes`, `e2e::nodes`, `crashes`, `a::b c`\n";
        let expected = ["a_test_with_words", "faults::an_endless_body", "tree::crashes", "e2e::nodes"];
        let expected = expected.map(str::to_owned);
        assert_eq!(names(page), BTreeSet::from(expected));
    }

    #[test]
    fn a_name_that_nothing_has_is_told() {
        let named = BTreeSet::from(["a_test_that_is_there".to_owned(), "a_test_that_is".to_owned()]);
        let source = Source::new(
            Path::new("crates/x/src/lib.rs"),
            "// a_test_that_is\nasync fn a_test_that_is_there() {}",
        );
        assert_eq!(missing(&named, &[source]), ["a_test_that_is"]);
    }

    #[test]
    fn modules_that_are_named_are_those_of_the_test() {
        let missing = |name: &str| {
            let code = "async fn it_is_found() {}";
            let paths = [
                "crates/m/tests/sync/faults/mod.rs",
                "crates/m/tests/sync/through/nars.rs",
                "crates/m/src/tree.rs",
            ];
            let sources = paths.map(|path| Source::new(Path::new(path), code));
            missing(&BTreeSet::from([name.to_owned()]), &sources)
        };
        for there in ["faults", "sync::faults", "through::nars", "nars", "tree::tests", "tree"] {
            assert_eq!(missing(&format!("{there}::it_is_found")), [""; 0], "{there}");
        }
        for absent in
            ["hostile::it_is_found", "real::faults::it_is_found", "through::it_is_found", "faults::it_is_not"]
        {
            assert_eq!(missing(absent), [absent]);
        }
    }

    #[test]
    fn a_module_that_is_named_exists_and_has_tests() {
        let sources = [
            ("crates/m/src/tree/crashes.rs", "#[test]\nfn a() {}"),
            ("crates/m/src/tree/open.rs", "fn a() {}"),
            (
                "crates/m/tests/real/push/by_nix.rs",
                "#[tokio::test(flavor = \"multi_thread\")]\nasync fn a() {}",
            ),
            ("e2e/tests/e2e/nodes.rs", "cases![a_node];"),
        ];
        let sources = sources.map(|(path, code)| Source::new(Path::new(path), code));
        let missing = |name: &str| missing(&BTreeSet::from([name.to_owned()]), &sources);
        for there in ["tree::crashes", "real::push", "push::by_nix", "e2e::nodes"] {
            assert_eq!(missing(there), [""; 0], "{there}");
        }
        for absent in ["tree::open", "tree::crash", "crashes::tree", "real::by_nix", "e2e::bad_input"] {
            assert_eq!(missing(absent), [absent]);
        }
    }
}
