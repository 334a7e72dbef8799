//! Several filters on the command line of a test program, as Rust's own test harness takes them; the one that the cluster
//! tests use takes one.

/// Options of the harness that are followed by a value.
const WITH_VALUE: [&str; 5] = ["--test-threads", "--skip", "--logfile", "--format", "--color"];

/// Takes the filters out of the arguments, the program's name included: what is left for the harness, and the filters.
#[must_use]
pub fn split(arguments: impl IntoIterator<Item = String>) -> (Vec<String>, Vec<String>) {
    let (mut rest, mut filters) = (Vec::new(), Vec::new());
    let mut value = true;
    for argument in arguments {
        let belongs = std::mem::replace(&mut value, WITH_VALUE.contains(&argument.as_str()));
        if belongs || argument.starts_with('-') {
            rest.push(argument);
        } else {
            filters.push(argument);
        }
    }
    (rest, filters)
}

/// Whether a test of this name is to run: it has one of the filters in its name, or is one of them if they are exact. No
/// filter lets every test run.
#[must_use]
pub fn wants(filters: &[String], exact: bool, name: &str) -> bool {
    let fits = |filter: &String| if exact { name == filter } else { name.contains(filter.as_str()) };
    filters.is_empty() || filters.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn filters_are_told_from_options_and_their_values() {
        let (rest, filters) =
            split(words("e2e --skip slow nodes --test-threads=1 --format terse mission --exact"));
        assert_eq!(rest, words("e2e --skip slow --test-threads=1 --format terse --exact"));
        assert_eq!(filters, ["nodes", "mission"]);
        assert_eq!(split(words("e2e")), (words("e2e"), vec![]));
    }

    #[test]
    fn a_test_runs_when_one_filter_fits() {
        let filters = words("nodes mission::one");
        assert!(wants(&filters, false, "nodes::lost") && wants(&filters, false, "mission::one_more"));
        assert!(!wants(&filters, false, "api::all"));
        assert!(wants(&filters, true, "mission::one") && !wants(&filters, true, "mission::one_more"));
        assert!(wants(&[], true, "anything"));
    }
}
