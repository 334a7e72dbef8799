//! The operator is not needed for serving and syncing, heals what belongs to it, and writes alone.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use granary_e2e::wait::wait_for;
use serde_json::json;

use crate::case::{Space, cases};
use crate::farm::{Farm, SYNC, TOLD, hash_part, metric, root};
use crate::world::OPERATOR;

cases![
    #[alone]
    without_the_operator_mirrors_serve_and_sync,
    owned_objects_that_are_deleted_or_edited_return,
    a_deleted_pod_finds_its_data_again,
    #[alone]
    of_two_operators_one_writes,
    a_deleted_mirror_leaves_nothing_but_its_data,
    a_suspended_mirror_is_left_alone,
];

async fn without_the_operator_mirrors_serve_and_sync(space: &Space<'_>) -> Result<()> {
    let farm = Farm::prepare(space, "zstd").await?;
    // One artifact appears upstream only after the operator is gone.
    let late = root("jq")?;
    let narinfo = farm.upstream.dir().join(format!("{}.narinfo", hash_part(&late)?));
    let aside = space.scratch()?.join("late.narinfo");
    fs::rename(&narinfo, &aside)?;
    farm.plant().await?;
    farm.policy("tools", &[root("less")?, late.clone()], 3).await?;
    let unsatisfied = farm.policy_is("tools", "Satisfied", "False", SYNC).await?;
    wait_for("everything else to be there", SYNC, async || {
        for site in &farm.sites {
            farm.substitute(site, &[root("less")?]).await?;
        }
        Ok(())
    })
    .await
    .context(unsatisfied)?;

    space.world.scale_operator(0).await?;
    let result = async {
        for site in &farm.sites {
            farm.substitute(site, &[root("less")?]).await?;
        }
        fs::rename(&aside, &narinfo)?;
        wait_for("the late artifact on every mirror", SYNC, async || {
            for site in &farm.sites {
                let file = site.tree(&space.namespace).join(format!("{}.narinfo", hash_part(&late)?));
                ensure!(file.exists(), "{} lacks it", site.name);
            }
            Ok(())
        })
        .await?;
        // A mirror that starts anew has only what is on its disk and in the map's last copy.
        space.kubectl(&["delete", "pod", &farm.sites[0].pod()]).await?;
        wait_for("the new pod to serve", SYNC, async || {
            farm.substitute(&farm.sites[0], std::slice::from_ref(&late)).await
        })
        .await
    }
    .await;
    space.world.scale_operator(2).await?;
    result?;
    farm.satisfied("tools").await?;
    farm.verify().await
}

async fn owned_objects_that_are_deleted_or_edited_return(space: &Space<'_>) -> Result<()> {
    let farm = Farm::start(space).await?;
    farm.policy("tools", &[root("less")?], 2).await?;
    farm.satisfied("tools").await?;
    let owned = [
        "statefulset/east-0",
        "service/east-0",
        "configmap/east-0",
        "poddisruptionbudget/east",
        "networkpolicy/east",
        "service/east",
        "configmap/granary-mirror-map",
    ];
    for object in owned {
        let before = space.get(&[object]).await?;
        space.kubectl(&["delete", object, "--wait=true", "--timeout=150s"]).await?;
        wait_for(&format!("{object} to return"), TOLD, async || {
            let after = space.get(&[object]).await?;
            ensure!(after["metadata"]["uid"] != before["metadata"]["uid"], "it is being deleted");
            for field in ["spec", "data"] {
                // What the cluster chooses anew may differ.
                let strip = |object: &serde_json::Value| {
                    let mut value = object[field].clone();
                    for chosen in ["clusterIP", "clusterIPs"] {
                        if let Some(fields) = value.as_object_mut() {
                            fields.remove(chosen);
                        }
                    }
                    value
                };
                if object != "configmap/granary-mirror-map" {
                    ensure!(strip(&after) == strip(&before), "{field} is {}", after[field]);
                }
            }
            Ok(())
        })
        .await?;
    }
    let edits = [
        ("statefulset/east-0", json!({"spec": {"replicas": 0}}), "/spec/replicas"),
        (
            "service/east-0",
            json!({"spec": {"selector": {"granary.dev/mirror": "other"}}}),
            "/spec/selector/granary.dev~1mirror",
        ),
        ("configmap/east-0", json!({"data": {"config.yaml": "nonsense"}}), "/data/config.yaml"),
        ("poddisruptionbudget/east", json!({"spec": {"maxUnavailable": 5}}), "/spec/maxUnavailable"),
        (
            "networkpolicy/east",
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}),
            "/metadata/labels/app.kubernetes.io~1managed-by",
        ),
    ];
    for (object, patch, field) in edits {
        let before = space.get(&[object]).await?.pointer(field).cloned();
        space.kubectl(&["patch", object, "--type=merge", "-p", &patch.to_string()]).await?;
        wait_for(&format!("{field} of {object} to return"), TOLD, async || {
            let after = space.get(&[object]).await?.pointer(field).cloned();
            ensure!(after == before, "it is {after:?} and was {before:?}");
            Ok(())
        })
        .await?;
    }
    // The edits have replaced the pod, once or more.
    let site = &farm.sites[0];
    wait_for("the mirror to serve again", SYNC, async || farm.substitute(site, &[root("less")?]).await)
        .await?;
    farm.mirror_is(site, "Ready", "True", SYNC).await?;
    farm.satisfied("tools").await
}

