//! What nginx answers: Mirrors entries, methods, ranges, what is hidden, and what survives a kill.

use nix::sys::signal::{Signal, kill};
use reqwest::{Client, Response};

use super::support::{Artifact, Mirror, Scene, Site, eventually, header, map_of, nar_name, raw, wants};

const NIX: &str = "curl/8.13.0 Nix/2.26.3";

async fn get(client: &Client, url: &str, agent: &str) -> Response {
    client.get(url).header("User-Agent", agent).send().await.unwrap()
}

#[tokio::test]
async fn mirrors_entries_name_the_other_holders() {
    let data = Artifact::sized("data-1.0", 200_000);
    let Some(scene) = Scene::of(std::slice::from_ref(&data)).await else { return };
    let (corpus, client) = (&scene.corpus, &scene.client);
    let [a, b, c] = ["a-0", "b-0", "c-0"].map(|name| scene.site(name));
    let put = |epoch, sites: &[&Site], target| scene.put_map(&map_of(epoch, sites, target, &[&data.path]));
    put(5, &[&a, &b], 2);
    let third = c.url();
    let [a, b] = [a, b].map(|site| scene.run_at(site, &scene.follow()));
    for mirror in [&a, &b] {
        assert_eq!(mirror.synced().await.epoch, 5);
    }

    // The line and the header, for one that understands them.
    let narinfo = format!("{}/{}", a.url(), data.narinfo());
    let line = format!("Mirrors: {}", b.url());
    a.names(&data, &b.url()).await;
    let answer = get(client, &narinfo, NIX).await;
    assert_eq!(header(&answer, "content-type"), "text/x-nix-narinfo");
    let header_link = format!("<{}/{}>; rel=duplicate; pri=1", b.url(), data.narinfo());
    assert_eq!(header(&answer, "link"), header_link);
    assert_eq!(header(&answer, "vary"), "User-Agent");
    let text = answer.text().await.unwrap();
    assert_eq!(text.lines().last(), Some(&*line), "{text}");
    assert!(text.ends_with('\n'));
    let plain = std::fs::read_to_string(a.site.tree().join(data.narinfo())).unwrap();
    assert_eq!(text, format!("{plain}{line}\n"), "nothing else is changed");
    for agent in ["curl/8.0 Lix/2.95.0", "granary-gateway/0.1.0"] {
        assert!(get(client, &narinfo, agent).await.text().await.unwrap().contains(&line), "{agent}");
    }
    // Strict parsers refuse unknown keys.
    for agent in ["ncps/0.9", "Go-http-client/1.1", "", "Mozilla/5.0 (Unix/1.0)"] {
        let answer = get(client, &narinfo, agent).await;
        assert_eq!(header(&answer, "link"), header_link);
        assert_eq!(answer.text().await.unwrap(), plain, "{agent}");
    }

    // Every URL that is named really serves the artifact.
    for url in line.trim_start_matches("Mirrors: ").split(' ') {
        let text = get(client, &format!("{url}/{}", data.narinfo()), NIX).await.text().await.unwrap();
        let path = nar_name(&text);
        let nar = get(client, &format!("{url}/{path}"), NIX).await.bytes().await.unwrap();
        assert_eq!(nar, corpus.nar(&data));
    }

    // A newer map changes the line without a restart; an older one does nothing.
    let nginx = a.nginx();
    put(6, &[&a.site, &b.site, &c], 3);
    let changed = eventually("the line names the third", async || {
        let text = get(client, &narinfo, NIX).await.text().await.unwrap();
        text.lines().last().filter(|last| last.contains(&third)).map(str::to_owned)
    });
    let changed = changed.await;
    assert_eq!(changed.split(' ').count(), 3, "{changed}");
    assert!(changed.contains(&b.url()), "{changed}");
    assert_eq!(a.nginx(), nginx);
    put(4, &[&a.site, &b.site], 2);
    a.until("the older map is seen and not taken", |report| report.epoch == 6).await;
    assert_eq!(get(client, &narinfo, NIX).await.text().await.unwrap().lines().last(), Some(&*changed));

    // Killed with its workers left behind, it comes back.
    kill(nginx.unwrap(), Signal::SIGKILL).unwrap();
    eventually("nginx is another process and answers", async || {
        let another = a.nginx() != nginx;
        let answer = client.get(&narinfo).header("User-Agent", NIX).send().await.ok()?;
        (another && answer.status() == 200).then_some(())
    })
    .await;
    drop(b);

    // The map survives without its file, and the other ways to publish.
    std::fs::remove_file(scene.map()).unwrap();
    for (publish, agent, lines) in [("Always", "Go-http-client/1.1", 1), ("Never", NIX, 0)] {
        let fresh = Site { base: scene.path().join(publish), ..scene.site("a-0") };
        std::fs::create_dir_all(fresh.tree().join(".granary")).unwrap();
        std::fs::copy(a.site.tree().join(".granary/map.json"), fresh.tree().join(".granary/map.json"))
            .unwrap();
        let mirror = scene.run_at(fresh, &format!("{}\npublish: {{narinfo: {publish}}}", scene.follow()));
        assert_eq!(mirror.synced().await.epoch, 6);
        mirror.names(&data, &b_url(&changed)).await;
        let answer = get(client, &format!("{}/{}", mirror.url(), data.narinfo()), agent).await;
        assert_eq!(header(&answer, "vary"), "", "{publish}: the answer is the same for all");
        assert_eq!(!header(&answer, "etag").is_empty(), publish == "Never");
        let text = answer.text().await.unwrap();
        assert_eq!(text.matches("Mirrors: ").count(), lines, "{publish}: {text}");
    }
}

