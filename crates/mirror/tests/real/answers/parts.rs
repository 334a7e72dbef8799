//! Tags and ranges.

use super::One;
use crate::support::{eventually, header};

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
