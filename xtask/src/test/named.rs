//! The tests that the book names are there, and so are the modules of tests: a table that says what shows a promise must not
//! outlive the test.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::test::Context;
use crate::test::counts::Counts;
use source::Source;

/// A name in backquotes that has at least so many words, joined by underscores, is the name of a test. One that stands in a
/// module, `module::name`, is a test or a module of tests whatever its length: a word alone may be anything.
const WORDS: usize = 3;

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
    quoted.filter(|text| is_name(text)).map(str::to_owned).collect()
}

fn is_name(text: &str) -> bool {
    let words = text.split('_').filter(|word| !word.is_empty()).count();
    // Metrics have prefixes of their own, and are told of elsewhere.
    let is_long = words >= WORDS && !text.starts_with("granary_");
    (is_long || text.contains("::")) && text.split("::").all(is_word)
}

fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && text.bytes().all(allowed)
}

fn missing(named: &BTreeSet<String>, sources: &[Source]) -> Vec<String> {
    let is_there = |name: &str| {
        sources.iter().any(|source| source.has(name) || name.contains("::") && source.is_within(name))
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
        let page = "| `a_test_with_words`, `granary_mirror_refused_total` | `two_words`, `three_words_only` | not_in_any_quotes `nix copy` |\n\
                    `faults::an_endless_body` and `tree::crashes`, `Tree::put_an_extra`, `base32::known_pairs`\n\
                    `real::` and `e2e: nodes`, `e2e::nodes`, `crashes`, `a::b c`\n";
        let expected = [
            "a_test_with_words",
            "three_words_only",
            "faults::an_endless_body",
            "tree::crashes",
            "base32::known_pairs",
            "e2e::nodes",
        ];
        assert_eq!(names(page), BTreeSet::from(expected.map(str::to_owned)));
    }

    #[test]
    fn a_name_that_nothing_has_is_told() {
        let code = "// a_test_that_is\n\
                    fn a_helper_of_tests() {}\n\
                    #[test]\n\
                    #[ignore = \"slow\"]\n\
                    // Why.\n\
                    fn a_test_that_is_there() { a_helper_of_tests() }\n\
                    fn after_a_test() {}\n\
                    #[tokio::test(flavor = \"multi_thread\")]\n\
                    async fn an_async_test_is_there() {}\n";
        let listed = "cases![\n    #[alone]\n    a_case_is_there,\n    another_one_is_there\n];\n\
                      fn a_case_is_there() {}\n\
                      fn what_is_not_listed() {}\n";
        let versions = "with_every_version! {\n    in_every_version,\n}\nfn for_no_version() {}\n";
        let sources =
            [code, listed, versions].map(|code| Source::new(Path::new("crates/x/src/lib.rs"), code));
        let absent =
            ["a_helper_of_tests", "a_test_that_is", "after_a_test", "for_no_version", "what_is_not_listed"];
        let there = [
            "a_test_that_is_there",
            "an_async_test_is_there",
            "a_case_is_there",
            "another_one_is_there",
            "in_every_version",
        ];
        let named = absent.iter().chain(&there).map(|name| (*name).to_owned()).collect();
        assert_eq!(missing(&named, &sources), absent);
    }

    #[test]
    fn modules_that_are_named_are_those_of_the_test() {
        let missing = |name: &str| {
            let code = "#[tokio::test]\nasync fn it_is_found() {}";
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
