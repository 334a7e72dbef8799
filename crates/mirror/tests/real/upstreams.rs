//! Upstreams that are down when the mirror starts, and one behind TLS that not everybody may read.

use std::path::{Path, PathBuf};

use super::guarded::Guarded;
use super::support::{
    Artifact, Corpus, Mirror, Site, Upstream, client, folder, free_port, noise, run, text, tools,
};

/// The configuration of a site with these upstreams, in YAML, and this root.
fn config(site: &Site, upstreams: &str, root: &str) -> PathBuf {
    let Site { name, http, agent, .. } = site;
    let yaml = format!(
        "name: {name}\ndirectory: {}\nupstreams: [{upstreams}]\nstorePaths: ['{root}']\nsyncSeconds: 1\n\
         listen: {{http: '127.0.0.1:{http}', agent: '127.0.0.1:{agent}'}}\n",
        site.tree().display()
    );
    let path = site.base.join("config.yaml");
    std::fs::write(&path, yaml).unwrap();
    path
}

#[tokio::test]
async fn it_starts_with_all_upstreams_down_and_recovers_by_itself() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let artifacts = [Artifact::new("app-1.0", 0, noise(100_000), &[])];
    let corpus = Corpus::make(folder.path(), &artifacts);
    let [app] = &artifacts;
    // Nobody listens at one, and the other's name is nobody's.
    let port = free_port();
    let key = &corpus.key;
    let upstreams = format!(
        "{{url: 'http://127.0.0.1:{port}', publicKeys: ['{key}']}}, \
         {{url: 'http://cache.invalid', publicKeys: ['{key}'], priority: 50}}"
    );
    let site = Site::new(folder.path(), "lan");
    let config = config(&site, &upstreams, &app.path);
    let mirror = Mirror::run(site, &config);

    let down = mirror.until(&client, "it tells that both are down", |report| {
        report.upstreams.len() == 2 && report.upstreams.iter().all(|upstream| !upstream.ok)
    });
    let report = down.await;
    assert!(report.front_ready, "what is here would be served");
    assert!(!report.policies[0].synced && report.policies[0].catalog_error.is_some(), "{report:?}");
    let info = client.get(format!("{}/nix-cache-info", mirror.url())).send().await.unwrap();
    assert_eq!(info.status(), 200);

    let _upstream = Upstream::serve_at(&corpus.cache, port).await;
    let report = mirror.synced(&client).await;
    assert_eq!(report.artifacts, 1, "{report:?}");
    assert!(report.upstreams[0].ok, "{report:?}");
    let good = corpus.nix.substitute("good", &mirror.url(), key, &app.path);
    assert!(good.status.success(), "{}\n{}", String::from_utf8_lossy(&good.stderr), mirror.log());
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
    if !tools() {
        return;
    }
    let folder = folder();
    let artifacts = [Artifact::new("app-1.0", 0, noise(100_000), &[])];
    let [app] = &artifacts;
    let corpus = Corpus::make(folder.path(), &artifacts);
    let plain = Upstream::serve(&corpus.cache).await;
    let upstream = Guarded::serve(folder.path(), &before_a_cache(&corpus.cache, "t0ken", &plain.url)).await;
    let (key, authority) = (&corpus.key, upstream.authority.display());
    let token = folder.path().join("token");
    std::fs::write(&token, "t0ken\n").unwrap();
    let sync = |name: &str, path: &str, more: &str| {
        let site = Site::new(folder.path(), name);
        let url = format!("{}{path}", upstream.url);
        let config = config(&site, &format!("{{url: '{url}', publicKeys: ['{key}'], {more}}}"), &app.path);
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
