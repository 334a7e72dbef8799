//! The metrics, and what the book says of them.

use std::collections::{BTreeMap, BTreeSet};

use super::three;
use crate::support::{eventually, wants};

#[tokio::test]
async fn every_metric_is_in_the_book_and_every_one_in_the_book_exists() {
    let Some((scene, [good, bad, _])) = three().await else { return };
    let url = &scene.upstream.url;
    let channels = format!("channels: [{{url: '{url}/stable'}}]");
    let mirror = scene.synced(&format!("{}\n{channels}", wants(&[&good, &bad]))).await;
    let scraped = eventually("the agent has asked nginx", async || {
        Some(mirror.metrics().await).filter(|scraped| scraped.contains("\ngranary_mirror_front_up 1\n"))
    })
    .await;

    let kinds: BTreeMap<&str, &str> =
        scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let own: BTreeSet<&str> =
        kinds.keys().filter(|name| name.starts_with("granary_mirror_")).copied().collect();
    let book = include_str!("../../../../../docs/src/watching.md");
    let mut documented: BTreeMap<String, &str> = BTreeMap::new();
    for row in book.lines().filter(|line| line.starts_with("| `granary_mirror_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        // Several names in one cell have one type, or each its own.
        let types: Vec<&str> = cells[2].split(", ").collect();
        for (index, name) in cells[1].split("`, `").enumerate() {
            let name = name.trim_matches('`').split('{').next().unwrap().replace("…_", "granary_mirror_");
            documented.insert(name, types.get(index).unwrap_or(&types[0]));
        }
    }
    let named: BTreeSet<&str> = documented.keys().map(String::as_str).collect();
    assert_eq!(named, own, "the table in watching.md, and what is scraped");

    for (name, kind) in &kinds {
        assert!(
            scraped.lines().any(|line| line.starts_with(&format!("# HELP {name} "))),
            "{name} has no HELP"
        );
        if own.contains(name) {
            assert_eq!(documented[*name], *kind, "{name}");
        }
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
        let base = name.trim_end_matches("_total");
        let unit = ["milliseconds", "millis", "minutes", "hours", "kilobytes", "mib", "kib", "percent"];
        assert!(
            !unit.iter().any(|unit| base.ends_with(unit)),
            "{name}: seconds, bytes and ratios are the units"
        );
        let measured = ["duration", "lag", "uptime", "timestamp"].iter().any(|word| base.contains(word));
        assert!(!measured || base.ends_with("_seconds"), "{name} is a time and has no unit");
        assert!(
            *kind != "histogram" || base.ends_with("_seconds") || base.ends_with("_bytes"),
            "{name} has no unit"
        );
    }
    let series = scraped.lines().filter(|line| line.starts_with("granary_mirror_")).count();
    assert!(series < 250, "{series} series for one upstream and one policy");
    for label in ["path=", "hash=", "message=", "/nix/store"] {
        assert!(!scraped.contains(label), "{label}");
    }

    let value = |name: &str| -> f64 {
        let line =
            scraped.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("{name} is not in\n{scraped}"))
            .rsplit_once(' ')
            .unwrap()
            .1
            .parse()
            .unwrap()
    };
    let bytes = f64::from(u32::try_from(scene.corpus.nar(&good).len()).unwrap());
    assert!(value(&format!("granary_mirror_source_bytes_total{{source=\"{url}\"}}")) >= bytes);
    for asked in ["narinfo", "nar"] {
        let ok = format!(
            "granary_mirror_source_requests_total{{asked=\"{asked}\",result=\"ok\",source=\"{url}\"}}"
        );
        assert!(value(&ok) >= 2.0, "{asked}");
    }
    assert!(value("granary_mirror_verify_duration_seconds_count") >= 2.0);
    assert!(value("granary_mirror_disk_size_bytes") >= value("granary_mirror_disk_free_bytes"));
    assert!(value("granary_mirror_disk_free_bytes") > 0.0);
    assert!(value("granary_mirror_front_requests_total") >= 1.0);
    for name in ["transfers", "verifications", "queue_artifacts", "uptime_seconds"] {
        assert!(value(&format!("granary_mirror_{name}")) >= 0.0, "{name}");
    }
}
