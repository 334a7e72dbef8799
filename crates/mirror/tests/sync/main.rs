//! Syncs from upstreams that behave, and from some that do not, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, whose helpers clippy does not take for such")]

#[path = "../common/mod.rs"]
mod common;

mod builds;
mod carry;
mod channels;
mod crash;
mod extras;
mod faults;
mod fixture;
mod followed;
mod hostile;
mod killed;
mod mirrored;
mod misses;
mod passes;
mod push;
mod quirks;
mod readonly;
mod refusals;
mod rest;
mod resume;
mod retention;
mod scrub;
mod through;
mod transfer;
mod trust;
mod upstreams;
mod verify;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use granary_mirror::sync::PassOutcome;
use granary_mirror::verify::{TreeCheck, verify_tree};
use granary_nix::{StorePath, Trust};
use granary_placement::report::RefusalReason;

/// The check of the tree, which must have no fault.
fn clean(directory: &Path, trust: impl Into<Trust>) -> TreeCheck {
    let check = verify_tree(directory, trust).unwrap();
    assert_eq!(check.faults, [], "the tree must be a valid cache");
    check
}

/// A port of this machine that nobody listens at.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The real agent, without an nginx, and without a word.
fn start_agent(config: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_granary-mirror"))
        .args(["agent", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether the narinfo of `path` can be seen in the tree.
fn is_visible(directory: &Path, path: &StorePath) -> bool {
    directory.join(path.hash_part().narinfo_name()).exists()
}

/// The reason for which `path` was refused.
fn reason(outcome: &PassOutcome, path: &StorePath) -> Option<RefusalReason> {
    let path = path.to_string();
    outcome.refused.iter().find(|refusal| refusal.store_path == path).map(|refusal| refusal.reason)
}
