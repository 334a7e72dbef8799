//! The lowest layers: from Debian's packages, only what the programs in the image open.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::Lock;
use crate::images::layer::{Layer, Node, Owner, USER};
use crate::job;
use crate::key::Key;
use crate::setup::Session;

/// Raised when what is kept of the packages changes.
const RECIPE: u32 = 2;

/// What the root is made of. Their dependencies come with them, and most of that is left out again.
const PACKAGES: &str = "nginx-light,ca-certificates,libc6,libgcc-s1";

/// What a Rust program of ours links to.
const OURS: [&str; 3] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1"];

/// Names that must not be in an image: with a shell, a hole in the program is a foothold.
const SHELLS: [&str; 9] = ["sh", "bash", "dash", "ash", "busybox", "perl", "python3", "zsh", "rbash"];

/// The two bases.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// C library, certificates, users.
    Plain,
    /// The same and nginx.
    Nginx,
}

impl Base {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Nginx];

    /// The file of its layer in the cache entry.
    pub fn file(self) -> &'static str {
        match self {
            Self::Plain => "plain.tar",
            Self::Nginx => "nginx.tar",
        }
    }

    /// Whether files of this package may be in it.
    fn has(self, package: &str) -> bool {
        let plain = ["ca-certificates", "gcc-", "libc6", "libgcc-s1"];
        self == Self::Nginx || plain.iter().any(|prefix| package.starts_with(prefix))
    }
}

/// The folder with both layers.
pub fn get(session: &Session, lock: &Lock) -> Result<PathBuf> {
    let suite = suite(&fs::read_to_string("/etc/os-release")?)?;
    let key = Key::new("rootfs", RECIPE).text("suite", &suite).text("packages", PACKAGES);
    let key = key.text("arch", std::env::consts::ARCH).finish();
    session.cache.entry(lock, "rootfs", &key, |aside| {
        session.tell.step(&format!("a root file system of Debian {suite} with nginx"), || {
            let root = aside.join("root");
            let mut make = Command::new("mmdebstrap");
            make.args(["--variant=extract", &format!("--include={PACKAGES}"), &suite]).arg(&root);
            job::must(&session.tell, &session.cache.logs(), "mmdebstrap", &mut make)?;
            for base in Base::ALL {
                let layer = layer(&root, base)?;
                refuse_shells(&layer)?;
                fs::write(aside.join(base.file()), layer.pack()?)?;
            }
            starts(&aside.join(Base::Nginx.file()), &aside.join("try"))?;
            fs::remove_dir_all(&root)?;
            Ok(())
        })
    })
}

/// The release of the machine itself: its C library is the one that our programs were linked with.
fn suite(os_release: &str) -> Result<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name
        .context("/etc/os-release does not name the release (VERSION_CODENAME)")?
        .trim_matches('"')
        .to_owned())
}

fn layer(root: &Path, base: Base) -> Result<Layer> {
    let mut layer = Layer::default();
    for (path, text) in [
        (
            "etc/passwd",
            format!("root:x:0:0:root:/:/usr/sbin/nologin\ngranary:x:{USER}:{USER}::/:/usr/sbin/nologin\n"),
        ),
        ("etc/group", format!("root:x:0:\ngranary:x:{USER}:\n")),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
    ] {
        layer.put(path, Node::File { mode: 0o644, owner: Owner::Root, content: text.into_bytes() });
    }
    let certificates = certificates(&root.join("usr/share/ca-certificates/mozilla"))?;
    let certificates = Node::File { mode: 0o644, owner: Owner::Root, content: certificates };
    layer.put("etc/ssl/certs/ca-certificates.crt", certificates);
    layer.put("run", Node::Dir { mode: 0o755, owner: Owner::Root });
    layer.put("tmp", Node::Dir { mode: 0o1777, owner: Owner::Root });
    let libraries = library_folder(root)?;
    let mut programs: Vec<String> = OURS.iter().map(|name| format!("{libraries}/{name}")).collect();
    if base == Base::Nginx {
        programs.push("/usr/sbin/nginx".to_owned());
        keep(&mut layer, root, "etc/nginx/mime.types")?;
        for dir in ["run/granary", "srv/granary", "var/lib/nginx", "var/log/nginx"] {
            layer.put(dir, Node::Dir { mode: 0o755, owner: Owner::Program });
        }
    }
    for program in programs {
        for library in loaded(root, &program)? {
            keep(&mut layer, root, library.trim_start_matches('/'))?;
        }
        keep(&mut layer, root, program.trim_start_matches('/'))?;
    }
    // The licences ask that their texts go where the programs go.
    for package in sorted(&root.join("usr/share/doc"))?.iter().filter(|package| base.has(package)) {
        let text = format!("usr/share/doc/{package}/copyright");
        if root.join(&text).symlink_metadata().is_ok_and(|found| found.is_file()) {
            keep(&mut layer, root, &text)?;
        }
    }
    Ok(layer)
}

