use std::collections::BTreeMap;

use granary_placement::report::{
    CatalogReport, MAX_REFUSED, PolicyReport, Refusal, RefusalReason, UpstreamReport,
};

use super::super::activity::LastPass;
use super::*;

const KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
pub(super) const HOSTILE: &str = "\"><script>alert(1)</script>&<img src=x onerror=y>' style='x\u{202e}";

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn policy(name: &str) -> PolicyReport {
    PolicyReport {
        catalog: Some(CatalogReport { artifacts: 42, digest: "ab".into(), bytes: 7 }),
        assigned: 41,
        verified: 40,
        verified_bytes: 5 << 20,
        refused: 1,
        ..super::super::status::unresolved(name)
    }
}

fn refusal(path: &str, message: &str) -> Refusal {
    Refusal {
        store_path: path.into(),
        reason: RefusalReason::NarHash,
        message: message.into(),
        source: "https://cache.example.org".into(),
    }
}

/// A page with something in every section.
pub(super) fn sample() -> Page {
    let report = Report {
        mirror: "north-0".parse().unwrap(),
        disk: "0123456789abcdef0123456789abcdef".into(),
        version: "0.1.0".into(),
        epoch: 3,
        artifacts: 12_345,
        bytes: 5_000_000_000,
        verified_at: Some(at(-60).to_string()),
        policies: vec![policy("stable"), policy("late")],
        refused: vec![refusal("/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a", "differs")],
        refused_total: 21,
        upstreams: vec![
            UpstreamReport { url: "https://cache.nixos.org".into(), ok: true, message: None },
            UpstreamReport { url: "https://other.example".into(), ok: false, message: Some("503".into()) },
        ],
        ..Report::from_json(br#"{"mirror":"x","disk":"","version":"","epoch":0,"artifacts":0,"bytes":0}"#)
            .unwrap()
    };
    let last = LastPass { ended: at(-10), millis: 1500, published: 3, published_bytes: 4096 };
    Page {
        now: at(0),
        report,
        trouble: None,
        since: Some(at(-90 * 86_400)),
        disk: Some(Room { free: 1 << 40, size: 4 << 40 }),
        activity: Activity {
            last: Some(last),
            behind: BTreeMap::from([("late".into(), at(-720))]),
            ..Activity::default()
        },
        address: "https://cache.north.example.edu".into(),
        keys: vec![KEY.into()],
        mirrors: vec![Neighbour {
            name: "south-0".into(),
            zone: Some("campus-south".into()),
            url: None,
            state: MirrorState::Unreachable,
        }],
        agent_port: 8081,
    }
}

/// The text that a reader sees, roughly: the page without its tags.
fn visible(html: &str) -> String {
    let body = html.split_once("</head>").unwrap().1;
    let mut text = String::new();
    let mut inside = false;
    for character in body.chars() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            _ if !inside => text.push(character),
            _ => {}
        }
    }
    text
}

