//! Hits: nginx answers them by itself, and the agent hears of misses only.

use std::fs;

use nix::sys::signal::{Signal, kill};

use crate::support::{BUILD_ID, Built, Mirror, Site, Upstream, config, eventually, folder, names, tools};

const CACHE_INFO: &str = "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n";
/// A derivation that has a build trace. No Nix before 2.35 writes one.
const DRV: &str = "342j0k7izm42zawjxk4hfsqsv88s5795-addressed.drv";
/// What a mirror has counted of requests that it could not answer from the disk.
const MISSES: [&str; 4] = [
    "granary_mirror_misses_total",
    "granary_mirror_miss_bytes_total",
    "granary_mirror_extra_misses_total",
    "granary_mirror_pull_through_",
];

/// A mirror that has everything of its upstream, which is down.
struct Full {
    mirror: Mirror,
    /// A name of each kind of file, at least one, and what is answered for it.
    hits: Vec<(String, Vec<u8>)>,
    // The last to go: the mirror's log is in it.
    _folder: tempfile::TempDir,
}

impl Full {
    async fn start() -> Option<Self> {
        if !tools() {
            return None;
        }
        let folder = folder();
        let cache = folder.path().join("cache");
        let built = Built::make(folder.path())?;
        built.cache(&cache);
        let Built { key, app, addressed, .. } = &built;
        let traces = cache.join("build-trace-v2").join(DRV);
        fs::create_dir_all(&traces).unwrap();
        let out = addressed.trim_start_matches("/nix/store/");
        fs::write(traces.join("out.doi"), format!(r#"{{"outPath":"{out}","signatures":[]}}"#)).unwrap();

        let upstream = Upstream::serve(&cache).await;
        let site = Site::new(folder.path(), "lan");
        let more = format!("storePaths: ['{app}', '{addressed}']\nsyncSeconds: 86400");
        config(&site, &upstream.url, key, &more);
        let mirror = Mirror::run(site);
        mirror.synced().await;

        let tree = mirror.site.tree();
        let mut hits = vec![("nix-cache-info".to_owned(), CACHE_INFO.into())];
        let mut files = vec![format!("build-trace-v2/{DRV}/out.doi")];
        for folder in ["log", "realisations"] {
            files.extend(names(&cache.join(folder)).iter().map(|name| format!("{folder}/{name}")));
        }
        for hash in [app, addressed].map(|path| &path[11..43]) {
            let narinfo = format!("{hash}.narinfo");
            let text = fs::read_to_string(tree.join(&narinfo)).unwrap();
            let nar = crate::support::nar_name(&text);
            let original = fs::read_to_string(cache.join(&narinfo)).unwrap();
            hits.push((nar, fs::read(cache.join(crate::support::nar_name(&original))).unwrap()));
            hits.push((narinfo, text.into_bytes()));
            files.push(format!("{hash}.ls"));
        }
        hits.extend(files.iter().map(|name| (name.clone(), fs::read(cache.join(name)).unwrap())));
        // There is one file for both names.
        let index = fs::read(cache.join(format!("debuginfo/{BUILD_ID}.debug"))).unwrap();
        hits.extend(["", ".debug"].map(|end| (format!("debuginfo/{BUILD_ID}{end}"), index.clone())));
        // What comes with its artifact comes in the background, and the rest for the first client.
        for (name, bytes) in &hits {
            eventually(name, async || (mirror.body(name).await? == *bytes).then_some(())).await;
        }
        files.push(format!("debuginfo/{BUILD_ID}"));
        for name in &files {
            eventually(name, async || tree.join(name).exists().then_some(())).await;
        }
        upstream.down(true);
        Some(Self { mirror, hits, _folder: folder })
    }

    async fn all_are_hits(&self) {
        for (name, bytes) in &self.hits {
            let answer = self.mirror.get(name).await;
            assert_eq!(answer.status(), 200, "{name}");
            assert_eq!(answer.bytes().await.unwrap(), *bytes, "{name}");
        }
    }

    /// What the agent has counted of misses.
    async fn misses(&self) -> Vec<String> {
        let metrics = self.mirror.metrics().await;
        let mut lines: Vec<String> = metrics
            .lines()
            .filter(|line| MISSES.iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    }
}

#[tokio::test]
async fn hits_of_every_kind_are_answered_while_the_agent_hangs_and_when_it_is_dead() {
    let Some(mut full) = Full::start().await else { return };
    for kind in
        ["nar/", ".ls", ".narinfo", "log/", "debuginfo/", "realisations/", "build-trace-v2/", "nix-cache"]
    {
        assert!(full.hits.iter().any(|(name, _)| name.contains(kind)), "{kind}");
    }
    full.mirror.hang();
    full.all_are_hits().await;
    kill(full.mirror.pid(), Signal::SIGCONT).unwrap();
    full.mirror.kill();
    full.all_are_hits().await;
    // It is away: these only it could have answered.
    for absent in ["nar/absent.nar.xz", "log/absent.drv"] {
        assert_eq!(full.mirror.status(absent).await, 503, "{absent}");
    }
}

#[tokio::test]
async fn the_agent_sees_only_misses() {
    let Some(full) = Full::start().await else { return };
    let before = full.misses().await;
    for _ in 0..20 {
        full.all_are_hits().await;
    }
    assert_eq!(full.misses().await, before);

    // The counters count: one miss of each kind.
    let absent = format!("log/{}-x.drv", "0".repeat(32));
    assert_eq!(full.mirror.status(&absent).await, 503);
    let nar = format!("nar/{}.nar.xz", "0".repeat(52));
    assert_eq!(full.mirror.status(&nar).await, 404);
    let after = full.misses().await;
    let changed: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert!(changed[0].starts_with("granary_mirror_extra_misses_total{kind=\"log\""), "{changed:?}");
    assert!(changed[1].starts_with("granary_mirror_misses_total{result=\"not-found\"}"), "{changed:?}");
}
