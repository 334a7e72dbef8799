//! How far the scrub says it is.

use std::fs;

use granary_placement::report::{Report, ScrubReport};

use super::has;
use crate::support::{Artifact, Mirror, Scene, eventually, wants};

/// What reading a narinfo counts for.
const NARINFO: u64 = 4 << 10;

fn artifacts() -> [Artifact; 3] {
    let artifact = |number: u64| {
        let content = crate::support::noise(200_000 + 50_000 * usize::try_from(number).unwrap());
        Artifact::new(&format!("data-{number}"), number, content, &[])
    };
    [artifact(0), artifact(1), artifact(2)]
}

/// Report and metrics of one moment that is as wanted.
async fn moment(mirror: &Mirror, what: &str, wanted: impl Fn(&ScrubReport) -> bool) -> (ScrubReport, String) {
    eventually(what, async || {
        let scrub = async || mirror.report().await?.upkeep.scrub;
        let before = scrub().await?;
        let metrics = mirror.metrics().await;
        (wanted(&before) && scrub().await? == before).then_some((before, metrics))
    })
    .await
}

fn value(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}")).parse().unwrap()
}

fn seconds(time: &str) -> u64 {
    time.parse::<jiff::Timestamp>().unwrap().as_second().try_into().unwrap()
}

/// Bytes of the NAR files in the tree.
fn nars(mirror: &Mirror) -> u64 {
    let files = fs::read_dir(mirror.site.tree().join("nar")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// The metrics say what the report says.
fn agree(scrub: &ScrubReport, metrics: &str) {
    let ended = scrub.ended.as_deref().map_or(0, seconds);
    for (name, reported) in [
        ("granary_mirror_scrub_round_read_bytes", scrub.read_bytes),
        ("granary_mirror_scrub_round_bytes", scrub.bytes),
        ("granary_mirror_scrub_round_began_timestamp_seconds", seconds(&scrub.began)),
        ("granary_mirror_scrub_last_round_timestamp_seconds", ended),
        ("granary_mirror_scrub_late", u64::from(scrub.trouble.is_some())),
    ] {
        assert_eq!(value(metrics, name), reported, "{name}: {scrub:?}");
    }
}

#[tokio::test]
async fn after_a_round_report_and_metrics_say_what_is_on_the_disk() {
    let artifacts = artifacts();
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let start = seconds(&jiff::Timestamp::now().to_string());
    let more = format!("{}\nscrub: {{period: 3s, bandwidth: 1Gi}}", wants(&artifacts.each_ref()));
    let mirror = scene.run(&more);
    mirror.until("synced", has(3)).await;
    let tree = nars(&mirror);
    // Everything has been read in this round, and there was one before it.
    let whole = |scrub: &ScrubReport| scrub.ended.is_some() && scrub.read_artifacts == 3;
    let (first, metrics) = moment(&mirror, "a whole round", whole).await;
    agree(&first, &metrics);
    assert_eq!((first.artifacts, first.rotten, first.trouble.as_deref()), (3, 0, None));
    assert_eq!((first.read_bytes, first.bytes), (tree + 3 * NARINFO, tree + 3 * NARINFO));
    let [began, ended] = [&first.began, first.ended.as_ref().unwrap()].map(|time| seconds(time));
    let now = seconds(&jiff::Timestamp::now().to_string());
    assert!(start <= ended && ended <= began && began <= now, "{start} {first:?} {now}");
    // The counters go over all rounds: this one, and the one before it as far as it had anything to read.
    let read = value(&metrics, "granary_mirror_scrub_read_artifacts_total");
    assert!(read >= 4 && value(&metrics, "granary_mirror_scrub_read_bytes_total") > tree, "{read}");

    // The next one begins when this one ends.
    let next = |scrub: &ScrubReport| whole(scrub) && scrub.began != first.began;
    let (second, metrics) = moment(&mirror, "the next round", next).await;
    agree(&second, &metrics);
    assert!(seconds(&second.began) >= seconds(&first.began) && second.ended != first.ended, "{second:?}");
    assert!(value(&metrics, "granary_mirror_scrub_read_artifacts_total") >= read + 3);
}

#[tokio::test]
async fn within_a_round_the_progress_is_between_and_one_that_takes_too_long_is_late() {
    let artifacts = artifacts();
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let mirror = |name: &str, scrub: &str| {
        let more = format!("{}\nscrub: {scrub}", wants(&artifacts.each_ref()));
        scene.run_at(scene.site(name), &more)
    };
    // Spread over a minute; and at a budget that a round of a second does not allow.
    let cases =
        [("evenly", "{period: 1m, bandwidth: 64Ki}", false), ("late", "{period: 1s, bandwidth: 64Ki}", true)];
    for (name, scrub, late) in cases {
        let mirror = mirror(name, scrub);
        mirror.until("synced", has(3)).await;
        let between = |scrub: &ScrubReport| {
            scrub.artifacts == 3 && (1..3).contains(&scrub.read_artifacts) && scrub.trouble.is_some() == late
        };
        let (scrub, metrics) = moment(&mirror, name, between).await;
        agree(&scrub, &metrics);
        assert_eq!(scrub.bytes, nars(&mirror) + 3 * NARINFO);
        assert!(0 < scrub.read_bytes && scrub.read_bytes < scrub.bytes, "{scrub:?}");
        if late {
            let words = scrub.trouble.unwrap();
            assert!(
                words.contains("at 65536 bytes a second") && words.contains("the period is 1 s"),
                "{words}"
            );
        }
        let report: Report = mirror.report().await.unwrap();
        assert_eq!(report.refused_total, 0);
    }
}
