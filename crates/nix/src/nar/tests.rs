//! Archives that are read, and archives that are refused.

use proptest::prelude::*;

use super::writer::{Builder, Tree, token, tree, words};
use super::*;

fn read(nar: &[u8]) -> Result<(), NarError> {
    let mut reader = NarReader::new(nar.len() as u64);
    let result = reader.push(nar, &mut |_| {});
    assert_eq!(reader.push(b"", &mut |_| {}), result, "an error stays");
    result.and_then(|()| reader.finish())
}

fn error(nar: &[u8]) -> String {
    read(nar).unwrap_err().to_string()
}

/// A directory with one entry of each name.
fn entries(names: &[&[u8]]) -> Vec<u8> {
    let mut nar = words("nix-archive-1 ( type directory");
    for name in names {
        nar.extend(words("entry ( name"));
        token(&mut nar, name);
        nar.extend(words("node ( type symlink target x ) )"));
    }
    nar.extend(words(")"));
    nar
}

#[test]
fn what_stands_in_an_archive() {
    let tree = Tree::directory([
        ("bin", Tree::directory([("run", Tree::File { executable: true, contents: b"#!".to_vec() })])),
        ("empty", Tree::file(b"")),
        ("lib", Tree::Symlink(b"bin".to_vec())),
    ]);
    let nar = tree.to_nar();
    let mut events = Vec::new();
    let mut reader = NarReader::new(nar.len() as u64);
    reader.push(&nar, &mut |event| events.push(format!("{event:?}"))).unwrap();
    assert_eq!(reader.offset(), nar.len() as u64);
    reader.finish().unwrap();
    let run = nar.windows(2).position(|window| window == b"#!").unwrap();
    let empty = nar.len() - words(") ) entry ( name lib node ( type symlink target bin ) ) )").len();
    let expected = [
        NarEvent::Directory { name: b"" },
        NarEvent::Directory { name: b"bin" },
        NarEvent::File { name: b"run", executable: true, size: 2, offset: run as u64 },
        NarEvent::Contents(b"#!"),
        NarEvent::EndDirectory,
        NarEvent::File { name: b"empty", executable: false, size: 0, offset: empty as u64 },
        NarEvent::Symlink { name: b"lib", target: b"bin" },
        NarEvent::EndDirectory,
        NarEvent::End,
    ];
    assert_eq!(events, expected.map(|event| format!("{event:?}")));
}

#[test]
fn a_root_may_be_a_file_or_a_symlink() {
    assert_eq!(read(&Tree::file(b"x").to_nar()), Ok(()));
    assert_eq!(read(&Tree::Symlink(b"/nix".to_vec()).to_nar()), Ok(()));
    assert_eq!(read(&Tree::directory([]).to_nar()), Ok(()));
}

#[test]
fn words_out_of_place_are_told_with_their_place() {
    assert_eq!(
        error(&words("nix-archive-2")),
        "byte 0: nix-archive-1 is expected, and \"nix-archive-2\" stands there"
    );
    let file = |rest: &str| words(&format!("nix-archive-1 ( type regular {rest}"));
    assert_eq!(
        error(&file("AAAAAAAA")),
        "byte 72: executable or contents is expected, and \"AAAAAAAA\" stands there"
    );
    assert_eq!(
        error(&file("contents x executable ")),
        "byte 104: ) is expected, and \"executable\" stands there"
    );
    assert_eq!(
        error(&file("executable  executable")),
        "byte 104: contents is expected, and \"executable\" stands there"
    );
    assert_eq!(error(&file("executable yes")), "byte 96: the executable marker has a value");
    assert_eq!(
        error(&words("nix-archive-1 ( type directory entry ( node")),
        "byte 112: name is expected, and \"node\" stands there"
    );
    assert_eq!(
        error(&words("nix-archive-1 ( type socket")),
        "byte 56: regular, directory or symlink is expected, and \"socket\" stands there"
    );
}

