//! That the page can be read, in the light and in the dark, on a wide screen and on a narrow one.

use std::collections::HashMap;

use super::tests::sample;
use super::{STYLE, render};

/// What stands on what: each pair of variables that some rule puts together.
const PAIRS: [(&str, &str); 10] = [
    ("ink", "back"),
    ("ink", "card"),
    ("ink", "plain-back"),
    ("soft", "back"),
    ("soft", "card"),
    ("grain", "back"),
    ("good", "good-back"),
    ("warn", "warn-back"),
    ("bad", "bad-back"),
    ("good", "plain-back"),
];

/// The colours of a `:root{…}`.
fn colours(root: &'static str) -> HashMap<&'static str, [f64; 3]> {
    let declared = root.split_once(":root{").unwrap().1.split_once('}').unwrap().0;
    let colour = |declaration: &'static str| {
        let (name, value) = declaration.strip_prefix("--")?.split_once(':')?;
        let digits: String = match value.trim_start_matches('#') {
            short if short.len() == 3 => short.chars().flat_map(|digit| [digit, digit]).collect(),
            long => long.to_owned(),
        };
        let part = |at: usize| f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0;
        Some((name, [part(0), part(2), part(4)]))
    };
    declared.split(';').filter_map(colour).collect()
}

/// Relative luminance (WCAG 2.2).
fn luminance(colour: [f64; 3]) -> f64 {
    let linear =
        colour.map(|part| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

/// Contrast (WCAG 2.2), from 1 to 21; 4.5 is asked for of text (1.4.3).
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn every_text_stands_out_in_the_light_and_in_the_dark() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
    let (light, dark) = STYLE.split_once("@media (prefers-color-scheme:dark)").unwrap();
    for (scheme, root) in [("light", light), ("dark", dark)] {
        let colours = colours(root);
        for (text, back) in PAIRS {
            let contrast = contrast(colours[text], colours[back]);
            assert!(contrast >= 4.5, "{scheme}: {text} on {back} has a contrast of {contrast:.2}");
        }
    }
    assert!(
        STYLE.starts_with(":root{color-scheme:light dark;"),
        "scroll bars and the like are of the scheme"
    );
}

#[test]
fn on_a_narrow_screen_rows_stand_below_one_another_with_their_heads() {
    let html = render(&sample());
    assert!(html.contains("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"));
    let narrow = STYLE.split_once("@media (max-width:44rem){").unwrap().1;
    assert!(narrow.contains("table,tbody,tr,td{display:block") && narrow.contains("attr(data-label)"));
    let cells: Vec<&str> = html.split("<td").skip(1).map(|rest| rest.split_once('>').unwrap().0).collect();
    assert!(cells.len() > 10);
    for cell in cells {
        assert!(cell.contains(" data-label=\""), "a cell without its column's head: <td{cell}>");
    }
}
