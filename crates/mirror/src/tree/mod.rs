//! The mirror's directory: a plain Nix binary cache, and our own state below `.granary`, which is never served.
//!
//! ```text
//! nix-cache-info
//! <hash part>.narinfo             the artifacts published here
//! nar/<FileHash>.nar[.xz|…]       their NAR files
//! .granary/id                     the disk's id
//! .granary/lock                   held by the one process that writes
//! .granary/tmp/                   what is being written; emptied at start
//! .granary/catalog/<hash part>.narinfo      every artifact that a policy wants, wherever it is held
//! .granary/quarantine/<hash part>.json      what was refused, and why
//! ```
//!
//! The tree is the truth. What [`Tree`] keeps in memory is read from it at start. A file becomes visible only by a
//! rename, whole, synced to disk and verified, the NAR file before its narinfo and references before referrers; so a
//! crash at any instant leaves a valid cache.