async fn a_deleted_pod_finds_its_data_again(space: &Space<'_>) -> Result<()> {
    let farm = Farm::start(space).await?;
    farm.policy("tools", &[root("less")?], 3).await?;
    farm.satisfied("tools").await?;
    let site = &farm.sites[1];
    let before = farm.report(site).await?;
    let pod = space.get(&["pod", &site.pod()]).await?["metadata"]["uid"].clone();
    let downloads = |requests: Vec<String>| requests.iter().filter(|line| line.contains("/nar/")).count();
    let downloaded = downloads(farm.upstream.requests()?);
    space.kubectl(&["delete", "pod", &site.pod()]).await?;
    wait_for("the new pod to report", SYNC, async || {
        let object = space.get(&["pod", &site.pod()]).await?;
        ensure!(object["metadata"]["uid"] != pod, "it is the old pod");
        let report = farm.report(site).await?;
        ensure!(report["policies"][0]["synced"] == true, "{report}");
        assert_eq!(report["disk"], before["disk"], "the disk is another");
        assert_eq!(report["artifacts"], before["artifacts"]);
        Ok(())
    })
    .await?;
    farm.satisfied("tools").await?;
    assert_eq!(farm.replica(site).await?["node"], site.node.as_str());
    assert_eq!(downloads(farm.upstream.requests()?), downloaded, "something was downloaded again");
    Ok(())
}

async fn of_two_operators_one_writes(space: &Space<'_>) -> Result<()> {
    let farm = Farm::start(space).await?;
    let leader = one_leader(space).await?;
    farm.policy("tools", &[root("less")?], 2).await?;
    farm.satisfied("tools").await?;
    // The other has the same metrics, and has written nothing.
    for pod in operators(space).await? {
        let text = metrics(space, &pod).await?;
        let wrote = text
            .lines()
            .any(|line| line.starts_with("granary_operator_map_writes_total{") && !line.ends_with(" 0"));
        assert_eq!(wrote, pod == leader, "{pod} and the leader is {leader}:\n{text}");
    }
    space.cluster.kubectl(&["-n", OPERATOR, "delete", "pod", &leader, "--force", "--grace-period=0"]).await?;
    let next = wait_for("another leader", TOLD, async || {
        let next = one_leader_now(space).await?;
        ensure!(next != leader, "the lease is still with the one that was killed");
        Ok(next)
    })
    .await?;
    // And it does the work.
    farm.policy("tools", &[root("jq")?], 3).await?;
    farm.satisfied("tools").await.with_context(|| format!("the new leader is {next}"))
}

async fn one_leader(space: &Space<'_>) -> Result<String> {
    wait_for("one leader", TOLD, async || one_leader_now(space).await).await
}

