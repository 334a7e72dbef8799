//! What a transfer may take.

use std::time::Duration;

/// Bounds on time, concurrency and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// NAR files that are transferred at once, at least 1.
    pub connections: usize,
    /// NARs that are decompressed and hashed at once, at least 1. More than there are cores only costs memory.
    pub decoders: usize,
    /// Largest NAR that is taken, in bytes after decompression; `None` takes any.
    pub max_nar_size: Option<u64>,
    /// How long a source may say nothing, before its answer or in the middle of it.
    pub silence: Duration,
    /// Fewest bytes that a source must send in each [`Self::pace_window`], or it is given up. Time in which we are the slower
    /// ones does not count.
    pub pace_bytes: u64,
    /// How long a source may be that slow.
    pub pace_window: Duration,
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// Most bytes that are taken from all sources in a second; `None` for as many as come.
    pub bandwidth: Option<u64>,
}

impl Default for Limits {
    /// 8 connections, as many decoders as cores, any size, 20 s of silence, 30 KiB in 30 s at least, 5 s to
    /// connect, as fast as it comes.
    fn default() -> Self {
        Self {
            connections: 8,
            decoders: std::thread::available_parallelism().map_or(1, usize::from),
            max_nar_size: None,
            silence: Duration::from_secs(20),
            pace_bytes: 30 << 10,
            pace_window: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            bandwidth: None,
        }
    }
}
