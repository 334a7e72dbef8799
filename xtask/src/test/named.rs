//! The tests that the book names are there: a table that says what shows a promise must not outlive the test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::test::Context;
use crate::test::counts::Counts;

/// A name in backquotes that has at least so many words, joined by underscores, is the name of a test.
const WORDS: usize = 4;

/// Fails with the names that no test has.
pub fn check(context: &Context) -> Result<Counts> {
    let root = &context.session.root;
    let mut named = BTreeSet::new();
    for page in files(&root.join("docs/src"), "md")? {
        named.extend(names(&fs::read_to_string(page)?));
    }
    let mut sources = String::new();
    for folder in ["crates", "crds", "operator", "e2e", "xtask"] {
        for file in files(&root.join(folder), "rs")? {
            sources.push_str(&fs::read_to_string(file)?);
        }
    }
    let missing = missing(&named, &sources);
    if !missing.is_empty() {
        bail!("the book names tests that are not there: {}", missing.join(", "));
    }
    context.session.tell.say(&format!("{} tests are named in the book, and all are there", named.len()));
    Ok(Counts::one(true))
}

/// The names of tests in a page.
fn names(page: &str) -> BTreeSet<String> {
    let quoted = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.filter(|text| is_test_name(text)).map(str::to_owned).collect()
}

fn is_test_name(text: &str) -> bool {
    let words = text.split('_').filter(|word| !word.is_empty()).count();
    // Metrics have prefixes of their own, and are told of elsewhere.
    words >= WORDS
        && !text.starts_with("granary_")
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn missing(named: &BTreeSet<String>, sources: &str) -> Vec<String> {
    let words: BTreeSet<&str> = sources.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    named.iter().filter(|name| !words.contains(name.as_str())).cloned().collect()
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
        let page = "| `a_test_with_words`, `granary_mirror_refused_total` | `two_words` | not_in_any_quotes `nix copy` |\n";
        assert_eq!(names(page), BTreeSet::from(["a_test_with_words".to_owned()]));
    }

    #[test]
    fn a_name_that_nothing_has_is_told() {
        let named = BTreeSet::from(["a_test_that_is_there".to_owned(), "a_test_that_is".to_owned()]);
        assert_eq!(missing(&named, "async fn a_test_that_is_there() {}"), ["a_test_that_is"]);
    }
}
