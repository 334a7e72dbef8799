//! HTML in which only our own words are markup: a text that came from anywhere is escaped, cleaned and cut, by type.

use std::fmt::{Display, Write as _};

/// Most characters of one text; a message or a name from the network can be of any length.
const MAX_TEXT: usize = 600;

/// A document that grows.
#[derive(Debug, Default)]
pub(super) struct Html(String);

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its heading; on a narrow screen it stands before each value.
    pub(super) title: &'static str,
    /// Whether it has numbers, which stand at the right.
    pub(super) number: bool,
}

/// A column with words.
pub(super) const fn words(title: &'static str) -> Column {
    Column { title, number: false }
}

/// A column with numbers.
pub(super) const fn numbers(title: &'static str) -> Column {
    Column { title, number: true }
}

impl Html {
    /// Markup of ours. Being `'static`, it cannot hold anything that was received.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// A text, whatever is in it.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        let text = text.to_string();
        let mut rest = text.chars();
        rest.by_ref().take(MAX_TEXT).for_each(|character| self.character(character));
        if rest.next().is_some() {
            self.0.push('…');
        }
        self
    }

    /// An element with a text. `class` may be empty.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        class: &'static str,
        text: impl Display,
    ) -> &mut Self {
        self.open(tag, class).text(text);
        self.close(tag)
    }

    /// The beginning of an element.
    pub(super) fn open(&mut self, tag: &'static str, class: &'static str) -> &mut Self {
        self.raw("<").raw(tag);
        if !class.is_empty() {
            self.raw(" class=\"").raw(class).raw("\"");
        }
        self.raw(">")
    }

    /// The end of an element.
    pub(super) fn close(&mut self, tag: &'static str) -> &mut Self {
        self.raw("</").raw(tag).raw(">")
    }

    /// A time for people, with the exact one for programs and for who points at it.
    pub(super) fn time(&mut self, exact: impl Display, words: impl Display) -> &mut Self {
        let exact = exact.to_string();
        self.raw("<time datetime=\"").text(&exact).raw("\" title=\"").text(&exact).raw("\">");
        self.text(words).raw("</time>")
    }

    /// A bar. Its numbers stand beside it in words, for everybody who does not see it.
    pub(super) fn bar(&mut self, done: u64, all: u64) -> &mut Self {
        self.raw("<progress aria-hidden=\"true\" max=\"").text(all.max(1)).raw("\" value=\"");
        self.text(if all == 0 { 1 } else { done.min(all) }).raw("\"></progress>")
    }

    /// A table. The roles say what the elements are, since a narrow screen shows the rows as blocks, by which browsers
    /// would forget it.
    pub(super) fn table(
        &mut self,
        name: &'static str,
        columns: &[Column],
        rows: usize,
        mut cell: impl FnMut(&mut Self, usize, usize),
    ) -> &mut Self {
        self.raw("<table role=\"table\" aria-label=\"")
            .raw(name)
            .raw("\"><thead role=\"rowgroup\"><tr role=\"row\">");
        for Column { title, number } in columns {
            self.raw("<th role=\"columnheader\" scope=\"col\"").raw(align(*number)).raw(">");
            self.raw(title).raw("</th>");
        }
        self.raw("</tr></thead><tbody role=\"rowgroup\">");
        for row in 0..rows {
            self.raw("<tr role=\"row\">");
            for (index, Column { title, number }) in columns.iter().enumerate() {
                self.raw("<td role=\"cell\"")
                    .raw(align(*number))
                    .raw(" data-label=\"")
                    .raw(title)
                    .raw("\"><div>");
                cell(self, row, index);
                self.raw("</div></td>");
            }
            self.raw("</tr>\n");
        }
        self.raw("</tbody></table>\n")
    }

    /// The document.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn character(&mut self, character: char) {
        match character {
            '&' => self.0.push_str("&amp;"),
            '<' => self.0.push_str("&lt;"),
            '>' => self.0.push_str("&gt;"),
            '"' => self.0.push_str("&quot;"),
            '\'' => self.0.push_str("&#39;"),
            hidden if is_hidden(hidden) => self.0.push('\u{fffd}'),
            // Writing to a String cannot fail.
            plain => drop(self.0.write_char(plain)),
        }
    }
}

const fn align(number: bool) -> &'static str {
    if number { " class=\"number\"" } else { "" }
}

/// Characters that show nothing, or turn the order of what follows around: a name with them would look like another.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        let mut html = Html::default();
        html.text(text);
        html.finish()
    }

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(
            text("<script>alert('1') & \"2\"</script>"),
            "&lt;script&gt;alert(&#39;1&#39;) &amp; &quot;2&quot;&lt;/script&gt;"
        );
    }

    #[test]
    fn what_hides_or_turns_around_is_shown() {
        assert_eq!(text("a\u{202e}b\0c\r\nd\u{200b}"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}d\u{fffd}");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(text(&"ü".repeat(MAX_TEXT)), "ü".repeat(MAX_TEXT));
        assert_eq!(text(&"<".repeat(MAX_TEXT + 1)), "&lt;".repeat(MAX_TEXT) + "…");
    }

    #[test]
    fn a_table_says_what_its_cells_are() {
        let mut html = Html::default();
        html.table("T", &[words("A"), numbers("B")], 1, |html, row, column| {
            html.text(format!("{row}<{column}"));
        });
        let html = html.finish();
        assert!(
            html.contains("<td role=\"cell\" class=\"number\" data-label=\"B\"><div>0&lt;1</div></td>"),
            "{html}"
        );
        assert!(html.contains("<th role=\"columnheader\" scope=\"col\">A</th>"), "{html}");
    }

    #[test]
    fn a_bar_never_overflows_and_of_nothing_is_full() {
        let bar = |done, all| {
            let mut html = Html::default();
            html.bar(done, all);
            html.finish()
        };
        assert!(bar(7, 5).contains("max=\"5\" value=\"5\""));
        assert!(bar(0, 0).contains("max=\"1\" value=\"1\""));
    }
}