#[test]
fn the_page_says_what_the_mirror_knows() {
    let html = render(&sample());
    let text = visible(&html);
    for words in [
        "north-0",
        "serving",
        "12\u{202f}345",
        "4.7 GiB",
        "a mirror for 90 days",
        "1.0 TiBof 4.0 TiB",
        "3 published, 4.0 KiB",
        "40 of 41",
        "12 min",
        "complete, but for what is refused",
        "in work",
        "00bgd045z0d4icpbc2yyz4gx48ak44la-a",
        "nar-hash differsfrom https://cache.example.org",
        "damaged at the upstream: stock Nix would fail on it too",
        "And 20 more.",
        "https://cache.nixos.organswers",
        "in trouble 503",
        "campus-south",
        "not published",
        "unreachable",
        "By mirror map 3",
        "/granary/v1/report",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

#[test]
fn the_lines_to_copy_are_whole() {
    let text = visible(&render(&sample()));
    let lines =
        format!("extra-substituters = https://cache.north.example.edu\nextra-trusted-public-keys = {KEY}\n");
    assert!(text.contains(&lines), "{text}");
    assert!(
        text.contains(&format!("trusted-public-keys = [\n    &quot;{KEY}&quot;\n  ];"))
            || text.contains(&format!("trusted-public-keys = [\n    \"{KEY}\"\n  ];")),
        "{text}"
    );
}

#[test]
fn nothing_from_the_network_becomes_markup() {
    let tame = render(&sample());
    let mut page = sample();
    page.trouble = Some(HOSTILE.into());
    page.address = HOSTILE.into();
    page.keys = vec![HOSTILE.into()];
    page.report.disk = HOSTILE.into();
    page.report.version = HOSTILE.into();
    page.report.verified_at = Some(HOSTILE.into());
    page.report.policies = vec![PolicyReport { catalog_error: Some(HOSTILE.into()), ..policy(HOSTILE) }];
    page.report.refused = vec![Refusal { source: HOSTILE.into(), ..refusal(HOSTILE, HOSTILE) }];
    page.report.upstreams =
        vec![UpstreamReport { url: HOSTILE.into(), ok: false, message: Some(HOSTILE.into()) }];
    page.mirrors = vec![Neighbour {
        name: HOSTILE.into(),
        zone: Some(HOSTILE.into()),
        url: Some(HOSTILE.into()),
        state: MirrorState::Serving,
    }];
    let html = render(&page);
    for bad in ["<script", "<img", "'x", "\u{202e}"] {
        assert!(!html.contains(bad), "{bad}");
    }
    // Only our own kinds of elements, and only our own attributes.
    let tags = |html: &str| {
        let names = html.split('<').skip(1).map(|rest| rest.split(['>', ' ']).next().unwrap().to_owned());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let known: std::collections::BTreeSet<_> = tags(&tame).into_iter().chain(["br".into()]).collect();
    assert!(tags(&html).is_subset(&known), "{:?}", tags(&html));
    for tag in html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        assert!(!tag.contains("onerror") && !tag.contains("style="), "{tag}");
    }
}

#[test]
fn every_element_that_is_opened_is_closed() {
    let html = render(&sample());
    let mut open: Vec<&str> = Vec::new();
    for tag in html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.split(' ').next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !["!DOCTYPE", "meta", "br"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_is_bounded() {
    let long = "<".repeat(100_000);
    let mut page = sample();
    page.address.clone_from(&long);
    page.report.policies =
        (0..256).map(|_| PolicyReport { catalog_error: Some(long.clone()), ..policy(&long) }).collect();
    page.report.refused = (0..MAX_REFUSED).map(|_| refusal(&long, &long)).collect();
    let neighbour = Neighbour {
        name: long.clone(),
        zone: Some(long.clone()),
        url: Some(long),
        state: MirrorState::Joining,
    };
    page.mirrors = vec![neighbour; 1000];
    let size = render(&page).len();
    assert!(size < 2 << 20, "{size}");
    assert!(visible(&render(&page)).contains("And 900 more."));
}

#[test]
fn a_mirror_at_its_first_start_has_a_page_too() {
    let mut page = sample();
    page.trouble = Some("nginx's files are not rendered yet".into());
    page.report = Report::from_json(
        br#"{"mirror":"local","disk":"d","version":"1","epoch":0,"artifacts":0,"bytes":0}"#,
    )
    .unwrap();
    (page.activity, page.disk, page.since, page.mirrors) = (Activity::default(), None, None, vec![]);
    let text = visible(&render(&page));
    for words in [
        "not ready nginx&#39;s files",
        "Nothing is asked of this mirror yet",
        "None was asked yet",
        "none yet",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("Other mirrors") && !text.contains("What to do"), "{text}");
    page.activity.running = Some(at(0));
    let text = visible(&render(&page));
    assert!(text.contains("They are asked now") && !text.contains("None was asked"), "{text}");
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let html = render(&sample());
    for bad in ["<script", "javascript:", "<link", "@import", "url(", "src=", " style=", "http-equiv"] {
        assert!(!html.contains(bad), "{bad}");
    }
    let policy = content_security_policy();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    // The hash is of what stands between the tags, to the byte.
    let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    assert_eq!(style, STYLE);
    assert!(!STYLE.contains('<'), "it would end the element");
}
