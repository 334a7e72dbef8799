//! Mirrors entries.

use nix::sys::signal::{Signal, kill};

use super::{NIX, get};
use crate::support::{Artifact, Scene, Site, eventually, header, map_of, nar_name};

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