#[test]
fn a_token_is_not_kept_for_its_length() {
    for length in [14, 1 << 30, u64::MAX] {
        let mut reader = NarReader::new(u64::MAX);
        let problem = NarProblem::TokenLength { expected: "nix-archive-1", length };
        let result = reader.push(&length.to_le_bytes(), &mut |_| {});
        assert_eq!(result, Err(NarError { offset: 0, problem }));
    }
    let name = |length| [words("nix-archive-1 ( type directory entry ( name"), length].concat();
    let problem = |nar: &[u8]| read(nar).unwrap_err().problem;
    let length = 1_u64 << 30;
    assert_eq!(problem(&name(length.to_le_bytes().to_vec())), NarProblem::NameLength { length });
    let target = [words("nix-archive-1 ( type symlink target"), length.to_le_bytes().to_vec()].concat();
    assert_eq!(problem(&target), NarProblem::TargetLength { length });
}

#[test]
fn a_file_may_be_as_large_as_the_archive_and_no_larger() {
    let head = words("nix-archive-1 ( type regular contents");
    let with = |length: u64, limit| {
        let mut reader = NarReader::new(limit);
        reader.push(&[head.as_slice(), &length.to_le_bytes()].concat(), &mut |_| {})
    };
    let after = head.len() as u64 + 8;
    assert_eq!(with(1 << 40, (1 << 40) + after), Ok(()));
    for (length, limit) in
        [(1 << 30, 1 << 30), (9, after + 9), (u64::MAX, u64::MAX), (u64::MAX - 8, u64::MAX)]
    {
        let error = NarError { offset: head.len() as u64, problem: NarProblem::FileLength { length, limit } };
        assert_eq!(with(length, limit), Err(error));
    }
}

#[test]
fn padding_is_zero_and_nothing_follows() {
    let mut nar = Tree::file(b"x").to_nar();
    nar.push(0);
    assert_eq!(error(&nar), "byte 120: the archive is complete, and more follows");
    let mut reader = NarReader::new(120);
    assert_eq!(reader.push(&nar, &mut |_| {}).unwrap_err().problem, NarProblem::Trailing);
    nar[99] = 1;
    assert_eq!(error(&nar), "byte 99: the padding is not zero");
    nar[13 + 8] = 1;
    assert_eq!(error(&nar), "byte 21: the padding is not zero");
    let mut reader = NarReader::new(112);
    let result = reader.push(&Tree::file(b"x").to_nar(), &mut |_| {});
    assert_eq!(
        result.unwrap_err().to_string(),
        "byte 112: the archive goes on after the 112 bytes that it may have"
    );
}

#[test]
fn names_lead_nowhere_else_and_stand_in_order() {
    assert_eq!(error(&entries(&[b""])), "byte 128: the name of an entry is empty");
    for name in [&b"."[..], b"..", b"/", b"x/y", b"f\0o"] {
        assert!(matches!(read(&entries(&[name])).unwrap_err().problem, NarProblem::Name { .. }), "{name:?}");
    }
    for name in [&b"..."[..], b".x", b"x\n", b"\xff", &[b'n'; MAX_NAME]] {
        assert_eq!(read(&entries(&[name])), Ok(()), "{name:?}");
    }
    assert!(matches!(
        read(&entries(&[&[b'n'; 256]])).unwrap_err().problem,
        NarProblem::NameLength { length: 256 }
    ));
    assert!(error(&entries(&[b"a", b"a"])).ends_with("the directory has two entries \"a\""));
    assert!(error(&entries(&[b"b", b"a"])).ends_with("entry \"a\" comes after \"b\", and belongs before it"));
    assert_eq!(read(&entries(&[b"Foo", b"foo", b"foo~nix~case~hack~1"])), Ok(()));
}

