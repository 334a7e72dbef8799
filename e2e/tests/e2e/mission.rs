//! The mission: every artifact on as many mirrors as asked for, verified, announced, and substituted by a stock nix.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, ensure};
use granary_e2e::wait::wait_for;
use reqwest::{Method, StatusCode};

use crate::case::{Space, cases};
use crate::farm::{self, Farm, SYNC, closure, hash_part, root, roots};

cases![
    copies_reach_their_target_over_zones_and_nix_substitutes_from_each_mirror,
    every_entry_of_a_mirrors_line_serves_that_artifact,
    more_copies_and_more_paths_are_asked_for_later,
    a_mirror_is_a_plain_read_only_cache,
];

async fn copies_reach_their_target_over_zones_and_nix_substitutes_from_each_mirror(
    space: &Space<'_>,
) -> Result<()> {
    let farm = Farm::prepare(space, "xz").await?;
    farm.plant().await?;
    let roots = roots()?;
    let mut policy = farm::policy("everything", &roots, 2);
    policy["spec"]["spread"] = serde_json::json!([{"topologyKey": "zone", "min": 2}]);
    space.apply(&policy.to_string()).await?;
    farm.satisfied("everything").await?;

    // What the status says is what the disks hold, looked at without asking any part of Granary.
    let wanted = closure()?;
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for site in &farm.sites {
        let names = fs::read_dir(site.tree(&space.namespace))?.flatten().map(|entry| entry.file_name());
        for name in names.filter_map(|name| Some(name.to_str()?.strip_suffix(".narinfo")?.to_owned())) {
            *copies.entry(name).or_default() += 1;
        }
    }
    for path in &wanted {
        let count = copies.get(hash_part(path)?).copied().unwrap_or_default();
        ensure!(count == 2, "{path} is on {count} mirrors instead of 2");
    }
    let status = &space.get(&["replicationpolicy", "everything"]).await?["status"];
    assert_eq!(status["phase"], "Satisfied", "{status}");
    assert_eq!(status["artifacts"], wanted.len(), "{status}");
    assert_eq!(status["copiesWanted"], wanted.len() * 2, "{status}");
    assert_eq!(status["copiesTotal"], wanted.len() * 2, "{status}");
    assert_eq!(status["belowTarget"], 0, "{status}");

    // No mirror holds all of it, and each gives all of it.
    for site in &farm.sites {
        farm.substitute(site, &roots).await?;
    }
    farm.verify().await
}

async fn every_entry_of_a_mirrors_line_serves_that_artifact(space: &Space<'_>) -> Result<()> {
    let farm = Farm::start(space).await?;
    farm.policy("everything", &roots()?, 2).await?;
    farm.satisfied("everything").await?;
    let urls: BTreeSet<&str> = farm.sites.iter().map(|site| site.url.as_str()).collect();
    let mut promises = 0;
    for path in closure()? {
        for site in &farm.sites {
            let held = site.tree(&space.namespace).join(format!("{}.narinfo", hash_part(&path)?)).exists();
            let narinfo = narinfo_with_line(&farm, site, &path, if held { 1 } else { 2 }).await?;
            let mirrors = narinfo.mirrors();
            for entry in &mirrors {
                promises += 1;
                assert!(urls.contains(entry.as_str()) && *entry != site.url, "{} names {entry}", site.name);
                let other = farm.sites.iter().find(|other| other.url == *entry).context("no such mirror")?;
                let tree = other.tree(&space.namespace);
                assert!(tree.join(format!("{}.narinfo", hash_part(&path)?)).exists(), "{entry} lacks {path}");
                let nar = space.cluster.fetch(&format!("{entry}/{}", narinfo.url()?), &[]).await?;
                assert_eq!(nar.status, StatusCode::OK);
                assert_eq!(
                    Some(&nar.body.len().to_string()),
                    narinfo.lines.get("FileSize"),
                    "{entry} and {path}"
                );
                assert_eq!(
                    nar.body,
                    fs::read(farm.upstream.dir().join(narinfo.url()?))?,
                    "{entry} and {path}"
                );
                let link = format!("<{entry}/{}.narinfo>; rel=duplicate", hash_part(&path)?);
                assert!(narinfo.links.iter().any(|header| header.contains(&link)), "{:?}", narinfo.links);
            }
        }
    }
    assert!(promises > 100, "only {promises} entries were looked at");
    Ok(())
}

