//! What a CacheMirror says about its upstreams and its clients reaches the mirror.

use anyhow::{Result, ensure};
use granary_e2e::upstream::TOKEN;
use granary_e2e::wait::wait_for;
use serde_json::json;

use crate::case::{Space, cases};
use crate::farm::{Farm, SYNC, TOLD, roots};

cases![an_upstream_is_read_with_a_secret, what_clients_ask_for_is_kept_without_a_policy];

/// The upstream answers 401 to whoever has no token.
async fn an_upstream_is_read_with_a_secret(space: &Space<'_>) -> Result<()> {
    let farm = Farm::prepare(space, "zstd").await?;
    let (with, without) = (&farm.sites[0], &farm.sites[1]);
    space
        .kubectl(&["create", "secret", "generic", "robot", &format!("--from-literal=token={TOKEN}")])
        .await?;
    for site in [with, without] {
        let mut object = farm.cache_mirror(site);
        let mut upstream =
            json!({"url": farm.upstream.guarded_url(), "publicKeys": [farm.key], "bandwidth": "100Mi"});
        let name = if site.name == with.name { "robot" } else { "absent" };
        upstream["credentialsSecretRef"] = json!({"name": name});
        object["spec"]["upstreams"] = json!([upstream]);
        space.apply(&object.to_string()).await?;
    }
    let roots = roots()?;
    farm.policy("tools", &roots, 1).await?;
    // The one has a part of the closure at once; the other says why it has none, and serves nevertheless.
    wait_for("the mirror with the Secret to have copies", SYNC, async || {
        let artifacts = farm.replica(with).await?["artifacts"].as_u64().unwrap_or(0);
        ensure!(artifacts > 0, "it has none");
        Ok(())
    })
    .await?;
    let message = farm.mirror_is(without, "UpstreamsReachable", "False", TOLD).await?;
    ensure!(!message.contains(TOKEN), "the token is told: {message}");
    let config = space.get(&["configmap", &with.holder()]).await?.to_string();
    ensure!(!config.contains(TOKEN), "the token is in the ConfigMap");
    Ok(())
}

async fn what_clients_ask_for_is_kept_without_a_policy(space: &Space<'_>) -> Result<()> {
    let farm = Farm::prepare(space, "xz").await?;
    let site = &farm.sites[0];
    let mut object = farm.cache_mirror(site);
    object["spec"]["pullThrough"] = json!({"maxSize": "1G"});
    space.apply(&object.to_string()).await?;
    farm.mirror_is(site, "Ready", "True", SYNC).await?;
    let roots = roots()?;
    // Once from the upstream, and once more from the mirror alone. What is asked for before the mirror knows that no policy
    // places it elsewhere is passed on and not kept, so that the first time may not be enough.
    wait_for("what was asked for to be had without the upstream", SYNC, async || {
        farm.upstream.start_again()?;
        farm.substitute(site, &roots).await?;
        farm.upstream.stop()?;
        farm.substitute(site, &roots).await
    })
    .await
}
