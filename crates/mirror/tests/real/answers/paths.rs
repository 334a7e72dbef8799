//! Paths in every spelling.

use super::One;
use crate::support::raw;

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
