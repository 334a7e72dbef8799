//! What a CacheMirror says about its upstreams and its clients reaches the mirror.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use granary_e2e::nix_client;
use granary_e2e::upstream::TOKEN;
use granary_e2e::wait::wait_for;
use serde_json::json;

use crate::case::{Space, cases};
use crate::farm::{Farm, SYNC, TOLD, hash_part, roots};

cases![
    an_upstream_is_read_with_a_secret,
    what_clients_ask_for_is_kept_without_a_policy,
    https_is_spoken_once_its_secret_is_there,
];

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

/// The Secret comes after the mirror, and another one later; the mirror serves meanwhile. Listings are made on the way.
async fn https_is_spoken_once_its_secret_is_there(space: &Space<'_>) -> Result<()> {
    let farm = Farm::prepare(space, "zstd").await?;
    let site = &farm.sites[0];
    let address = space.cluster.address(&site.node)?;
    let (port, name) = (space.port + 1, address.to_string());
    let mut object = farm.cache_mirror(site);
    object["spec"]["serving"]["tls"] = json!({"secretName": "cert", "hostPort": port});
    object["spec"]["serving"]["clients"] = json!({"connectionsPerAddress": 100});
    object["spec"]["extras"] = json!({"listings": "Make", "logs": false});
    space.apply(&object.to_string()).await?;
    let roots = roots()?;
    farm.policy("tools", &roots, 1).await?;
    farm.satisfied("tools").await?;
    let said = farm.mirror_is(site, "CertificateUsable", "False", TOLD).await?;
    ensure!(said.contains("tls.crt"), "{said}");
    farm.substitute(site, &roots).await?;

    let folder = space.scratch()?;
    let url = format!("https://{name}:{port}");
    for turn in ["first", "second"] {
        let (certificate, key) = self_signed(&folder, turn, &name)?;
        let secret = space
            .kubectl(&[
                "create",
                "secret",
                "tls",
                "cert",
                "--dry-run=client",
                "-o",
                "json",
                "--cert",
                &certificate,
                "--key",
                &key,
            ])
            .await?;
        space.apply(&secret).await?;
        // Only this certificate is trusted, so that nix says which one is in use.
        wait_for("nix to substitute by HTTPS", SYNC, async || {
            let authority = Some(Path::new(&certificate));
            nix_client::substitute_trusting(&url, &roots, &farm.key, authority).await.map(drop)
        })
        .await?;
    }
    farm.mirror_is(site, "CertificateUsable", "True", TOLD).await?;
    let listing = format!("{}/{}.ls", site.url, hash_part(&roots[0])?);
    wait_for("a listing to be made", TOLD, async || {
        let listing = space.cluster.fetch_text(&listing).await?;
        ensure!(listing.contains("\"root\""), "{listing}");
        Ok(())
    })
    .await
}

/// A certificate for an address, and its key.
fn self_signed(folder: &Path, name: &str, address: &str) -> Result<(String, String)> {
    let file = |kind: &str| folder.join(format!("{name}.{kind}")).display().to_string();
    let (certificate, key) = (file("crt"), file("key"));
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-keyout", &key, "-out", &certificate, "-days", "30", "-subj", &format!("/CN={name}")])
        .args(["-addext", &format!("subjectAltName=IP:{address}")])
        .output()
        .context("cannot start openssl")?;
    if !output.status.success() {
        bail!("openssl made no certificate: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok((certificate, key))
}
