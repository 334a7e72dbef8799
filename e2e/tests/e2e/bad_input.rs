//! Everything that an upstream can get wrong, at once: one upstream, one mirror, a spoilt artifact of each kind, and a policy
//! for each of them. Each is refused with its reason in the status, the log and a metric; nothing of it is ever served; and
//! whatever is sound is held all the same.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use granary_e2e::upstream::change_file;
use granary_e2e::wait::wait_for;
use serde_json::Value;

use crate::case::{Space, cases};
use crate::farm::{self, Farm, Site, TOLD, hash_part};

cases![what_an_upstream_gets_wrong_is_refused_with_its_reason_and_all_else_is_held];

/// A store path of the corpus, what is done to it, and why it must be refused then.
struct Victim {
    name: &'static str,
    reason: &'static str,
    spoil: fn(&Cache, &str) -> Result<()>,
}

/// No victim is in the closure of another, or of what is sound.
const VICTIMS: &[Victim] = &[
    Victim { name: "tmux", reason: "untrusted-key", spoil: sign_by_another_key },
    Victim { name: "nano", reason: "unsigned", spoil: strip_signatures },
    Victim {
        name: "sqlite3",
        reason: "bad-signature",
        spoil: |cache, path| cache.replace(path, "\nNarSize: ", "\nNarSize: 1"),
    },
    Victim {
        name: "curl",
        reason: "bad-narinfo",
        spoil: |cache, path| cache.replace(path, "\nNarHash: sha256:", "\nNarHash: md7?"),
    },
    Victim { name: "wget", reason: "file-hash", spoil: flip_a_byte },
    Victim { name: "jq", reason: "file-size", spoil: truncate },
    Victim { name: "file", reason: "nar-size", spoil: put_a_larger_nar },
    Victim { name: "tar", reason: "missing-reference", spoil: remove_a_reference },
];
/// What only `tar` refers to.
const GONE: &str = "libacl1";
/// What is sound, with everything that it refers to.
const SOUND: [&str; 2] = ["less", "libevent-core"];

async fn what_an_upstream_gets_wrong_is_refused_with_its_reason_and_all_else_is_held(
    space: &Space<'_>,
) -> Result<()> {
    let mut farm = Farm::prepare(space, "zstd").await?;
    farm.sites.truncate(1);
    let cache = Cache(farm.upstream.dir());
    let mut policies = vec![farm::policy("sound", &[path(SOUND[0])?, path(SOUND[1])?], 1).to_string()];
    for Victim { name, reason: _, spoil } in VICTIMS {
        let path = path(name)?;
        spoil(&cache, &path).with_context(|| format!("{name} cannot be spoilt"))?;
        policies.push(farm::policy(name, &[path], 1).to_string());
    }
    // All at once, so that there is one mirror map and not nine.
    space.apply(&policies.join("\n---\n")).await?;
    farm.plant().await?;
    farm.satisfied("sound").await?;

    let site = &farm.sites[0];
    for victim in VICTIMS {
        let told = is_told(&farm, site, victim).await;
        told.with_context(|| format!("{} as {}", victim.name, victim.reason))?;
    }
    for victim in VICTIMS {
        let hidden = nothing_is_served(&farm, site, &path(victim.name)?).await;
        hidden.with_context(|| format!("{} as {}", victim.name, victim.reason))?;
    }
    farm.substitute(site, &[path(SOUND[0])?]).await?;
    farm.verify().await
}

/// The mirror's report, its metric, its log, and the conditions of the mirror and of the policy all say why.
async fn is_told(farm: &Farm<'_>, site: &Site, victim: &Victim) -> Result<()> {
    let Victim { name, reason, spoil: _ } = victim;
    let path = path(name)?;
    wait_for("the report", TOLD, async || {
        let report = farm.report(site).await?;
        let standing = report["refused"].as_array().context("no refusals in the report")?;
        let of_victim = |refusal: &&Value| refusal["storePath"] == path.as_str();
        let refusal =
            standing.iter().find(of_victim).with_context(|| format!("it is not refused: {report}"))?;
        ensure!(refusal["reason"] == *reason, "{refusal}");
        Ok(())
    })
    .await?;
    let series = format!("granary_mirror_refused_total{{reason=\"{reason}\"}}");
    ensure!(farm.metric(site, &series).await? >= 1.0, "nothing counted in {series}");
    let log = farm.space.kubectl(&["logs", &site.pod(), "-c", "agent"]).await?;
    let told = |line: &&str| line.contains("refused") && line.contains(&path) && line.contains(reason);
    ensure!(log.lines().any(|line| told(&line)), "the log does not tell of it:\n{log}");
    wait_for("the mirror's condition", TOLD, async || {
        let said = farm.mirror_is(site, "ArtifactsAccepted", "False", TOLD).await?;
        ensure!(said.contains(reason), "{said}");
        Ok(())
    })
    .await?;
    let gone = self::path(GONE)?;
    wait_for("the policy's condition", TOLD, async || {
        let said = farm.policy_is(name, "Satisfied", "False", TOLD).await?;
        // It names a cause and not what follows from it.
        let (cause, path) =
            if *name == "tar" { ("not-found", gone.as_str()) } else { (*reason, path.as_str()) };
        ensure!(said.contains(cause) && said.contains(path), "{said}");
        Ok(())
    })
    .await
}