async fn one_leader_now(space: &Space<'_>) -> Result<String> {
    let pods = operators(space).await?;
    ensure!(pods.len() == 2, "there are {} operators", pods.len());
    let mut leaders = Vec::new();
    for pod in pods {
        let text = metrics(space, &pod).await?;
        if metric(&text, "granary_operator_leader")? > 0.0 {
            leaders.push(pod);
        }
    }
    match leaders.as_slice() {
        [leader] => Ok(leader.clone()),
        _ => anyhow::bail!("the leaders are {leaders:?}"),
    }
}

/// The pods that are not being deleted.
async fn operators(space: &Space<'_>) -> Result<Vec<String>> {
    let pods =
        space.cluster.get(&["-n", OPERATOR, "pods", "-l", "app.kubernetes.io/name=granary-operator"]).await?;
    let living =
        pods["items"].as_array().context("no list of pods")?.iter().filter(|pod| {
            pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running"
        });
    Ok(living.filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())).collect())
}

/// The metrics of the replica that acts.
pub async fn leader_metrics(space: &Space<'_>) -> Result<String> {
    metrics(space, &one_leader(space).await?).await
}

async fn metrics(space: &Space<'_>, pod: &str) -> Result<String> {
    let object = space.cluster.get(&["-n", OPERATOR, "pod", pod]).await?;
    let ip = object["status"]["podIP"].as_str().context("the operator has no address")?;
    space.cluster.fetch_text(&format!("http://{ip}:8080/metrics")).await
}

async fn a_deleted_mirror_leaves_nothing_but_its_data(space: &Space<'_>) -> Result<()> {
    let farm = Farm::start(space).await?;
    farm.policy("tools", &[root("less")?], 3).await?;
    farm.satisfied("tools").await?;
    let site = &farm.sites[2];
    let tree = site.tree(&space.namespace);
    let file = tree.join(format!("{}.narinfo", hash_part(&root("less")?)?));
    assert!(file.exists());
    space.kubectl(&["delete", "cachemirror", site.name, "--timeout=150s"]).await?;
    wait_for("its objects to go", TOLD, async || {
        let kinds = "pods,statefulsets,services,configmaps,poddisruptionbudgets,networkpolicies";
        let label = format!("app.kubernetes.io/instance={}", site.name);
        let left = space.kubectl(&["get", kinds, "-l", &label, "-o", "name"]).await?;
        ensure!(left.is_empty(), "left: {left}");
        Ok(())
    })
    .await?;
    assert!(file.exists(), "data was deleted");
    let message = farm.policy_is("tools", "Accepted", "False", TOLD).await?;
    assert!(message.contains("2 mirrors"), "{message}");
    // The others no longer name it.
    wait_for("no entry of the deleted mirror", TOLD, async || {
        for other in &farm.sites[..2] {
            let entries = farm.narinfo(other, &root("less")?).await?.mirrors();
            ensure!(!entries.contains(&site.url), "{} names {entries:?}", other.name);
        }
        Ok(())
    })
    .await
}

async fn a_suspended_mirror_is_left_alone(space: &Space<'_>) -> Result<()> {
    let farm = Farm::start(space).await?;
    farm.policy("tools", &[root("less")?], 3).await?;
    farm.satisfied("tools").await?;
    let suspend = |value: bool| json!({"spec": {"suspend": value}}).to_string();
    space.kubectl(&["patch", "cachemirror", "east", "--type=merge", "-p", &suspend(true)]).await?;
    farm.mirror_is(&farm.sites[0], "Suspended", "True", TOLD).await?;
    space.kubectl(&["delete", "service", "east"]).await?;
    farm.substitute(&farm.sites[0], &[root("less")?]).await?;
    // Nothing can be waited for here: what must not happen has had the time in which it else happens.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(space.get(&["service", "east"]).await.is_err(), "the service returned");
    space.kubectl(&["patch", "cachemirror", "east", "--type=merge", "-p", &suspend(false)]).await?;
    wait_for("the service to return", TOLD, async || space.get(&["service", "east"]).await).await?;
    Ok(())
}
