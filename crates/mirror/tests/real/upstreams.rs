//! Upstreams that are down when the mirror starts, and one behind TLS that not everybody may read.

use std::path::{Path, PathBuf};

use super::guarded::Guarded;
use super::support::{Artifact, Mirror, Scene, Site, Upstream, config, free_port, run, text, wants};

/// The configuration of a site with these upstreams, in YAML, and this root.
fn written(site: &Site, upstreams: &str, root: &Artifact) -> PathBuf {
    config(site, "", "", &format!("upstreams: [{upstreams}]\n{}", wants(&[root])))
}

#[tokio::test]
async fn it_starts_with_all_upstreams_down_and_recovers_by_itself() {
    let app = Artifact::sized("app-1.0", 100_000);
    let Some(scene) = Scene::of(std::slice::from_ref(&app)).await else { return };
    let corpus = &scene.corpus;
    // Nobody listens at one, and the other's name is nobody's.
    let port = free_port();
    let key = &corpus.key;
    let upstreams = format!(
        "{{url: 'http://127.0.0.1:{port}', publicKeys: ['{key}']}}, \
         {{url: 'http://cache.invalid', publicKeys: ['{key}'], priority: 50}}"
    );
    let site = scene.site("lan");
    written(&site, &upstreams, &app);
    let mirror = Mirror::run(site);

    let down = mirror.until("it tells that both are down", |report| {
        report.upstreams.len() == 2 && report.upstreams.iter().all(|upstream| !upstream.ok)
    });
    let report = down.await;
    assert!(report.front_ready, "what is here would be served");
    assert!(!report.policies[0].synced && report.policies[0].catalog_error.is_some(), "{report:?}");
    assert_eq!(mirror.status("nix-cache-info").await, 200);

    let _upstream = Upstream::serve_at(&corpus.cache, port).await;
    let report = mirror.synced().await;
    assert_eq!(report.artifacts, 1, "{report:?}");
    assert!(report.upstreams[0].ok, "{report:?}");
    corpus.substituted("good", &mirror.url(), &app);
}

/// What nginx serves: a cache, for those who have the token.
fn before_a_cache(cache: &Path, token: &str, elsewhere: &str) -> String {
    format!(
        "root {};\nif ($http_authorization != 'Bearer {token}') {{ return 401; }}\n\
         location /down/ {{ rewrite ^/down/(nar/.*) {elsewhere}/$1 redirect; rewrite ^/down(/.*) $1 break; }}\n",
        cache.display()
    )
}

#[tokio::test]
async fn an_upstream_behind_tls_and_a_token_is_read_with_its_authority_and_secret() {
    let app = Artifact::sized("app-1.0", 100_000);
    let Some(scene) = Scene::of(std::slice::from_ref(&app)).await else { return };
    let (corpus, plain) = (&scene.corpus, &scene.upstream);
    let upstream = Guarded::serve(scene.path(), &before_a_cache(&corpus.cache, "t0ken", &plain.url)).await;
    let (key, authority) = (&corpus.key, upstream.authority.display());
    let token = scene.path().join("token");
    std::fs::write(&token, "t0ken\n").unwrap();
    let sync = |name: &str, path: &str, more: &str| {
        let site = scene.site(name);
        let url = format!("{}{path}", upstream.url);
        let config = written(&site, &format!("{{url: '{url}', publicKeys: ['{key}'], {more}}}"), &app);
        let config = text(&config).to_owned();
        tokio::task::spawn_blocking(move || run(&["sync", "--config", &config]))
    };
    let secret = format!("credentials: {{bearerFile: '{}'}}", token.display());
    let trusted = format!("caFile: '{authority}'");

    let (code, _, error) = sync("stranger", "", &secret).await.unwrap();
    assert!(code == Some(1) && error.contains("certificate"), "an authority that nobody named: {error}");
    let (code, _, error) = sync("no-file", "", &format!("{secret}, caFile: /no/such/ca.pem")).await.unwrap();
    assert!(code == Some(1) && error.contains("/no/such/ca.pem"), "{error}");
    let (code, _, error) = sync("no-secret", "", &trusted).await.unwrap();
    assert!(code == Some(1) && error.contains("401"), "{error}");
    let (code, _, error) = sync("good", "", &format!("{secret}, {trusted}")).await.unwrap();
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(plain.nars(), 0);

    // The same, and the NAR files are somewhere without TLS.
    let (code, _, error) = sync("down", "/down", &format!("{secret}, {trusted}")).await.unwrap();
    assert!(code == Some(1) && error.contains("from https to http"), "{error}");
    assert_eq!(plain.nars(), 0, "nobody without TLS is asked");
    assert!(!error.contains("t0ken"), "{error}");
}
