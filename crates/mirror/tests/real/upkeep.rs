//! A mirror that keeps what it has: things that nobody wants any more, a full disk, a disk that cannot be written, and rot.

use std::fs;

use granary_placement::report::Report;

use super::support::{
    Artifact, Corpus, Mirror, Site, Small, Upstream, client, config, eventually, folder, map_of, noise, run,
    text, tools,
};

async fn body(client: &reqwest::Client, url: &str) -> Option<Vec<u8>> {
    let answer = client.get(url).send().await.ok()?;
    answer.status().is_success().then_some(())?;
    Some(answer.bytes().await.ok()?.to_vec())
}

async fn status(client: &reqwest::Client, url: &str) -> u16 {
    client.get(url).send().await.unwrap().status().as_u16()
}

fn verified(mirror: &Mirror, corpus: &Corpus) {
    let (code, out, error) = run(&["verify", text(&mirror.site.tree()), "--public-key", &corpus.key]);
    assert_eq!(code, Some(0), "{out}{error}\n{}", mirror.log());
}

/// Where a NAR is, as its narinfo says here.
async fn nar_url(client: &reqwest::Client, mirror: &Mirror, artifact: &Artifact) -> String {
    let narinfo = format!("{}/{}.narinfo", mirror.url(), artifact.hash_part());
    let narinfo = String::from_utf8(body(client, &narinfo).await.unwrap()).unwrap();
    format!("{}/{}", mirror.url(), narinfo.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap())
}

fn has(artifacts: u64) -> impl Fn(&Report) -> bool {
    move |report| report.artifacts == artifacts && report.policies.iter().all(|policy| policy.synced)
}

#[tokio::test]
async fn what_nobody_wants_leaves_and_its_nar_is_answered_for_who_remembers_it() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let library = Artifact::new("library-1.0", 0, noise(300_000), &[]);
    let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&library]);
    let other = Artifact::new("other-1.0", 0, noise(200_000), &[&library]);
    let artifacts = [library, app, other];
    let [_, app, other] = &artifacts;
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let write = |site: &Site, roots: &[&Artifact], trash: &str| {
        let roots: Vec<&str> = roots.iter().map(|artifact| artifact.path.as_str()).collect();
        let more =
            format!("storePaths: {roots:?}\nretention: {{graceAfterUnreferenced: 0s, trash: {trash}}}");
        config(site, &upstream.url, &corpus.key, &more)
    };
    let path = write(&site, &[app, other], "1d");
    let mirror = Mirror::run(site, &path);
    mirror.until(&client, "both", has(3)).await;
    let url = nar_url(&client, &mirror, other).await;
    let narinfo = format!("{}/{}.narinfo", mirror.url(), other.hash_part());

    write(&mirror.site, &[app], "1d");
    let trashed = |report: &Report| {
        report
            .upkeep
            .retention
            .as_ref()
            .is_some_and(|retention| retention.trashed == 1 && retention.waiting.is_none())
    };
    mirror.until(&client, "taken out", |report| has(2)(report) && trashed(report)).await;
    eventually("the narinfo is gone", async || (status(&client, &narinfo).await == 404).then_some(())).await;
    verified(&mirror, &corpus);
    // From the trash, by nginx alone.
    upstream.down(true);
    let whole = corpus.nar(other);
    assert_eq!(body(&client, &url).await.unwrap(), whole);
    let part = client.get(&url).header("Range", "bytes=1000-").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), whole[1000..]);
    upstream.down(false);

    // Wanted again: the narinfo is asked for, the NAR is not.
    let asked = upstream.nars();
    write(&mirror.site, &[app, other], "1d");
    mirror.until(&client, "taken back", has(3)).await;
    assert_eq!(upstream.nars(), asked, "{}", mirror.log());
    verified(&mirror, &corpus);

    // Gone for good, and had again for who asks.
    write(&mirror.site, &[app], "0s");
    let emptied = |report: &Report| {
        report.artifacts == 2
            && report.upkeep.retention.as_ref().is_some_and(|retention| retention.trashed == 0)
    };
    mirror.until(&client, "emptied", emptied).await;
    eventually("asked for again", async || {
        assert_eq!(body(&client, &url).await.unwrap(), whole);
        (upstream.nars() > asked).then_some(())
    })
    .await;
    verified(&mirror, &corpus);
}

