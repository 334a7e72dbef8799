//! One benchmark's rows: printed as a table and kept as JSON beside the build.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// One measured figure. Ratios are turned so that more is better, and both sides were measured in this run.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was compared, in the words of the table in the book.
    pub figure: String,
    /// Ours by theirs.
    pub ratio: f64,
    /// The ratio that the design asks for; `None` where it asks for none.
    pub goal: Option<f64>,
    /// The absolute figures behind the ratio, with units.
    pub detail: String,
}

/// The rows as a table with aligned columns.
pub fn render(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.figure.chars().count()).max().unwrap_or(0).max("figure".len());
    let mut lines = vec![format!("{:<width$}  {:>7}  {:>6}  detail\n", "figure", "ratio", "goal")];
    lines.extend(rows.iter().map(|Row { figure, ratio, goal, detail }| {
        let missed = if goal.is_some_and(|goal| *ratio < goal) { "; BELOW ITS GOAL" } else { "" };
        let goal = goal.map_or_else(|| "-".to_owned(), |goal| format!("{goal:.2}"));
        format!("{figure:<width$}  {ratio:>7.2}  {goal:>6}  {detail}{missed}\n")
    }));
    lines.concat()
}

/// The rows as `[{"figure":…, "ratio":…, "goal":…, "detail":…}]`.
pub fn to_json(rows: &[Row]) -> Value {
    rows.iter()
        .map(|Row { figure, ratio, goal, detail }| {
            json!({"figure": figure, "ratio": (ratio * 1000.0).round() / 1000.0, "goal": goal, "detail": detail})
        })
        .collect()
}

/// Prints the table and writes it to `<target>/bench/<name>.json`.
pub fn publish(name: &str, rows: &[Row], target: &Path) -> Result<()> {
    println!("\n{}", render(rows));
    let folder = target.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let file = folder.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(&to_json(rows)).context("cannot write the rows as JSON")?;
    fs::write(&file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    println!("written to {}", file.display());
    Ok(())
}

/// The middle value, which one slow round cannot move. Zero for no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_ignores_one_slow_round() {
        assert!((median(&[1.0, 90.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }

    #[test]
    fn a_row_is_shown_with_its_goal_or_a_dash() {
        let rows = [
            Row {
                figure: "narinfo GET".into(),
                ratio: 1.234,
                goal: Some(1.0),
                detail: "9 µs / 11 µs".into(),
            },
            Row { figure: "NAR".into(), ratio: 0.5, goal: None, detail: String::new() },
        ];
        let text = render(&rows);
        assert!(text.contains("narinfo GET     1.23    1.00  9 µs / 11 µs"), "{text}");
        assert!(text.contains("NAR             0.50       -"), "{text}");
        assert!(!text.contains("BELOW"), "{text}");
        let missed = Row { ratio: 0.994, goal: Some(1.0), ..rows[0].clone() };
        assert!(render(&[missed]).contains("BELOW ITS GOAL"));
        assert_eq!(to_json(&rows)[0]["ratio"], 1.234);
    }
}
