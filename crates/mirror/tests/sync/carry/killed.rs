//! The real program, killed in the middle of an export and of an import, and what the next one makes of it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use granary_nix::StorePath;

use super::super::common::cache::Artifact;
use super::super::common::{Cache, eventually};
use super::super::{clean, is_visible};

/// A cache on a medium, of which a large artifact needs a small one.
struct Scene {
    cache: Cache,
    small: StorePath,
    large: StorePath,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let mut cache = Cache::new("test-1");
        let small = cache.add("small", &[]);
        let large = cache.add_sized("large", &[&small], 1 << 20);
        let folder = tempfile::tempdir().unwrap();
        let medium = folder.path().join("medium");
        fs::create_dir_all(medium.join("nar")).unwrap();
        for Artifact { info, file } in &cache.artifacts {
            fs::write(medium.join(info.store_path.hash_part().narinfo_name()), info.to_text()).unwrap();
            fs::write(medium.join(&info.url), file).unwrap();
        }
        Self { cache, small, large, folder }
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("to")
    }

    /// `export` or `import` of everything on the medium.
    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_granary-mirror"));
        command.args([what, "--public-key", &self.cache.key.public_key().to_string()]);
        command.arg("--from").arg(self.folder.path().join("medium")).arg("--to").arg(self.to());
        command
    }

    /// The files of an artifact in the target, by which they can be told from a copy: which file it is, and when it was
    /// last touched.
    fn files(&mut self, path: &StorePath) -> Vec<(u64, i64, i64)> {
        let url = self.cache.get(path).info.url.clone();
        let names = [url, path.hash_part().narinfo_name()];
        let meta = |name: &String| fs::metadata(self.to().join(name)).unwrap();
        names.iter().map(meta).map(|meta| (meta.ino(), meta.ctime(), meta.ctime_nsec())).collect()
    }
}

/// Where files are written before they get their names.
fn half(scratch: &Path) -> Option<()> {
    let mut files = fs::read_dir(scratch).ok()?.filter_map(|file| file.ok()?.metadata().ok());
    files.any(|file| file.len() > 100_000).then_some(())
}

async fn killed_in_the_middle_and_completed(what: &str, scratch: &str) {
    let mut scene = Scene::new();
    let (small, large, to) = (scene.small.clone(), scene.large.clone(), scene.to());
    // The large file's bytes come through a pipe, of which the second half never comes.
    let Artifact { info, file } = scene.cache.get(&large).clone();
    let path = scene.folder.path().join("medium").join(&info.url);
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut child = scene.command(what).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pipe = eventually("the large one is read", || {
        // Nobody waits here for a reader that does not come.
        let open = File::options().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&path);
        open.ok()
    })
    .await;
    let begun = &file[..file.len() / 2];
    let mut sent = 0;
    eventually("half of it is taken", || {
        match (&pipe).write(&begun[sent..]) {
            Ok(length) => sent += length,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        (sent == begun.len()).then_some(())
    })
    .await;
    eventually("the small one is there", || is_visible(&to, &small).then_some(())).await;
    eventually("half of the large one is written", || half(&to.join(scratch))).await;
    assert!(!is_visible(&to, &large));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(pipe);
    assert!(!is_visible(&to, &large));
    let check = clean(&to, &scene.cache.keys());
    assert_eq!(check.artifacts, 1, "what is visible is whole");
    let whole = scene.files(&small);

    fs::remove_file(&path).unwrap();
    fs::write(&path, file).unwrap();
    for (copied, there) in [(1, 1), (0, 2)] {
        let output = scene.command(what).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {words}");
        let expected = [format!("copied {copied} artifacts"), format!("{there} were there")];
        assert!(expected.iter().all(|expected| words.contains(expected)), "{what}: {words}");
        assert_eq!(scene.files(&small), whole, "{what}: what was whole is not written again");
        let check = clean(&to, &scene.cache.keys());
        assert_eq!((check.artifacts, check.notes), (2, vec![]), "{what}");
        let left = fs::read_dir(to.join(scratch)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{what}: nothing half-written is left");
    }
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_with_what_is_missing() {
    killed_in_the_middle_and_completed("import", ".granary/tmp").await;
}

#[tokio::test]
async fn an_export_that_was_killed_goes_on_with_what_is_missing() {
    killed_in_the_middle_and_completed("export", ".granary-export").await;
}
