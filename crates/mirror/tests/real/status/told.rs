//! What is told of each artifact.

use std::fs;
use std::process::Command;

use super::{browse, three};
use crate::support::{AS_JSON, Artifact, Mirror, Report, eventually, line_of, lines, wants};

#[tokio::test]
async fn each_artifact_has_one_line_in_the_log() {
    let Some((scene, artifacts)) = three().await else { return };
    let [good, bad, user] = &artifacts;
    let url = &scene.upstream.url;
    let config = scene.write(&scene.site("lan"), &wants(&[good, user]));
    let sync = async |level: &'static str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_granary-mirror"));
        command.args(["--log-format", "json", "sync", "--config"]).arg(&config).env("RUST_LOG", level);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        lines(&String::from_utf8(output.stderr).unwrap())
    };
    let lines = sync("granary_mirror=debug").await;
    let line = |artifact: &Artifact| line_of(&lines, &artifact.path);
    for (artifact, message) in artifacts.iter().zip(["published", "refused", "refused"]) {
        assert_eq!(line(artifact)["message"], message);
    }
    assert_eq!(line(good)["bytes"], scene.corpus.nar(good).len());
    assert_eq!(line(good)["source"], *url);
    assert_eq!((&line(bad)["reason"], &line(bad)["source"]), (&"file-hash".into(), &url.clone().into()));
    assert_eq!(line(user)["reason"], "missing-reference");
    // At this level the rest tells which artifact it is about.
    let within =
        |line: &&serde_json::Value| line["span"]["name"] == "artifact" && line["span"]["path"] == *bad.path;
    assert!(lines.iter().any(|line| within(&line)), "{lines:?}");
}

/// The rounds over the file's channels are told like the passes over its policies.
#[tokio::test]
async fn each_artifact_of_a_channel_has_one_line_in_the_log() {
    let Some((scene, artifacts)) = three().await else { return };
    let [good, bad, user] = &artifacts;
    let (corpus, url) = (&scene.corpus, &scene.upstream.url);
    corpus.list("stable", &[good, user]);
    let channels = format!("channels: [{{url: '{url}/stable'}}]");
    let site = scene.site("lan");
    scene.write(&site, &channels);
    let mirror = Mirror::run_with(site, &[AS_JSON]);
    let done = |report: &Report| {
        report.refused_total == 2
            && report.artifacts == 1
            && report.channels.iter().all(|it| it.complete.is_some())
    };
    mirror.until("a round has ended", done).await;
    let paths = artifacts.each_ref().map(|artifact| &*artifact.path);
    let lines = mirror.lines_about(&paths).await;
    let published = line_of(&lines, &good.path);
    assert_eq!((&published["message"], &published["source"]), (&"published".into(), &url.clone().into()));
    assert_eq!((&published["level"], &published["bytes"]), (&"INFO".into(), &corpus.nar(good).len().into()));
    // What needs something that is refused is not asked of anybody.
    for (artifact, reason, source) in [(bad, "file-hash", &**url), (user, "missing-reference", "")] {
        let line = line_of(&lines, &artifact.path);
        assert_eq!((&line["message"], &line["reason"]), (&"refused".into(), &reason.into()), "{line}");
        assert_eq!((&line["level"], &line["source"]), (&"WARN".into(), &source.into()), "{line}");
        assert!(line["fault"].as_str().is_some_and(|fault| !fault.is_empty()), "{line}");
    }
}

/// What clients ask for beyond what is wanted, good and bad, is told like what a pass does.
#[tokio::test]
async fn pull_through_tells_of_each_artifact_in_log_metric_page_and_quarantine() {
    let Some((scene, [good, bad, user])) = three().await else { return };
    let (corpus, url) = (&scene.corpus, &scene.upstream.url);
    // A narinfo that nobody has signed.
    let unsigned = corpus.cache.join(user.narinfo());
    let text = fs::read_to_string(&unsigned).unwrap();
    let text: String =
        text.lines().filter(|line| !line.starts_with("Sig: ")).flat_map(|line| [line, "\n"]).collect();
    fs::write(&unsigned, text).unwrap();
    let site = scene.site("through");
    scene.write(&site, "pullThrough: {maxSize: 1Gi}");
    let mirror = Mirror::run_with(site, &[AS_JSON]);
    mirror.synced().await;

    for artifact in [&good, &bad] {
        assert_eq!(mirror.status(&artifact.narinfo()).await, 200);
    }
    assert_eq!(mirror.status(&user.narinfo()).await, 404, "it may not be passed on");
    assert_eq!(mirror.body(&corpus.narinfo(&good).url).await.unwrap(), corpus.nar(&good));
    for _ in 0..2 {
        assert_eq!(mirror.status(&corpus.narinfo(&bad).url).await, 503, "not a byte of it is passed on");
    }
    let one = |report: &Report| report.refused_total == 2 && report.artifacts == 1;
    let report = mirror.until("both are refused, and one is here", one).await;
    let [newest, before] = &report.refused[..] else { panic!("{:?}", report.refused) };
    assert_eq!((&newest.store_path, newest.reason.as_str()), (&bad.path, "file-hash"));
    assert_eq!((before.store_path.as_str(), before.reason.as_str()), (user.hash_part(), "unsigned"));

    let lines = mirror.lines_about(&[&good.path, &bad.path, user.hash_part()]).await;
    let published = line_of(&lines, &good.path);
    assert_eq!(published["message"], "published");
    assert_eq!(published["source"], *url);
    assert_eq!(published["bytes"], corpus.nar(&good).len());
    for (path, reason) in [(&*bad.path, "file-hash"), (user.hash_part(), "unsigned")] {
        let line = line_of(&lines, path);
        assert_eq!((&line["message"], &line["reason"]), (&"refused".into(), &reason.into()), "{line}");
        assert_eq!(line["source"], *url);
        assert!(line["fault"].as_str().is_some_and(|fault| !fault.is_empty()), "{line}");
    }
    let page = browse(&scene.client, &mirror.url()).await.text().await.unwrap();
    for words in [bad.hash_part(), user.hash_part(), "file-hash", "unsigned"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let refused = [
        "granary_mirror_refused 2",
        "granary_mirror_refused_total{reason=\"file-hash\"} 1",
        "granary_mirror_refused_total{reason=\"unsigned\"} 1",
    ];
    mirror.has_metrics(&refused).await;

    // Passes come and go, and leave the refusals and their records.
    for _ in 0..2 {
        let last = mirror.report().await.unwrap().policies[0].last_pass.clone();
        mirror.until("a pass ends", |report| report.policies[0].last_pass != last).await;
    }
    assert_eq!(mirror.report().await.unwrap().refused_total, 2);
    for artifact in [&bad, &user] {
        let record = format!(".granary/quarantine/{}.json", artifact.hash_part());
        let record = mirror.site.tree().join(record);
        eventually("there is a record", async || record.exists().then_some(())).await;
    }
}
