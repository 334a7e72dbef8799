//! Upstreams that mean harm: each way to break a client or to slip something in, over real sockets. What [`super::faults`]
//! has is not repeated here.

use granary_fetch::Source;
use granary_fetch::narinfo::MOST_SIGNATURES;
use granary_nix::{Compression, Hash, NarInfo, StorePath};
use granary_placement::report::RefusalReason;
use liblzma::stream::{Filters, LzmaOptions, Stream};

use super::common::cache::nar;
use super::common::{Cache, Reply, Upstream, job, mirror, source};
use super::{clean, is_visible, reason};

/// A cache with one artifact, at an upstream.
struct Attack {
    cache: Cache,
    path: StorePath,
    upstream: Upstream,
}

impl Attack {
    async fn start() -> Self {
        let mut cache = Cache::new("test-1");
        let path = cache.add("a", &[]);
        let upstream = Upstream::of(&cache).await;
        Self { cache, path, upstream }
    }

    fn info(&mut self) -> NarInfo {
        self.cache.get(&self.path).info.clone()
    }

    fn narinfo(&self, reply: Reply) {
        self.upstream.set(&self.path.hash_part().narinfo_name(), reply);
    }

    /// What a mirror makes of it: the reason for which it refuses, with the words.
    async fn refused(&self) -> Option<(RefusalReason, String)> {
        let directory = tempfile::tempdir().unwrap();
        let (_tree, syncer) = mirror(directory.path());
        let job = job(vec![source(&self.upstream, &self.cache.keys(), 40)], &[&self.path]);
        let outcome = syncer.pass(&job, &()).await;
        let reason = reason(&outcome, &self.path);
        assert_eq!(is_visible(directory.path(), &self.path), reason.is_none(), "{outcome:#?}");
        clean(directory.path(), &self.cache.keys());
        reason.map(|reason| (reason, outcome.refused[0].message.clone()))
    }

    async fn is_refused(&self, expected: RefusalReason, what: &str) {
        let refused = self.refused().await;
        assert_eq!(refused.as_ref().map(|(reason, _)| *reason), Some(expected), "{what}: {refused:?}");
    }
}

#[tokio::test]
async fn a_flipped_byte_in_any_part_of_a_nar_file() {
    let mut attack = Attack::start().await;
    let artifact = attack.cache.get(&attack.path).clone();
    let last = artifact.file.len() - 1;
    for stated in [true, false] {
        let info = NarInfo {
            file_hash: artifact.info.file_hash.filter(|_| stated),
            file_size: artifact.info.file_size.filter(|_| stated),
            ..artifact.info.clone()
        };
        attack.narinfo(Reply::Bytes(info.to_text().into_bytes()));
        // The magic and the flags of xz, the header of its block, the data, the index and the footer.
        for place in [0, 7, 12, 20, last / 2, last - 20, last - 10, last] {
            let mut file = artifact.file.clone();
            file[place] ^= 1;
            attack.upstream.set(&artifact.info.url, Reply::Bytes(file));
            let expected = if stated { RefusalReason::FileHash } else { RefusalReason::NarHash };
            attack.is_refused(expected, &format!("byte {place}, FileHash stated: {stated}")).await;
        }
        // A byte after the end.
        let longer = [&artifact.file[..], b"\x01"].concat();
        attack.upstream.set(&artifact.info.url, Reply::Unannounced(longer));
        let expected = if stated { RefusalReason::FileSize } else { RefusalReason::NarHash };
        attack.is_refused(expected, "after the end").await;
    }
}

