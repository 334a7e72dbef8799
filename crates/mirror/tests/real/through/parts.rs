//! Parts of a NAR file that is still on its way, and the tag by which a client goes on with it later.

use reqwest::{Response, StatusCode, header};

use super::PullThrough;

fn text(answer: &Response, name: header::HeaderName) -> Option<&str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nar_on_its_way_comes_in_parts_and_has_the_tag_that_it_will_have() {
    let Some(mut pull) = PullThrough::start().await else { return };
    let large = pull.artifacts[1].clone();
    let (narinfo, name) = (large.narinfo(), pull.scene.corpus.narinfo(&large).url);
    let nar = pull.scene.corpus.nar(&large);
    assert_eq!(pull.mirror.status(&narinfo).await, 200);
    pull.scene.upstream.slow(true);
    let url = format!("{}/{name}", pull.mirror.url());
    let get = |range: &'static str| pull.scene.client.get(&url).header(header::RANGE, range);

    let part = get("bytes=1000-1999").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{}", pull.mirror.log());
    let range = format!("bytes 1000-1999/{}", nar.len());
    assert_eq!(text(&part, header::CONTENT_RANGE), Some(&*range));
    assert_eq!((text(&part, header::ACCEPT_RANGES), part.content_length()), (Some("bytes"), Some(1000)));
    let tag = text(&part, header::ETAG).unwrap().to_owned();
    assert_eq!(part.bytes().await.unwrap(), nar[1000..2000]);

    let beyond = get("bytes=99999999-").send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(text(&beyond, header::CONTENT_RANGE), Some(&*format!("bytes */{}", nar.len())));
    for (given, status) in [(&*tag, StatusCode::PARTIAL_CONTENT), ("\"other\"", StatusCode::OK)] {
        let answer = get("bytes=1000-1999").header(header::IF_RANGE, given).send().await.unwrap();
        assert_eq!(answer.status(), status, "{given}");
    }
    let head = pull.scene.client.head(&url).send().await.unwrap();
    assert_eq!((head.status(), text(&head, header::ETAG)), (StatusCode::OK, Some(&*tag)));

    // The client comes back when the file is here, and nginx gives it.
    pull.scene.upstream.slow(false);
    pull.mirror.kill();
    let _old = pull.restart().await;
    pull.substitute("after");
    pull.published(4).await;
    let rest = pull.scene.client.get(&url).header(header::RANGE, "bytes=2000-").header(header::IF_RANGE, tag);
    let rest = rest.send().await.unwrap();
    assert_eq!(rest.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(rest.bytes().await.unwrap(), nar[2000..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_nar_of_unknown_length_no_parts_are_promised() {
    let Some(pull) = PullThrough::start().await else { return };
    let large = &pull.artifacts[1];
    let known = pull.scene.corpus.narinfo(large);
    let bare = granary_nix::NarInfo { file_size: None, ..known.clone() };
    std::fs::write(pull.scene.corpus.cache.join(large.narinfo()), bare.to_text()).unwrap();
    pull.scene.upstream.slow(true);
    pull.scene.upstream.unannounced();
    assert_eq!(pull.mirror.status(&large.narinfo()).await, 200);
    let url = format!("{}/{}", pull.mirror.url(), known.url);
    for range in [None, Some("bytes=1000-")] {
        let request = pull.scene.client.get(&url);
        let request = range.into_iter().fold(request, |request, range| request.header(header::RANGE, range));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", pull.mirror.log());
        assert_eq!(text(&answer, header::ACCEPT_RANGES), None, "who asks for the rest would get the whole");
        assert_eq!(answer.content_length(), None);
    }
}
