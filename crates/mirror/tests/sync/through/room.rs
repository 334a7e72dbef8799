//! Room for guests: who leaves, who stays, and that all of them are answered for.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use granary_fetch::Source;
use granary_mirror::capacity::Rules;
use granary_mirror::compact::HashParts;
use granary_nix::StorePath;

use super::super::clean;
use super::super::common::{Cache, SILENCE, Upstream, source};
use super::{Got, Site};

const MIB: usize = 1 << 20;
const MAX: u64 = 4 << 20;
/// The hour at the start of each test.
const NOW: u32 = 1000;

/// An old library and the application that needs it, two that stand alone, and one that comes later; 1 MiB each.
struct Scene {
    cache: Cache,
    upstream: Upstream,
    sources: Vec<Source>,
    directory: Arc<tempfile::TempDir>,
    library: StorePath,
    app: StorePath,
    rare: StorePath,
    late: StorePath,
}

impl Scene {
    /// Everything but the last is here, and was accessed long ago: in these hours.
    async fn start(hours: [u32; 3]) -> Self {
        Self::begin(hours, true).await
    }

    /// The same; `kept`: the NAR files, and not only the narinfos.
    async fn begin(hours: [u32; 3], kept: bool) -> Self {
        let mut cache = Cache::new("test-1");
        let library = cache.add_sized("library", &[], MIB);
        let app = cache.add_sized("app", &[&library], MIB);
        let rare = cache.add_sized("rare", &[], MIB);
        let late = cache.add_sized("late", &[], MIB + MIB / 2);
        let upstream = Upstream::of(&cache).await;
        let sources = vec![source(&upstream, &cache.keys(), 40)];
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let scene = Self { cache, upstream, sources, directory, library, app, rare, late };
        let site = scene.site();
        let paths = [&scene.library, &scene.app, &scene.rare];
        for path in paths {
            site.found(path).await;
            site.settled().await;
            if kept {
                scene.get(&site, path).await;
            }
        }
        assert_eq!(site.tree.totals().artifacts, if kept { 3 } else { 0 });
        drop(site);
        scene.accessed(paths.into_iter().zip(hours));
        scene
    }

    /// These are the accesses that are known after the next start.
    fn accessed<'p>(&self, accesses: impl IntoIterator<Item = (&'p StorePath, u32)>) {
        let mut text = format!("clock {}\n", NOW * 3600);
        for (path, hour) in accesses {
            writeln!(text, "{} {hour}", path.hash_part()).unwrap();
        }
        let folder = self.directory.path().join(".granary/access");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("hours"), text).unwrap();
    }

    fn site(&self) -> Site {
        self.site_of(MAX)
    }

    /// Where guests may have so many bytes.
    fn site_of(&self, max_size: u64) -> Site {
        Site::on(Arc::clone(&self.directory), &self.sources, max_size, SILENCE)
    }

    /// A client gets it, whether it is kept or not.
    async fn get(&self, site: &Site, path: &StorePath) {
        let info = site.found(path).await;
        let file = self.cache.artifacts.iter().find(|it| it.info.store_path == *path).unwrap().file.clone();
        assert!(site.get(&info).await == Got::Whole(file), "{path}");
        site.settled().await;
    }

    /// Who is here; the tree is valid, and has no more than it may.
    fn here(&self, site: &Site) -> Vec<&'static str> {
        assert_eq!(clean(self.directory.path(), &self.cache.keys()).notes, []);
        let nars = std::fs::read_dir(self.directory.path().join("nar")).unwrap();
        let bytes: u64 = nars.map(|nar| nar.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= MAX, "{bytes}");
        let all =
            [("library", &self.library), ("app", &self.app), ("rare", &self.rare), ("late", &self.late)];
        all.into_iter().filter(|(_, path)| site.tree.holds(&path.hash_part())).map(|(name, _)| name).collect()
    }
}

#[tokio::test]
async fn the_longest_not_accessed_leaves_and_is_still_answered() {
    let scene = Scene::start([200, 200, 100]).await;
    let site = scene.site();
    // To ask for its narinfo is an access, too.
    site.found(&scene.rare).await;
    scene.get(&site, &scene.late).await;
    assert_eq!(scene.here(&site), ["library", "rare", "late"]);
    // Who has its narinfo may ask for its NAR: it is had again.
    assert!(site.tree.in_catalog(&scene.app.hash_part()));
    scene.get(&site, &scene.app).await;
    assert_eq!(scene.here(&site), ["app", "rare", "late"]);
}

#[tokio::test]
async fn an_old_library_stays_as_long_as_something_here_needs_it() {
    let scene = Scene::start([1, 300, 200]).await;
    let site = scene.site();
    scene.get(&site, &scene.late).await;
    assert_eq!(scene.here(&site), ["library", "app", "late"]);
}