#[tokio::test]
async fn what_only_an_older_list_of_a_channel_has_leaves_and_before_the_first_nothing_does() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let library = Artifact::new("library-1.0", 0, noise(100_000), &[]);
    let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&library]);
    let old = Artifact::new("old-1.0", 0, b"an old application".to_vec(), &[&library]);
    let before = Artifact::new("before-1.0", 0, b"from before".to_vec(), &[]);
    let artifacts = [library, app, old, before];
    let [library, app, old, before] = &artifacts;
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    // Another file makes the agent begin anew, and look.
    let write = |site: &Site, wanted: &str, trash: u32| {
        let more = format!("{wanted}\nretention: {{graceAfterUnreferenced: 0s, trash: {trash}d}}");
        config(site, &upstream.url, &corpus.key, &more)
    };
    let path = write(&site, &format!("storePaths: ['{}']", before.path), 1);
    let mirror = Mirror::run(site, &path);
    mirror.until(&client, "what was wanted before", has(1)).await;
    let channels = format!("channels: [{{url: '{}/stable'}}]", upstream.url);
    write(&mirror.site, &channels, 2);
    let waits = |report: &Report| {
        let waiting = report.upkeep.retention.as_ref().and_then(|retention| retention.waiting.as_ref());
        waiting.is_some_and(|reason| reason.contains("channels"))
            && report.channels.iter().any(|channel| channel.trouble.is_some())
    };
    let report = mirror.until(&client, "no list yet", waits).await;
    assert_eq!((report.artifacts, report.policies.len()), (1, 0), "{report:?}");

    let narinfo = |artifact: &Artifact| format!("{}/{}.narinfo", mirror.url(), artifact.hash_part());
    let complete = |report: &Report, artifacts: u64| {
        report.artifacts == artifacts
            && report.channels.iter().all(|it| it.complete.is_some() && it.lag_seconds == 0)
    };
    corpus.list("stable", &[old]);
    write(&mirror.site, &channels, 3);
    mirror.until(&client, "the first list", |report| complete(report, 2)).await;
    assert_eq!(status(&client, &narinfo(old)).await, 200);
    eventually("before the first list", async || {
        (status(&client, &narinfo(before)).await == 404).then_some(())
    })
    .await;

    corpus.list("stable", &[app]);
    write(&mirror.site, &channels, 4);
    let left = |report: &Report| {
        complete(report, 2) && report.upkeep.retention.as_ref().is_some_and(|it| it.trashed == 2)
    };
    mirror.until(&client, "the second list", left).await;
    eventually("the first list", async || (status(&client, &narinfo(old)).await == 404).then_some(())).await;
    for stays in [app, library] {
        assert_eq!(status(&client, &narinfo(stays)).await, 200, "{}", stays.path);
    }
    verified(&mirror, &corpus);
}

