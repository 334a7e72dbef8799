//! What a mirror shows of itself: the page, the metrics, readiness, and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Client, Response};

use super::support::{
    AS_JSON, Artifact, Corpus, Mirror, Report, Site, Upstream, client, config, eventually, folder, line_of,
    lines, noise, text, tools,
};

/// What a browser says it takes.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn browse(client: &Client, url: &str) -> Response {
    client.get(url).header("Accept", BROWSER).send().await.unwrap()
}

/// One good artifact, one whose NAR file is damaged, and one that needs that.
fn three(base: &std::path::Path) -> (Corpus, [Artifact; 3]) {
    let good = Artifact::new("good-1.0", 0, noise(50_000), &[]);
    let bad = Artifact::new("bad-1.0", 0, noise(60_000), &[]);
    let user = Artifact::new("user-1.0", 0, b"needs bad".to_vec(), &[&bad]);
    let artifacts = [good, bad, user];
    let corpus = Corpus::make(base, &artifacts);
    let nar = corpus.cache.join(corpus.narinfo(&artifacts[1]).url);
    let mut bytes = fs::read(&nar).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(nar, bytes).unwrap();
    (corpus, artifacts)
}

#[tokio::test]
async fn the_page_is_for_people_and_its_lines_work() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let (corpus, [good, bad, user]) = three(folder.path());
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "north");
    let paths = format!("storePaths: ['{}', '{}']", good.path, user.path);
    let config = config(&site, &upstream.url, &corpus.key, &paths);
    let mut mirror = Mirror::run(site, &config);
    mirror.synced(&client).await;

    for path in ["/", "/granary/v1/status"] {
        let answer = browse(&client, &format!("{}{path}", mirror.url())).await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "content-type")),
            (200, "text/html; charset=utf-8")
        );
        let policy = header(&answer, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        let page = answer.text().await.unwrap();
        for words in
            ["north", "serving", bad.hash_part(), "file-hash", "missing-reference", "damaged at the upstream"]
        {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert!(page.contains(&upstream.url) && page.contains(">answers<"), "{page}");
    }

    // The lines on the page, as they are copied, make nix take from here.
    let page = browse(&client, &mirror.url()).await.text().await.unwrap();
    let lines = page.split_once("extra-substituters").unwrap().1.split_once("</code>").unwrap().0;
    assert!(!lines.contains('&'), "no character of them needs to be written otherwise: {lines}");
    corpus.nix.configure(&format!("extra-substituters{lines}"));
    let mut realise = corpus.nix.command("nix-store");
    realise.arg("--store").arg(corpus.nix.store("by-the-page")).args(["--realise", &good.path]);
    let output = realise.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(corpus.nix.read("by-the-page", &format!("{}/content", good.path)), good.content);

    // A program gets a line, and so does everybody while the agent is away.
    let line = "north is a Nix binary cache. Substituter: this address\n";
    let plain = client.get(mirror.url()).header("Accept", "*/*").send().await.unwrap();
    assert_eq!((header(&plain, "content-type"), header(&plain, "vary")), ("text/plain", "Accept"));
    assert_eq!(plain.text().await.unwrap(), line);
    mirror.kill();
    for path in ["/", "/granary/v1/status"] {
        let answer = browse(&client, &format!("{}{path}", mirror.url())).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "text/plain"));
        assert_eq!(answer.text().await.unwrap(), line);
    }
}

