//! Objects that are well formed and cannot be carried out: told by a condition that says what to do.

use anyhow::{Result, ensure};
use granary_e2e::wait::wait_for;
use serde_json::json;

use crate::case::{Space, cases};
use crate::farm::{self, Farm, SYNC, TOLD, metric, root};
use crate::operator::leader_metrics;

cases![
    a_policy_that_no_mirrors_match_is_told,
    a_target_above_mirrors_or_zones_is_told_and_done_as_far_as_possible,
    a_mirror_without_a_node_is_told,
];

async fn a_policy_that_no_mirrors_match_is_told(space: &Space<'_>) -> Result<()> {
    space.world.operator().await?;
    space.apply(&farm::policy("lonely", &[root("less")?], 2).to_string()).await?;
    let message = space.condition("replicationpolicy", "lonely", "Accepted", "False", TOLD).await?;
    assert!(message.contains("no mirror is selected"), "{message}");
    let phase = space.get(&["replicationpolicy", "lonely"]).await?["status"]["phase"].clone();
    assert_eq!(phase, "Degraded");
    is_counted(space, "lonely").await
}

/// The operator's metric says too that the policy cannot be placed.
async fn is_counted(space: &Space<'_>, policy: &str) -> Result<()> {
    let series =
        format!("granary_operator_policy_accepted{{namespace=\"{}\",policy=\"{policy}\"}}", space.namespace);
    wait_for("the metric", TOLD, async || {
        let value = metric(&leader_metrics(space).await?, &series)?;
        ensure!(value < 0.5, "{series} is {value}");
        Ok(())
    })
    .await
}

async fn a_target_above_mirrors_or_zones_is_told_and_done_as_far_as_possible(
    space: &Space<'_>,
) -> Result<()> {
    let mut farm = Farm::prepare(space, "zstd").await?;
    farm.sites.truncate(2);
    farm.plant().await?;
    farm.policy("many", &[root("less")?], 3).await?;
    let message = farm.policy_is("many", "Accepted", "False", SYNC).await?;
    assert!(message.contains("3 copies are wanted but only 2 mirrors"), "{message}");
    is_counted(space, "many").await?;
    let mut regions = farm::policy("regions", &[root("less")?], 2);
    regions["spec"]["spread"] = json!([{"topologyKey": "region", "min": 2}]);
    space.apply(&regions.to_string()).await?;
    let message = farm.policy_is("regions", "Accepted", "False", SYNC).await?;
    assert!(message.contains("region"), "{message}");
    // Both mirrors hold everything all the same.
    for site in &farm.sites {
        farm.mirror_is(site, "Synced", "True", SYNC).await?;
        farm.substitute(site, &[root("less")?]).await?;
    }
    Ok(())
}

async fn a_mirror_without_a_node_is_told(space: &Space<'_>) -> Result<()> {
    let farm = Farm::prepare(space, "zstd").await?;
    let mut mirror = farm.cache_mirror(&farm.sites[0]);
    mirror["spec"]["nodes"]["selector"] = json!({"kubernetes.io/hostname": "nowhere"});
    space.apply(&mirror.to_string()).await?;
    let message = farm.mirror_is(&farm.sites[0], "Assigned", "False", TOLD).await?;
    assert!(!message.is_empty());
    Ok(())
}
