//! A layer: files at fixed times, in one order, with owners that we choose.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// The user and group that our programs run as.
pub const USER: u32 = 64_532;

/// Who owns a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Root: nothing in the image can change it.
    Root,
    /// The user that the program runs as.
    Program,
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Dir {
        /// Permission bits.
        mode: u32,
        /// Who may write by them.
        owner: Owner,
    },
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// Who may write by them.
        owner: Owner,
        /// Its bytes.
        content: Vec<u8>,
    },
    /// A symbolic link.
    Link {
        /// What it points to, as it is written into the link.
        target: String,
    },
}

/// Files by path, without a slash at the start.
#[derive(Default)]
pub struct Layer {
    nodes: BTreeMap<String, Node>,
}

impl Layer {
    /// Adds an entry, and the folders above it, which anyone may read.
    pub fn put(&mut self, path: &str, node: Node) {
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/') {
            let dir = Node::Dir { mode: 0o755, owner: Owner::Root };
            self.nodes.entry(parent.to_owned()).or_insert(dir);
            above = parent;
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// What is in it.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The layer as an uncompressed tar.
    pub fn pack(&self) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, node) in &self.nodes {
            append(&mut tar, path, node).with_context(|| format!("packing {path}"))?;
        }
        Ok(tar.into_inner()?)
    }
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, node: &Node) -> Result<()> {
    match node {
        Node::Dir { mode, owner } => {
            let mut header = header(tar::EntryType::Directory, *mode, *owner);
            tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Node::File { mode, owner, content } => {
            let mut header = header(tar::EntryType::Regular, *mode, *owner);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_slice())?;
        }
        Node::Link { target } => {
            tar.append_link(&mut header(tar::EntryType::Symlink, 0o777, Owner::Root), path, target)?;
        }
    }
    Ok(())
}

/// A header in which nothing depends on when and where it was made.
pub fn header(kind: tar::EntryType, mode: u32, owner: Owner) -> tar::Header {
    let id = match owner {
        Owner::Root => 0,
        Owner::Program => u64::from(USER),
    };
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(id);
    header.set_gid(id);
    header.set_mtime(0);
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> Node {
        Node::File { mode: 0o644, owner: Owner::Root, content: content.into() }
    }

    #[test]
    fn the_order_of_adding_does_not_show() {
        let (mut one, mut two) = (Layer::default(), Layer::default());
        one.put("b/c", file("1"));
        one.put("a", file("2"));
        two.put("a", file("2"));
        two.put("b/c", file("1"));
        assert_eq!(one.pack().unwrap(), two.pack().unwrap());
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut layer = Layer::default();
        layer.put("a/b/c", file(""));
        layer.put("run/granary", Node::Dir { mode: 0o700, owner: Owner::Program });
        layer.put("lib", Node::Link { target: "usr/lib".to_owned() });
        let bytes = layer.pack().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let listed: Vec<(String, u64, u32)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path().unwrap().to_string_lossy().into_owned();
                (path, entry.header().uid().unwrap(), entry.header().mode().unwrap())
            })
            .collect();
        let expected = [
            ("a/", 0, 0o755),
            ("a/b/", 0, 0o755),
            ("a/b/c", 0, 0o644),
            ("lib", 0, 0o777),
            ("run/", 0, 0o755),
            ("run/granary/", 64_532, 0o700),
        ];
        assert_eq!(listed, expected.map(|(path, uid, mode)| (path.to_owned(), uid, mode)));
    }
}
