//! How the mirror keeps what it has: scrub, room, retention.

use granary_placement::report::{CapacityReport, RetentionReport, ScrubReport, Upkeep};

use super::Page;
use super::html::Html;
use super::parts::{card, parse};
use super::words::{ago, bytes, count};

/// A figure for each that is configured, and for a disk that is too full.
pub(super) fn cards(html: &mut Html, page: &Page) {
    let Upkeep { retention, capacity, scrub } = &page.report.upkeep;
    if let Some(scrub) = scrub {
        self::scrub(html, page, scrub);
    }
    if let Some(CapacityReport { full: Some(reason), read_only, free: _ }) = capacity {
        let figure = if *read_only { "nothing" } else { "no room" };
        card(html, "Taking in", figure.into(), |html| {
            html.text(reason);
        });
    }
    if let Some(RetentionReport { unwanted, trashed: _, trashed_bytes, waiting }) = retention {
        card(html, "In the trash", bytes(*trashed_bytes), |html| match waiting {
            Some(reason) => drop(html.raw("nothing leaves: ").text(reason)),
            None => drop(html.text(count(*unwanted)).raw(" artifacts are wanted by nobody")),
        });
    }
}

fn scrub(html: &mut Html, page: &Page, scrub: &ScrubReport) {
    let ScrubReport { began: _, read_artifacts, artifacts, read_bytes: _, bytes: _, ended, rotten, trouble } =
        scrub;
    let figure =
        ended.as_deref().and_then(parse).map_or_else(|| "none yet".into(), |then| ago(then, page.now));
    card(html, "Last scrub", figure, |html| {
        if let Some(trouble) = trouble {
            html.text(trouble);
            return;
        }
        html.text(count(*read_artifacts)).raw(" of ").text(count(*artifacts)).raw(" read again since");
        if *rotten > 0 {
            html.raw("; ").text(count(*rotten)).raw(" were rotten so far");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::page::tests::{HOSTILE, at, sample};

    fn shown(upkeep: Upkeep) -> String {
        let mut page = sample();
        page.report.upkeep = upkeep;
        super::super::render(&page)
    }

    #[test]
    fn what_is_configured_is_shown_and_nothing_else() {
        let html = shown(Upkeep::default());
        assert!(
            !html.contains("Last scrub") && !html.contains("In the trash") && !html.contains("Taking in")
        );
        let scrub = ScrubReport {
            ended: Some(at(-7200).to_string()),
            read_artifacts: 7,
            artifacts: 1200,
            rotten: 2,
            ..ScrubReport::default()
        };
        let retention = RetentionReport { unwanted: 5, trashed_bytes: 3 << 20, ..RetentionReport::default() };
        let full = Some("no space: it needs 7 MiB".into());
        let capacity = CapacityReport { free: Some(1), full, read_only: false };
        let html = shown(Upkeep {
            retention: Some(retention.clone()),
            capacity: Some(capacity),
            scrub: Some(scrub.clone()),
        });
        for words in [
            "2 h ago",
            "7 of 1\u{202f}200 read again",
            "2 were rotten",
            "3.0 MiB",
            "no space: it needs 7 MiB",
        ] {
            assert!(html.contains(words), "{words} is not in\n{html}");
        }
        let read_only = CapacityReport { free: None, full: Some(HOSTILE.into()), read_only: true };
        let html = shown(Upkeep { capacity: Some(read_only), ..Upkeep::default() });
        assert!(html.contains(">nothing<") && !html.contains("<script"), "{html}");
        let html = shown(Upkeep {
            retention: Some(RetentionReport { waiting: Some(HOSTILE.into()), ..retention }),
            capacity: None,
            scrub: Some(ScrubReport { trouble: Some(HOSTILE.into()), ended: Some(HOSTILE.into()), ..scrub }),
        });
        assert!(html.contains("nothing leaves") && html.contains("none yet") && !html.contains("<script"));
    }
}
