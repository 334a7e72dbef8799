//! nginx without its agent.

use reqwest::StatusCode;

use super::PullThrough;
use crate::support::{Nix, eventually, succeeded};

#[tokio::test(flavor = "multi_thread")]
async fn without_its_agent_it_serves_what_it_has_and_sends_clients_on_for_the_rest() {
    let Some(mut pull) = PullThrough::start().await else { return };
    let [base, large, small, app] = pull.artifacts.clone();
    // One of them is here, and its closure.
    let nix = Nix::new(&pull.scene.path().join("before"));
    succeeded(&nix.substitute("before", &pull.mirror.url(), &pull.scene.corpus.key, &small.path));
    pull.published(2).await;
    let paths = [app.narinfo(), large.narinfo(), base.narinfo(), pull.scene.corpus.narinfo(&large).url];
    pull.mirror.kill();

    // Nobody knows whether there is one: at a 5xx a Nix before 2.32 would fail the whole build.
    for path in &paths[..2] {
        assert_eq!(pull.mirror.status(path).await, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(pull.mirror.status(&paths[2]).await, StatusCode::OK);
    // A NAR file that a narinfo has named is there: the client comes again.
    let away = pull.mirror.get(&paths[3]).await;
    assert_eq!(away.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(away.headers().contains_key("retry-after"));

    // A build gets it from the next substituter.
    let nix = Nix::new(&pull.scene.path().join("after"));
    let both = format!("{} {}", pull.mirror.url(), pull.scene.upstream.url);
    succeeded(&nix.substitute("after", &both, &pull.scene.corpus.key, &app.path));
    nix.has("after", &app);

    // With the agent back, it is here.
    let _old = pull.restart().await;
    eventually("it is asked for again", async || {
        let answer = pull.mirror.try_get(&paths[0]).await.ok()?;
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_does_not_make_nginx_say_that_there_is_no_narinfo() {
    let Some(pull) = PullThrough::start().await else { return };
    let [base, large, ..] = &pull.artifacts;
    assert_eq!(pull.mirror.status(&base.narinfo()).await, StatusCode::OK);
    let catalog = pull.mirror.site.tree().join(".granary/catalog").join(base.narinfo());
    eventually("it is in the catalog", async || catalog.exists().then_some(())).await;
    pull.mirror.hang();
    let answer = pull.mirror.get(&large.narinfo()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(pull.mirror.status(&base.narinfo()).await, StatusCode::OK, "what is here is answered");
}
