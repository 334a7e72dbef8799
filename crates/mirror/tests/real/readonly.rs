//! A mirror that starts on a disk that takes nothing in, with the real nginx in front of it.

use std::fs;

use super::push::TOKEN;
use super::support::{
    Artifact, Corpus, Mirror, Site, Small, Upstream, client, config, eventually, folder, noise, run, text,
    tools,
};

#[tokio::test]
async fn it_starts_on_a_read_only_disk_serves_says_so_and_recovers_by_itself() {
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
    // nginx's files are where they are by default: in the tree.
    let wanted = |root: &Artifact| format!("storePaths: ['{}']", root.path);
    let path = config(&site, &upstream.url, &corpus.key, &wanted(one));
    let mut mirror = Mirror::run(site, &path);
    mirror.synced(&client).await;
    // As a machine that fails leaves it: nginx keeps the port, and the next start has to end it.
    mirror.kill();
    let again = || Site {
        name: mirror.site.name.clone(),
        base: mirror.site.base.clone(),
        http: mirror.site.http,
        agent: mirror.site.agent,
    };
    fs::write(mirror.site.tree().join(".granary/tmp/7"), "half").unwrap();
    eventually("read-only", async || disk.try_remount("ro").ok()).await;
    // Pushes are taken for the first time, which needs a folder that cannot be made yet.
    let tokens = folder.path().join("tokens");
    fs::write(&tokens, format!("ci:{TOKEN}\n")).unwrap();
    let push =
        format!("push: {{tokenFile: '{}', maxSize: 10Mi, publicKeys: ['{}']}}", tokens.display(), corpus.key);
    config(&mirror.site, &upstream.url, &corpus.key, &format!("{}\n{push}", wanted(two)));
    let asked = upstream.nars();
    let run_directory = folder.path().join("run");
    fs::create_dir(&run_directory).unwrap();
    let second = Mirror::run_with(again(), &path, &[("RUNTIME_DIRECTORY", text(&run_directory))]);

    // Not the old one, which serves until then.
    eventually("its own nginx", async || {
        let log = second.log();
        (log.contains("left over from an earlier run") && log.contains("nginx started")).then_some(())
    })
    .await;
    let said = |report: &super::support::Report| {
        report.upkeep.capacity.as_ref().is_some_and(|capacity| capacity.read_only) && report.refused_total > 0
    };
    let report = second.until(&client, "it says so", said).await;
    assert!(report.upkeep.capacity.unwrap().full.unwrap().contains("the disk is read-only"));
    assert_eq!((report.artifacts, report.refused[0].reason.as_str()), (1, "disk"), "{:?}", report.refused);
    eventually("ready", async || {
        let answer = client.get(second.agent("/readyz")).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    let get = async |path: &str| client.get(format!("{}/{path}", second.url())).send().await.unwrap();
    let narinfo = get(&format!("{}.narinfo", one.hash_part())).await.text().await.unwrap();
    let nar = narinfo.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap();
    assert_eq!(get(nar).await.bytes().await.unwrap(), corpus.nar(one));
    let got = corpus.nix.substitute("from-read-only", &second.url(), &corpus.key, &one.path);
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    assert_eq!(upstream.nars(), asked, "nothing is asked for that could not be kept");
    let page = client.get(second.agent("/granary/v1/status")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("serving") && page.contains("the disk is read-only"), "{page}");
    let metrics = client.get(second.agent("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in ["granary_mirror_disk_read_only 1", "granary_mirror_full 0", "granary_mirror_front_ready 1"] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
    let push = async || {
        let url = format!("{}/nar/{}.nar.xz", second.url(), "0".repeat(52));
        client.put(url).bearer_auth(TOKEN).body("a NAR").send().await.unwrap().status()
    };
    assert!(push().await.is_server_error());
    let log = second.log();
    assert_eq!(log.matches("the disk is read-only: serving what is there").count(), 1, "{log}");
    // The pod's first container has nothing left to do, and says no word about the disk.
    let owner = format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid());
    let (code, _, error) = run(&["prepare", text(&second.site.tree()), "--owner", &owner]);
    assert_eq!(code, Some(0), "{error}");

    disk.try_remount("rw").unwrap();
    let all = |report: &super::support::Report| {
        report.artifacts == 2
            && report.refused_total == 0
            && report.upkeep.capacity.as_ref().is_some_and(|capacity| !capacity.read_only)
    };
    second.until(&client, "recovered", all).await;
    assert_eq!(push().await, reqwest::StatusCode::CREATED);
    assert!(!second.site.tree().join(".granary/tmp/7").exists(), "what had to wait is done");
    let (code, out, error) = run(&["verify", text(&second.site.tree()), "--public-key", &corpus.key]);
    assert_eq!(code, Some(0), "{out}{error}\n{}", second.log());
}
