//! What goes with artifacts, from media and caches that lie, and with those that are carried in part.

mod killed;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use granary_fetch::{Source, SourceKind};
use granary_mirror::carry::{self, Flaw, Origin, Outcome, Target};
use granary_mirror::config::{Extras, Listings};
use granary_mirror::tree::Tree;
use granary_nix::{CacheInfo, SecretKey, StorePath, Trust};
use tokio_util::sync::CancellationToken;

use super::common::cache::xz;
use super::common::{Cache, Reply, Upstream, fetcher};
use super::extras::artifacts::{BUILD_ID, OTHER_ID, debug, debug_listing, derivation, file_listing, member};

const HEX: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";
const OTHER_HEX: &str = "7c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";

/// An application with a derivation, its debug information, and a directory that is their cache.
struct Scene {
    cache: Cache,
    app: StorePath,
    debug: StorePath,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let mut cache = Cache::new("test-1");
        let (app, debug) = (cache.add("app", &[]), debug(&mut cache, "symbols"));
        cache.get(&app).info.deriver = Some(derivation("app"));
        let folder = tempfile::tempdir().unwrap();
        let scene = Self { cache, app, debug, folder };
        fs::create_dir_all(scene.medium("nar")).unwrap();
        for artifact in &scene.cache.artifacts {
            let info = &artifact.info;
            scene.put(&info.store_path.hash_part().narinfo_name(), info.to_text());
            scene.put(&info.url, &artifact.file);
        }
        scene
    }

    fn medium(&self, name: &str) -> PathBuf {
        self.folder.path().join("medium").join(name)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.medium(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn listing(path: &StorePath) -> String {
        format!("{}.ls", path.hash_part())
    }

    fn log() -> String {
        format!("log/{}", derivation("app").base_name())
    }

    fn realisation(hex: &str) -> String {
        format!("realisations/sha256:{hex}!out.doi")
    }

    fn realisation_text(&self, hex: &str, sigs: &str) -> String {
        let out = self.app.base_name();
        format!(r#"{{"id":"sha256:{hex}!out","outPath":"{out}","signatures":[{sigs}]}}"#)
    }

    fn trace() -> String {
        format!("build-trace-v2/{}/out.doi", derivation("app").base_name())
    }

    /// Everything that can go with the artifacts, as it should be.
    fn put_all(&self) {
        self.put(&Self::listing(&self.app), file_listing(3000));
        self.put(&Self::log(), "what the build wrote\n");
        self.put(&Self::realisation(HEX), self.realisation_text(HEX, ""));
        self.put(&Self::trace(), format!(r#"{{"outPath":"{}","signatures":[]}}"#, self.app.base_name()));
        let nar = &self.cache.artifacts.last().unwrap().info.url;
        let entry = format!(r#"{{"archive":"../{nar}","member":"{}"}}"#, member(BUILD_ID));
        self.put(&format!("debuginfo/{BUILD_ID}.debug"), entry);
    }

    fn carry(&self, target: Target, roots: &[&StorePath], wants: Extras) -> Outcome {
        let origin = Origin::Directory(self.folder.path().join("medium"));
        let outcome = carry_from(&origin, &target, &self.cache, roots, wants);
        // It belongs to nobody from now on, as after the command.
        drop(target);
        outcome
    }

    fn plain(&self, name: &str) -> (PathBuf, Target) {
        let path = self.folder.path().join(name);
        let target = Target::plain(&path).unwrap();
        (path, target)
    }

    fn tree(&self, name: &str) -> (PathBuf, Target) {
        let path = self.folder.path().join(name);
        let tree = Tree::open(&path, &CacheInfo::default()).unwrap();
        (path, Target::Tree(Box::new(tree)))
    }
}

fn carry_from(
    origin: &Origin,
    target: &Target,
    cache: &Cache,
    roots: &[&StorePath],
    wants: Extras,
) -> Outcome {
    let roots: Vec<StorePath> = roots.iter().map(|root| (*root).clone()).collect();
    let (trust, stop) = (Trust::from(&cache.keys()), CancellationToken::new());
    let outcome = carry::carry(origin, target, &trust, &roots, wants, &(), &stop).unwrap();
    assert_eq!(outcome.troubles, [], "nothing beside an artifact refuses one");
    outcome
}

fn left_out(outcome: &Outcome) -> Vec<&str> {
    outcome.flaws.iter().map(|flaw: &Flaw| flaw.name.as_str()).collect()
}

#[test]
fn a_closure_takes_along_what_belongs_to_it_and_nothing_else() {
    let scene = Scene::new();
    scene.put_all();
    let (stick, target) = scene.plain("stick");
    let outcome = scene.carry(target, &[&scene.app], Extras::default());
    assert_eq!((outcome.copied, outcome.beside, outcome.flaws), (1, 4, vec![]));
    for name in [Scene::listing(&scene.app), Scene::log(), Scene::realisation(HEX), Scene::trace()] {
        assert_eq!(fs::read(stick.join(&name)).unwrap(), fs::read(scene.medium(&name)).unwrap(), "{name}");
    }
    assert!(!stick.join("debuginfo").exists() && !stick.join(Scene::listing(&scene.debug)).exists());
    // The rest: its listing is not there, and is made with its index.
    let outcome = scene.carry(Target::plain(&stick).unwrap(), &[], Extras::default());
    assert_eq!((outcome.copied, outcome.beside, outcome.present), (1, 2, 1));
    assert_eq!(fs::read_to_string(stick.join(Scene::listing(&scene.debug))).unwrap(), debug_listing());
    super::clean(&stick, &scene.cache.keys());

    let (stick, target) = scene.plain("bare");
    let none = Extras { listings: Listings::Never, logs: false, debuginfo: false, realisations: false };
    let outcome = scene.carry(target, &[], none);
    assert_eq!((outcome.copied, outcome.beside), (2, 0));
    assert_eq!(super::clean(&stick, &scene.cache.keys()).extras, 0);
}

#[test]
fn a_medium_that_lies_gives_nothing_of_that_and_all_of_the_rest() {
    let scene = Scene::new();
    scene.put_all();
    // A log that is a link, to what nobody is to read; one without end.
    let secret = scene.folder.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let log = scene.medium(&Scene::log());
    fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink(&secret, &log).unwrap();
    scene.put(&Scene::listing(&scene.app), file_listing(3001));
    let forger = SecretKey::from_seed("test-1", &[9; 32]).unwrap();
    let sig = format!("\"{}\"", forger.sign("x"));
    scene.put(&Scene::realisation(HEX), scene.realisation_text(HEX, &sig));
    scene.put(&Scene::realisation(OTHER_HEX), scene.realisation_text(HEX, ""));
    // Of a build id that the NAR does not have.
    let nar = &scene.cache.artifacts.last().unwrap().info.url;
    let entry = format!(r#"{{"archive":"../{nar}","member":"{}"}}"#, member(OTHER_ID));
    scene.put(&format!("debuginfo/{OTHER_ID}"), entry);
    for (name, (directory, target)) in [("stick", scene.plain("stick")), ("tree", scene.tree("tree"))] {
        let outcome = scene.carry(target, &[], Extras::default());
        let mut bad = [
            Scene::listing(&scene.app),
            Scene::log(),
            Scene::realisation(HEX),
            Scene::realisation(OTHER_HEX),
        ];
        bad.sort();
        assert_eq!(left_out(&outcome), bad, "{name}");
        assert!(bad.iter().all(|name| !directory.join(name).exists()), "{name}");
        assert!(!directory.join(format!("debuginfo/{OTHER_ID}")).exists());
        // The trace, the listing of the symbols and their index.
        assert_eq!((outcome.copied, outcome.beside), (2, 3), "{name}");
        assert!(directory.join(Scene::trace()).exists());
        super::clean(&directory, &scene.cache.keys());
    }
    fs::remove_file(&log).unwrap();
    fs::File::create(&log).unwrap().set_len((256 << 20) + 1).unwrap();
    let outcome =
        scene.carry(Target::plain(&scene.folder.path().join("stick")).unwrap(), &[], Extras::default());
    assert!(left_out(&outcome).contains(&Scene::log().as_str()), "{outcome:?}");
    let flaw = outcome.flaws.iter().find(|flaw| flaw.name == Scene::log()).unwrap();
    assert!(flaw.why.contains("more than 268435456 bytes"), "{flaw}");
    assert!(!scene.folder.path().join("stick").join(Scene::log()).exists());
}

#[test]
fn what_was_imported_beside_an_artifact_leaves_with_it() {
    let scene = Scene::new();
    scene.put_all();
    let (directory, target) = scene.tree("tree");
    assert_eq!(scene.carry(target, &[], Extras::default()).beside, 6);
    let tree = Tree::open(&directory, &CacheInfo::default()).unwrap();
    for path in [&scene.app, &scene.debug] {
        tree.unkeep(&path.hash_part()).unwrap();
        tree.remove(&path.hash_part()).unwrap();
    }
    assert_eq!(super::clean(&directory, &scene.cache.keys()).extras, 0);
    drop(tree);
    // And comes again with it.
    let (_, target) = scene.tree("tree");
    let outcome = scene.carry(target, &[&scene.app], Extras::default());
    assert_eq!((outcome.copied, outcome.beside), (1, 4));
}

/// A cache behind HTTP, as the origin of an export.
async fn export(upstream: &Upstream, cache: &Arc<Cache>, to: &Path) -> Outcome {
    let trust = Trust::from(&cache.keys());
    let source = Source::new(upstream.url().parse().unwrap(), &trust, 0, SourceKind::Upstream);
    let (cache, to, runtime) = (Arc::clone(cache), to.to_owned(), tokio::runtime::Handle::current());
    let carried = tokio::task::spawn_blocking(move || {
        let origin = Origin::Cache { source: Box::new(source), fetcher: fetcher(), runtime };
        let roots: Vec<&StorePath> =
            cache.artifacts.iter().map(|artifact| &artifact.info.store_path).collect();
        carry_from(&origin, &Target::plain(&to).unwrap(), &cache, &roots, Extras::default())
    });
    carried.await.unwrap()
}

#[tokio::test]
async fn a_cache_behind_http_gives_what_follows_from_its_narinfos_and_what_failed_comes_the_next_time() {
    let mut cache = Cache::new("test-1");
    let app = cache.add_addressed("app", "fixed:r:", &[7; 3000]);
    let debug = debug(&mut cache, "app-debug");
    cache.get(&app).info.deriver = Some(derivation("app"));
    cache.sign(&app);
    let (cache, folder) = (Arc::new(cache), tempfile::tempdir().unwrap());
    let (upstream, stick) = (Upstream::of(&cache).await, folder.path().join("stick"));
    let entry = format!(r#"{{"outPath":"{}","signatures":[]}}"#, app.base_name());
    upstream.set(&Scene::listing(&app), Reply::Encoded("xz".into(), xz(file_listing(3000).as_bytes())));
    upstream.set(&Scene::log(), Reply::Status(500));
    upstream.set(&Scene::trace(), Reply::Bytes(entry.clone().into()));
    let outcome = export(&upstream, &cache, &stick).await;
    assert_eq!(left_out(&outcome), [Scene::log()]);
    // With the listing of the debug information and its index, which nobody is asked for.
    assert_eq!((outcome.copied, outcome.beside), (2, 4), "{outcome:?}");
    assert_eq!(fs::read_to_string(stick.join(Scene::listing(&app))).unwrap(), file_listing(3000));
    assert_eq!(fs::read_to_string(stick.join(Scene::trace())).unwrap(), entry);
    assert_eq!(fs::read_to_string(stick.join(Scene::listing(&debug))).unwrap(), debug_listing());
    assert!(stick.join(format!("debuginfo/{BUILD_ID}")).is_file());

    upstream.set(&Scene::log(), Reply::Bytes(b"log".to_vec()));
    let outcome = export(&upstream, &cache, &stick).await;
    assert_eq!((outcome.copied, outcome.beside, outcome.flaws), (0, 1, vec![]));
    assert_eq!(fs::read(stick.join(Scene::log())).unwrap(), b"log");
    super::clean(&stick, &cache.keys());
}