#[tokio::test]
async fn a_flipped_byte_in_any_field_of_a_narinfo() {
    let mut attack = Attack::start().await;
    let reference = attack.cache.add("reference", &[]);
    let info = &mut attack.cache.get(&attack.path.clone()).info;
    info.references = vec![reference.clone()];
    attack.cache.sign(&attack.path.clone());
    attack.cache.serve(&attack.upstream);
    let text = attack.info().to_text();
    for key in
        ["StorePath", "URL", "Compression", "FileHash", "FileSize", "NarHash", "NarSize", "References", "Sig"]
    {
        let line = text.lines().position(|line| line.starts_with(&format!("{key}: "))).unwrap();
        let start: usize = text.lines().take(line).map(|line| line.len() + 1).sum();
        let length = text.lines().nth(line).unwrap().len();
        // In the middle of the value, so that what is there is still of its kind.
        let value = start + key.len() + 2;
        let place = value + (length - key.len() - 2) / 2;
        let mut bytes = text.clone().into_bytes();
        bytes[place] ^= 1;
        attack.narinfo(Reply::Bytes(bytes.clone()));
        let refused = attack.refused().await;
        assert!(refused.is_some(), "{key}: {}", String::from_utf8_lossy(&bytes));
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_the_signature() {
    // One artifact for each character of the 64 bytes; those of the name are in the test above.
    let mut cache = Cache::new("test-1");
    let paths: Vec<StorePath> = (0..88).map(|place| cache.add(&format!("a-{place}"), &[])).collect();
    let upstream = Upstream::of(&cache).await;
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let mut held = 0;
    for bit in 0..8 {
        let mut expected = Vec::new();
        for (place, path) in paths.iter().enumerate() {
            let mut bytes = cache.get(path).info.to_text().into_bytes();
            assert!(bytes.ends_with(b"==\n"));
            let at = bytes.len() - 89 + place;
            bytes[at] ^= 1 << bit;
            // What is not 64 bytes in base64 is no signature. Of the last digit four bits have to be zero; the rest is padding.
            let is_signature =
                if place < 85 { is_digit(bytes[at]) } else { place == 85 && b"AQgw".contains(&bytes[at]) };
            expected.push(if is_signature {
                held += 1;
                RefusalReason::BadSignature
            } else if !bytes[at].is_ascii() || bytes[at] == b'\n' {
                RefusalReason::BadNarinfo
            } else {
                RefusalReason::Unsigned
            });
            upstream.set(&path.hash_part().narinfo_name(), Reply::Bytes(bytes));
        }
        let directory = tempfile::tempdir().unwrap();
        let (_tree, syncer) = mirror(directory.path());
        let wanted: Vec<&StorePath> = paths.iter().collect();
        let job = job(vec![source(&upstream, &cache.keys(), 40)], &wanted);
        let outcome = syncer.pass(&job, &()).await;
        for (place, (path, expected)) in paths.iter().zip(expected).enumerate() {
            assert_eq!(reason(&outcome, path), Some(expected), "bit {bit} of character {place}");
        }
        assert_eq!(clean(directory.path(), &cache.keys()).artifacts, 0);
    }
    assert!(held > 300, "{held} were signatures still");
}

#[tokio::test]
async fn a_storm_of_errors_is_asked_less_and_ends() {
    let mut attack = Attack::start().await;
    let url = attack.info().url;
    for status in [500, 502, 503, 504, 429] {
        attack.upstream.set(&url, Reply::Status(status));
        attack.upstream.take_asked();
        attack.is_refused(RefusalReason::UpstreamUnreachable, &status.to_string()).await;
        let asked = attack.upstream.take_asked().iter().filter(|asked| asked.path == url).count();
        assert_eq!(asked, 3, "{status}");
    }
    // All of it down: with every pass it is asked less, and not at all while it is left alone.
    attack.narinfo(Reply::Status(503));
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let job = job(vec![source(&attack.upstream, &attack.cache.keys(), 40)], &[&attack.path]);
    for _ in 0..4 {
        syncer.pass(&job, &()).await;
    }
    let asked = attack.upstream.take_asked().len();
    assert!(asked <= 9, "{asked} requests in four passes");
}

#[tokio::test]
async fn a_head_without_end() {
    let mut attack = Attack::start().await;
    let artifact = attack.cache.get(&attack.path).clone();
    attack.upstream.set(&artifact.info.url, Reply::Header(4 << 20, artifact.file.clone()));
    attack.is_refused(RefusalReason::UpstreamUnreachable, "a NAR file's head").await;
    attack.upstream.set(&artifact.info.url, Reply::Header(10, artifact.file));
    assert_eq!(attack.refused().await, None, "a short one is no harm");
    attack.narinfo(Reply::Header(4 << 20, artifact.info.to_text().into_bytes()));
    attack.is_refused(RefusalReason::UpstreamUnreachable, "a narinfo's head").await;
}

#[tokio::test]
async fn narinfos_that_are_made_to_be_costly() {
    let mut attack = Attack::start().await;
    let text = attack.info().to_text();
    let sig = text.lines().find(|line| line.starts_with("Sig: ")).unwrap().to_owned();
    let rest = text.replace(&format!("{sig}\n"), "");
    // Well formed, and in the trusted key's name: each has to be looked at.
    let start = "Sig: test-1:".len();
    let other = if sig[start..].starts_with('A') { "B" } else { "A" };
    let forged = format!("{}{other}{}\n", &sig[..start], &sig[start + 1..]);
    let forged = |signatures| format!("{rest}{}", forged.repeat(signatures));
    let reference = format!("References: {}\n", "00bgd045z0d4icpbc2yyz4gx48ak44la-a ".repeat(100_000));
    for (what, expected, text) in [
        ("a million lines", RefusalReason::BadNarinfo, format!("{text}{}", "X: \n".repeat(1_000_000))),
        ("one line", RefusalReason::BadNarinfo, format!("{text}X-Long: {}\n", "x".repeat(4 << 20))),
        ("references", RefusalReason::BadNarinfo, text.replace("References: \n", &reference)),
        ("forged signatures", RefusalReason::BadSignature, forged(MOST_SIGNATURES)),
        ("too many to look at", RefusalReason::BadNarinfo, forged(MOST_SIGNATURES + 1)),
        ("as many as there is room for", RefusalReason::BadNarinfo, forged(9_000)),
    ] {
        attack.narinfo(Reply::Bytes(text.into_bytes()));
        attack.is_refused(expected, what).await;
    }
    let (_, words) = attack.refused().await.unwrap();
    assert_eq!(words, "it has 9000 signatures; 128 are looked at", "and none is verified");
}

/// A file that decompresses to very much more than `nar_size`.
fn bomb(compression: Compression) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let zeros = nar(&vec![0; 64 << 20]);
    let mut file = Vec::new();
    match compression {
        Compression::Xz => {
            liblzma::read::XzEncoder::new(&zeros[..], 6).read_to_end(&mut file).unwrap();
        }
        Compression::Bzip2 => {
            let best = bzip2::Compression::best();
            bzip2::read::BzEncoder::new(&zeros[..], best).read_to_end(&mut file).unwrap();
        }
        Compression::Gzip => {
            let best = flate2::Compression::best();
            flate2::read::GzEncoder::new(&zeros[..], best).read_to_end(&mut file).unwrap();
        }
        Compression::Zstd => file = zstd::encode_all(&zeros[..], 3).unwrap(),
        Compression::Brotli => {
            brotli::CompressorWriter::new(&mut file, 4096, 5, 22).write_all(&zeros).unwrap();
        }
        Compression::Lzma => {
            let stream = Stream::new_lzma_encoder(&LzmaOptions::new_preset(6).unwrap()).unwrap();
            liblzma::read::XzEncoder::new_stream(&zeros[..], stream).read_to_end(&mut file).unwrap();
        }
        Compression::Lzip => {
            // What begins a member, with a dictionary of 4 KiB. Its trailer stands after the bomb.
            file.extend(b"LZIP\x01\x0c");
            let mut options = LzmaOptions::new_preset(6).unwrap();
            let stream = Stream::new_raw_encoder(Filters::new().lzma1(options.dict_size(4096))).unwrap();
            liblzma::read::XzEncoder::new_stream(&zeros[..], stream).read_to_end(&mut file).unwrap();
        }
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(&mut file);
            encoder.write_all(&zeros).unwrap();
            encoder.finish().unwrap();
        }
        Compression::Compress => file = compress_bomb(),
        Compression::None => file = zeros,
        other => panic!("how is {other} made?"),
    }
    file
}