#[test]
fn symlinks_lead_somewhere() {
    let problem = |target: &[u8]| read(&Tree::Symlink(target.to_vec()).to_nar()).unwrap_err().problem;
    assert!(matches!(problem(b""), NarProblem::Target { .. }));
    assert!(matches!(problem(b"a\0b"), NarProblem::Target { .. }));
    assert_eq!(read(&Tree::Symlink(vec![b'x'; MAX_TARGET]).to_nar()), Ok(()));
    assert_eq!(problem(&[b'x'; MAX_TARGET + 1]), NarProblem::TargetLength { length: 4096 });
}

#[test]
fn the_tree_has_a_bottom() {
    let nest = |levels| (1..levels).fold(Tree::file(b""), |tree, _| Tree::directory([("d", tree)])).to_nar();
    assert_eq!(read(&nest(MAX_DEPTH)), Ok(()));
    assert_eq!(read(&nest(MAX_DEPTH + 1)).unwrap_err().problem, NarProblem::Depth);
}

#[test]
fn every_prefix_is_cut_short() {
    let nar = Tree::directory([("a", Tree::file(b"12345")), ("b", Tree::Symlink(b"a".to_vec()))]).to_nar();
    for end in 0..nar.len() {
        let mut reader = NarReader::new(nar.len() as u64);
        reader.push(&nar[..end], &mut |_| {}).unwrap();
        let error = reader.finish().unwrap_err();
        assert_eq!(error.offset, end as u64);
        assert!(matches!(error.problem, NarProblem::Truncated { .. }), "{error}");
    }
    assert_eq!(error(&nar[..24]), "byte 24: ( is expected, and the bytes end there");
}

#[test]
fn the_digest_of_the_one_file() {
    let digest = |tree: Tree| {
        let (mut digest, nar) = (FileDigest::default(), tree.to_nar());
        NarReader::new(nar.len() as u64).push(&nar, &mut |event| digest.event(&event)).unwrap();
        digest.finish()
    };
    assert_eq!(digest(Tree::file(b"abc")), Some(crate::Hash::of(b"abc")));
    assert_eq!(digest(Tree::file(b"")), Some(crate::Hash::of(b"")));
    assert_eq!(digest(Tree::File { executable: true, contents: b"abc".to_vec() }), None);
    assert_eq!(digest(Tree::Symlink(b"abc".to_vec())), None);
    assert_eq!(digest(Tree::directory([("a", Tree::file(b"abc"))])), None);
    assert_eq!(FileDigest::default().finish(), None);
}

proptest! {
    #[test]
    fn any_tree_in_any_pieces(tree in tree(), mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let nar = tree.to_nar();
        cuts.sort_by_key(|cut| cut.index(nar.len()));
        let (mut reader, mut builder) = (NarReader::new(nar.len() as u64), Builder::default());
        let mut start = 0;
        for cut in cuts {
            let end = cut.index(nar.len());
            reader.push(&nar[start..end], &mut |event| builder.event(event)).unwrap();
            start = end;
        }
        reader.push(&nar[start..], &mut |event| builder.event(event)).unwrap();
        reader.finish().unwrap();
        prop_assert!(builder.ended);
        prop_assert_eq!(builder.finish(), Some(tree));
    }

    #[test]
    fn one_tree_has_one_archive(
        tree in tree(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut nar = tree.to_nar();
        for (place, byte) in edits {
            let place = place.index(nar.len());
            nar[place] = byte;
        }
        let (mut reader, mut builder) = (NarReader::new(nar.len() as u64), Builder::default());
        if reader.push(&nar, &mut |event| builder.event(event)).is_ok() && reader.finish().is_ok() {
            prop_assert_eq!(builder.finish().unwrap().to_nar(), nar);
        }
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), limit in any::<u64>()) {
        let mut reader = NarReader::new(limit);
        let _ = reader.push(&words("nix-archive-1 ( type"), &mut |_| {});
        let _ = reader.push(&bytes, &mut |_| {});
        let _ = reader.finish();
    }
}