/// Neither in the tree nor through a request. The narinfo may be known when a trusted key signed it: what must not come is
/// a NAR that does not fit it, or a store path whose references are not to be had.
async fn nothing_is_served(farm: &Farm<'_>, site: &Site, victim: &str) -> Result<()> {
    let tree = site.tree(&farm.space.namespace);
    let narinfo = tree.join(format!("{}.narinfo", hash_part(victim)?));
    ensure!(!narinfo.exists(), "{} is published", narinfo.display());
    if let Ok(served) = farm.narinfo(site, victim).await {
        let bytes = served.url()?.to_owned();
        let file = tree.join(&bytes);
        let answer = farm.space.cluster.fetch(&format!("{}/{bytes}", site.url), &[]).await;
        if let Some(answer) = answer.ok().filter(|answer| answer.status.is_success()) {
            // Good bytes may be given: those of a victim that only lacks a reference, or of the sound NAR in a victim's place.
            ensure!(is_named_by(&answer.body, &bytes), "{bytes} was given in full and is spoilt");
        } else {
            ensure!(!file.exists(), "{} is published", file.display());
        }
    }
    ensure!(farm.substitute(site, &[victim.to_owned()]).await.is_err(), "nix has taken the spoilt artifact");
    Ok(())
}

/// Whether a NAR file's bytes have the hash that its name begins with.
fn is_named_by(bytes: &[u8], url: &str) -> bool {
    use sha2::Digest as _;
    let hash = granary_nix::base32::encode(&sha2::Sha256::digest(bytes));
    url.trim_start_matches("nar/").starts_with(&hash)
}

/// The upstream's folder.
struct Cache<'a>(&'a Path);

impl Cache<'_> {
    fn narinfo(&self, path: &str) -> Result<PathBuf> {
        Ok(self.0.join(format!("{}.narinfo", hash_part(path)?)))
    }

    fn text(&self, path: &str) -> Result<String> {
        let file = self.narinfo(path)?;
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    fn field(&self, path: &str, name: &str) -> Result<String> {
        let text = self.text(path)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map(Into::into).with_context(|| format!("{path} has no {name}"))
    }

    /// Changes a narinfo.
    fn edit(&self, path: &str, change: impl FnOnce(&str) -> String) -> Result<()> {
        let before = self.text(path)?;
        let after = change(&before);
        ensure!(before != after, "nothing was changed");
        change_file(&self.narinfo(path)?, |_| after.into_bytes())
    }

    fn replace(&self, path: &str, from: &str, to: &str) -> Result<()> {
        self.edit(path, |text| text.replace(from, to))
    }

    /// Changes a NAR file.
    fn change_nar(&self, path: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<()> {
        change_file(&self.0.join(self.field(path, "URL")?), change)
    }
}

fn sign_by_another_key(cache: &Cache, path: &str) -> Result<()> {
    cache.replace(path, "\nSig: ", "\nSig: not-")
}

fn strip_signatures(cache: &Cache, path: &str) -> Result<()> {
    cache.edit(path, |text| text.split_inclusive('\n').filter(|line| !line.starts_with("Sig:")).collect())
}

fn flip_a_byte(cache: &Cache, path: &str) -> Result<()> {
    cache.change_nar(path, |mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    })
}

fn truncate(cache: &Cache, path: &str) -> Result<()> {
    cache.change_nar(path, |mut bytes| {
        bytes.truncate(bytes.len() - 1000);
        bytes
    })
}

/// The NAR file of something larger, with its own FileHash and FileSize, which no signature covers.
fn put_a_larger_nar(cache: &Cache, victim: &str) -> Result<()> {
    let larger = path("less")?;
    for name in ["URL", "FileHash", "FileSize"] {
        let line = |path| Ok::<_, anyhow::Error>(format!("\n{name}: {}\n", cache.field(path, name)?));
        cache.replace(victim, &line(victim)?, &line(&larger)?)?;
    }
    Ok(())
}

/// Takes away something that only the victim refers to.
fn remove_a_reference(cache: &Cache, victim: &str) -> Result<()> {
    let gone = path(GONE)?;
    let references = cache.field(victim, "References")?;
    ensure!(references.contains(hash_part(&gone)?), "{GONE} is not among {references}");
    let narinfo = cache.narinfo(&gone)?;
    fs::remove_file(&narinfo).with_context(|| format!("cannot remove {}", narinfo.display()))
}

/// The store path of the corpus that begins with a name.
fn path(name: &str) -> Result<String> {
    let named = |path: &&String| path.get(44..).is_some_and(|rest| rest.starts_with(&format!("{name}-")));
    let paths = farm::closure()?;
    paths.iter().find(named).cloned().with_context(|| format!("the corpus has no {name}"))
}