/// A mirror that stops without anybody being told is what this must never be.
#[tokio::test]
async fn a_channel_that_goes_wrong_is_seen_from_outside() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let (corpus, [good, bad, _]) = three(folder.path());
    corpus.list("stable", &[&good, &bad]);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    // Another file makes the agent begin anew, and look.
    let write = |site: &Site, more: &str| {
        let channels = format!("channels: [{{url: '{}/stable'}}]\n{more}", upstream.url);
        config(site, &upstream.url, &corpus.key, &channels)
    };
    let path = write(&site, "");
    let mirror = Mirror::run(site, &path);
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
    let report = mirror.until(&client, "refused", refused).await;
    assert_eq!((report.refused[0].store_path.as_str(), report.policies.len()), (bad.path.as_str(), 0));
    assert!(metric("granary_mirror_refused_total{reason=\"file-hash\"}").await.unwrap() >= 1);
    assert_eq!(metric("granary_mirror_refused").await, Some(1));
    for (state, count) in [("listed", 2), ("published", 1), ("refused", 1)] {
        let name = format!("granary_mirror_channel_artifacts{{channel=\"stable\",state=\"{state}\"}}");
        assert_eq!(metric(&name).await, Some(count), "{state}");
    }
    assert_eq!(metric("granary_mirror_channel_lag_seconds{channel=\"stable\"}").await, Some(0));
    assert_eq!(metric("granary_mirror_channel_up{channel=\"stable\"}").await, Some(1));
    let page = browse(&client, &mirror.url()).await.text().await.unwrap();
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
    assert_eq!(mirror.report(&client).await.unwrap().refused_total, 1);

    corpus.unlist("stable");
    write(&mirror.site, "extras: {logs: false}");
    let behind =
        |report: &Report| report.channels.iter().all(|it| it.lag_seconds > 0 && it.trouble.is_some());
    let report = mirror.until(&client, "behind", behind).await;
    assert!(report.channels[0].trouble.as_ref().unwrap().contains("404"), "{report:?}");
    let lag = async || metric("granary_mirror_channel_lag_seconds{channel=\"stable\"}").await;
    let first = lag().await.unwrap();
    assert!(first >= report.channels[0].lag_seconds);
    eventually("it grows", async || (lag().await? > first).then_some(())).await;
    assert_eq!(metric("granary_mirror_channel_up{channel=\"stable\"}").await, Some(0));
    let page = browse(&client, &mirror.url()).await.text().await.unwrap();
    assert!(page.contains("cannot be followed") && page.contains(bad.hash_part()), "{page}");
    assert!(record.exists());

    corpus.list("stable", &[&good]);
    write(&mirror.site, "");
    let well = |report: &Report| {
        report.refused_total == 0
            && report.channels.iter().all(|it| it.lag_seconds == 0 && it.trouble.is_none())
    };
    mirror.until(&client, "well again", well).await;
    eventually("its record is gone", async || (!record.exists()).then_some(())).await;
}

