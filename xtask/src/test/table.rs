//! The table at the end.

use std::fmt::Write as _;
use std::time::Duration;

use crate::tell::span;
use crate::test::counts::Counts;

/// What became of a step.
pub struct Row {
    /// The step.
    pub name: &'static str,
    /// How long it ran.
    pub took: Duration,
    /// Its tests.
    pub counts: Counts,
}

/// One line per step, and how long all of it took.
pub fn render(rows: &[Row], total: Duration) -> String {
    let mut text = format!("{:<24} {:>13} {:>7} {:>7}\n", "step", "time", "passed", "failed");
    for Row { name, took, counts: Counts { passed, failed, ignored } } in rows {
        // Writing to a String cannot fail.
        let _ = write!(text, "{name:<24} {:>13} {passed:>7} {failed:>7}", span(*took));
        let _ = if *ignored > 0 { writeln!(text, "  ({ignored} ignored)") } else { writeln!(text) };
    }
    let _ = writeln!(text, "{:<24} {:>13}", "all", span(total));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_line() {
        let rows = [
            Row { name: "clippy", took: Duration::from_secs(61), counts: Counts::one(true) },
            Row {
                name: "tests",
                took: Duration::from_secs(5),
                counts: Counts { passed: 7, failed: 1, ignored: 2 },
            },
        ];
        let expected = "\
step                              time  passed  failed
clippy                            61 s       1       0
tests                            5.0 s       7       1  (2 ignored)
all                         2 min 00 s
";
        assert_eq!(render(&rows, Duration::from_mins(2)), expected);
    }
}
