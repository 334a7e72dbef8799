//! Machines fail: the status says so, the others serve, and what comes back is counted again.

use anyhow::{Result, ensure};
use granary_e2e::wait::wait_for;

use crate::case::{Space, cases};
use crate::farm::{Farm, SYNC, Site, TOLD, root};

cases![
    #[alone]
    a_lost_node_is_told_within_a_minute_and_the_others_serve,
    #[alone]
    a_paused_node_is_told_and_the_others_serve,
    #[alone]
    a_crashed_node_comes_back_with_its_data,
    a_lost_disk_is_told_and_filled_again,
];

async fn a_lost_node_is_told_within_a_minute_and_the_others_serve(space: &Space<'_>) -> Result<()> {
    let farm = satisfied_farm(space).await?;
    let lost = &farm.sites[2];
    space.cluster.cut_off(&lost.node).await?;
    told(&farm, lost).await?;
    others_serve(&farm, lost).await?;
    space.cluster.let_in(&lost.node).await?;
    farm.mirror_is(lost, "Ready", "True", SYNC).await?;
    farm.satisfied("tools").await?;
    farm.verify().await
}

async fn a_paused_node_is_told_and_the_others_serve(space: &Space<'_>) -> Result<()> {
    let farm = satisfied_farm(space).await?;
    let lost = &farm.sites[1];
    space.cluster.pause(&lost.node)?;
    told(&farm, lost).await?;
    others_serve(&farm, lost).await?;
    space.cluster.resume(&lost.node)?;
    farm.mirror_is(lost, "Ready", "True", SYNC).await?;
    farm.satisfied("tools").await
}

async fn a_crashed_node_comes_back_with_its_data(space: &Space<'_>) -> Result<()> {
    let farm = satisfied_farm(space).await?;
    let lost = &farm.sites[0];
    // The mirror's own word: the status follows it by seconds.
    let disk = farm.report(lost).await?["disk"].clone();
    space.cluster.crash(&lost.node).await?;
    told(&farm, lost).await?;
    others_serve(&farm, lost).await?;
    space.cluster.restart(&lost.node).await?;
    farm.mirror_is(lost, "Ready", "True", SYNC).await?;
    farm.has_disk(lost, &disk).await?;
    farm.satisfied("tools").await?;
    farm.verify().await
}

async fn a_lost_disk_is_told_and_filled_again(space: &Space<'_>) -> Result<()> {
    let farm = satisfied_farm(space).await?;
    let site = &farm.sites[1];
    let before = farm.report(site).await?;
    farm.has_disk(site, &before["disk"]).await?;
    space.cluster.lose_disk(&site.tree(&space.namespace))?;
    space.kubectl(&["delete", "pod", &site.pod()]).await?;
    wait_for("the new disk to be filled", SYNC, async || {
        let now = farm.replica(site).await?;
        let refilled = now["disk"] != before["disk"] && now["artifacts"] == before["artifacts"];
        ensure!(refilled, "it was {before} and is {now}");
        Ok(())
    })
    .await?;
    let events = space
        .kubectl(&["get", "events", "-o", "jsonpath={range .items[*]}{.reason}: {.message}{'\\n'}{end}"])
        .await?;
    assert!(events.to_lowercase().contains("disk"), "no event tells of the other disk:\n{events}");
    farm.satisfied("tools").await?;
    farm.substitute(site, &[root("less")?]).await?;
    farm.verify().await
}

async fn satisfied_farm<'a>(space: &'a Space<'a>) -> Result<Farm<'a>> {
    let farm = Farm::start(space).await?;
    farm.policy("tools", &[root("less")?, root("jq")?], 2).await?;
    farm.satisfied("tools").await?;
    Ok(farm)
}

/// The mirror's status, the policy's and the map of the others all know.
async fn told(farm: &Farm<'_>, lost: &Site) -> Result<()> {
    let message = farm.mirror_is(lost, "Reachable", "False", TOLD).await?;
    assert!(message.contains(&lost.node), "the message does not name the node: {message}");
    assert_eq!(farm.space.get(&["cachemirror", lost.name]).await?["status"]["phase"], "Degraded");
    farm.policy_is("tools", "Satisfied", "False", TOLD).await.map(drop)
}

/// The two that are left give everything between them, and no longer name the one that is gone.
async fn others_serve(farm: &Farm<'_>, lost: &Site) -> Result<()> {
    for site in farm.sites.iter().filter(|site| site.name != lost.name) {
        farm.substitute(site, &[root("less")?, root("jq")?]).await?;
        wait_for("no entry of the lost mirror", TOLD, async || {
            let entries = farm.narinfo(site, &root("less")?).await?.mirrors();
            ensure!(!entries.contains(&lost.url), "{} names {entries:?}", site.name);
            Ok(())
        })
        .await?;
    }
    Ok(())
}