/// The first URL of a line.
fn b_url(line: &str) -> String {
    line.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn only_reading_and_only_the_cache() {
    let data = Artifact::sized("data-1.0", 200_000);
    let Some(scene) = Scene::of(std::slice::from_ref(&data)).await else { return };
    let client = &scene.client;
    let mirror = scene.synced(&wants(&[&data])).await;
    let url = |path: &str| format!("{}/{path}", mirror.url());

    let info = get(client, &url("nix-cache-info"), NIX).await;
    assert_eq!(header(&info, "content-type"), "text/x-nix-cache-info");
    assert_eq!(info.text().await.unwrap(), "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n");

    let narinfo = "0".repeat(32) + ".narinfo";
    for method in ["PUT", "POST", "DELETE", "OPTIONS", "PATCH"] {
        for path in ["nix-cache-info", &data.narinfo(), "nar/x.nar"] {
            let request = client.request(method.parse().unwrap(), url(path)).body(vec![0; 3 << 20]);
            // The answer may come before the body is sent.
            if let Ok(answer) = request.send().await {
                assert_eq!(
                    (answer.status().as_u16(), header(&answer, "allow")),
                    (405, "GET, HEAD"),
                    "{method} {path}"
                );
            }
        }
        for path in ["", "log/x", "x.ls", "other", ".granary/id", "granary/v1/healthz", "nar/", &narinfo] {
            let answer = client.request(method.parse().unwrap(), url(path)).send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), header(&answer, "allow")),
                (405, "GET, HEAD"),
                "{method} {path}"
            );
        }
    }
    assert!(!mirror.log().contains("forbidden"), "a refused method is no trouble of ours: {}", mirror.log());

    std::fs::write(mirror.site.tree().join("nar/.secret"), "secret").unwrap();
    for path in [
        ".granary/id",
        "%2egranary/id",
        "nar/../.granary/id",
        "/.granary/id",
        ".granary/front/nginx.conf",
        "nar/.secret",
        "nar",
        "nar/",
        "00000000000000000000000000000000.narinfo",
        "_mirrors",
        "granary/v1/report",
    ] {
        // A client of its own words: reqwest would resolve the dots.
        let status = raw_status(mirror.site.http, &format!("/{path}")).await;
        assert!(matches!(status, 301 | 404), "{path}: {status}");
    }

    let path = mirror.nar_name(&data).await;
    let nar = scene.corpus.nar(&data);
    let head = client.head(url(&path)).send().await.unwrap();
    assert_eq!(header(&head, "content-length"), nar.len().to_string());
    assert_eq!(header(&head, "accept-ranges"), "bytes");
    assert_eq!(header(&head, "content-type"), "application/x-nix-nar");
    assert!(!header(&head, "etag").is_empty() && header(&head, "content-encoding").is_empty());
    let part = client.get(url(&path)).header("Range", "bytes=1000-").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), nar[1000..]);
    let head = client.head(url(&data.narinfo())).send().await.unwrap();
    assert_eq!(head.status(), 200);
}

/// The status of a request whose path is sent as it is.
async fn raw_status(port: u16, path: &str) -> u16 {
    let answer = raw(port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn nginx_outlives_bad_files_and_a_killed_supervisor() {
    let data = Artifact::sized("data-1.0", 1000);
    let Some(scene) = Scene::of(std::slice::from_ref(&data)).await else { return };
    let mut mirror = scene.synced(&wants(&[&data])).await;

    // What nginx refuses does not reach the running one.
    let nginx = mirror.nginx();
    let conf = mirror.site.tree().join(".granary/front/nginx.conf");
    std::fs::write(&conf, "nonsense").unwrap();
    eventually("the refusal is told", async || {
        mirror.log().contains("the old one stays in force").then_some(())
    })
    .await;
    mirror.synced().await;
    assert_eq!(mirror.nginx(), nginx);

    // The next one ends what the killed one left, and takes its port.
    mirror.kill();
    assert!(mirror.try_get("nix-cache-info").await.is_ok(), "nginx goes on alone");
    let mirror = Mirror::run(mirror.site.clone());
    eventually("another nginx answers", async || {
        let answer = mirror.try_get("nix-cache-info").await.ok()?;
        (mirror.nginx() != nginx && answer.status() == 200).then_some(())
    })
    .await;
    assert!(mirror.log().contains("left over from an earlier run"), "{}", mirror.log());
}
