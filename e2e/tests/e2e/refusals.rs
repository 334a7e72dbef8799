//! Bad input from upstreams: refused with its reason in the status, the log and a metric; nothing of it is ever served,
//! and everything else is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use granary_e2e::upstream::change_file;
use granary_e2e::wait::wait_for;
use serde_json::Value;

use crate::case::{Space, cases};
use crate::farm::{Farm, SYNC, Site, TOLD, hash_part, root};

cases![
    a_wrong_key_is_refused,
    an_unsigned_narinfo_is_refused,
    a_changed_narinfo_is_refused,
    an_unparsable_narinfo_is_refused,
    a_flipped_byte_is_refused,
    a_truncated_nar_is_refused,
    a_nar_larger_than_declared_is_refused,
    a_missing_reference_is_refused,
    an_upstream_that_is_down_is_told_and_waited_for,
    an_upstream_that_falls_silent_is_told_and_waited_for,
];

/// The victim is a leaf: nothing else in the corpus refers to it, so that everything else can be published.
const VICTIM: &str = "jq";
const SOUND: &str = "less";

async fn a_wrong_key_is_refused(space: &Space<'_>) -> Result<()> {
    refused(space, "untrusted-key", |upstream| edit(upstream, |text| text.replace("\nSig: ", "\nSig: not-")))
        .await
}

async fn an_unsigned_narinfo_is_refused(space: &Space<'_>) -> Result<()> {
    let strip = |text: String| {
        text.lines()
            .filter(|line| !line.starts_with("Sig:"))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    refused(space, "unsigned", |upstream| edit(upstream, strip)).await
}

async fn a_changed_narinfo_is_refused(space: &Space<'_>) -> Result<()> {
    refused(space, "bad-signature", |upstream| {
        edit(upstream, |text| text.replace("\nNarSize: ", "\nNarSize: 1"))
    })
    .await
}

async fn an_unparsable_narinfo_is_refused(space: &Space<'_>) -> Result<()> {
    refused(space, "bad-narinfo", |upstream| {
        edit(upstream, |text| text.replace("\nNarHash: sha256:", "\nNarHash: md7?"))
    })
    .await
}

async fn a_flipped_byte_is_refused(space: &Space<'_>) -> Result<()> {
    refused(space, "file-hash", |upstream| {
        change_file(&nar(upstream)?, |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        })
    })
    .await
}

async fn a_truncated_nar_is_refused(space: &Space<'_>) -> Result<()> {
    refused(space, "file-size", |upstream| {
        change_file(&nar(upstream)?, |mut bytes| {
            bytes.truncate(bytes.len() - 1000);
            bytes
        })
    })
    .await
}

/// The NAR file of something larger, with its own FileHash and FileSize, which no signature covers.
async fn a_nar_larger_than_declared_is_refused(space: &Space<'_>) -> Result<()> {
    refused(space, "nar-size", |upstream| {
        let larger = lines_of(upstream, &root("nano")?)?;
        edit(upstream, |text| {
            text.lines().fold(String::new(), |all, line| {
                let key = line.split(": ").next().unwrap_or_default();
                let replaced = ["URL", "FileHash", "FileSize"].contains(&key);
                let line = if replaced {
                    larger.iter().find(|other| other.split(": ").next() == Some(key))
                } else {
                    None
                }
                .map_or(line, String::as_str);
                all + line + "\n"
            })
        })
    })
    .await
}

async fn a_missing_reference_is_refused(space: &Space<'_>) -> Result<()> {
    refused(space, "missing-reference", |upstream| {
        let reference = lines_of(upstream, &root(VICTIM)?)?
            .iter()
            .find_map(|line| {
                line.strip_prefix("References: ")?
                    .split(' ')
                    .find(|name| name.contains("-libjq"))
                    .map(str::to_owned)
            })
            .context("the victim refers to no library of its own")?;
        fs::remove_file(upstream.join(format!("{}.narinfo", reference.get(..32).context("no hash")?)))?;
        Ok(())
    })
    .await
}

/// Spoils the victim upstream; its policy must fail for that reason, another policy must hold in full.
async fn refused(space: &Space<'_>, reason: &str, spoil: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let mut farm = Farm::prepare(space, "zstd").await?;
    spoil(farm.upstream.dir())?;
    farm.sites.truncate(1);
    farm.plant().await?;
    let (victim, sound) = (root(VICTIM)?, root(SOUND)?);
    farm.policy("spoilt", std::slice::from_ref(&victim), 1).await?;
    farm.policy("sound", std::slice::from_ref(&sound), 1).await?;
    farm.satisfied("sound").await?;
    let site = &farm.sites[0];

    let message = farm.mirror_is(site, "ArtifactsAccepted", "False", TOLD).await?;
    assert!(message.contains(reason), "the mirror's condition does not say {reason}: {message}");
    let policy = farm.policy_is("spoilt", "Satisfied", "False", TOLD).await?;
    assert!(policy.contains(reason), "the policy's condition does not say {reason}: {policy}");
    let report = farm.report(site).await?;
    let standing = report["refused"].as_array().context("no refusals in the report")?;
    let of_victim = |refusal: &&Value| refusal["storePath"] == victim.as_str();
    let refusal =
        standing.iter().find(of_victim).with_context(|| format!("the victim is not refused: {report}"))?;
    assert_eq!(refusal["reason"], reason, "{refusal}");
    let series = format!("granary_mirror_refused_total{{reason=\"{reason}\"}}");
    assert!(farm.metric(site, &series).await? >= 1.0, "{series}");
    let log = space.kubectl(&["logs", &site.pod(), "-c", "agent"]).await?;
    let line = log.lines().find(|line| line.contains("refused") && line.contains(&victim));
    let line = line.with_context(|| format!("the log does not tell of the refusal:\n{log}"))?;
    assert!(line.contains(reason), "{line}");

    nothing_of_it_is_served(&farm, site, &victim).await?;
    farm.substitute(site, std::slice::from_ref(&sound)).await?;
    farm.verify().await
}

