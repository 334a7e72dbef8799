//! The bytes of one artifact: read, verified and written in one go.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;

use granary_fetch::{Expected, Fault, Verified};
use granary_nix::NarInfo;
use granary_placement::report::RefusalReason;
use tokio_util::sync::CancellationToken;

use super::origin::{nar_path, unreadable};
use super::{CarryError, Observer, Origin};

/// Why the bytes were not copied.
#[derive(Debug)]
pub(super) enum Failed {
    /// The source's are bad, or cannot be had.
    Source(Fault),
    /// The target does not take them, or it was asked to stop.
    Target(CarryError),
}

/// Copies the NAR file of `info` into a new file at `to`, which is written, but not synced. It stays on a failure.
pub(super) fn copy(
    origin: &Origin,
    info: &NarInfo,
    to: &Path,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<Verified, Failed> {
    match origin {
        Origin::Directory(directory) => from_file(directory, info, to, observer, stop),
        Origin::Cache { source, fetcher, runtime } => {
            let transfer = async {
                tokio::select! {
                    () = stop.cancelled() => Err(Failed::Target(CarryError::Stopped)),
                    result = fetcher.nar(source, info, to) => result.map_err(|fault| failed(fault, to)),
                }
            };
            let verified = runtime.block_on(transfer)?;
            observer.bytes(verified.file_size);
            Ok(verified)
        }
    }
}

/// Over HTTP the only disk is the target's.
fn failed(fault: Fault, to: &Path) -> Failed {
    if fault.reason == RefusalReason::Disk {
        Failed::Target(CarryError::target("write", to)(io::Error::other(fault.message)))
    } else {
        Failed::Source(fault)
    }
}

fn from_file(
    directory: &Path,
    info: &NarInfo,
    to: &Path,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<Verified, Failed> {
    let path = nar_path(directory, info).map_err(Failed::Source)?;
    let expected = Expected::from(info);
    let source = File::open(&path).map_err(|error| {
        Failed::Source(match error.kind() {
            io::ErrorKind::NotFound => {
                Fault::new(RefusalReason::NotFound, format!("its NAR file {} is not there", info.url))
            }
            _ => unreadable(&info.url, &error),
        })
    })?;
    let target =
        File::create_new(to).map_err(|error| Failed::Target(CarryError::target("write", to)(error)))?;
    let mut trouble = None;
    let copied = Copied {
        // A byte more than is stated shows that there are more, without copying them all.
        source: source.take(expected.most_bytes().saturating_add(1)),
        target,
        observer,
        stop,
        trouble: &mut trouble,
    };
    let checked = expected.check(copied);
    match (trouble, checked) {
        (Some(Trouble::Stopped), _) => Err(Failed::Target(CarryError::Stopped)),
        (Some(Trouble::Write(error)), _) => Err(Failed::Target(CarryError::target("write", to)(error))),
        (None, Err(error)) => Err(Failed::Source(unreadable(&info.url, &error))),
        (None, Ok(result)) => result.map_err(Failed::Source),
    }
}

/// What is not the source's fault.
enum Trouble {
    Stopped,
    Write(io::Error),
}

/// Writes down what is read through it.
struct Copied<'c, R> {
    source: R,
    target: File,
    observer: &'c dyn Observer,
    stop: &'c CancellationToken,
    trouble: &'c mut Option<Trouble>,
}

impl<R: Read> Read for Copied<'_, R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        if self.trouble.is_some() || self.stop.is_cancelled() {
            self.trouble.get_or_insert(Trouble::Stopped);
            return Err(io::Error::other("stopped"));
        }
        let length = self.source.read(block)?;
        if let Err(error) = self.target.write_all(&block[..length]) {
            *self.trouble = Some(Trouble::Write(error));
            return Err(io::Error::other("the target does not take it"));
        }
        self.observer.bytes(length as u64);
        Ok(length)
    }
}
