//! The program itself, with the real nginx in front of it and the real Nix behind it.
//!
//! Both have to be installed; without them the tests say that they are skipped, unless `GRANARY_REQUIRE_TOOLS=1`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are outside of #[test] functions")]

mod addressed;
mod answers;
mod carry;
mod clients;
mod commands;
mod extras;
mod faults;
mod front;
mod guarded;
mod lan;
mod led;
mod limits;
mod machine;
mod narinfos;
mod proxy;
mod push;
mod readonly;
mod relay;
mod signatures;
mod status;
mod support;
mod through;
mod tls;
mod unreadable;
mod unstated;
mod upkeep;
mod upstreams;