/// nginx gets the new list a moment after the operator has heard of each mirror.
async fn narinfo_with_line(
    farm: &Farm<'_>,
    site: &farm::Site,
    path: &str,
    entries: usize,
) -> Result<farm::Narinfo> {
    wait_for(&format!("{entries} entries for {path} at {}", site.name), farm::TOLD, async || {
        let narinfo = farm.narinfo(site, path).await?;
        ensure!(narinfo.mirrors().len() == entries, "there are {:?}", narinfo.mirrors());
        Ok(narinfo)
    })
    .await
}

async fn more_copies_and_more_paths_are_asked_for_later(space: &Space<'_>) -> Result<()> {
    let farm = Farm::start(space).await?;
    farm.policy("tools", &[root("less")?], 1).await?;
    farm.satisfied("tools").await?;
    let first = space.get(&["replicationpolicy", "tools"]).await?["status"]["artifacts"]
        .as_u64()
        .context("no count")?;
    farm.policy("tools", &[root("less")?, root("jq")?], 3).await?;
    farm.satisfied("tools").await?;
    let status = space.get(&["replicationpolicy", "tools"]).await?["status"].clone();
    let artifacts = status["artifacts"].as_u64().context("no count")?;
    assert!(artifacts > first, "{status}");
    assert_eq!(status["copiesTotal"], artifacts * 3, "{status}");
    // Three copies on three mirrors: each holds everything, so none needs another to serve it.
    for site in &farm.sites {
        assert_eq!(farm.report(site).await?["artifacts"], artifacts);
        farm.substitute(site, &[root("less")?, root("jq")?]).await?;
    }
    farm.verify().await
}

async fn a_mirror_is_a_plain_read_only_cache(space: &Space<'_>) -> Result<()> {
    let farm = Farm::start(space).await?;
    let path = root("less")?;
    farm.policy("tools", std::slice::from_ref(&path), 3).await?;
    farm.satisfied("tools").await?;
    let site = &farm.sites[0];
    let fetch = async |file: &str| space.cluster.fetch(&format!("{}/{file}", site.url), &[]).await;
    let info = space.cluster.fetch_text(&format!("{}/nix-cache-info", site.url)).await?;
    assert!(info.lines().any(|line| line == "StoreDir: /nix/store"), "{info}");
    assert_eq!(fetch(&format!("{}.narinfo", "0".repeat(32))).await?.status, StatusCode::NOT_FOUND);
    for hidden in [".granary/id", ".granary/map.json", ".granary/catalog"] {
        assert_eq!(fetch(hidden).await?.status, StatusCode::NOT_FOUND, "{hidden} is served");
    }
    let narinfo = format!("{}/{}.narinfo", site.url, hash_part(&path)?);
    for method in [Method::PUT, Method::POST, Method::DELETE] {
        let response = space.cluster.request(method.clone(), &narinfo, &[]).await?;
        assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    // A client that is not known to accept the line does not get it, and is told by a header.
    let plain = space.cluster.fetch(&narinfo, &[("User-Agent", "something/1.0")]).await?;
    assert!(!plain.text()?.contains("Mirrors:"), "{}", plain.text()?);
    let nix = wait_for("the Mirrors line", SYNC, async || {
        let narinfo = farm.narinfo(site, &path).await?;
        ensure!(narinfo.mirrors().len() == 2, "{:?}", narinfo.mirrors());
        Ok(narinfo)
    })
    .await?;
    assert!(nix.lines.contains_key("Sig"));
    Ok(())
}
