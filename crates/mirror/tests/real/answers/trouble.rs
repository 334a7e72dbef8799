//! A file, the agent or the whole tree that is away.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::One;
use crate::support::{Mirror, eventually, header};

fn unreadable(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
}

#[tokio::test]
async fn trouble_with_files_and_a_dead_agent_never_make_an_error_of_a_narinfo() {
    let Some(one) = One::new().await else { return };
    let mut mirror = one.mirror("lan").await;
    let (narinfo, nar, tree) = (one.data.narinfo(), mirror.nar_name(&one.data).await, mirror.site.tree());
    let text = std::fs::read_to_string(tree.join(&narinfo)).unwrap();
    let absent = format!("{}.narinfo", "0".repeat(32));

    // A NAR file that nginx may not read comes from where it can be read. This first, before nginx has it open.
    unreadable(&tree.join(&nar));
    let asked = one.scene.upstream.nars();
    let answer = one.get(&mirror, &nar, &[]).await;
    assert_eq!(
        (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec()),
        (200, one.scene.corpus.nar(&one.data))
    );
    assert_eq!(one.scene.upstream.nars(), asked + 1);
    let refused = one.scene.client.put(format!("{}/{nar}", mirror.url())).body("x").send().await.unwrap();
    assert_eq!((refused.status().as_u16(), header(&refused, "allow")), (405, "GET, HEAD"));

    // There are two copies of a narinfo. What can be read of neither counts as absent: a 5xx would fail the build of an
    // older Nix.
    let copies = [tree.join(".granary/catalog").join(&narinfo), tree.join(&narinfo)];
    let readable = |path: &Path| std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    for copy in &copies {
        unreadable(copy);
    }
    assert_eq!(one.get(&mirror, &narinfo, &[]).await.status(), 404);
    readable(&copies[1]);
    let answer = one.get(&mirror, &narinfo, &[]).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "text/x-nix-narinfo"));
    assert_eq!(answer.text().await.unwrap(), text);
    readable(&copies[0]);

    // The agent dies. What is on the disk is served; a NAR file that only it could get is "come again", not "not there".
    mirror.kill();
    assert_eq!(one.get(&mirror, &narinfo, &[]).await.text().await.unwrap(), text);
    assert_eq!(one.get(&mirror, &absent, &[]).await.status(), 404);
    for path in [&*nar, "nar/absent.nar.xz"] {
        let away = one.get(&mirror, path, &[]).await;
        assert_eq!((away.status().as_u16(), header(&away, "retry-after")), (503, "1"), "{path}");
    }

    // The disk is gone. A client that misses this file would upload one.
    std::fs::rename(&tree, tree.with_extension("gone")).unwrap();
    let info = one.get(&mirror, "nix-cache-info", &[]).await;
    assert_eq!(info.text().await.unwrap(), "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n");
    assert_eq!(one.get(&mirror, &absent, &[]).await.status(), 404);
    std::fs::rename(tree.with_extension("gone"), &tree).unwrap();
}

#[tokio::test]
async fn a_lost_catalog_comes_back_before_nginx_starts() {
    let Some(one) = One::new().await else { return };
    let mut mirror = one.mirror("lan").await;
    let narinfo = one.data.narinfo();
    let text = std::fs::read_to_string(mirror.site.tree().join(&narinfo)).unwrap();
    assert_eq!(mirror.stop(), Some(0));
    one.scene.upstream.down(true);
    std::fs::remove_dir_all(mirror.site.tree().join(".granary/catalog")).unwrap();
    let again = Mirror::run(mirror.site.clone());
    // From the first answer on, for one 404 would keep a client away for an hour.
    let first = eventually("nginx answers", async || again.try_get(&narinfo).await.ok());
    let first = first.await;
    assert_eq!((first.status().as_u16(), first.text().await.unwrap()), (200, text));
}
