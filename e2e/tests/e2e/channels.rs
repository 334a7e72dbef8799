//! Policies that follow a channel, and what becomes of a revision that is wanted no longer.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use granary_e2e::wait::wait_for;
use serde_json::json;

use crate::case::{Space, cases};
use crate::farm::{Farm, SYNC, TOLD, hash_part, policy, root};

cases![a_channel_is_followed_and_what_it_drops_leaves];

const FIRST: &str = "less";
const SECOND: &str = "jq";

async fn a_channel_is_followed_and_what_it_drops_leaves(space: &Space<'_>) -> Result<()> {
    let mut farm = Farm::prepare(space, "zstd").await?;
    farm.sites.truncate(2);
    farm.plant().await?;
    let (first, second) = (root(FIRST)?, root(SECOND)?);
    let mut object = policy("stable", &[], 2);
    let url = format!("{}/stable", farm.upstream.url());
    object["spec"]["artifacts"] = json!({"channels": [{"url": url}]});
    object["spec"]["retention"] = json!({"graceAfterUnreferenced": "1s", "trash": "1d"});
    space.apply(&object.to_string()).await?;
    // Before there is a list, nothing is known, and that is told.
    wait_for("the policy to say that there is no list", SYNC, async || {
        let message = farm.policy_is("stable", "CatalogResolved", "False", TOLD).await?;
        ensure!(message.contains(&url) && message.contains("404"), "{message}");
        Ok(())
    })
    .await?;

    release(farm.upstream.dir(), &first)?;
    farm.satisfied("stable").await?;
    for site in &farm.sites {
        farm.substitute(site, std::slice::from_ref(&first)).await?;
    }

    release(farm.upstream.dir(), &second)?;
    for site in &farm.sites {
        // A mirror looks at its channels when it starts.
        space.kubectl(&["delete", "pod", &site.pod()]).await?;
    }
    for site in &farm.sites {
        wait_for("the new revision to be complete", SYNC, async || {
            let report = farm.report(site).await?;
            let channel = &report["channels"][0];
            ensure!(channel["url"] == url && channel["artifacts"] == 1, "{channel}");
            ensure!(channel["published"] == 1 && channel["revisions"] == 1, "{channel}");
            Ok(())
        })
        .await?;
        let gone = format!("{}/{}.narinfo", site.url, hash_part(&first)?);
        wait_for("the old revision to go", SYNC, async || {
            let status = space.cluster.fetch(&gone, &[]).await?.status;
            ensure!(status == 404, "{gone} answered {status}");
            Ok(())
        })
        .await?;
        let report = farm.report(site).await?;
        let trashed = report["upkeep"]["retention"]["trashed"].as_u64();
        ensure!(trashed.is_some_and(|trashed| trashed > 0), "{report}");
        farm.substitute(site, std::slice::from_ref(&second)).await?;
    }
    farm.policy_is("stable", "Satisfied", "True", TOLD).await?;
    farm.verify().await
}

/// The channel's newest revision lists this path.
fn release(upstream: &Path, path: &str) -> Result<()> {
    let folder = upstream.join("stable");
    std::fs::create_dir_all(&folder).context("cannot create the channel's folder")?;
    let list = folder.join("store-paths");
    std::fs::write(&list, format!("{path}\n")).context("cannot write a list")?;
    let status = Command::new("xz").args(["--force", "--quiet"]).arg(&list).status().context("xz")?;
    ensure!(status.success(), "xz ended with {status}");
    Ok(())
}