/// A byte, and codes of which each stands for the one before and one more: two gigabytes in all.
fn compress_bomb() -> Vec<u8> {
    let (mut file, mut bits, mut held) = (vec![0x1f, 0x9d, 0x90], 0_u64, 0);
    for code in [0].into_iter().chain(257..1 << 16) {
        // A code is defined by the one that follows it, and from 512 on there is one bit more.
        let width = (u64::BITS - u64::leading_zeros(code)).max(9);
        bits |= code << held;
        held += width;
        while held >= 8 {
            file.push((bits & 0xff) as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    file
}

#[tokio::test]
async fn a_bomb_of_every_compression_is_not_decompressed_to_its_end() {
    let mut attack = Attack::start().await;
    for compression in Compression::ALL.into_iter().filter(|compression| compression.is_supported()) {
        let file = bomb(compression);
        for (stated, claimed) in [(true, 3000), (false, 1 << 20)] {
            // It fits its own FileHash, and is signed; it is only much more than it says.
            let mut info = NarInfo {
                compression,
                file_hash: Some(Hash::of(&file)).filter(|_| stated),
                file_size: Some(file.len() as u64).filter(|_| stated),
                nar_size: claimed,
                ..attack.info()
            };
            info.sigs = vec![attack.cache.key.sign(&info.fingerprint())];
            attack.narinfo(Reply::Bytes(info.to_text().into_bytes()));
            attack.upstream.set(&info.url, Reply::Bytes(file.clone()));
            let refused = attack.refused().await.map(|(reason, _)| reason);
            // What is not compressed is longer than it may be before it is read.
            let expected = [RefusalReason::NarSize, RefusalReason::FileSize];
            assert!(refused.is_some_and(|reason| expected.contains(&reason)), "{compression}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_nar_file_that_is_sent_compressed_once_more() {
    // A Content-Encoding that a client undoes by itself is a bomb that no size in the narinfo bounds.
    let mut attack = Attack::start().await;
    let artifact = attack.cache.get(&attack.path).clone();
    attack.upstream.set(&artifact.info.url, Reply::Encoded("gzip".into(), artifact.file));
    attack.is_refused(RefusalReason::FileHash, "gzip").await;
}

#[tokio::test]
async fn a_valid_narinfo_with_the_nar_of_another_artifact() {
    let mut attack = Attack::start().await;
    let other = attack.cache.add("other", &[]);
    let other = attack.cache.get(&other).clone();
    // Everything that is not signed is the other's; what is signed is our own.
    let info = NarInfo {
        url: other.info.url.clone(),
        file_hash: other.info.file_hash,
        file_size: other.info.file_size,
        ..attack.info()
    };
    attack.narinfo(Reply::Bytes(info.to_text().into_bytes()));
    attack.upstream.set(&other.info.url, Reply::Bytes(other.file));
    attack.is_refused(RefusalReason::NarHash, "another artifact's NAR").await;
}

#[tokio::test]
async fn a_path_that_leaves_the_upstream() {
    let mut attack = Attack::start().await;
    // The upstream is a folder of its server; what is asked for is there, and beside it.
    let artifact = attack.cache.get(&attack.path).clone();
    for name in ["x.nar.xz", "cache/x.nar.xz"] {
        attack.upstream.set(name, Reply::Bytes(artifact.file.clone()));
    }
    let narinfo = format!("cache/{}", attack.path.hash_part().narinfo_name());
    let url = format!("{}/cache", attack.upstream.url());
    let source = Source { url: url.parse().unwrap(), ..source(&attack.upstream, &attack.cache.keys(), 40) };
    for (url, taken) in [
        ("x.nar.xz", true),
        ("../x.nar.xz", false),
        ("nar/../../x.nar.xz", false),
        ("%2e%2e/x.nar.xz", false),
        ("nar/.%2E/%2e./x.nar.xz", false),
        ("nar\\..\\x.nar.xz", false),
        ("/x.nar.xz", false),
        ("//127.0.0.1/x.nar.xz", false),
        ("FILE:///etc/passwd", false),
    ] {
        let info = NarInfo { url: url.into(), ..artifact.info.clone() };
        attack.upstream.set(&narinfo, Reply::Bytes(info.to_text().into_bytes()));
        let directory = tempfile::tempdir().unwrap();
        let (_tree, syncer) = mirror(directory.path());
        let outcome = syncer.pass(&job(vec![source.clone()], &[&attack.path]), &()).await;
        let expected = (!taken).then_some(RefusalReason::ForbiddenUrl);
        assert_eq!(reason(&outcome, &attack.path), expected, "{url}: {outcome:#?}");
    }
}
