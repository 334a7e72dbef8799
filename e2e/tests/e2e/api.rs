//! The two kinds as the API server sees them: what it takes, what it refuses, and with which words.

mod examples;
mod refused;

use std::fs;

use anyhow::{Context, Result, ensure};
use granary_e2e::paths;
use serde_json::{Value, json};

use crate::case::{Space, cases};
use refused::{Bad, mirror, policy};

cases![
    both_kinds_are_established_and_found_by_their_short_names,
    a_bad_object_is_refused_with_words_that_say_what_to_do,
    an_unknown_field_is_refused,
    the_storage_of_a_mirror_cannot_change_and_its_capacity_can,
    every_example_of_the_book_and_the_readme_is_taken,
];

async fn both_kinds_are_established_and_found_by_their_short_names(space: &Space<'_>) -> Result<()> {
    space.world.definitions().await?;
    for definition in ["cachemirrors.granary.dev", "replicationpolicies.granary.dev"] {
        // A schema that is not structural would be taken, and nothing would be pruned or given defaults.
        let object = space.cluster.get(&["crd", definition]).await?;
        let conditions = object["status"]["conditions"].as_array().context("no conditions")?;
        let structural = |condition: &&Value| condition["type"] == "NonStructuralSchema";
        assert_eq!(conditions.iter().find(structural), None);
    }
    for name in ["cmir", "rpol", "granary"] {
        space.kubectl(&["get", name]).await?;
    }
    let told = space.kubectl(&["explain", "cachemirror.spec.storage.filesystem.hostPath"]).await?;
    assert!(told.contains("pinned to"), "{told}");
    Ok(())
}

async fn a_bad_object_is_refused_with_words_that_say_what_to_do(space: &Space<'_>) -> Result<()> {
    space.world.definitions().await?;
    let table: Vec<Bad> = refused::mirrors().into_iter().chain(refused::policies()).collect();
    let mut objects: Vec<Value> = table.iter().map(|bad| bad.object.clone()).collect();
    // The table would show nothing if its bases were bad themselves.
    objects.extend([mirror("good", &json!({})), policy("good", &json!({}))]);
    let Err(answer) = dry_run(space, &objects).await else { anyhow::bail!("everything was taken") };
    let answer = answer.to_string();
    assert_eq!(answer.matches("created (server dry run)").count(), 2, "{answer}");
    assert!(answer.contains("cachemirror.granary.dev/good created"), "{answer}");
    assert!(answer.contains("replicationpolicy.granary.dev/good created"), "{answer}");
    let refusals: Vec<&str> = answer.split("Error from server").skip(1).collect();
    for Bad { object, words } in &table {
        let said = format!(
            "{}.granary.dev {}",
            object["kind"].as_str().unwrap_or_default(),
            object["metadata"]["name"]
        );
        let refusal = refusals.iter().find(|refusal| refusal.contains(&said));
        let refusal = refusal.with_context(|| format!("{said} was taken, or not tried: {answer}"))?;
        ensure!(refusal.contains(words), "{said}: {words:?} is not in {refusal}");
    }
    Ok(())
}

async fn an_unknown_field_is_refused(space: &Space<'_>) -> Result<()> {
    space.world.definitions().await?;
    for object in [
        mirror("unknown", &json!({"spec": {"replica": 1}})),
        mirror("unknown", &json!({"spec": {"storage": {"filesystem": {"path": "/srv"}}}})),
        policy("unknown", &json!({"spec": {"copies": {"minimum": 1}}})),
    ] {
        let Err(answer) = dry_run(space, std::slice::from_ref(&object)).await else {
            anyhow::bail!("{object} was taken")
        };
        assert!(answer.to_string().contains("unknown field"), "{answer:#}");
    }
    Ok(())
}

async fn the_storage_of_a_mirror_cannot_change_and_its_capacity_can(space: &Space<'_>) -> Result<()> {
    space.world.definitions().await?;
    // Suspended, so that the operator starts nothing for it.
    space.apply(&mirror("kept", &json!({"spec": {"suspend": true}})).to_string()).await?;
    let patch = async |filesystem: Value| {
        let patch = json!({"spec": {"storage": filesystem}}).to_string();
        space.kubectl(&["patch", "cachemirror", "kept", "--type=merge", "--patch", &patch]).await
    };
    for other in [
        json!({"filesystem": {"hostPath": "/srv/other"}}),
        json!({"filesystem": {"hostPath": null, "volumeClaim": {"size": "1Gi"}}}),
    ] {
        let Err(answer) = patch(other).await else { anyhow::bail!("the storage was changed") };
        assert!(answer.to_string().contains("make a second CacheMirror"), "{answer:#}");
    }
    patch(json!({"capacity": "2Ti"})).await?;
    Ok(())
}

async fn every_example_of_the_book_and_the_readme_is_taken(space: &Space<'_>) -> Result<()> {
    space.world.definitions().await?;
    let repository = paths::repository();
    let mut pages = vec![repository.join("README.md")];
    for entry in fs::read_dir(repository.join("docs/src")).context("the book is not there")? {
        pages.push(entry?.path());
    }
    let mut objects = Vec::new();
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
        objects.extend(examples::objects(&text).with_context(|| page.display().to_string())?);
    }
    for kind in ["CacheMirror", "ReplicationPolicy"] {
        let count = objects.iter().filter(|object| object["kind"] == kind).count();
        assert!(count >= 1, "there is no example of a {kind}");
    }
    for (number, object) in objects.iter_mut().enumerate() {
        // Pages may give one name to several objects, and this test's namespace is not theirs.
        object["metadata"]["name"] = json!(format!("example{number}"));
        object["metadata"]["namespace"] = json!(space.namespace);
    }
    dry_run(space, &objects).await
}

/// Has the API server check objects as if they were created. An error has what it says of each.
async fn dry_run(space: &Space<'_>, objects: &[Value]) -> Result<()> {
    let file = space.scratch()?.join("objects.yaml");
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    fs::write(&file, documents.join("\n---\n")).context("cannot write the objects")?;
    let file = file.to_str().context("the folder is not UTF-8")?;
    space.kubectl(&["create", "--dry-run=server", "-f", file]).await.map(drop)
}
