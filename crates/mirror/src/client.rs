//! The HTTP client for the map.

use granary_fetch::Limits;

/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// A client that gives up a server that does not connect or falls silent.
pub fn build(limits: &Limits) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("granary-mirror/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits.connect)
        .read_timeout(limits.silence)
        .redirect(reqwest::redirect::Policy::limited(REDIRECTS))
        .build()
}
