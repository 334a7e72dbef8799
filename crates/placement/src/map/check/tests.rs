use super::*;
use crate::map::tests::sample;

/// The refusal of a changed sample, in words.
fn refusal(change: impl FnOnce(&mut MirrorMap)) -> String {
    let mut map = sample();
    change(&mut map);
    MirrorMap::from_json(&map.to_json()).unwrap_err().to_string()
}

#[test]
fn unknown_fields_are_ignored_and_optional_ones_may_be_absent() {
    let json = br#"{"epoch": 1, "namespace": "n", "tableHash": "", "new": {}, "policies": [
        {"name": "p", "mirrors": ["a"], "target": 1, "new": 1}
    ], "mirrors": [{"name": "a", "internalUrl": "http://a", "state": "joining", "tenure": "30d"}]}"#;
    let map = MirrorMap::from_json(json).unwrap();
    assert_eq!(map.mirrors[0].weight, 1024);
    assert_eq!((map.policies[0].spread.len(), map.policies[0].store_paths.len()), (0, 0));
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let text = String::from_utf8(sample().to_json()).unwrap();
    for (known, unknown) in
        [("serving", "draining"), ("\"zone\",\"min\"", "\"rack\",\"min\""), ("north-0", "North")]
    {
        let error = MirrorMap::from_json(text.replace(known, unknown).as_bytes()).unwrap_err();
        assert!(matches!(error, MapError::Json(_)), "{unknown}: {error}");
    }
    let huge = vec![b' '; MAX_MAP_BYTES + 1];
    assert!(matches!(MirrorMap::from_json(&huge), Err(MapError::TooLarge(_))));
}

#[test]
fn lists_are_bounded_and_name_things_once() {
    let long = refusal(|map| {
        let mirror = map.mirrors[0].clone();
        map.mirrors.extend(
            (0..MAX_MIRRORS - 1)
                .map(|number| Mirror { name: format!("m-{number}").parse().unwrap(), ..mirror.clone() }),
        );
    });
    assert_eq!(long, "mirrors has 1001 entries; at most 1000 are allowed");
    let long = refusal(|map| {
        let policy = map.policies[0].clone();
        let more =
            (0..MAX_POLICIES - 1).map(|number| Policy { name: format!("p{number}"), ..policy.clone() });
        map.policies.extend(more);
    });
    assert_eq!(long, "policies has 257 entries; at most 256 are allowed");
    let roots = |map: &mut MirrorMap| map.policies[0].store_paths = vec!["/nix/store/x".into(); 1001];
    assert_eq!(refusal(roots), "a policy's storePaths has 1001 entries; at most 1000 are allowed");
    let channels = |map: &mut MirrorMap| map.policies[0].channels.extend_from_within(..);
    let twice = "a policy's channels names \"https://channels.nixos.org/nixos-26.05\" twice";
    assert_eq!(refusal(channels), twice);
    let twice = "a policy's mirrors names \"east-0\" twice";
    assert_eq!(refusal(|map| map.policies[0].mirrors[1] = map.policies[0].mirrors[0].clone()), twice);
    assert_eq!(refusal(|map| map.policies[0].name = "two".into()), "policies names \"two\" twice");
    assert_eq!(
        refusal(|map| map.mirrors[0].name = map.mirrors[1].name.clone()),
        "mirrors names \"north-0\" twice"
    );
    let repeated = |map: &mut MirrorMap| map.policies[0].spread[1] = map.policies[0].spread[0];
    assert_eq!(refusal(repeated), "a policy's spread names \"zone\" twice");
    let unknown = "policy \"one\" selects the mirror north-0, which is not in the map";
    assert_eq!(refusal(|map| drop(map.mirrors.pop())), unknown);
}

#[test]
fn every_text_and_number_is_checked() {
    type Change = fn(&mut MirrorMap);
    let changes: [(&str, Change); 20] = [
        ("namespace", |map| map.namespace = "A b".into()),
        ("disk", |map| map.mirrors[0].disk = Some(String::new())),
        ("node", |map| map.mirrors[0].node = Some("a b".into())),
        ("region", |map| map.mirrors[0].region = Some("a\nb".into())),
        ("zone", |map| map.mirrors[0].zone = Some("x".repeat(254))),
        ("organization", |map| map.mirrors[0].organization = Some("ü".into())),
        ("url", |map| map.mirrors[0].url = Some("https://a/".into())),
        ("internalUrl", |map| map.mirrors[0].internal_url = "ftp://a".into()),
        ("weight", |map| map.mirrors[0].weight = 0),
        ("name", |map| map.policies[0].name = "a/b".into()),
        ("target", |map| map.policies[0].target = 0),
        ("target", |map| map.policies[0].target = 9),
        ("spread min", |map| map.policies[0].spread[0].min = 0),
        ("spread min", |map| map.policies[0].spread[0].min = 3),
        ("storePaths", |map| map.policies[0].store_paths[1] = "/nix/store/short".into()),
        ("storePaths", |map| map.policies[0].store_paths[1].push('/')),
        ("channel url", |map| map.policies[0].channels[0].url = "https://channels.nixos.org".into()),
        ("channel url", |map| map.policies[0].channels[0].url.push(';')),
        ("channel keep", |map| map.policies[0].channels[0].keep = 0),
        ("channel keep", |map| map.policies[0].channels[0].keep = 101),
    ];
    for (field, change) in changes {
        let words = refusal(change);
        assert!(words.starts_with(&format!("{field} of ")), "{field}: {words}");
    }
}

#[test]
fn no_url_can_leave_its_place_in_a_configuration_or_a_line() {
    for good in
        ["http://a", "https://cache.example.edu:8443/nix", "http://[::1]:80", "http://a/~b/c%20d_e+f=g@h"]
    {
        assert!(is_url(good), "{good}");
    }
    let hostile = [
        "http://",
        "http:///a",
        "http://:80",
        "//a",
        "http://a b",
        "http://a\"",
        "http://a'",
        "http://a;",
        "http://$a",
        "http://a{",
        "http://a\\",
        "http://a\n",
        "http://a>",
        "http://a#b",
        "http://a?b",
        "http://a,b",
        "http://ä",
    ];
    for bad in hostile {
        assert!(!is_url(bad), "{bad}");
    }
    assert!(!is_url(&format!("http://{}", "a".repeat(506))));
}
