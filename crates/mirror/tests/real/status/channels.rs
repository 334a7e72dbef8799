//! A channel as it is seen from outside.

use std::fs;

use super::{browse, three};
use crate::support::{Report, eventually};

/// A mirror that stops without anybody being told is what this must never be.
#[tokio::test]
async fn a_channel_that_goes_wrong_is_seen_from_outside() {
    let Some((scene, [good, bad, _])) = three().await else { return };
    let (corpus, client) = (&scene.corpus, &scene.client);
    corpus.list("stable", &[&good, &bad]);
    let channels = format!("channels: [{{url: '{}/stable'}}]", scene.upstream.url);
    let mirror = scene.run(&channels);
    let metric = async |line: &str| {
        let answer = client.get(mirror.agent("/metrics")).send().await.ok()?;
        let text = answer.text().await.ok()?;
        let value = text.lines().find_map(|have| have.strip_prefix(line)?.strip_prefix(' '))?;
        value.parse::<u64>().ok()
    };
    let record = mirror.site.tree().join(format!(".granary/quarantine/{}.json", bad.hash_part()));
    let refused = |report: &Report| {
        report.refused_total == 1 && report.channels.iter().all(|it| it.complete.is_some() && it.refused == 1)
    };
    let report = mirror.until("refused", refused).await;
    assert_eq!((report.refused[0].store_path.as_str(), report.policies.len()), (bad.path.as_str(), 0));
    assert!(metric("granary_mirror_refused_total{reason=\"file-hash\"}").await.unwrap() >= 1);
    assert_eq!(metric("granary_mirror_refused").await, Some(1));
    for (state, count) in [("listed", 2), ("published", 1), ("refused", 1)] {
        let name = format!("granary_mirror_channel_artifacts{{channel=\"stable\",state=\"{state}\"}}");
        assert_eq!(metric(&name).await, Some(count), "{state}");
    }
    assert_eq!(metric("granary_mirror_channel_lag_seconds{channel=\"stable\"}").await, Some(0));
    assert_eq!(metric("granary_mirror_channel_up{channel=\"stable\"}").await, Some(1));
    let page = browse(client, &mirror.url()).await.text().await.unwrap();
    for words in [bad.hash_part(), "file-hash", "but for what is refused"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // Passes over the policies, of which there are none, do not tidy it away.
    let passes = metric("granary_mirror_passes_total{result=\"done\"}").await.unwrap();
    eventually("two more passes", async || {
        (metric("granary_mirror_passes_total{result=\"done\"}").await? >= passes + 2).then_some(())
    })
    .await;
    assert!(fs::read_to_string(&record).unwrap().contains("file-hash"));
    assert_eq!(mirror.report().await.unwrap().refused_total, 1);

    corpus.unlist("stable");
    // Another file makes the agent begin anew, and look.
    scene.write(&mirror.site, &format!("{channels}\nextras: {{logs: false}}"));
    let behind =
        |report: &Report| report.channels.iter().all(|it| it.lag_seconds > 0 && it.trouble.is_some());
    let report = mirror.until("behind", behind).await;
    assert!(report.channels[0].trouble.as_ref().unwrap().contains("404"), "{report:?}");
    let lag = async || metric("granary_mirror_channel_lag_seconds{channel=\"stable\"}").await;
    let first = lag().await.unwrap();
    assert!(first >= report.channels[0].lag_seconds);
    eventually("it grows", async || (lag().await? > first).then_some(())).await;
    assert_eq!(metric("granary_mirror_channel_up{channel=\"stable\"}").await, Some(0));
    let page = browse(client, &mirror.url()).await.text().await.unwrap();
    assert!(page.contains("cannot be followed") && page.contains(bad.hash_part()), "{page}");
    assert!(record.exists());

    corpus.list("stable", &[&good]);
    scene.write(&mirror.site, &channels);
    let well = |report: &Report| {
        report.refused_total == 0
            && report.channels.iter().all(|it| it.lag_seconds == 0 && it.trouble.is_none())
    };
    mirror.until("well again", well).await;
    eventually("its record is gone", async || (!record.exists()).then_some(())).await;
}
