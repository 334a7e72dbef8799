//! Objects that cannot be: refused by the API server where it can know, else told by a condition that says what to do.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::case::{Space, cases};
use crate::farm::{self, Farm, SYNC, TOLD, root};

cases![
    unparsable_and_contradicting_objects_are_refused_by_the_api_server,
    a_policy_that_no_mirrors_match_is_told,
    a_target_above_mirrors_or_zones_is_told_and_done_as_far_as_possible,
    a_mirror_without_a_node_is_told,
];

async fn unparsable_and_contradicting_objects_are_refused_by_the_api_server(space: &Space<'_>) -> Result<()> {
    let farm = Farm::prepare(space, "zstd").await?;
    let mirror = farm.cache_mirror(&farm.sites[0]);
    let policy = farm::policy("tools", &[root("less")?], 2);
    // What is changed, and a word that the refusal must have.
    let bad_mirrors = [
        (
            "/spec/storage/filesystem",
            json!({"hostPath": "/srv/a", "volumeClaim": {"size": "1Gi"}}),
            "two storages",
        ),
        ("/spec/storage/filesystem", json!({}), "no storage"),
        ("/spec/storage/filesystem/hostPath", json!("relative"), "not a directory for a mirror"),
        ("/spec/upstreams", json!([]), "upstreams"),
        ("/spec/upstreams/0/url", json!("ftp://example.org"), "not the URL of a binary cache"),
        ("/spec/upstreams/0/publicKeys/0", json!("nonsense"), "not a Nix public key"),
        ("/spec/url", json!("http://example.org/"), "not a URL that clients can use"),
        ("/spec/replicas", json!(17), "replicas"),
        ("/spec/replicas", json!(2), "{ordinal}"),
        ("/spec/serving/hostPort", json!(70_000), "hostPort"),
        ("/spec/storge", json!({}), "storge"),
    ];
    let bad_policies = [
        ("/spec/artifacts/storePaths/0", json!("/nix/store/too-short"), "not a store path"),
        ("/spec/artifacts/storePaths", json!([]), "storePaths"),
        ("/spec/copies/target", json!(0), "target"),
        ("/spec/copies/target", json!(9), "target"),
        (
            "/spec/spread",
            json!([{"topologyKey": "zone", "min": 3}]),
            "lower spread[].min or raise copies.target",
        ),
        ("/spec/spread", json!([{"topologyKey": "planet", "min": 1}]), "topologyKey"),
    ];
    let all = bad_mirrors
        .into_iter()
        .map(|bad| (&mirror, bad))
        .chain(bad_policies.into_iter().map(|bad| (&policy, bad)));
    for (object, (place, value, word)) in all {
        let mut object = object.clone();
        set(&mut object, place, value.clone())?;
        let refusal = space.apply(&object.to_string()).await;
        let Err(refusal) = refusal else { bail!("{place} = {value} was accepted") };
        assert!(
            format!("{refusal:#}").contains(word),
            "{place} = {value} is refused without {word:?}: {refusal:#}"
        );
    }
    Ok(())
}

/// Sets a field, which may be new.
fn set(object: &mut Value, place: &str, value: Value) -> Result<()> {
    let (parent, field) = place.rsplit_once('/').context("not a pointer")?;
    match object.pointer_mut(parent).with_context(|| format!("there is no {parent}"))? {
        Value::Array(items) => items[field.parse::<usize>()?] = value,
        other => other[field] = value,
    }
    Ok(())
}

async fn a_policy_that_no_mirrors_match_is_told(space: &Space<'_>) -> Result<()> {
    space.world.operator().await?;
    space.apply(&farm::policy("lonely", &[root("less")?], 2).to_string()).await?;
    let message = space.condition("replicationpolicy", "lonely", "Accepted", "False", TOLD).await?;
    assert!(message.contains("no mirror is selected"), "{message}");
    let phase = space.get(&["replicationpolicy", "lonely"]).await?["status"]["phase"].clone();
    assert_eq!(phase, "Degraded");
    Ok(())
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
