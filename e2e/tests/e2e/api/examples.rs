//! The objects that pages of the book show.

use anyhow::{Context, Result};
use serde_json::Value;

/// The objects of Granary's kinds in the fenced YAML blocks of a Markdown page; a block may be indented, as in a list.
pub fn objects(page: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        if line.trim() != "```yaml" {
            continue;
        }
        let block: Vec<&str> = lines
            .by_ref()
            .take_while(|line| line.trim() != "```")
            .map(|line| line.get(indent..).unwrap_or_default())
            .collect();
        for document in
            block.join("\n").split("\n---\n").filter(|text| text.contains("apiVersion: granary.dev/"))
        {
            objects.push(serde_yaml::from_str(document).with_context(|| document.to_owned())?);
        }
    }
    Ok(objects)
}
