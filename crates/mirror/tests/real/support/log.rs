//! The log of a mirror, as JSON.

use serde_json::Value;

/// Makes a mirror write such a log.
pub const AS_JSON: (&str, &str) = ("GRANARY_LOG_FORMAT", "json");

/// Its lines. What nginx writes in between is none.
pub fn lines(log: &str) -> Vec<Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The lines that say what became of an artifact.
pub fn lines_of<'l>(lines: &'l [Value], path: &str) -> Vec<&'l Value> {
    let of = |line: &&Value| {
        line["path"] == *path && (line["message"] == "published" || line["message"] == "refused")
    };
    lines.iter().filter(of).collect()
}

/// The only line that says what became of an artifact.
pub fn line_of<'l>(lines: &'l [Value], path: &str) -> &'l Value {
    let told = lines_of(lines, path);
    assert_eq!(told.len(), 1, "{path}: {told:?}");
    assert!(told[0]["seconds"].as_f64().is_some_and(|seconds| (0.0..600.0).contains(&seconds)), "{told:?}");
    assert!(told[0]["source"].is_string(), "{told:?}");
    told[0]
}
