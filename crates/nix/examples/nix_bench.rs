//! How fast narinfos and archives are read: `cargo run --release -p granary-nix --example nix_bench [NAR]`.

use std::hint::black_box;
use std::time::Instant;

use granary_nix::listing::ListingWriter;
use granary_nix::nar::NarReader;
use granary_nix::{Hash, NarInfo, NarInfoView, PublicKeys, SecretKey, StorePath};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    narinfos()?;
    if let Some(path) = std::env::args_os().nth(1) {
        return archive(&path.to_string_lossy(), &std::fs::read(&path)?);
    }
    archive("4000 files of 1000 bytes", &nar(4000, 1000))?;
    archive("4 files of 64 MiB", &nar(4, 64 << 20))
}

/// Runs `work` for a while; the seconds that one run takes.
fn seconds(mut work: impl FnMut()) -> f64 {
    let (start, mut runs) = (Instant::now(), 0);
    while start.elapsed().as_millis() < 700 {
        work();
        runs += 1;
    }
    start.elapsed().as_secs_f64() / f64::from(runs)
}

/// A narinfo of the usual shape: five references, one signature.
fn narinfos() -> Outcome<()> {
    let key = SecretKey::from_seed("bench-1", &[7; 32])?;
    let keys: PublicKeys = [key.public_key()].into_iter().collect();
    let path = |number: usize| {
        let part = &Hash::of(&number.to_le_bytes()).to_nix32()[..32];
        StorePath::parse_base_name(&format!("{part}-package-{number}.0"))
    };
    let info = |number: usize| -> Outcome<NarInfo> {
        let hash = Hash::of(&number.to_le_bytes());
        let text = format!(
            "StorePath: {}\nURL: nar/{1}.nar.xz\nCompression: xz\nFileHash: sha256:{1}\nFileSize: 22600\n\
             NarHash: sha256:{1}\nNarSize: 111000\n",
            path(number)?,
            hash.to_nix32()
        );
        let mut info: NarInfo = text.parse()?;
        info.references = (0..5).map(|reference| path(number + reference)).collect::<Result<_, _>>()?;
        info.sigs = vec![key.sign(&info.fingerprint())];
        Ok(info)
    };
    let infos = (0..640).map(info).collect::<Outcome<Vec<_>>>()?;
    let texts: Vec<String> = infos.iter().map(NarInfo::to_text).collect();
    let references: Vec<&NarInfo> = infos.iter().collect();
    let each = |what: &str, work: &mut dyn FnMut()| {
        let one = seconds(work) / 640.0;
        println!("narinfo {what:28} {:8.2} µs {:10.0} /s", one * 1e6, 1.0 / one);
    };
    each("view", &mut || texts.iter().for_each(|text| drop(black_box(NarInfoView::parse(text.as_bytes())))));
    each("parse", &mut || texts.iter().for_each(|text| drop(black_box(NarInfo::parse(text.as_bytes())))));
    each("write", &mut || infos.iter().for_each(|info| drop(black_box(info.to_text()))));
    each("fingerprint", &mut || infos.iter().for_each(|info| drop(black_box(info.fingerprint()))));
    each("verify, one by one", &mut || infos.iter().for_each(|info| drop(black_box(keys.verify(info)))));
    each("verify, together", &mut || drop(black_box(keys.verify_many(&references))));
    Ok(())
}

/// Reads an archive in pieces of 64 KiB, as a decoder gives them.
fn archive(what: &str, nar: &[u8]) -> Outcome<()> {
    let read = |listing: &mut Option<ListingWriter>| -> Outcome<()> {
        let mut reader = NarReader::new(nar.len() as u64);
        for piece in nar.chunks(65536) {
            reader.push(piece, &mut |event| {
                if let Some(listing) = listing {
                    listing.event(&event);
                }
            })?;
        }
        Ok(reader.finish()?)
    };
    read(&mut None)?;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let size = nar.len() as f64;
    let tell = |how: &str, one: f64| {
        println!("NAR     {what:28} {:8.2} ms {:10.2} GB/s  {how}", one * 1e3, size / one / 1e9);
    };
    tell("read", seconds(|| drop(black_box(read(&mut None)))));
    tell("read and listed", seconds(|| drop(black_box(read(&mut Some(ListingWriter::default()))))));
    tell("SHA-256 beside", seconds(|| _ = black_box(Hash::of(nar))));
    Ok(())
}

/// An archive of files in one directory.
fn nar(files: usize, length: usize) -> Vec<u8> {
    let token = |nar: &mut Vec<u8>, bytes: &[u8]| {
        nar.extend((bytes.len() as u64).to_le_bytes());
        nar.extend(bytes);
        nar.resize(nar.len().next_multiple_of(8), 0);
    };
    let words = |nar: &mut Vec<u8>, words: &[&str]| words.iter().for_each(|word| token(nar, word.as_bytes()));
    let mut nar = Vec::new();
    words(&mut nar, &["nix-archive-1", "(", "type", "directory"]);
    let contents = vec![b'x'; length];
    for number in 0..files {
        words(
            &mut nar,
            &["entry", "(", "name", &format!("file-{number:08}"), "node", "(", "type", "regular"],
        );
        words(&mut nar, &["contents"]);
        token(&mut nar, &contents);
        words(&mut nar, &[")", ")"]);
    }
    words(&mut nar, &[")"]);
    nar
}
