//! A disk that does not give back what it has: a real one, on a loop device whose end is cut off, and the real nginx.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use reqwest::Client;

use super::support::{
    Artifact, Corpus, Mirror, Site, Upstream, client, config, eventually, folder, noise, run, text, tools,
};

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

/// The body, if it comes whole.
async fn body(client: &Client, url: &str) -> Option<Vec<u8>> {
    let answer = client.get(url).send().await.ok()?.error_for_status().ok()?;
    answer.bytes().await.ok().map(|bytes| bytes.to_vec())
}

#[tokio::test]
async fn what_nginx_cannot_read_is_looked_at_at_once_and_put_right() {
    if !tools() {
        return;
    }
    for kind in ["nar", "catalog", "listing"] {
        let (folder, client) = (folder(), client());
        let library = Artifact::new("library-1.0", 0, noise(1_000_000), &[]);
        let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&library]);
        let artifacts = [library, app];
        let [library, app] = &artifacts;
        let site = Site::new(folder.path(), "lan");
        let Some(disk) = Disk::mount(&folder.path().join("image"), &site.tree()) else { return };
        let corpus = Corpus::make(folder.path(), &artifacts);
        let upstream = Upstream::serve(&corpus.cache).await;
        // Nothing finds it by itself for days, or ever.
        let more = format!(
            "storePaths: ['{}']\nfrontDirectory: '{}'\nscrub: {{enabled: {}}}\nextras: {{listings: Make}}",
            app.path,
            site.base.join("front").display(),
            kind == "nar"
        );
        let path = config(&site, &upstream.url, &corpus.key, &more);
        let mirror = Mirror::run(site, &path);
        mirror.synced(&client).await;

        let (tree, narinfo) = (mirror.site.tree(), format!("{}.narinfo", library.hash_part()));
        let said = fs::read_to_string(tree.join(&narinfo)).unwrap();
        let nar = said.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap().to_owned();
        let listing = format!("{}.ls", library.hash_part());
        let beside = async || fs::read(tree.join(&listing)).ok();
        let listed = eventually("the listing is made", beside).await;
        let (file, asked, good) = match kind {
            "nar" => (tree.join(&nar), &nar, corpus.nar(library)),
            "listing" => (tree.join(&listing), &listing, listed),
            _ => (tree.join(".granary/catalog").join(&narinfo), &narinfo, said.clone().into_bytes()),
        };
        disk.spoil(&file);
        let url = format!("{}/{asked}", mirror.url());
        assert_eq!(body(&client, &url).await, None, "it is not there, and nginx has begun to answer");
        eventually("it is put right", async || (body(&client, &url).await? == good).then_some(())).await;
        let log = mirror.log();
        let told = log.lines().find(|line| line.contains("Input/output error") && line.contains(&**asked));
        assert!(told.is_some() && log.contains("nginx cannot read a file"), "{log}");
        let metrics = client.get(mirror.agent("/metrics")).send().await.unwrap().text().await.unwrap();
        let line = format!("granary_mirror_scrub_rotten_total{{file=\"{kind}\"}} 1");
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
        let whole = |report: &super::support::Report| report.artifacts == 2;
        mirror.until(&client, "everything is here", whole).await;
        let (code, out, error) = run(&["verify", text(&tree), "--public-key", &corpus.key]);
        assert_eq!(code, Some(0), "{out}{error}\n{}", mirror.log());
    }
}