#[tokio::test]
async fn a_full_disk_takes_nothing_in_serves_on_and_recovers_by_itself() {
    if !tools() {
        return;
    }
    for capacity in ["capacity: {keepFree: 4Mi}", ""] {
        let (folder, client) = (folder(), client());
        let small = Artifact::new("small-1.0", 0, noise(100_000), &[]);
        let large = Artifact::new("large-1.0", 0, noise(6 << 20), &[&small]);
        let artifacts = [small, large];
        let [small, large] = &artifacts;
        let corpus = Corpus::make(folder.path(), &artifacts);
        let upstream = Upstream::serve(&corpus.cache).await;
        let site = Site::new(folder.path(), "lan");
        // With keepFree there would be room for the large one, but not beside what stays free.
        let disk = Small::mount(&site.tree(), if capacity.is_empty() { "5m" } else { "9m" });
        let more = format!(
            "storePaths: ['{}']\nfrontDirectory: '{}'\n{capacity}",
            large.path,
            site.base.join("front").display()
        );
        let path = config(&site, &upstream.url, &corpus.key, &more);
        let mut mirror = Mirror::run(site, &path);
        let refused = |report: &Report| report.artifacts == 1 && report.refused_total == 1;
        let report = mirror.until(&client, "refused", refused).await;
        let (reason, message) = (report.refused[0].reason.as_str(), &report.refused[0].message);
        let full = report.upkeep.capacity.as_ref().and_then(|capacity| capacity.full.clone());
        if capacity.is_empty() {
            assert_eq!(reason, "disk", "{message}");
        } else {
            assert_eq!(reason, "no-space", "{message}");
            assert!(message.contains("capacity.keepFree"), "{message}");
            assert_eq!(upstream.nars(), 1, "it is not even asked for");
            eventually("the report says so", async || mirror.report(&client).await?.upkeep.capacity?.full)
                .await;
            assert!(full.is_none_or(|full| full.contains("no space")));
            assert_eq!(mirror.log().matches("not taking in what has no room").count(), 1, "told once");
        }
        let url = nar_url(&client, &mirror, small).await;
        assert_eq!(body(&client, &url).await.unwrap(), corpus.nar(small), "it serves on");
        verified(&mirror, &corpus);

        disk.try_remount("size=64m").unwrap();
        let report = mirror.until(&client, "recovered", has(2)).await;
        assert_eq!(report.refused_total, 0);
        verified(&mirror, &corpus);
        assert_eq!(mirror.stop(), Some(0));
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_serves_on_and_recovers_by_itself() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let one = Artifact::new("one-1.0", 0, noise(100_000), &[]);
    let two = Artifact::new("two-1.0", 0, noise(100_000), &[&one]);
    let artifacts = [one, two];
    let [one, two] = &artifacts;
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let disk = Small::mount(&site.tree(), "64m");
    let map = folder.path().join("map.json");
    let ask =
        |epoch, roots: &[&str]| fs::write(&map, map_of(epoch, &[&site], 1, roots).map().to_json()).unwrap();
    ask(1, &[&one.path]);
    let more = format!(
        "map: {{file: '{}', pollSeconds: 1}}\nfrontDirectory: '{}'\nscrub: {{period: 1s}}",
        map.display(),
        site.base.join("front").display()
    );
    let path = config(&site, &upstream.url, &corpus.key, &more);
    let epoch_2 = map_of(2, &[&site], 1, &[&one.path, &two.path]).map().to_json();
    let mirror = Mirror::run(site, &path);
    mirror.until(&client, "one", has(1)).await;
    // It is busy as long as something is being written.
    eventually("read-only", async || disk.try_remount("ro").ok()).await;
    fs::write(&map, epoch_2).unwrap();
    let refused = |report: &Report| report.refused.iter().any(|refusal| refusal.reason.as_str() == "disk");
    let report = mirror.until(&client, "refused", refused).await;
    assert_eq!(report.artifacts, 1);
    let url = nar_url(&client, &mirror, one).await;
    assert_eq!(body(&client, &url).await.unwrap(), corpus.nar(one));
    verified(&mirror, &corpus);
    disk.try_remount("rw").unwrap();
    mirror.until(&client, "recovered", has(2)).await;
    verified(&mirror, &corpus);
}

#[tokio::test]
async fn rot_is_found_taken_out_of_the_clients_way_and_repaired() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let library = Artifact::new("library-1.0", 0, noise(300_000), &[]);
    let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&library]);
    let artifacts = [library, app];
    let [library, app] = &artifacts;
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let more = format!("storePaths: ['{}']\nscrub: {{period: 1s, bandwidth: 1Gi}}", app.path);
    let path = config(&site, &upstream.url, &corpus.key, &more);
    let mirror = Mirror::run(site, &path);
    mirror.until(&client, "synced", has(2)).await;
    let url = nar_url(&client, &mirror, library).await;
    let name = url.rsplit_once("/nar/").unwrap().1.to_owned();
    let file = mirror.site.tree().join("nar").join(&name);
    let good = fs::read(&file).unwrap();

    // Nobody has it meanwhile: it is taken out all the same, and its narinfo still answered.
    upstream.down(true);
    let mut bad = good.clone();
    bad[100_000] ^= 1;
    fs::write(&file, &bad).unwrap();
    let rotten = |report: &Report| {
        report.artifacts == 1 && report.upkeep.scrub.as_ref().is_some_and(|scrub| scrub.rotten == 1)
    };
    mirror.until(&client, "found", rotten).await;
    assert!(!file.exists());
    assert_eq!(fs::read(mirror.site.tree().join(".granary/quarantine").join(&name)).unwrap(), bad);
    let narinfo = format!("{}/{}.narinfo", mirror.url(), library.hash_part());
    assert_eq!(status(&client, &narinfo).await, 200);
    verified(&mirror, &corpus);

    upstream.down(false);
    mirror.until(&client, "repaired", has(2)).await;
    assert_eq!(fs::read(&file).unwrap(), good);
    eventually("the right bytes", async || (body(&client, &url).await? == good).then_some(())).await;
    verified(&mirror, &corpus);
    let metrics = String::from_utf8(body(&client, &mirror.agent("/metrics")).await.unwrap()).unwrap();
    let line = "granary_mirror_scrub_rotten_total{file=\"nar\"} 1";
    assert!(metrics.lines().any(|have| have == line), "{metrics}");
}

