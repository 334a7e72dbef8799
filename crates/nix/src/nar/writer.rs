//! Archives for tests.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::NarEvent;

/// A file tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tree {
    Directory(BTreeMap<Vec<u8>, Tree>),
    File { executable: bool, contents: Vec<u8> },
    Symlink(Vec<u8>),
}

/// One token.
pub(crate) fn token(nar: &mut Vec<u8>, bytes: &[u8]) {
    nar.extend((bytes.len() as u64).to_le_bytes());
    nar.extend(bytes);
    nar.resize(nar.len().next_multiple_of(8), 0);
}

/// Words, separated by spaces, as tokens.
pub(crate) fn words(words: &str) -> Vec<u8> {
    let mut nar = Vec::new();
    words.split(' ').for_each(|word| token(&mut nar, word.as_bytes()));
    nar
}

impl Tree {
    pub(crate) fn file(contents: &[u8]) -> Self {
        Self::File { executable: false, contents: contents.to_vec() }
    }

    pub(crate) fn directory(entries: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        Self::Directory(entries.into_iter().map(|(name, tree)| (name.as_bytes().to_vec(), tree)).collect())
    }

    /// The archive of it.
    pub(crate) fn to_nar(&self) -> Vec<u8> {
        let mut nar = words("nix-archive-1");
        self.write(&mut nar);
        nar
    }

    fn write(&self, nar: &mut Vec<u8>) {
        nar.extend(words("( type"));
        match self {
            Self::Directory(entries) => {
                nar.extend(words("directory"));
                for (name, tree) in entries {
                    nar.extend(words("entry ( name"));
                    token(nar, name);
                    nar.extend(words("node"));
                    tree.write(nar);
                    nar.extend(words(")"));
                }
            }
            Self::File { executable, contents } => {
                nar.extend(words("regular"));
                if *executable {
                    nar.extend(words("executable "));
                }
                nar.extend(words("contents"));
                token(nar, contents);
            }
            Self::Symlink(target) => {
                nar.extend(words("symlink target"));
                token(nar, target);
            }
        }
        nar.extend(words(")"));
    }
}

/// Makes a tree of what a reader tells.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    open: Vec<(Vec<u8>, Tree)>,
    root: Option<Tree>,
    pub(crate) ended: bool,
}

impl Builder {
    pub(crate) fn event(&mut self, event: NarEvent<'_>) {
        assert!(!self.ended, "{event:?} after the end");
        if !matches!(event, NarEvent::Contents(_)) {
            self.settle_file();
        }
        match event {
            NarEvent::Directory { name } => self.open.push((name.to_vec(), Tree::Directory(BTreeMap::new()))),
            NarEvent::EndDirectory => {
                let (name, tree) = self.open.pop().unwrap();
                self.place(name, tree);
            }
            NarEvent::File { name, executable, .. } => {
                self.open.push((name.to_vec(), Tree::File { executable, contents: Vec::new() }));
            }
            NarEvent::Contents(bytes) => match self.open.last_mut() {
                Some((_, Tree::File { contents, .. })) => {
                    assert!(!bytes.is_empty());
                    contents.extend(bytes);
                }
                other => panic!("contents in {other:?}"),
            },
            NarEvent::Symlink { name, target } => self.place(name.to_vec(), Tree::Symlink(target.to_vec())),
            NarEvent::End => self.ended = true,
        }
    }

    /// A file has no event for its end; the next event that is not its contents is it.
    fn settle_file(&mut self) {
        if let Some((name, tree)) = self.open.pop_if(|(_, tree)| matches!(tree, Tree::File { .. })) {
            self.place(name, tree);
        }
    }

    fn place(&mut self, name: Vec<u8>, tree: Tree) {
        match self.open.last_mut() {
            Some((_, Tree::Directory(entries))) => assert_eq!(entries.insert(name, tree), None),
            Some(other) => panic!("an entry in {other:?}"),
            None => self.root = Some(tree),
        }
    }

    pub(crate) fn finish(self) -> Option<Tree> {
        assert!(self.open.is_empty());
        self.root
    }
}

/// Any tree: names of any bytes that are allowed, contents of every padding.
pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let name = vec(prop_oneof![1..=46_u8, 48..=255_u8], 1..12)
        .prop_filter("dots", |name| !matches!(&name[..], b"." | b".."));
    let leaf = prop_oneof![
        (any::<bool>(), vec(any::<u8>(), 0..40))
            .prop_map(|(executable, contents)| Tree::File { executable, contents }),
        vec(1..=255_u8, 1..20).prop_map(Tree::Symlink),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| btree_map(name.clone(), inner, 0..6).prop_map(Tree::Directory))
}
