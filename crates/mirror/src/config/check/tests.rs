use std::path::Path;

use super::*;
use crate::front::Publish;

const KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
const ROOT: &str = "/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0";

fn good() -> String {
    format!(
        "directory: /srv/granary\nupstreams:\n- {{url: 'https://cache.nixos.org', publicKeys: ['{KEY}']}}\nstorePaths: [{ROOT}]\n"
    )
}

#[test]
fn the_smallest_file_has_defaults() {
    let config = Config::parse(&good()).unwrap();
    assert_eq!(config.name.as_str(), "local");
    assert_eq!(config.front_directory, Path::new("/srv/granary/.granary/front"));
    assert_eq!((config.http.unwrap().port(), config.agent.port()), (8080, 8081));
    assert_eq!(config.publish, Publish::Compatible);
    assert_eq!(config.cache_info.to_text(), "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n");
    assert_eq!(config.upstreams[0].priority, 40);
    assert_eq!(config.limits.connections, 8);
    assert!(matches!(config.wanted, Wanted::Roots(roots) if roots.len() == 1));
}

#[test]
fn what_the_operator_writes_is_taken() {
    let config = Config::parse(&format!(
        "name: north-0\ndirectory: /srv/granary\nurl: https://north-0.example.org\n\
         upstreams: [{{url: 'https://cache.nixos.org', publicKeys: ['{KEY}'], priority: 40}}]\n\
         map: {{url: 'http://granary-operator.granary-system.svc:8080/v1/map/granary', \
         file: /etc/granary/map/map.json, pollSeconds: 2}}\npublish: {{narinfo: Never}}\n\
         listen: {{http: '0.0.0.0:8080', agent: '0.0.0.0:8081'}}\nfrontDirectory: /run/granary/front\n"
    ))
    .unwrap();
    assert_eq!(config.publish, Publish::Never);
    assert_eq!(config.front_directory, Path::new("/run/granary/front"));
    let Wanted::Map(map) = config.wanted else { panic!("a map is followed") };
    assert_eq!((map.file.as_deref(), map.poll.as_secs()), (Some(Path::new("/etc/granary/map/map.json")), 2));
    assert!(map.url.is_some());
}

#[test]
fn upstreams_are_asked_in_order_of_priority() {
    let more = format!(
        "{}- {{url: 'http://b', publicKeys: ['{KEY}'], priority: 10}}\n- {{url: 'http://c', publicKeys: ['{KEY}']}}\n",
        good().replace(&format!("storePaths: [{ROOT}]\n"), "")
    ) + &format!("storePaths: [{ROOT}]\n");
    let hosts: Vec<String> =
        Config::parse(&more).unwrap().upstreams.iter().map(|u| u.url.to_string()).collect();
    assert!(
        hosts[0].contains("//b") && hosts[1].contains("cache.nixos.org") && hosts[2].contains("//c"),
        "{hosts:?}"
    );
}

#[test]
fn every_error_names_its_field() {
    let roots = format!("storePaths: [{ROOT}]\n");
    // What is replaced in the good file, by what, and what the error must say.
    let cases: &[(&str, &str, &[&str])] = &[
        ("directory: /srv/granary\n", "", &["directory"]),
        ("/srv/granary", "'/srv/$x'", &["directory:", "'$'"]),
        ("https://cache.nixos.org'", "ftp://cache.nixos.org'", &["upstreams[0].url:"]),
        ("https://cache.nixos.org'", "nonsense'", &["upstreams[0].url:"]),
        (KEY, "cache.nixos.org-1:AAAA", &["upstreams[0].publicKeys[0]:", "trusted-public-keys"]),
        (&format!("['{KEY}']"), "[]", &["upstreams[0].publicKeys:", "signature"]),
        ("publicKeys", "publicKey", &["upstreams[0]", "publicKey"]),
        (ROOT, "/nix/store/app", &["storePaths[0]:", "/nix/store/<hash>-<name>"]),
        (ROOT, "", &["storePaths:", "at least one"]),
        (&roots, "", &["storePaths:", "or set map"]),
        (&roots, &format!("{roots}map: {{file: /x}}\n"), &["storePaths:", "leave it out"]),
        (&roots, "map: {}\n", &["map:", "map.url"]),
        (&roots, "map: {url: 'ftp://x'}\n", &["map.url:"]),
        (&roots, "map: {file: /x, pollSeconds: 0}\n", &["map.pollSeconds:", "between 1"]),
        (&roots, &format!("{roots}name: North_0\n"), &["name:", "lower-case"]),
        (&roots, &format!("{roots}url: 'https://a b'\n"), &["url:"]),
        (&roots, &format!("{roots}publish: {{narinfo: Sometimes}}\n"), &["publish.narinfo", "Compatible"]),
        (&roots, &format!("{roots}listen: {{http: localhost}}\n"), &["listen.http:", "0.0.0.0:8080"]),
        (&roots, &format!("{roots}listen: {{http: '127.0.0.1:0'}}\n"), &["listen.http:"]),
        (
            &roots,
            &format!("{roots}listen: {{agent: '127.0.0.1:8080'}}\n"),
            &["listen.agent:", "different ports"],
        ),
        (&roots, &format!("{roots}frontDirectory: ''\n"), &["frontDirectory:", "empty"]),
        (
            &roots,
            &format!("{roots}cacheInfo: {{storeDir: /gnu/store}}\n"),
            &["cacheInfo.storeDir:", "/nix/store"],
        ),
        (&roots, &format!("{roots}cacheInfo: {{priority: -1}}\n"), &["cacheInfo.priority"]),
        (&roots, &format!("{roots}syncSeconds: 0\n"), &["syncSeconds:"]),
        (&roots, &format!("{roots}limits: {{connections: 0}}\n"), &["limits.connections:"]),
        (&roots, &format!("{roots}limits: {{decoders: 1000}}\n"), &["limits.decoders:"]),
        (&roots, &format!("{roots}limits: {{maxNarSize: 0}}\n"), &["limits.maxNarSize:"]),
        (&roots, &format!("{roots}limits: {{silenceSeconds: 0}}\n"), &["limits.silenceSeconds:"]),
        (&roots, &format!("{roots}limits: {{bandwidth: 50Mb}}\n"), &["limits", "bandwidth", "Mi"]),
        (&roots, &format!("{roots}limits: {{speed: 1}}\n"), &["limits", "speed"]),
        (&roots, &format!("{roots}storage: x\n"), &["storage"]),
    ];
    for (from, to, words) in cases {
        let yaml = good().replacen(from, to, 1);
        assert_ne!(yaml, good(), "{from} is not in the good file");
        let error = Config::parse(&yaml).expect_err(&yaml).to_string();
        for word in *words {
            assert!(error.contains(word), "{yaml}\n→ {error}\nlacks {word:?}");
        }
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let error = Config::load(Path::new("/no/such/granary.yaml")).unwrap_err().to_string();
    assert!(error.contains("/no/such/granary.yaml"), "{error}");
}
