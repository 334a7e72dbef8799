//! The status page: data in, HTML out. Plain HTML with its style inside, no script and nothing from elsewhere.
//!
//! Whatever the network said, in names, messages and addresses, is shown as text and nothing else; and the page has a
//! bounded size, whatever the mirror holds.

mod advice;
mod channels;
mod html;
mod parts;
mod setup;
mod upkeep;
mod words;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use granary_nix::Hash;
use granary_placement::MirrorState;
use granary_placement::report::Report;
use jiff::Timestamp;

use super::activity::Activity;
use html::Html;

/// The page's only style sheet, inside the page.
const STYLE: &str = include_str!("style.css");

/// Everything that the page shows.
#[derive(Clone, Debug)]
pub struct Page {
    /// The time at which it is shown.
    pub now: Timestamp,
    /// The mirror's word about itself.
    pub report: Report,
    /// Why it should not get requests now.
    pub trouble: Option<String>,
    /// Since when its directory is a mirror's.
    pub since: Option<Timestamp>,
    /// Room where the directory is.
    pub disk: Option<Room>,
    /// What the passes did.
    pub activity: Activity,
    /// The address for `substituters`.
    pub address: String,
    /// The keys that clients must trust, those of the upstreams.
    pub keys: Vec<String>,
    /// The other mirrors, by the map.
    pub mirrors: Vec<Neighbour>,
    /// The agent's port, where report and metrics are.
    pub agent_port: u16,
}

/// Bytes on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Those that can still be written.
    pub free: u64,
    /// All of them.
    pub size: u64,
}

/// Another mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// The zone it stands in.
    pub zone: Option<String>,
    /// The address that clients reach it by.
    pub url: Option<String>,
    /// Whether it answers.
    pub state: MirrorState,
}

/// Renders the page.
#[must_use]
pub fn render(page: &Page) -> String {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"robots\" content=\"noindex\">");
    html.element("title", "", format_args!("{} · Nix binary cache", page.report.mirror));
    html.raw("<style>").raw(STYLE).raw("</style></head>\n<body>");
    parts::head(&mut html, page);
    html.raw("<main>");
    parts::summary(&mut html, page);
    setup::setup(&mut html, page);
    parts::policies(&mut html, page);
    channels::channels(&mut html, page);
    parts::refused(&mut html, page);
    parts::upstreams(&mut html, page);
    parts::mirrors(&mut html, page);
    html.raw("</main>");
    parts::foot(&mut html, page);
    html.raw("</body></html>\n");
    html.finish()
}

/// The `Content-Security-Policy` of the page: nothing but its own style sheet, which is named by its hash.
#[must_use]
pub fn content_security_policy() -> String {
    let style = STANDARD.encode(Hash::of(STYLE.as_bytes()).as_bytes());
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod readable;
#[cfg(test)]
mod tests;