#[tokio::test]
async fn every_metric_is_in_the_book_and_every_one_in_the_book_exists() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let (corpus, [good, bad, _]) = three(folder.path());
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let paths = format!(
        "storePaths: ['{}', '{}']\nchannels: [{{url: '{}/stable'}}]",
        good.path, bad.path, upstream.url
    );
    let config = config(&site, &upstream.url, &corpus.key, &paths);
    let mirror = Mirror::run(site, &config);
    mirror.synced(&client).await;
    let scraped = client.get(mirror.agent("/metrics")).send().await.unwrap().text().await.unwrap();

    let kinds: BTreeMap<&str, &str> =
        scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let own: BTreeSet<&str> =
        kinds.keys().filter(|name| name.starts_with("granary_mirror_")).copied().collect();
    let book = include_str!("../../../../docs/src/watching.md");
    let mut documented: BTreeMap<String, &str> = BTreeMap::new();
    for row in book.lines().filter(|line| line.starts_with("| `granary_mirror_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        // Several names in one cell have one type, or each its own.
        let types: Vec<&str> = cells[2].split(", ").collect();
        for (index, name) in cells[1].split("`, `").enumerate() {
            let name = name.trim_matches('`').split('{').next().unwrap().replace("…_", "granary_mirror_");
            documented.insert(name, types.get(index).unwrap_or(&types[0]));
        }
    }
    let named: BTreeSet<&str> = documented.keys().map(String::as_str).collect();
    assert_eq!(named, own, "the table in watching.md, and what is scraped");

    for (name, kind) in &kinds {
        assert!(
            scraped.lines().any(|line| line.starts_with(&format!("# HELP {name} "))),
            "{name} has no HELP"
        );
        if own.contains(name) {
            assert_eq!(documented[*name], *kind, "{name}");
        }
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
        let base = name.trim_end_matches("_total");
        let unit = ["milliseconds", "millis", "minutes", "hours", "kilobytes", "mib", "kib", "percent"];
        assert!(
            !unit.iter().any(|unit| base.ends_with(unit)),
            "{name}: seconds, bytes and ratios are the units"
        );
        let measured = ["duration", "lag", "uptime", "timestamp"].iter().any(|word| base.contains(word));
        assert!(!measured || base.ends_with("_seconds"), "{name} is a time and has no unit");
        assert!(
            *kind != "histogram" || base.ends_with("_seconds") || base.ends_with("_bytes"),
            "{name} has no unit"
        );
    }
    let series = scraped.lines().filter(|line| line.starts_with("granary_mirror_")).count();
    assert!(series < 250, "{series} series for one upstream and one policy");
    for label in ["path=", "hash=", "message=", "/nix/store"] {
        assert!(!scraped.contains(label), "{label}");
    }

    let value = |name: &str| -> f64 {
        let line =
            scraped.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("{name} is not in\n{scraped}"))
            .rsplit_once(' ')
            .unwrap()
            .1
            .parse()
            .unwrap()
    };
    let url = &upstream.url;
    let bytes = f64::from(u32::try_from(corpus.nar(&good).len()).unwrap());
    assert!(value(&format!("granary_mirror_source_bytes_total{{source=\"{url}\"}}")) >= bytes);
    for asked in ["narinfo", "nar"] {
        let ok = format!(
            "granary_mirror_source_requests_total{{asked=\"{asked}\",result=\"ok\",source=\"{url}\"}}"
        );
        assert!(value(&ok) >= 2.0, "{asked}");
    }
    assert!(value("granary_mirror_verify_duration_seconds_count") >= 2.0);
    assert!(value("granary_mirror_disk_size_bytes") >= value("granary_mirror_disk_free_bytes"));
    assert!(value("granary_mirror_disk_free_bytes") > 0.0);
    assert!(value("granary_mirror_front_requests_total") >= 1.0);
    for name in ["transfers", "verifications", "queue_artifacts", "uptime_seconds"] {
        assert!(value(&format!("granary_mirror_{name}")) >= 0.0, "{name}");
    }
    assert!((value("granary_mirror_front_up") - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn ready_means_that_the_disk_can_be_read_and_that_nginx_answers() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let artifacts = [Artifact::new("data-1.0", 0, noise(1000), &[])];
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "apart");
    let front = site.base.join("run/front");
    let more = format!("storePaths: ['{}']\nfrontDirectory: '{}'", artifacts[0].path, front.display());
    let config = config(&site, &upstream.url, &corpus.key, &more);
    let start = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_granary-mirror"));
        Running(command.args(arguments).stderr(Stdio::null()).spawn().unwrap())
    };
    let _agent = start(&["agent", "--config", text(&config)]);
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", site.agent);
    let until = async |status: u16, words: &str| {
        eventually(words, async || {
            let answer = client.get(url("/readyz")).send().await.ok()?;
            (answer.status() == status && answer.text().await.ok()?.contains(words)).then_some(())
        })
        .await;
    };
    until(503, "nginx does not answer").await;
    let mut nginx = start(&["front", "--dir", text(&front)]);
    until(200, "ready").await;

    // The disk is gone: what is there now is another directory.
    let (id, aside) = (site.tree().join(".granary/id"), site.base.join("id"));
    fs::rename(&id, &aside).unwrap();
    until(503, "cannot be read").await;
    fs::write(&id, "00000000000000000000000000000000\n").unwrap();
    until(503, "another disk").await;
    fs::rename(&aside, &id).unwrap();
    until(200, "ready").await;
    nginx.stop();
    until(503, "nginx does not answer").await;

    // Nothing of that is a reason to restart the agent, and neither is an upstream that is down.
    upstream.down(true);
    assert_eq!(client.get(url("/healthz")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn each_artifact_has_one_line_in_the_log() {
    if !tools() {
        return;
    }
    let folder = folder();
    let (corpus, artifacts) = three(folder.path());
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let paths = format!("storePaths: ['{}', '{}']", artifacts[0].path, artifacts[2].path);
    let config = config(&site, &upstream.url, &corpus.key, &paths);
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
    let [good, bad, user] = &artifacts;
    assert_eq!(line(good)["bytes"], corpus.nar(good).len());
    assert_eq!(line(good)["source"], upstream.url);
    assert_eq!(
        (&line(bad)["reason"], &line(bad)["source"]),
        (&"file-hash".into(), &upstream.url.clone().into())
    );
    assert_eq!(line(user)["reason"], "missing-reference");
    // At this level the rest tells which artifact it is about.
    let within =
        |line: &&serde_json::Value| line["span"]["name"] == "artifact" && line["span"]["path"] == *bad.path;
    assert!(lines.iter().any(|line| within(&line)), "{lines:?}");
}

/// What clients ask for beyond what is wanted, good and bad, is told like what a pass does.
#[tokio::test]
async fn pull_through_tells_of_each_artifact_in_log_metric_page_and_quarantine() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let (corpus, [good, bad, user]) = three(folder.path());
    // A narinfo that nobody has signed.
    let unsigned = corpus.cache.join(format!("{}.narinfo", user.hash_part()));
    let text = fs::read_to_string(&unsigned).unwrap();
    let text: String =
        text.lines().filter(|line| !line.starts_with("Sig: ")).flat_map(|line| [line, "\n"]).collect();
    fs::write(&unsigned, text).unwrap();
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "through");
    let config = config(&site, &upstream.url, &corpus.key, "pullThrough: {maxSize: 1Gi}");
    let mirror = Mirror::run_with(site, &config, &[AS_JSON]);
    mirror.synced(&client).await;

    let get = async |path: &str| client.get(format!("{}/{path}", mirror.url())).send().await.unwrap();
    for artifact in [&good, &bad] {
        assert_eq!(get(&format!("{}.narinfo", artifact.hash_part())).await.status(), 200);
    }
    assert_eq!(get(&format!("{}.narinfo", user.hash_part())).await.status(), 404, "it may not be passed on");
    let nar = get(&corpus.narinfo(&good).url).await;
    assert_eq!(nar.bytes().await.unwrap(), corpus.nar(&good));
    for _ in 0..2 {
        assert_eq!(get(&corpus.narinfo(&bad).url).await.status(), 503, "not a byte of it is passed on");
    }
    let report = mirror
        .until(&client, "both are refused, and one is here", |report| {
            report.refused_total == 2 && report.artifacts == 1
        })
        .await;
    let [newest, before] = &report.refused[..] else { panic!("{:?}", report.refused) };
    assert_eq!((&newest.store_path, newest.reason.as_str()), (&bad.path, "file-hash"));
    assert_eq!((before.store_path.as_str(), before.reason.as_str()), (user.hash_part(), "unsigned"));

    let lines = lines(&mirror.log());
    let published = line_of(&lines, &good.path);
    assert_eq!(published["message"], "published");
    assert_eq!(published["source"], upstream.url);
    assert_eq!(published["bytes"], corpus.nar(&good).len());
    for (path, reason) in [(&*bad.path, "file-hash"), (user.hash_part(), "unsigned")] {
        let line = line_of(&lines, path);
        assert_eq!((&line["message"], &line["reason"]), (&"refused".into(), &reason.into()), "{line}");
        assert_eq!(line["source"], upstream.url);
        assert!(line["fault"].as_str().is_some_and(|fault| !fault.is_empty()), "{line}");
    }
    let page = browse(&client, &mirror.url()).await.text().await.unwrap();
    for words in [bad.hash_part(), user.hash_part(), "file-hash", "unsigned"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let metrics = client.get(mirror.agent("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in [
        "granary_mirror_refused 2",
        "granary_mirror_refused_total{reason=\"file-hash\"} 1",
        "granary_mirror_refused_total{reason=\"unsigned\"} 1",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }

    // Passes come and go, and leave the refusals and their records.
    for _ in 0..2 {
        let last = mirror.report(&client).await.unwrap().policies[0].last_pass.clone();
        mirror.until(&client, "a pass ends", |report| report.policies[0].last_pass != last).await;
    }
    assert_eq!(mirror.report(&client).await.unwrap().refused_total, 2);
    for artifact in [&bad, &user] {
        let record = format!(".granary/quarantine/{}.json", artifact.hash_part());
        let record = mirror.site.tree().join(record);
        eventually("there is a record", async || record.exists().then_some(())).await;
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn stop(&mut self) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGTERM);
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            self.stop();
        }
    }
}
