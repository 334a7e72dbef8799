//! What the demo looks at: statuses, narinfos, trees.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use reqwest::StatusCode;
use serde_json::Value;

use crate::stage::{Site, Stage};

/// A narinfo as one of the mirrors serves it to nix.
pub struct Served {
    /// Its text.
    pub text: String,
    /// Where the NAR is, below the mirror's URL.
    pub nar: String,
    /// The other mirrors that hold it.
    pub mirrors: Vec<String>,
}

/// Asks a site for a narinfo as nix would. `hash` is the store path's hash part.
pub async fn narinfo(http: &reqwest::Client, site: &Site, hash: &str) -> Result<Served> {
    let url = format!("{}/{hash}.narinfo", site.reach);
    let answer = http.get(&url).header("User-Agent", "curl/7.88.1 Nix/2.8.0").send().await;
    let answer = answer.with_context(|| format!("no answer from {url}"))?;
    if answer.status() != StatusCode::OK {
        bail!("{url} answered {}", answer.status());
    }
    parse(answer.text().await?)
}

fn parse(text: String) -> Result<Served> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let nar = field("URL: ").context("the narinfo has no URL")?.to_owned();
    let listed = field("Mirrors: ").unwrap_or_default();
    let mirrors = listed.split(' ').filter(|url| !url.is_empty()).map(str::to_owned).collect();
    Ok(Served { text, nar, mirrors })
}

/// Checks that what a Mirrors entry promises is there: narinfo and NAR.
pub async fn promised(
    http: &reqwest::Client,
    stage: &Stage,
    entry: &str,
    hash: &str,
    nar: &str,
) -> Result<()> {
    let site = stage.sites.iter().find(|site| site.url == entry);
    let site = site.with_context(|| format!("{entry} is none of the mirrors"))?;
    for path in [format!("{hash}.narinfo"), nar.to_owned()] {
        let url = format!("{}/{path}", site.reach);
        let status = http.get(&url).send().await.with_context(|| format!("no answer from {url}"))?.status();
        if status != StatusCode::OK {
            bail!("{url}, promised by a Mirrors line, answered {status}");
        }
    }
    Ok(())
}

/// How many of the trees hold each artifact, by its hash part.
pub fn copies(trees: &[&Path]) -> Result<BTreeMap<String, usize>> {
    let mut copies = BTreeMap::new();
    for tree in trees {
        let entries = std::fs::read_dir(tree).with_context(|| format!("cannot list {}", tree.display()))?;
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(hash) = name.strip_suffix(".narinfo") {
                *copies.entry(hash.to_owned()).or_default() += 1;
            }
        }
    }
    Ok(copies)
}

/// A condition's status and message.
pub fn condition<'a>(object: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.and_then(|list| list.iter().find(|condition| condition["type"] == kind));
    let text = |name: &str| found.and_then(|condition| condition[name].as_str()).unwrap_or_default();
    (text("status"), text("message"))
}

/// The last table: one line for each mirror.
pub fn table(rows: &[[String; 6]]) -> String {
    let head = ["MIRROR", "ZONE", "REGION", "ARTIFACTS", "BYTES", "VERIFIED"].map(str::to_owned);
    let all: Vec<&[String; 6]> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4, 5].map(width);
    let line = |row: &[String; 6]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    all.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirrors_line_is_read() {
        let served = parse("StorePath: /x\nURL: nar/a.nar\nMirrors: http://a http://b\n".to_owned()).unwrap();
        assert_eq!(served.nar, "nar/a.nar");
        assert_eq!(served.mirrors, ["http://a", "http://b"]);
        assert!(parse("URL: nar/a.nar\n".to_owned()).unwrap().mirrors.is_empty());
        assert!(parse("StorePath: /x\n".to_owned()).is_err());
    }

    #[test]
    fn copies_are_counted_over_trees() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (dir, name) in
            [(&one, "a.narinfo"), (&two, "a.narinfo"), (&two, "b.narinfo"), (&two, "nix-cache-info")]
        {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let copies = copies(&[one.path(), two.path()]).unwrap();
        assert_eq!(copies, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]));
    }

    #[test]
    fn columns_stand_under_each_other() {
        let row = ["east-0", "z1", "r1", "40", "12", "yes"].map(str::to_owned);
        let expected =
            "MIRROR  ZONE  REGION  ARTIFACTS  BYTES  VERIFIED\neast-0  z1    r1      40         12     yes";
        assert_eq!(table(&[row]), expected);
    }

    #[test]
    fn a_missing_condition_is_empty() {
        let object =
            serde_json::json!({"status": {"conditions": [{"type": "A", "status": "True", "message": "m"}]}});
        assert_eq!(condition(&object, "A"), ("True", "m"));
        assert_eq!(condition(&object, "B"), ("", ""));
    }
}
