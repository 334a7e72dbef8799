//! The page, and what it says to programs.

use super::{browse, three};
use crate::support::{header, succeeded, wants};

#[tokio::test]
async fn the_page_is_for_people_and_its_lines_work() {
    let Some((scene, [good, bad, user])) = three().await else { return };
    let (corpus, client) = (&scene.corpus, &scene.client);
    let mut mirror = scene.run_at(scene.site("north"), &wants(&[&good, &user]));
    mirror.synced().await;

    for path in ["/", "/granary/v1/status"] {
        let answer = browse(client, &format!("{}{path}", mirror.url())).await;
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
        assert!(page.contains(&scene.upstream.url) && page.contains(">answers<"), "{page}");
    }

    // The lines on the page, as they are copied, make nix take from here.
    let page = browse(client, &mirror.url()).await.text().await.unwrap();
    let lines = page.split_once("extra-substituters").unwrap().1.split_once("</code>").unwrap().0;
    assert!(!lines.contains('&'), "no character of them needs to be written otherwise: {lines}");
    corpus.nix.configure(&format!("extra-substituters{lines}"));
    let mut realise = corpus.nix.command("nix-store");
    realise.arg("--store").arg(corpus.nix.store("by-the-page")).args(["--realise", &good.path]);
    succeeded(&realise.output().unwrap());
    corpus.nix.has("by-the-page", &good);

    // A program gets a line, and so does everybody while the agent is away.
    let line = "north is a Nix binary cache. Substituter: this address\n";
    let plain = client.get(mirror.url()).header("Accept", "*/*").send().await.unwrap();
    assert_eq!((header(&plain, "content-type"), header(&plain, "vary")), ("text/plain", "Accept"));
    assert_eq!(plain.text().await.unwrap(), line);
    mirror.kill();
    for path in ["/", "/granary/v1/status"] {
        let answer = browse(client, &format!("{}{path}", mirror.url())).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (200, "text/plain"));
        assert_eq!(answer.text().await.unwrap(), line);
    }
}
