//! The OCI images: a small Debian root and one program each, no shell, no root user, the same bytes every time.

mod layer;
mod oci;
mod pause;
mod rootfs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::cache::Lock;
use crate::cargo;
use crate::images::layer::{Layer, Node, Owner};
use crate::images::oci::Image;
use crate::key::Key;
use crate::preflight;
use crate::setup::Session;
use crate::{apt, job};

/// Raised when the way of packing changes.
const RECIPE: u32 = 1;

/// One image of ours: its tar's name, which is also the name's last part, and its program.
struct Recipe {
    tar: &'static str,
    program: &'static str,
    base: rootfs::Base,
}

const RECIPES: [Recipe; 2] = [
    Recipe { tar: "operator", program: "granary-operator", base: rootfs::Base::Plain },
    Recipe { tar: "mirror", program: "granary-mirror", base: rootfs::Base::Nginx },
];

/// The folder with the tars for the test cluster: pause, operator and mirror.
pub fn get(session: &Session, lock: &Lock) -> Result<PathBuf> {
    let bases = rootfs::get(session, lock)?;
    cargo::programs(session)?;
    let mut key = Key::new("images", RECIPE).text("pause", pause::SOURCE);
    for base in rootfs::Base::ALL {
        key = key.file(&bases.join(base.file()))?;
    }
    for recipe in &RECIPES {
        key = key.file(&cargo::release(session).join(recipe.program))?;
    }
    let key = key.finish();
    if session.cache.has("images", &key) {
        session.tell.say("images: built already from these programs");
    }
    session.cache.entry(lock, "images", &key, |aside| {
        session.tell.step("images: pause, operator, mirror", || {
            for (name, image) in all(session, &bases, aside)? {
                image.write(&aside.join(format!("{name}.tar")))?;
            }
            Ok(())
        })
    })
}

/// `cargo xtask images`: builds what an organisation would push and says how.
pub fn command(session: &Session, out: Option<&Path>) -> Result<ExitCode> {
    let lock = session.cache.lock(&session.tell)?;
    preflight::check(session.cache.root(), false)?;
    apt::install(session)?;
    let built = get(session, &lock)?;
    let folder = match out {
        None => built,
        Some(folder) => {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
            for recipe in &RECIPES {
                let tar = format!("{}.tar", recipe.tar);
                fs::copy(built.join(&tar), folder.join(&tar))?;
            }
            folder.to_path_buf()
        }
    };
    println!();
    for recipe in &RECIPES {
        let tar = folder.join(format!("{}.tar", recipe.tar));
        println!("{}  {}  {}", name(recipe.tar), oci::digest_of(&tar)?, tar.display());
    }
    let tar = folder.join("mirror.tar");
    let tar = tar.display();
    println!(
        "\nTo push one to a registry of yours:\n  \
         skopeo copy oci-archive:{tar} docker://REGISTRY/granary/mirror:0.1.0\n  \
         ctr images import {tar} && ctr images tag {name} REGISTRY/granary/mirror:0.1.0 && \
         ctr images push REGISTRY/granary/mirror:0.1.0",
        name = name("mirror"),
    );
    Ok(ExitCode::SUCCESS)
}

/// The name under which the test cluster knows an image.
fn name(last: &str) -> String {
    format!("granary.test/{last}:dev")
}

fn all(session: &Session, bases: &Path, scratch: &Path) -> Result<Vec<(&'static str, Image)>> {
    let mut images = vec![("pause", pause::image(session, &name("pause"), scratch)?)];
    for recipe in &RECIPES {
        let base = fs::read(bases.join(recipe.base.file()))?;
        let program = stripped(&cargo::release(session).join(recipe.program), scratch)?;
        images.push((recipe.tar, image(&name(recipe.tar), recipe.program, base, program)?));
    }
    Ok(images)
}

/// A base and a program on top of it, in layers of their own: a new program leaves the base layer as it was.
fn image(name: &str, program: &str, base: Vec<u8>, content: Vec<u8>) -> Result<Image> {
    let place = format!("usr/bin/{program}");
    let mut top = Layer::default();
    top.put(&place, Node::File { mode: 0o755, owner: Owner::Root, content });
    Ok(Image::new(name, vec![base, top.pack()?], &format!("/{place}")))
}

/// The program without its debug information, which is larger than the program.
fn stripped(program: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let small = scratch.join("stripped");
    job::output(std::process::Command::new("strip").arg("-o").arg(&small).arg(program))?;
    let content = fs::read(&small)?;
    fs::remove_file(&small)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_the_same_byte_for_byte_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let build = |file: &str| {
            let mut base = Layer::default();
            base.put("etc/passwd", Node::File { mode: 0o644, owner: Owner::Root, content: b"x".to_vec() });
            base.put("tmp", Node::Dir { mode: 0o1777, owner: Owner::Root });
            let image = image("a/b:c", "program", base.pack().unwrap(), b"content".to_vec()).unwrap();
            let tar = dir.path().join(file);
            image.write(&tar).unwrap();
            (fs::read(&tar).unwrap(), oci::digest_of(&tar).unwrap())
        };
        assert_eq!(build("one"), build("two"));
    }

    #[test]
    fn a_new_program_leaves_the_base_layer_alone() {
        let base = Layer::default().pack().unwrap();
        let one = image("a", "program", base.clone(), b"1".to_vec()).unwrap();
        let two = image("a", "program", base, b"2".to_vec()).unwrap();
        assert_eq!(one.layers()[0], two.layers()[0]);
        assert_ne!(one.layers()[1], two.layers()[1]);
    }
}
