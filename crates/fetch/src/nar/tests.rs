use super::*;
use crate::decode::tests::compress;

const NAR: &[u8] = b"the decompressed bytes of an archive";

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    liblzma::read::XzEncoder::new(bytes, 6).read_to_end(&mut out).unwrap();
    out
}

fn expected(file: &[u8]) -> Expected {
    Expected {
        compression: Compression::Xz,
        file_hash: Some(Hash::of(file)),
        file_size: Some(file.len() as u64),
        nar_hash: Hash::of(NAR),
        nar_size: NAR.len() as u64,
        content: None,
    }
}

fn reason(expected: &Expected, file: &[u8]) -> RefusalReason {
    expected.check(file).unwrap().unwrap_err().reason
}

#[test]
fn a_good_file_is_verified_and_what_is_not_stated_is_computed() {
    let file = xz(NAR);
    let verified = Verified {
        file_hash: Hash::of(&file),
        file_size: file.len() as u64,
        nar_hash: Hash::of(NAR),
        nar_size: NAR.len() as u64,
    };
    assert_eq!(expected(&file).check(&file[..]).unwrap(), Ok(verified));
    let bare = Expected { file_hash: None, file_size: None, ..expected(&file) };
    assert_eq!(bare.check(&file[..]).unwrap(), Ok(verified));
}

#[test]
fn each_statement_is_compared() {
    let file = xz(NAR);
    let good = expected(&file);
    let other = Some(Hash::of(b"other"));
    let size = |by: u64| Some(file.len() as u64 + by);
    assert_eq!(reason(&Expected { file_size: size(1), ..good }, &file), RefusalReason::FileSize);
    assert_eq!(reason(&Expected { file_hash: other, ..good }, &file), RefusalReason::FileHash);
    assert_eq!(reason(&Expected { nar_hash: Hash::of(b"x"), ..good }, &file), RefusalReason::NarHash);
    assert_eq!(reason(&Expected { nar_size: good.nar_size + 1, ..good }, &file), RefusalReason::NarSize);
    assert_eq!(reason(&Expected { nar_size: good.nar_size - 1, ..good }, &file), RefusalReason::NarSize);
    let compression = Compression::Lrzip;
    assert_eq!(reason(&Expected { compression, ..good }, &file), RefusalReason::UnknownCompression);
}

#[test]
fn every_flipped_bit_is_found_and_called_a_file_hash_when_there_is_one() {
    let file = xz(NAR);
    for position in 0..file.len() {
        let mut bad = file.clone();
        bad[position] ^= 0x10;
        assert_eq!(reason(&expected(&file), &bad), RefusalReason::FileHash, "byte {position}");
    }
}

#[test]
fn a_content_address_is_compared_with_the_file_in_the_nar() {
    let nar = |contents: &[u8]| {
        let mut nar = Vec::new();
        for word in [b"nix-archive-1", &b"("[..], b"type", b"regular", b"contents", contents, b")"] {
            nar.extend((word.len() as u64).to_le_bytes());
            nar.extend(word);
            nar.resize(nar.len().next_multiple_of(8), 0);
        }
        nar
    };
    let check = |nar: &[u8], content: &[u8]| {
        let (nar_hash, nar_size) = (Hash::of(nar), nar.len() as u64);
        let (file_hash, file_size, compression) = (None, None, Compression::None);
        let content = Some(Hash::of(content));
        Expected { compression, file_hash, file_size, nar_hash, nar_size, content }.check(nar).unwrap()
    };
    assert!(check(&nar(b"hello"), b"hello").is_ok());
    for (bad, words) in [(nar(b"hullo"), "sha256:"), (NAR.to_vec(), "more than one plain file")] {
        let fault = check(&bad, b"hello").unwrap_err();
        assert_eq!(fault.reason, RefusalReason::NarHash);
        assert!(fault.message.contains(words) && fault.message.contains("content address"), "{fault}");
    }
}

#[test]
fn a_bomb_is_not_decompressed_to_its_end() {
    let file = xz(&vec![0; 64 << 20]);
    let bomb = Expected { nar_size: 10, ..expected(&file) };
    let read = decode(Compression::Xz, bomb.nar_size, &file[..], None).unwrap();
    assert_eq!(read.1, 11);
    assert_eq!(reason(&bomb, &file), RefusalReason::NarSize);
    let second = [xz(NAR), xz(b"more")].concat();
    assert_eq!(reason(&expected(&second), &second), RefusalReason::NarSize, "a second stream counts too");
}

#[test]
fn of_a_bomb_of_any_compression_a_byte_more_than_is_stated_is_decompressed() {
    for compression in Compression::ALL.into_iter().filter(|compression| compression.is_supported()) {
        let file = compress(compression, &vec![0; 4 << 20]);
        assert_eq!(decode(compression, u64::MAX, &file[..], None).unwrap().1, 4 << 20, "{compression}");
        for stated in [0, 10, 3000, 100_000, 1 << 20] {
            let mut rest = &file[..];
            let (_, read) = decode(compression, stated, &mut rest, None).unwrap();
            assert_eq!(read, stated + 1, "{compression}");
        }
    }
}

#[test]
fn a_broken_disk_is_no_statement_about_the_file() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("I/O error"))
        }
    }
    assert_eq!(expected(b"").check(Broken).unwrap_err().to_string(), "I/O error");
}

#[test]
fn an_unstated_size_is_bounded_by_the_nar() {
    let bare = Expected { file_size: None, nar_size: 1600, ..expected(b"") };
    assert_eq!(bare.most_bytes(), 1700 + 65536);
    assert_eq!(Expected { nar_size: u64::MAX, ..bare }.most_bytes(), u64::MAX);
}