/// What binds is the disk, or the size of everything, before guests have as much as they may.
#[tokio::test]
async fn guests_leave_for_who_asks_again_where_there_is_no_room_for_both() {
    let mut scene = Scene::start([200, 200, 100]).await;
    let huge = scene.cache.add_sized("huge", &[], 6 * MIB);
    scene.cache.serve(&scene.upstream);
    let site = scene.site_of(1 << 30);
    site.tree.capacity().limit(Some(Rules { keep_free: 0, max_size: Some(MAX) }));
    let is_let_in = async |path| {
        let info = site.found(path).await;
        let file = info.url.strip_prefix("nar/").unwrap();
        let is_let_in = site.through.open(file, site.through.find_nar(file).unwrap()).is_some();
        site.settled().await;
        is_let_in
    };
    assert!(!is_let_in(&huge).await);
    assert!(site.through.make_room().await);
    assert_eq!(
        scene.here(&site),
        ["library", "app", "rare"],
        "nobody leaves for what has no room without them either"
    );
    assert!(!is_let_in(&scene.late).await);
    assert!(!is_let_in(&huge).await);
    assert!(site.through.make_room().await);
    assert_eq!(scene.here(&site), ["library", "app"], "the longest not asked for");
    assert!(site.through.make_room().await);
    scene.get(&site, &scene.late).await;
    assert_eq!(scene.here(&site), ["library", "app", "late"], "and no more than that");
}

#[tokio::test]
async fn what_is_wanted_takes_no_room_from_guests() {
    let scene = Scene::start([1, 2, 300]).await;
    let site = scene.site();
    let wanted = [&scene.library, &scene.app].map(StorePath::hash_part);
    site.wants.set_policies(Some(HashParts::from(wanted)));
    scene.get(&site, &scene.late).await;
    assert_eq!(site.tree.totals().artifacts, 4, "guests are the last two, and fit");
    clean(scene.directory.path(), &scene.cache.keys());
}

#[tokio::test]
async fn what_a_policy_stopped_wanting_and_no_client_asked_for_leaves_before_what_clients_use() {
    let scene = Scene::start([1, 2, 3]).await;
    // Only one of them was ever asked for, and that long ago.
    scene.accessed([(&scene.rare, 1)]);
    let site = scene.site();
    let wanted = [&scene.library, &scene.app].map(StorePath::hash_part);
    site.wants.set_policies(Some(HashParts::from(wanted)));
    scene.get(&site, &scene.late).await;
    assert_eq!(site.tree.totals().artifacts, 4, "what is wanted takes no room");
    // From now on all four are guests, and half a MiB is too much.
    site.wants.set_policies(Some(HashParts::default()));
    site.tree.forget(&scene.late.hash_part());
    scene.get(&site, &scene.late).await;
    assert_eq!(scene.here(&site), ["library", "rare", "late"], "referrers first");
}

#[tokio::test]
async fn a_guest_that_a_process_took_out_when_it_ended_leaves_the_trash_and_what_is_wanted_does_not() {
    let scene = Scene::start([1, 2, 3]).await;
    let (site, rare) = (scene.site(), scene.rare.hash_part());
    site.tree.remove_all(&[rare]).unwrap();
    site.wants.set_policies(None);
    assert!(site.through.make_room().await && site.tree.is_in_trash(&rare), "whose it is is not known");
    site.wants.set_policies(Some(HashParts::from([rare])));
    assert!(site.through.make_room().await && site.tree.is_in_trash(&rare), "it is taken back from there");
    site.wants.set_policies(Some(HashParts::default()));
    assert!(site.through.make_room().await && !site.tree.is_trashed(&rare));
    assert_eq!(std::fs::read_dir(site.path().join(".granary/trash/nar")).unwrap().count(), 0);
    assert_eq!(scene.here(&site), ["library", "app"]);
}

#[tokio::test]
async fn nobody_leaves_while_it_is_not_known_what_is_wanted() {
    for (policies, channels) in [(None, Some(HashParts::default())), (Some(HashParts::default()), None)] {
        let scene = Scene::start([1, 2, 3]).await;
        let site = scene.site();
        site.wants.set_policies(policies);
        site.wants.set_channels(channels);
        scene.get(&site, &scene.late).await;
        assert_eq!(scene.here(&site), ["library", "app", "rare"], "it was passed on, and not kept");
    }
}

#[tokio::test]
async fn narinfos_of_guests_are_forgotten_after_a_month_and_not_before() {
    let scene = Scene::begin([NOW; 3], false).await;
    let site = scene.site();
    let paths = [&scene.library, &scene.app, &scene.rare];
    let known = |site: &Site| paths.map(|path| site.tree.in_catalog(&path.hash_part()));
    let counted = |from: u32, to: u32| {
        for hour in from..=to {
            site.through.time_passes(Duration::from_hours(hour.into()));
        }
    };
    // A clock that jumps by a year, and back, is an hour at most.
    for years in [0, 1, 0] {
        site.through.time_passes(Duration::from_hours(years * 365 * 24));
        site.through.forget().unwrap();
        assert_eq!(known(&site), [true; 3]);
    }
    counted(1, 30 * 24);
    site.through.forget().unwrap();
    assert_eq!(known(&site), [true; 3]);
    // What is needed by what is wanted stays.
    site.wants.set_policies(Some(HashParts::from([scene.app.hash_part()])));
    counted(30 * 24 + 1, 31 * 24);
    site.through.forget().unwrap();
    assert_eq!(known(&site), [true, true, false]);
    clean(scene.directory.path(), &scene.cache.keys());
}
