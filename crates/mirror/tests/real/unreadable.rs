//! A disk that does not give back what it has: a real one, on a loop device whose end is cut off, and the real nginx.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Scene, eventually, library_and_app, nar_name, wants};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

const BLOCK: u64 = 4096;
const SIZE: u64 = 64 << 20;

/// A filesystem in a file; unmounted with the value.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// `None`: this machine cannot do it.
    fn mount(image: &Path, at: &Path) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            println!("skipped: only root with loop devices can have such a disk");
            return None;
        }
        fs::create_dir_all(at).unwrap();
        File::create(image).unwrap().set_len(SIZE).unwrap();
        good(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-b", "4096", "-m", "0", "-O", "^has_journal"])
                .arg(image),
        );
        good(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at));
        let disk = Self { image: image.into(), at: at.into() };
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
        Some(disk)
    }

    /// Makes a file unreadable: it is written anew behind everything else, and the disk ends before it.
    fn spoil(&self, file: &Path) {
        let balloon = self.at.join("balloon");
        File::create(&balloon).unwrap();
        good(Command::new("fallocate").args(["-l", "36M"]).arg(&balloon));
        let new = file.with_extension("new");
        let (content, mut copy) = (fs::read(file).unwrap(), File::create(&new).unwrap());
        // A small file would get a place among others.
        good(Command::new("fallocate").args(["-l", "1M"]).arg(&new));
        copy.write_all(&content).unwrap();
        copy.set_len(content.len() as u64).unwrap();
        copy.sync_all().unwrap();
        fs::rename(&new, file).unwrap();
        nix::unistd::syncfs(&copy).unwrap();
        let first = extents(file).into_iter().map(|(start, _)| start).min().unwrap();
        for other in files(&self.at).into_iter().filter(|other| other != file) {
            for (_, end) in extents(&other) {
                assert!(end < first, "{} ends at {end}, not before {first}", other.display());
            }
        }
        fs::remove_file(&balloon).unwrap();
        nix::unistd::syncfs(&copy).unwrap();
        File::options().write(true).open(&self.image).unwrap().set_len(first * BLOCK).unwrap();
        posix_fadvise(&copy, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        assert_eq!(fs::read(file).unwrap_err().raw_os_error(), Some(5), "EIO");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn good(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// First and last block of each piece of a file on its disk.
fn extents(file: &Path) -> Vec<(u64, u64)> {
    let said = good(Command::new("filefrag").args(["-b4096", "-v"]).arg(file));
    let lines =
        said.lines().filter(|line| line.trim_start().starts_with(|first: char| first.is_ascii_digit()));
    let physical = lines.filter_map(|line| line.split(':').nth(2)?.split_once(".."));
    physical.map(|(start, end)| (start.trim().parse().unwrap(), end.trim().parse().unwrap())).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(&entry.path()));
        } else {
            all.push(entry.path());
        }
    }
    all
}

#[tokio::test]
async fn what_nginx_cannot_read_is_looked_at_at_once_and_put_right() {
    for kind in ["nar", "catalog", "listing"] {
        let artifacts = library_and_app(1_000_000);
        let [library, app] = &artifacts;
        let Some(scene) = Scene::of(&artifacts).await else { return };
        let (corpus, site) = (&scene.corpus, scene.site("lan"));
        let Some(disk) = Disk::mount(&scene.path().join("image"), &site.tree()) else { return };
        // Nothing finds it by itself for days, or ever.
        let more = format!(
            "{}\n{}\nscrub: {{enabled: {}}}\nextras: {{listings: Make}}",
            wants(&[app]),
            site.front_apart(),
            kind == "nar"
        );
        let mirror = scene.run_at(site, &more);
        mirror.synced().await;

        let (tree, narinfo) = (mirror.site.tree(), library.narinfo());
        let said = fs::read_to_string(tree.join(&narinfo)).unwrap();
        let nar = nar_name(&said);
        let listing = format!("{}.ls", library.hash_part());
        let beside = async || fs::read(tree.join(&listing)).ok();
        let listed = eventually("the listing is made", beside).await;
        let (file, asked, good) = match kind {
            "nar" => (tree.join(&nar), &nar, corpus.nar(library)),
            "listing" => (tree.join(&listing), &listing, listed),
            _ => (tree.join(".granary/catalog").join(&narinfo), &narinfo, said.clone().into_bytes()),
        };
        disk.spoil(&file);
        assert_eq!(mirror.body(asked).await, None, "it is not there, and nginx has begun to answer");
        eventually("it is put right", async || (mirror.body(asked).await? == good).then_some(())).await;
        let log = mirror.log();
        let told = log.lines().find(|line| line.contains("Input/output error") && line.contains(&**asked));
        assert!(told.is_some() && log.contains("nginx cannot read a file"), "{log}");
        let line = format!("granary_mirror_scrub_rotten_total{{file=\"{kind}\"}} 1");
        mirror.has_metrics(&[&line]).await;
        mirror.until("everything is here", |report| report.artifacts == 2).await;
        mirror.verified(&corpus.key);
    }
}