/// Copies a path of the root into the layer; with a link, also what it points to.
fn keep(layer: &mut Layer, root: &Path, path: &str) -> Result<()> {
    let place = root.join(path);
    let found = place.symlink_metadata().with_context(|| format!("the packages have no /{path}"))?;
    if found.is_symlink() {
        let target = fs::read_link(&place)?.to_string_lossy().into_owned();
        layer.put(path, Node::Link { target: target.clone() });
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let absolute = target.strip_prefix('/').map(str::to_owned);
        let next = absolute.unwrap_or_else(|| format!("{parent}/{target}"));
        return keep(layer, root, &next);
    }
    let mode = found.permissions().mode() & 0o755;
    layer.put(path, Node::File { mode, owner: Owner::Root, content: fs::read(&place)? });
    Ok(())
}

/// What the loader opens for a program or library, and the loader itself, as absolute paths in the root.
fn loaded(root: &Path, program: &str) -> Result<Vec<String>> {
    let mut list = Command::new("chroot");
    list.arg(root).args([loader()?, "--list", program]);
    Ok(paths_listed(&job::output(&mut list)?))
}

fn paths_listed(list: &str) -> Vec<String> {
    list.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(str::to_owned)
        .collect()
}

fn loader() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("/lib64/ld-linux-x86-64.so.2"),
        "aarch64" => Ok("/lib/ld-linux-aarch64.so.1"),
        other => bail!("images are made for x86_64 and aarch64, and this machine is {other}"),
    }
}

/// `/lib/<machine>-linux-gnu`, where the C library is.
fn library_folder(root: &Path) -> Result<String> {
    let name = format!("/lib/{}-linux-gnu", std::env::consts::ARCH);
    // With a merged /usr, that is where it is, and the loader names it so.
    for place in [name.clone(), format!("/usr{name}")] {
        if root.join(&place[1..]).join(OURS[0]).exists() {
            return Ok(place);
        }
    }
    bail!("{} is not in the packages", OURS[0])
}

/// All certificates in one file, as `update-ca-certificates` would have written them.
fn certificates(folder: &Path) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for name in sorted(folder)? {
        all.extend(fs::read(folder.join(name))?);
        if all.last() != Some(&b'\n') {
            all.push(b'\n');
        }
    }
    Ok(all)
}

fn sorted(folder: &Path) -> Result<Vec<String>> {
    let mut names = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn refuse_shells(layer: &Layer) -> Result<()> {
    let shell = layer.paths().find(|path| {
        let name = path.rsplit('/').next().unwrap_or(path);
        SHELLS.contains(&name)
    });
    match shell {
        Some(path) => bail!("/{path} would be a shell in the image"),
        None => Ok(()),
    }
}

/// Tries nginx in the finished layer, as the user that will run it.
fn starts(layer: &Path, scratch: &Path) -> Result<()> {
    fs::create_dir(scratch)?;
    job::output(Command::new("tar").arg("-C").arg(scratch).arg("-xf").arg(layer))?;
    let mut nginx = Command::new("chroot");
    nginx.arg(format!("--userspec={USER}:{USER}")).arg(scratch).args(["/usr/sbin/nginx", "-v"]);
    job::output(&mut nginx).context("nginx does not start in the image's root")?;
    fs::remove_dir_all(scratch)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_list_is_read() {
        let list = "\tlinux-vdso.so.1 (0x7f)\n\tlibz.so.1 => /lib/libz.so.1 (0x7f)\n\t/lib64/ld.so (0x7f)\n";
        assert_eq!(paths_listed(list), ["/lib/libz.so.1", "/lib64/ld.so"]);
    }

    #[test]
    fn links_bring_what_they_point_to() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("lib/real")).unwrap();
        fs::write(root.path().join("lib/real/a.so.1"), "x").unwrap();
        std::os::unix::fs::symlink("/lib/b.so", root.path().join("lib/c.so")).unwrap();
        std::os::unix::fs::symlink("real/a.so.1", root.path().join("lib/b.so")).unwrap();
        let mut layer = Layer::default();
        keep(&mut layer, root.path(), "lib/c.so").unwrap();
        let paths: Vec<_> = layer.paths().collect();
        assert_eq!(paths, ["lib", "lib/b.so", "lib/c.so", "lib/real", "lib/real/a.so.1"]);
        assert!(keep(&mut layer, root.path(), "lib/none").is_err());
    }

    #[test]
    fn a_shell_is_refused() {
        let mut layer = Layer::default();
        layer.put("usr/share/publish", Node::Link { target: "x".to_owned() });
        refuse_shells(&layer).unwrap();
        layer.put("bin/sh", Node::Link { target: "dash".to_owned() });
        assert!(refuse_shells(&layer).is_err());
    }

    #[test]
    fn the_release_is_the_machines_own() {
        assert_eq!(suite("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap(), "bookworm");
        assert!(suite("ID=debian\n").is_err());
    }
}
