//! The sections of the page, from top to bottom.

use granary_placement::MirrorState;
use granary_placement::report::{PolicyReport, Refusal, UpstreamReport};
use jiff::Timestamp;

use super::advice::advice;
use super::html::{Html, numbers, words};
use super::words::{ago, bytes, count, span};
use super::{Neighbour, Page, Room, upkeep};

/// Most rows of a table; how many more there are stands below it.
pub(super) const MAX_ROWS: usize = 100;

/// Name and state.
pub(super) fn head(html: &mut Html, page: &Page) {
    html.raw("<header><p class=\"kind\">Nix binary cache</p>");
    html.element("h1", "", &page.report.mirror);
    match &page.trouble {
        None => html.raw("<p class=\"state\"><span class=\"badge good\">serving</span></p>"),
        Some(trouble) => html
            .raw("<p class=\"state\"><span class=\"badge bad\">not ready</span> ")
            .text(trouble)
            .raw("</p>"),
    };
    html.raw("</header>\n");
}

/// The figures that are looked for first.
pub(super) fn summary(html: &mut Html, page: &Page) {
    let Page { now, report, since, disk, activity, .. } = page;
    html.raw("<section aria-label=\"Summary\"><dl class=\"cards\">");
    card(html, "Artifacts", count(report.artifacts), |html| {
        match report.verified_at.as_deref().and_then(parse) {
            Some(newest) => {
                html.raw("newest verified ").time(newest, ago(newest, *now));
            }
            None => drop(html.raw("none yet")),
        }
    });
    card(html, "Held", bytes(report.bytes), |html| match since {
        Some(since) => {
            html.raw("a mirror for ").time(since, span(now.as_second() - since.as_second()));
        }
        None => drop(html.raw("of NAR files")),
    });
    if let Some(Room { free, size }) = disk {
        card(html, "Disk free", bytes(*free), |html| {
            html.raw("of ").text(bytes(*size));
        });
    }
    let figure = activity.last.map_or_else(|| "none".to_owned(), |last| ago(last.ended, *now));
    card(html, "Last pass", figure, |html| match (activity.running, activity.last) {
        (Some(_), _) if activity.queue > 0 => {
            html.raw("one is running, ").text(count(activity.queue)).raw(" to get");
        }
        (_, Some(last)) if last.published > 0 => {
            html.text(count(last.published)).raw(" published, ").text(bytes(last.published_bytes));
        }
        (_, Some(_)) => drop(html.raw("nothing new")),
        (Some(since), None) => {
            html.raw("the first has been running for ").text(span(now.as_second() - since.as_second()));
        }
        (None, None) => drop(html.raw("it waits for the mirror map")),
    });
    card(html, "Refused", count(report.refused_total), |html| {
        html.raw(if report.refused_total == 0 { "all is verified" } else { "see below" });
    });
    upkeep::cards(html, page);
    html.raw("</dl></section>\n");
}

pub(super) fn card(html: &mut Html, title: &'static str, figure: String, note: impl FnOnce(&mut Html)) {
    html.raw("<div><dt>")
        .raw(title)
        .raw("</dt><dd class=\"figure\">")
        .text(figure)
        .raw("</dd><dd class=\"note\">");
    note(html);
    html.raw("</dd></div>");
}

/// How far each policy is.
pub(super) fn policies(html: &mut Html, page: &Page) {
    let policies = &page.report.policies;
    html.raw("<section aria-labelledby=\"policies\"><h2 id=\"policies\">What is kept</h2>");
    if policies.is_empty() && !page.report.channels.is_empty() {
        html.raw("<p>What the channels below list.</p>");
    } else if policies.is_empty() {
        html.raw("<p>Nothing is asked of this mirror yet.</p>");
    } else {
        let columns = [
            words("Policy"),
            words("Progress"),
            numbers("Size"),
            numbers("Refused"),
            words("Behind"),
            words("State"),
        ];
        html.table("Policies", &columns, policies.len().min(MAX_ROWS), |html, row, column| {
            policy(html, page, &policies[row], column);
        });
        more(html, policies.len());
    }
    html.raw("</section>\n");
}

fn policy(html: &mut Html, page: &Page, policy: &PolicyReport, column: usize) {
    match column {
        0 => drop(html.element("strong", "", &policy.name)),
        1 if policy.catalog.is_none() || policy.catalog_error.is_some() && policy.assigned == 0 => {
            html.raw("not known yet");
        }
        1 => {
            html.bar(policy.verified, policy.assigned);
            html.text(count(policy.verified)).raw(" of ").text(count(policy.assigned));
        }
        2 => drop(html.text(bytes(policy.verified_bytes))),
        3 => drop(html.text(count(policy.refused))),
        4 => match page.activity.behind.get(&policy.name) {
            None => drop(html.raw("no")),
            Some(since) => drop(html.time(since, span(page.now.as_second() - since.as_second()))),
        },
        _ => state(html, policy, page.activity.behind.contains_key(&policy.name)),
    }
}