/// Neither in the tree nor through a request: a narinfo that a trusted key signed may be known, its NAR must not come.
async fn nothing_of_it_is_served(farm: &Farm<'_>, site: &Site, victim: &str) -> Result<()> {
    let tree = site.tree(&farm.space.namespace);
    let narinfo = tree.join(format!("{}.narinfo", hash_part(victim)?));
    assert!(!narinfo.exists(), "{} is published", narinfo.display());
    let spoilt = nar_of(farm.upstream.dir(), victim)?;
    let file = tree.join("nar").join(spoilt.file_name().context("no name")?);
    assert!(!file.exists(), "{} is published", file.display());
    if let Ok(narinfo) = farm.narinfo(site, victim).await {
        let url = format!("{}/{}", site.url, narinfo.url()?);
        let answer = farm.space.cluster.fetch(&url, &[]).await;
        let given = answer.is_ok_and(|response| response.status.is_success());
        // With a missing reference the victim's own bytes are good; a client that asks for them gets good bytes.
        let good = fs::read(&spoilt)?;
        assert!(!given || is_sound(&good, &narinfo.lines), "{url} was given in full");
    }
    ensure!(farm.substitute(site, &[victim.to_owned()]).await.is_err(), "nix has taken the spoilt artifact");
    Ok(())
}

fn is_sound(bytes: &[u8], lines: &std::collections::BTreeMap<String, String>) -> bool {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(bytes);
    let file_hash = granary_nix::base32::encode(&hash);
    lines.get("FileHash").is_some_and(|line| *line == format!("sha256:{file_hash}"))
}

async fn an_upstream_that_is_down_is_told_and_waited_for(space: &Space<'_>) -> Result<()> {
    unreachable(space, |farm| farm.upstream.stop(), |farm| farm.upstream.start_again()).await
}

async fn an_upstream_that_falls_silent_is_told_and_waited_for(space: &Space<'_>) -> Result<()> {
    unreachable(space, |farm| farm.upstream.pause(), |farm| farm.upstream.resume()).await
}

async fn unreachable(
    space: &Space<'_>,
    hurt: impl Fn(&Farm<'_>) -> Result<()>,
    heal: impl Fn(&Farm<'_>) -> Result<()>,
) -> Result<()> {
    let mut farm = Farm::prepare(space, "zstd").await?;
    farm.sites.truncate(1);
    farm.plant().await?;
    farm.policy("tools", &[root(SOUND)?], 1).await?;
    farm.satisfied("tools").await?;
    let site = &farm.sites[0];
    hurt(&farm)?;
    farm.policy("more", &[root(VICTIM)?], 1).await?;
    let message = farm.mirror_is(site, "UpstreamsReachable", "False", SYNC).await?;
    assert!(message.contains(farm.upstream.url()), "the condition does not name the upstream: {message}");
    farm.policy_is("more", "CatalogResolved", "False", TOLD).await?;
    let series = format!("granary_mirror_upstream_up{{upstream=\"{}\"}}", farm.upstream.url());
    wait_for(&series, TOLD, async || {
        let value = farm.metric(site, &series).await?;
        if value > 0.0 {
            bail!("it is {value}");
        }
        Ok(())
    })
    .await?;
    // What is there is served meanwhile.
    farm.substitute(site, &[root(SOUND)?]).await?;
    heal(&farm)?;
    farm.satisfied("more").await?;
    farm.mirror_is(site, "UpstreamsReachable", "True", TOLD).await?;
    farm.substitute(site, &[root(VICTIM)?]).await?;
    farm.verify().await
}

/// Changes the victim's narinfo.
fn edit(upstream: &Path, change: impl FnOnce(String) -> String) -> Result<()> {
    let file = upstream.join(format!("{}.narinfo", hash_part(&root(VICTIM)?)?));
    let before = fs::read_to_string(&file)?;
    change_file(&file, |bytes| change(String::from_utf8_lossy(&bytes).into_owned()).into_bytes())?;
    ensure!(fs::read_to_string(&file)? != before, "the test has changed nothing");
    Ok(())
}

fn lines_of(upstream: &Path, store_path: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(upstream.join(format!("{}.narinfo", hash_part(store_path)?)))?;
    Ok(text.lines().map(Into::into).collect())
}

/// The victim's NAR file.
fn nar(upstream: &Path) -> Result<PathBuf> {
    nar_of(upstream, &root(VICTIM)?)
}

fn nar_of(upstream: &Path, store_path: &str) -> Result<PathBuf> {
    let lines = lines_of(upstream, store_path)?;
    let url = lines.iter().find_map(|line| line.strip_prefix("URL: ")).context("a narinfo without a URL")?;
    Ok(upstream.join(url))
}
