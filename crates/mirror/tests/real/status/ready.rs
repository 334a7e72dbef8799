//! Readiness.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::{Artifact, Running, Scene, eventually, text, wants};

#[tokio::test]
async fn ready_means_that_the_disk_can_be_read_and_that_nginx_answers() {
    let data = Artifact::sized("data-1.0", 1000);
    let Some(scene) = Scene::of(std::slice::from_ref(&data)).await else { return };
    let (client, site) = (&scene.client, scene.site("apart"));
    let front = site.base.join("run/front");
    let config = scene.write(&site, &format!("{}\nfrontDirectory: '{}'", wants(&[&data]), front.display()));
    let start = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_granary-mirror"));
        Running::start(command.args(arguments).stderr(Stdio::null()))
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
    scene.upstream.down(true);
    assert_eq!(client.get(url("/healthz")).send().await.unwrap().status(), 200);
}
