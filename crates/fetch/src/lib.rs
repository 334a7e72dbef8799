//! Verified transfer of narinfos and NARs from upstreams and other mirrors.
//!
//! * [`source`]: where artifacts can be had, and whose keys vouch for them.
//! * [`access`]: how a source is asked: credentials, hosts that it may lead to, its share of connections and bandwidth.
//! * [`fetcher`]: the HTTP side: narinfos, and NAR files into a file, with retries, resumption and time limits;
//!   and documents that are no artifacts.
//! * [`narinfo`]: what a narinfo must be before it counts.
//! * [`nar`]: what a NAR file must be: FileHash, FileSize, NarHash and NarSize.
//! * [`decode`]: the decompressors; [`decoded`]: a body without its `Content-Encoding`.
//! * [`growth`]: a NAR file that is read while it is written.
//! * [`fault`]: why something was not taken, in the terms of the report.
//! * [`watch`]: who is told of requests, bytes and verifications.
//! * [`circuit`], [`rest`] and [`backoff`]: when a source is left alone, and for how long; [`bucket`]: how fast bytes may
//!   pass.

pub mod access;
pub mod backoff;
pub mod bucket;
pub mod circuit;
pub mod decode;
pub mod decoded;
pub mod fault;
pub mod fetcher;
pub mod growth;
pub mod limits;
pub mod nar;
pub mod narinfo;
pub mod rest;
pub mod source;
pub mod watch;

pub use access::Access;
pub use fault::Fault;
pub use fetcher::{Answer, Broken, Fetcher, FetcherError, WebClient, WebError};
pub use growth::{Grown, Growth};
pub use limits::Limits;
pub use nar::{Expected, Verified};
pub use source::{Source, SourceKind};
pub use watch::Watch;
