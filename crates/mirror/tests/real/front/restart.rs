//! What survives a kill.

use crate::support::{Artifact, Mirror, Scene, eventually, wants};

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
