//! The reading of one artifact: the same for the check of a whole tree and for the scrub.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use granary_fetch::{Expected, Fault, Verified, narinfo};
use granary_nix::{Compression, HashPart, NarInfo, Trust, served_nar_name};
use granary_placement::report::RefusalReason;

use crate::tree::checksum;

/// Reads a narinfo of a tree of ours: it parses, is about this hash part, meets `trust`, and names its NAR file as we do.
pub(crate) fn read_narinfo(path: &Path, hash: &HashPart, trust: &Trust) -> Result<NarInfo, Fault> {
    let info = parse(path, hash)?;
    trust.judge(&info)?;
    is_named_as_ours(&info)?;
    Ok(info)
}

/// The same for several of one directory, which judges them together and costs less than half.
pub(super) fn read_narinfos(
    directory: &Path,
    files: &[(String, HashPart)],
    trust: &Trust,
) -> Vec<(String, Result<NarInfo, Fault>)> {
    let read = |(path, hash): &(String, HashPart)| (path.clone(), parse(&directory.join(path), hash));
    let mut results: Vec<_> = files.iter().map(read).collect();
    let parsed: Vec<&NarInfo> = results.iter().filter_map(|(_, result)| result.as_ref().ok()).collect();
    let judged = trust.judge_many(&parsed);
    for ((_, result), judged) in results.iter_mut().filter(|(_, result)| result.is_ok()).zip(judged) {
        let good = |info: &NarInfo| judged.map_err(Fault::from).and_then(|()| is_named_as_ours(info));
        if let Some(fault) = result.as_ref().ok().and_then(|info| good(info).err()) {
            *result = Err(fault);
        }
    }
    results
}

fn parse(path: &Path, hash: &HashPart) -> Result<NarInfo, Fault> {
    let text = super::narinfos::read_bounded(path)
        .map_err(|error| Fault::new(RefusalReason::Disk, format!("{}: {error}", path.display())))?;
    narinfo::about(&text, hash)
}

/// Whatever an upstream's URL may be, ours names a file of this tree and nothing else.
fn is_named_as_ours(info: &NarInfo) -> Result<(), Fault> {
    let ours = served_nar_name(info.file_hash.unwrap_or(info.nar_hash), info.compression);
    if info.url == ours {
        return Ok(());
    }
    let message = format!("URL is {:?}; in a tree of ours it is {ours:?}", info.url);
    Err(Fault::new(RefusalReason::ForbiddenUrl, message))
}

/// Reads a NAR file to its end, whose name in the cache, `nar/<FileHash>.nar[.<compression>]`, says what its bytes are.
pub(crate) fn is_named_by_its_bytes(file: impl Read, name: &str) -> Result<(), Fault> {
    let found =
        checksum::hash(file).map_err(|error| Fault::new(RefusalReason::Disk, format!("{name}: {error}")))?;
    if Compression::ALL.into_iter().any(|compression| served_nar_name(found, compression) == name) {
        return Ok(());
    }
    let message = format!("{name}: its bytes have the hash {found}, which is not its name");
    Err(Fault::new(RefusalReason::FileHash, message))
}

/// Reads the NAR file that a published narinfo names, once, through what `through` makes of it. The outer error is that of
/// reading; a file that is not there is a fault.
pub(crate) fn read_nar<R: Read>(
    directory: &Path,
    info: &NarInfo,
    through: impl FnOnce(File) -> R,
) -> io::Result<Result<Verified, Fault>> {
    if info.file_hash.is_none() || info.file_size.is_none() {
        let message = "the narinfo does not state FileHash and FileSize";
        return Ok(Err(Fault::new(RefusalReason::FileHash, message)));
    }
    match File::open(directory.join(&info.url)) {
        Ok(file) => Expected::from(info).check(through(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("its NAR file {} is not there", info.url);
            Ok(Err(Fault::new(RefusalReason::NotFound, message)))
        }
        Err(error) => Err(error),
    }
}
