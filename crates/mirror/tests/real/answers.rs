//! What nginx answers to the letter: tags and ranges, paths in every spelling, and what it says when a file, the agent or
//! the whole tree is away.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use reqwest::Response;

use super::support::{Artifact, Mirror, Scene, eventually, header, raw, wants};

const SIZE: usize = 200_000;

/// Mirrors of one artifact, synced.
struct One {
    scene: Scene,
    data: Artifact,
}

impl One {
    async fn new() -> Option<Self> {
        let data = Artifact::sized("data-1.0", SIZE);
        Some(Self { scene: Scene::of(std::slice::from_ref(&data)).await?, data })
    }

    async fn mirror(&self, name: &str) -> Mirror {
        // One pass, so that what the tests damage stays so.
        let more = format!("{}\nsyncSeconds: 86400", wants(&[&self.data]));
        let mirror = self.scene.run_at(self.scene.site(name), &more);
        mirror.synced().await;
        mirror
    }

    async fn get(&self, mirror: &Mirror, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.scene.client.get(format!("{}/{path}", mirror.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }
}

fn unreadable(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
}

#[tokio::test]
async fn parts_of_a_nar_and_its_tag_are_the_same_at_every_mirror() {
    let Some(one) = One::new().await else { return };
    let (a, b) = (one.mirror("a").await, one.mirror("b").await);
    let (path, nar) = (a.nar_name(&one.data).await, one.scene.corpus.nar(&one.data));
    let length = nar.len();

    let whole = one.get(&a, &path, &[("Accept-Encoding", "gzip, br, zstd, deflate")]).await;
    let tag = header(&whole, "etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 4, "strong: {tag}");
    assert_eq!(header(&whole, "content-length"), length.to_string());
    assert_eq!((header(&whole, "accept-ranges"), header(&whole, "content-encoding")), ("bytes", ""));
    assert_eq!(whole.bytes().await.unwrap(), nar);

    // What a range is answered with: the status, the bytes, and what it says of itself.
    let cases = [
        ("bytes=1000-", 206, 1000..length),
        ("bytes=1000-1999", 206, 1000..2000),
        ("bytes=-100", 206, length - 100..length),
        ("bytes=1000-99999999", 206, 1000..length),
        ("bytes=0-", 206, 0..length),
        ("lines=1-2", 200, 0..length),
    ];
    for (range, status, part) in cases {
        let answer = one.get(&a, &path, &[("Range", range)]).await;
        assert_eq!(answer.status(), status, "{range}");
        assert_eq!(header(&answer, "etag"), tag, "{range}");
        assert_eq!(header(&answer, "content-length"), part.len().to_string(), "{range}");
        if status == 206 {
            let said = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            assert_eq!(header(&answer, "content-range"), said, "{range}");
        }
        assert_eq!(answer.bytes().await.unwrap(), nar[part], "{range}");
    }
    let beyond = one.get(&a, &path, &[("Range", &format!("bytes={length}-"))]).await;
    assert_eq!(
        (beyond.status().as_u16(), header(&beyond, "content-range")),
        (416, &*format!("bytes */{length}"))
    );
    let several = one.get(&a, &path, &[("Range", "bytes=0-9,100-109")]).await;
    assert_eq!(several.status(), 206);
    assert!(header(&several, "content-type").starts_with("multipart/byteranges"));
    let body = several.bytes().await.unwrap();
    for part in [&nar[0..10], &nar[100..110]] {
        assert!(body.windows(10).any(|window| window == part));
    }
    // A range a byte costs more than the file: such a request is answered whole.
    let many: Vec<String> = (0..100).map(|at| format!("{at}-{at}")).collect();
    let many = one.get(&a, &path, &[("Range", &format!("bytes={}", many.join(",")))]).await;
    assert_eq!((many.status().as_u16(), many.bytes().await.unwrap().len()), (200, length));

    // Begun at one mirror and resumed at another, whose files were written at another time.
    for (given, status) in [(&*tag, 206), ("\"1-1\"", 200), ("Thu, 26 Nov 2020 00:00:00 GMT", 200)] {
        let answer = one.get(&b, &path, &[("Range", "bytes=1000-"), ("If-Range", given)]).await;
        assert_eq!(answer.status(), status, "{given}");
    }
    for (name, given, status) in [
        ("If-None-Match", &*tag, 304),
        ("If-None-Match", "\"1-1\"", 200),
        ("If-Match", &*tag, 200),
        ("If-Match", "\"1-1\"", 412),
    ] {
        let answer = one.get(&b, &path, &[(name, given)]).await;
        assert_eq!(answer.status(), status, "{name}: {given}");
    }

    // The agent, which passes on what is not on the disk, says the same.
    std::fs::remove_file(b.site.tree().join(&path)).unwrap();
    let passed_on = eventually("the file is passed on", async || {
        let answer = one.scene.client.head(format!("{}/{path}", b.url())).send().await.unwrap();
        // nginx may have it open still.
        answer.headers().get("last-modified").is_none().then_some(answer)
    });
    let passed_on = passed_on.await;
    assert_eq!(header(&passed_on, "etag"), tag);
    assert_eq!(header(&passed_on, "content-length"), length.to_string());
}

#[tokio::test]
async fn a_path_means_the_same_in_every_spelling_and_nothing_is_guessed() {
    let Some(one) = One::new().await else { return };
    let mirror = one.mirror("lan").await;
    let (narinfo, nar) = (one.data.narinfo(), mirror.nar_name(&one.data).await);
    let realisation = format!("sha256:{}!out.doi", "0".repeat(64));
    std::fs::create_dir(mirror.site.tree().join("realisations")).unwrap();
    std::fs::write(mirror.site.tree().join("realisations").join(&realisation), "{}").unwrap();
    let encoded: String = narinfo.bytes().flat_map(|byte| ['%', hex(byte >> 4), hex(byte & 15)]).collect();
    let (hash, upper) = (one.data.hash_part(), one.data.hash_part().to_uppercase());
    let escaped = realisation.replace('!', "%21").replace(':', "%3a");
    for (path, status) in [
        (format!("/{encoded}"), 200),
        (format!("//{narinfo}"), 200),
        (format!("/./log/../{narinfo}"), 200),
        (format!("/{narinfo}?x=1"), 200),
        (format!("/{}", nar.replace('/', "//")), 200),
        (format!("/nar/../{nar}"), 200),
        (format!("/{}", nar.replace(".nar", "%2Enar")), 200),
        (format!("/realisations/{realisation}"), 200),
        (format!("/realisations/{escaped}"), 200),
        (format!("/{upper}.narinfo"), 404),
        (format!("/{hash}.NARINFO"), 404),
        (format!("/{narinfo}/"), 404),
        (format!("/{narinfo}%20"), 404),
        (format!("/{narinfo}%00"), 400),
        (format!("/{narinfo}.gz"), 404),
        (format!("/x{narinfo}"), 404),
        (format!("/nar/{narinfo}"), 404),
        (format!("/{hash}"), 404),
        (format!("/{nar}.gz"), 404),
        (format!("/{nar}/"), 404),
        (format!("/../{narinfo}"), 400),
        ("/%2e%2e/%2e%2e/etc/passwd".into(), 400),
        (format!("/_narinfo/{narinfo}"), 404),
        (format!("/_published/{narinfo}"), 404),
        (format!("/.granary/catalog/{narinfo}"), 404),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8_lossy(&raw(mirror.site.http, &request).await).into_owned();
        assert_eq!(answer.split(' ').nth(1), Some(&*status.to_string()), "{path}: {answer}");
    }
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap()
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