#[tokio::test]
async fn rot_under_a_channel_is_repaired_at_once() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let library = Artifact::new("library-1.0", 0, noise(300_000), &[]);
    let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&library]);
    let artifacts = [library, app];
    let [library, app] = &artifacts;
    let corpus = Corpus::make(folder.path(), &artifacts);
    corpus.list("stable", &[app]);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let more =
        format!("channels: [{{url: '{}/stable'}}]\nscrub: {{period: 1s, bandwidth: 1Gi}}", upstream.url);
    let path = config(&site, &upstream.url, &corpus.key, &more);
    // By itself it would look again in twenty hours.
    let text = fs::read_to_string(&path).unwrap().replace("syncSeconds: 1", "syncSeconds: 3600");
    fs::write(&path, text).unwrap();
    let mirror = Mirror::run(site, &path);
    mirror.until(&client, "complete", |report| report.channels.iter().all(|it| it.complete.is_some())).await;
    let file = mirror.site.tree().join(&corpus.narinfo(library).url);
    let mut bad = fs::read(&file).unwrap();
    bad[100_000] ^= 1;
    fs::write(&file, &bad).unwrap();
    let repaired = |report: &Report| {
        report.artifacts == 2 && report.upkeep.scrub.as_ref().is_some_and(|scrub| scrub.rotten == 1)
    };
    mirror.until(&client, "repaired", repaired).await;
    assert_eq!(fs::read(&file).unwrap(), corpus.nar(library));
    verified(&mirror, &corpus);
}

/// The NAR of a file, packed otherwise.
fn repacked(file: &[u8]) -> Vec<u8> {
    let nar = zstd::decode_all(file).unwrap();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::copy(&mut &nar[..], &mut encoder).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_rotted_and_comes_again_as_another_file_is_answered_under_its_old_name() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let artifacts = [Artifact::new("library-1.0", 0, noise(300_000), &[])];
    let [library] = &artifacts;
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let more = format!("storePaths: ['{}']\nscrub: {{period: 1s, bandwidth: 1Gi}}", library.path);
    let path = config(&site, &upstream.url, &corpus.key, &more);
    let mut mirror = Mirror::run(site, &path);
    mirror.until(&client, "synced", has(1)).await;
    let old = nar_url(&client, &mirror, library).await;

    // The upstream has the same NAR in another file by now, and nothing under the old name.
    let mut info = corpus.narinfo(library);
    let before = corpus.cache.join(&info.url);
    let file = repacked(&fs::read(&before).unwrap());
    let hash = granary_nix::Hash::of(&file);
    info.url = granary_nix::served_nar_name(hash, info.compression);
    (info.file_hash, info.file_size) = (Some(hash), Some(file.len() as u64));
    fs::remove_file(before).unwrap();
    fs::write(corpus.cache.join(&info.url), &file).unwrap();
    fs::write(corpus.cache.join(format!("{}.narinfo", library.hash_part())), info.to_text()).unwrap();

    let held = mirror.site.tree().join("nar").join(old.rsplit_once("/nar/").unwrap().1);
    let mut bad = fs::read(&held).unwrap();
    bad[100_000] ^= 1;
    fs::write(&held, &bad).unwrap();
    let repaired = |report: &Report| {
        has(1)(report) && report.upkeep.scrub.as_ref().is_some_and(|scrub| scrub.rotten == 1)
    };
    mirror.until(&client, "repaired", repaired).await;
    // nginx may have the rotten file open for some seconds.
    eventually("the right NAR", async || (body(&client, &old).await? == file).then_some(())).await;
    verified(&mirror, &corpus);

    // From the disk, and by another process too.
    upstream.down(true);
    mirror.stop();
    let Site { name, base, http, agent } = &mirror.site;
    let site = Site { name: name.clone(), base: base.clone(), http: *http, agent: *agent };
    drop(mirror);
    let mirror = Mirror::run(site, &path);
    eventually("the right NAR again", async || (body(&client, &old).await? == file).then_some(())).await;
    assert!(nar_url(&client, &mirror, library).await.ends_with(&info.url));
}
