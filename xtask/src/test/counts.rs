//! How many tests passed and failed, from what the test programs print.

use std::iter::Sum;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that hold.
    pub passed: u64,
    /// Those that do not.
    pub failed: u64,
    /// Those that were not asked.
    pub ignored: u64,
}

impl Counts {
    /// A single check.
    pub fn one(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into(), ignored: 0 }
    }

    /// The sum over the result lines of a log. Both Rust's own test programs and those with a `main` of their own end
    /// with `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub fn parse(log: &str) -> Self {
        log.lines().filter_map(|line| line.trim().strip_prefix("test result: ")).map(Self::of_line).sum()
    }

    fn of_line(line: &str) -> Self {
        let number = |what: &str| {
            let words: Vec<&str> = line.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
            let found = words.windows(2).find(|pair| pair[1] == what);
            found.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
        };
        Self { passed: number("passed"), failed: number("failed"), ignored: number("ignored") }
    }

    /// The same with at least one failure: a test program that dies prints no result.
    pub fn failed_at_least_once(self) -> Self {
        Self { failed: self.failed.max(1), ..self }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, one| Self {
            passed: sum.passed + one.passed,
            failed: sum.failed + one.failed,
            ignored: sum.ignored + one.ignored,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_summed() {
        let log = "running 3 tests\ntest a ... ok\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            noise 9 passed; 9 failed\n\
            test result: FAILED. 12 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";
        assert_eq!(Counts::parse(log), Counts { passed: 15, failed: 2, ignored: 1 });
        assert_eq!(Counts::parse("killed"), Counts::default());
    }

    #[test]
    fn a_failure_without_a_result_counts() {
        assert_eq!(Counts::default().failed_at_least_once().failed, 1);
        assert_eq!(Counts { failed: 4, ..Counts::one(true) }.failed_at_least_once().failed, 4);
    }
}
