//! How far each channel is that is followed here.

use granary_placement::report::ChannelReport;

use super::Page;
use super::html::{Html, numbers, words};
use super::parts::more;
use super::words::{count, span};

/// The section; none without a channel.
pub(super) fn channels(html: &mut Html, page: &Page) {
    let channels = &page.report.channels;
    if channels.is_empty() {
        return;
    }
    html.raw("<section aria-labelledby=\"channels\"><h2 id=\"channels\">Channels</h2>");
    let columns =
        [words("Channel"), words("Newest revision here"), numbers("Kept"), words("Behind"), words("State")];
    html.table("Channels", &columns, channels.len().min(super::parts::MAX_ROWS), |html, row, column| {
        channel(html, &channels[row], column);
    });
    more(html, channels.len());
    html.raw("</section>\n");
}

fn channel(html: &mut Html, channel: &ChannelReport, column: usize) {
    let ChannelReport {
        name,
        url,
        newest,
        artifacts,
        published,
        refused,
        complete,
        completed_at: _,
        looked_at: _,
        lag_seconds,
        revisions,
        trouble,
    } = channel;
    match column {
        0 => {
            html.element("strong", "", name);
            html.raw("<br><span class=\"note\">").text(url).raw("</span>");
        }
        1 if newest.is_none() => drop(html.raw("none is known yet")),
        1 => {
            html.bar(*published, *artifacts);
            html.text(count(*published)).raw(" of ").text(count(*artifacts));
        }
        2 => drop(html.text(count(*revisions))),
        3 if *lag_seconds == 0 => drop(html.raw("no")),
        3 => drop(html.text(span(i64::try_from(*lag_seconds).unwrap_or(i64::MAX)))),
        _ => match trouble {
            Some(trouble) => {
                html.raw("<span class=\"badge bad\">cannot be followed</span> ").text(trouble);
            }
            None if newest.is_none() => drop(html.raw("<span class=\"badge\">not looked at yet</span>")),
            None if *lag_seconds > 0 || complete.is_none() => {
                html.raw("<span class=\"badge\">in work</span>");
            }
            None if *refused > 0 => {
                html.raw("<span class=\"badge warn\">complete, but for what is refused</span>");
            }
            None => drop(html.raw("<span class=\"badge good\">complete</span>")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HOSTILE, sample};
    use super::super::{Page, render};
    use super::*;

    fn shown(channel: ChannelReport) -> String {
        let page = sample();
        let report = granary_placement::report::Report { channels: vec![channel], ..page.report.clone() };
        render(&Page { report, ..page })
    }

    #[test]
    fn a_channel_says_how_far_it_is_and_what_is_in_the_way() {
        assert!(!render(&sample()).contains("id=\"channels\""));
        let good = ChannelReport {
            name: "nixos-26.05".into(),
            url: "https://channels.nixos.org/nixos-26.05".into(),
            newest: Some("https://releases.nixos.org/1".into()),
            artifacts: 1000,
            published: 333,
            complete: Some("https://releases.nixos.org/1".into()),
            revisions: 3,
            ..ChannelReport::default()
        };
        let page = shown(good.clone());
        for words in ["nixos-26.05", "333", "complete"] {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert!(shown(ChannelReport { lag_seconds: 7200, ..good.clone() }).contains("2 h"));
        assert!(shown(ChannelReport { refused: 1, ..good.clone() }).contains("but for what is refused"));
        assert!(shown(ChannelReport::default()).contains("not looked at yet"));
        let report = granary_placement::report::Report {
            channels: vec![good.clone()],
            policies: vec![],
            ..sample().report
        };
        let alone = render(&Page { report, ..sample() });
        assert!(
            alone.contains("What the channels below list") && !alone.contains("Nothing is asked"),
            "{alone}"
        );
        let hostile = shown(ChannelReport { trouble: Some(HOSTILE.into()), name: HOSTILE.into(), ..good });
        assert!(hostile.contains("cannot be followed") && !hostile.contains("<script"), "{hostile}");
    }
}
