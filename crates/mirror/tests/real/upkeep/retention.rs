//! What nobody wants any more.

use granary_placement::report::Report;

use super::has;
use crate::support::{Artifact, Scene, Site, eventually, library_and_app, noise, wants};

fn trashed(report: &Report) -> Option<u64> {
    report.upkeep.retention.as_ref().map(|retention| retention.trashed)
}

#[tokio::test]
async fn what_nobody_wants_leaves_and_its_nar_is_answered_for_who_remembers_it() {
    let [library, app] = library_and_app(300_000);
    let other = Artifact::new("other-1.0", 0, noise(200_000), &[&library]);
    let artifacts = [library, app, other];
    let [_, app, other] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let (corpus, upstream) = (&scene.corpus, &scene.upstream);
    let kept = |roots: &[&Artifact], trash: &str| {
        format!("{}\nretention: {{graceAfterUnreferenced: 0s, trash: {trash}}}", wants(roots))
    };
    let mirror = scene.run(&kept(&[app, other], "1d"));
    mirror.until("both", has(3)).await;
    let name = mirror.nar_name(other).await;

    scene.write(&mirror.site, &kept(&[app], "1d"));
    let taken_out = |report: &Report| {
        trashed(report) == Some(1)
            && report.upkeep.retention.as_ref().is_some_and(|retention| retention.waiting.is_none())
    };
    mirror.until("taken out", |report| has(2)(report) && taken_out(report)).await;
    let narinfo = other.narinfo();
    eventually("the narinfo is gone", async || (mirror.status(&narinfo).await == 404).then_some(())).await;
    mirror.verified(&corpus.key);
    // From the trash, by nginx alone.
    upstream.down(true);
    let whole = corpus.nar(other);
    assert_eq!(mirror.body(&name).await.unwrap(), whole);
    let url = format!("{}/{name}", mirror.url());
    let part = scene.client.get(url).header("Range", "bytes=1000-").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), whole[1000..]);
    upstream.down(false);

    // Wanted again: the narinfo is asked for, the NAR is not.
    let asked = upstream.nars();
    scene.write(&mirror.site, &kept(&[app, other], "1d"));
    mirror.until("taken back", has(3)).await;
    assert_eq!(upstream.nars(), asked, "{}", mirror.log());
    mirror.verified(&corpus.key);

    // Gone for good, and had again for who asks.
    scene.write(&mirror.site, &kept(&[app], "0s"));
    mirror.until("emptied", |report| report.artifacts == 2 && trashed(report) == Some(0)).await;
    eventually("asked for again", async || {
        assert_eq!(mirror.body(&name).await.unwrap(), whole);
        (upstream.nars() > asked).then_some(())
    })
    .await;
    mirror.verified(&corpus.key);
}

#[tokio::test]
async fn what_only_an_older_list_of_a_channel_has_leaves_and_before_the_first_nothing_does() {
    let [library, app] = library_and_app(100_000);
    let old = Artifact::new("old-1.0", 0, b"an old application".to_vec(), &[&library]);
    let before = Artifact::new("before-1.0", 0, b"from before".to_vec(), &[]);
    let artifacts = [library, app, old, before];
    let [library, app, old, before] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    // Another file makes the agent begin anew, and look.
    let write = |site: &Site, wanted: &str, trash: u32| {
        scene.write(site, &format!("{wanted}\nretention: {{graceAfterUnreferenced: 0s, trash: {trash}d}}"));
    };
    let mirror =
        scene.run(&format!("{}\nretention: {{graceAfterUnreferenced: 0s, trash: 1d}}", wants(&[before])));
    mirror.until("what was wanted before", has(1)).await;
    let channels = format!("channels: [{{url: '{}/stable'}}]", scene.upstream.url);
    write(&mirror.site, &channels, 2);
    let waits = |report: &Report| {
        let waiting = report.upkeep.retention.as_ref().and_then(|retention| retention.waiting.as_ref());
        waiting.is_some_and(|reason| reason.contains("channels"))
            && report.channels.iter().any(|channel| channel.trouble.is_some())
    };
    let report = mirror.until("no list yet", waits).await;
    assert_eq!((report.artifacts, report.policies.len()), (1, 0), "{report:?}");

    let complete = |report: &Report, artifacts: u64| {
        report.artifacts == artifacts
            && report.channels.iter().all(|it| it.complete.is_some() && it.lag_seconds == 0)
    };
    scene.corpus.list("stable", &[old]);
    write(&mirror.site, &channels, 3);
    mirror.until("the first list", |report| complete(report, 2)).await;
    assert_eq!(mirror.status(&old.narinfo()).await, 200);
    eventually("before the first list", async || {
        (mirror.status(&before.narinfo()).await == 404).then_some(())
    })
    .await;

    scene.corpus.list("stable", &[app]);
    write(&mirror.site, &channels, 4);
    mirror.until("the second list", |report| complete(report, 2) && trashed(report) == Some(2)).await;
    eventually("the first list", async || (mirror.status(&old.narinfo()).await == 404).then_some(())).await;
    for stays in [app, library] {
        assert_eq!(mirror.status(&stays.narinfo()).await, 200, "{}", stays.path);
    }
    mirror.verified(&scene.corpus.key);
}