fn state(html: &mut Html, policy: &PolicyReport, behind: bool) {
    let complete = policy.catalog.is_some() && !behind && policy.verified + policy.refused >= policy.assigned;
    if let Some(error) = &policy.catalog_error {
        html.raw("<span class=\"badge bad\">unresolved</span> ").text(error);
    } else if complete && policy.refused > 0 {
        html.raw("<span class=\"badge warn\">complete, but for what is refused</span>");
    } else if complete {
        html.raw("<span class=\"badge good\">complete</span>");
    } else if policy.catalog.is_none() {
        html.raw("<span class=\"badge\">being resolved</span>");
    } else {
        html.raw("<span class=\"badge\">in work</span>");
    }
}

/// What was not taken, and what to do.
pub(super) fn refused(html: &mut Html, page: &Page) {
    let refused = &page.report.refused;
    if refused.is_empty() {
        return;
    }
    html.raw("<section aria-labelledby=\"refused\"><h2 id=\"refused\">Refused</h2>");
    html.raw("<p>What cannot be verified is not published. It is tried again on later passes, or when a client asks for it or pushes it again.</p>");
    let columns = [words("Artifact"), words("Why"), words("What to do")];
    html.table("Refused artifacts", &columns, refused.len().min(MAX_ROWS), |html, row, column| {
        let Refusal { store_path, reason, message, source } = &refused[row];
        match column {
            0 => drop(html.element("code", "", store_path.strip_prefix("/nix/store/").unwrap_or(store_path))),
            1 => {
                html.raw("<span class=\"badge bad\">").text(reason).raw("</span> ").text(message);
                if !source.is_empty() {
                    html.raw("<br><span class=\"note\">from ").text(source).raw("</span>");
                }
            }
            _ => drop(html.text(advice(*reason))),
        }
    });
    more_than(html, refused.len(), page.report.refused_total);
    html.raw("</section>\n");
}

/// Where it comes from.
pub(super) fn upstreams(html: &mut Html, page: &Page) {
    let upstreams = &page.report.upstreams;
    html.raw("<section aria-labelledby=\"upstreams\"><h2 id=\"upstreams\">Upstreams</h2>");
    if upstreams.is_empty() {
        html.raw(match page.activity.running {
            Some(_) => "<p>They are asked now; how they are is told when the first pass has ended.</p>",
            None => "<p>None was asked yet.</p>",
        });
    } else {
        let columns = [words("Address"), words("State")];
        html.table("Upstreams", &columns, upstreams.len().min(MAX_ROWS), |html, row, column| {
            let UpstreamReport { url, ok, message, .. } = &upstreams[row];
            match (column, ok) {
                (0, _) => drop(html.element("code", "", url)),
                (_, true) => drop(html.raw("<span class=\"badge good\">answers</span>")),
                (_, false) => {
                    html.raw("<span class=\"badge bad\">in trouble</span> ")
                        .text(message.as_deref().unwrap_or_default());
                }
            }
        });
    }
    html.raw("</section>\n");
}

/// The other mirrors, when there is a map.
pub(super) fn mirrors(html: &mut Html, page: &Page) {
    let mirrors = &page.mirrors;
    if mirrors.is_empty() {
        return;
    }
    html.raw("<section aria-labelledby=\"mirrors\"><h2 id=\"mirrors\">Other mirrors</h2>");
    html.raw("<p>By mirror map ").text(page.report.epoch).raw(".</p>");
    let columns = [words("Mirror"), words("Zone"), words("Address"), words("State")];
    html.table("Other mirrors", &columns, mirrors.len().min(MAX_ROWS), |html, row, column| {
        let Neighbour { name, zone, url, state } = &mirrors[row];
        match column {
            0 => drop(html.element("strong", "", name)),
            1 => drop(html.text(zone.as_deref().unwrap_or("–"))),
            2 => match url {
                Some(url) => drop(html.element("code", "", url)),
                None => drop(html.raw("not published")),
            },
            _ => {
                html.open("span", badge(*state)).text(state.as_str()).raw("</span>");
            }
        }
    });
    more(html, mirrors.len());
    html.raw("</section>\n");
}

const fn badge(state: MirrorState) -> &'static str {
    match state {
        MirrorState::Joining => "badge",
        MirrorState::Serving => "badge good",
        MirrorState::Unreachable => "badge bad",
    }
}

/// Where there is more.
pub(super) fn foot(html: &mut Html, page: &Page) {
    html.raw("<footer><p>The same for programs: <code>/granary/v1/report</code> (JSON) and <code>/metrics</code> (Prometheus) on the agent's port ");
    html.text(page.agent_port)
        .raw(", which is not for everybody. What they mean is in the book, under “Watching it”.</p>");
    html.raw("<p>Granary ").text(&page.report.version).raw(" · disk ").element("code", "", &page.report.disk);
    html.raw(" · shown ").time(page.now, page.now.strftime("%F %T UTC")).raw("</p></footer>");
}

pub(super) fn more(html: &mut Html, all: usize) {
    more_than(html, all.min(MAX_ROWS), all as u64);
}

fn more_than(html: &mut Html, shown: usize, all: u64) {
    let left = all.saturating_sub(shown as u64);
    if left > 0 {
        html.raw("<p class=\"note\">And ").text(count(left)).raw(" more.</p>");
    }
}

pub(super) fn parse(time: &str) -> Option<Timestamp> {
    time.parse().ok()
}
