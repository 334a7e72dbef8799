//! The netrc notation, as curl reads it for Nix: words between white space, some of them in quotes.

/// What is sent to one host.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The host; `None` for `default`.
    machine: Option<String>,
    /// The user.
    pub login: String,
    /// The password.
    pub password: String,
}

/// Reads all entries. The words of an error say nothing about what stands in the text.
pub fn parse(text: &str) -> Result<Vec<Entry>, &'static str> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut words = Words { rest: text };
    while let Some(word) = words.next()? {
        let mut value = || words.next()?.ok_or("not netrc: a word without its value at the end");
        match word.as_str() {
            "machine" => entries.push(Entry { machine: Some(value()?), ..Entry::default() }),
            "default" => entries.push(Entry::default()),
            "macdef" => words.skip_macro(),
            "login" | "password" | "account" => {
                let value = value()?;
                let entry = entries.last_mut().ok_or("not netrc: a login before the first machine")?;
                match word.as_str() {
                    "login" => entry.login = value,
                    "password" => entry.password = value,
                    _ => {}
                }
            }
            _ => {
                return Err(
                    "not netrc: there is a word besides machine, default, login, password and account",
                );
            }
        }
    }
    Ok(entries)
}

/// The first entry for the host, else the first `default`.
#[must_use]
pub fn find<'e>(entries: &'e [Entry], host: &str) -> Option<&'e Entry> {
    let named = |entry: &&Entry| entry.machine.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(host));
    entries.iter().find(named).or_else(|| entries.iter().find(|entry| entry.machine.is_none()))
}

struct Words<'t> {
    rest: &'t str,
}

impl Words<'_> {
    fn next(&mut self) -> Result<Option<String>, &'static str> {
        loop {
            self.rest = self.rest.trim_start();
            // A comment goes to the end of its line.
            let Some(comment) = self.rest.strip_prefix('#') else { break };
            self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        }
        if let Some(quoted) = self.rest.strip_prefix('"') {
            return self.quoted(quoted).map(Some);
        }
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok((!word.is_empty()).then(|| word.to_owned()))
    }

    fn quoted(&mut self, text: &str) -> Result<String, &'static str> {
        let mut word = String::new();
        let mut characters = text.char_indices();
        while let Some((place, character)) = characters.next() {
            match character {
                '"' => {
                    let start = self.rest.len() - text.len() + place + 1;
                    self.rest = &self.rest[start..];
                    return Ok(word);
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => word.push('\n'),
                    Some((_, 'r')) => word.push('\r'),
                    Some((_, 't')) => word.push('\t'),
                    Some((_, other)) => word.push(other),
                    None => break,
                },
                other => word.push(other),
            }
        }
        Err("not netrc: a quote is not closed")
    }

    /// A macro ends at the first empty line.
    fn skip_macro(&mut self) {
        self.rest = self.rest.split_once("\n\n").map_or("", |(_, rest)| rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, host: &str) -> Option<(String, String)> {
        find(&parse(text).unwrap(), host).map(|entry| (entry.login.clone(), entry.password.clone()))
    }

    fn pair(login: &str, password: &str) -> (String, String) {
        (login.into(), password.into())
    }

    #[test]
    fn entries_are_found_by_host_and_then_by_default() {
        let text = "# caches\nmachine a.example\n\tlogin me\n\tpassword one\nmachine B.example login you password two\n\
                    macdef init\ncd /tmp\n\ndefault login anyone password three\n";
        assert_eq!(found(text, "a.example"), Some(pair("me", "one")));
        assert_eq!(found(text, "b.EXAMPLE"), Some(pair("you", "two")));
        assert_eq!(found(text, "c.example"), Some(pair("anyone", "three")));
        assert_eq!(
            found("machine a.example password token", "a.example"),
            Some(pair("", "token")),
            "no login"
        );
        assert_eq!(
            found("machine a.example login x", "sub.a.example"),
            None,
            "a part of a name is another name"
        );
        assert_eq!(found("", "a.example"), None);
    }

    #[test]
    fn quotes_hold_spaces_and_escapes() {
        let text = r#"machine h login "a b" password "q\"u\\o\te" account x machine i login j password "" "#;
        assert_eq!(found(text, "h"), Some(pair("a b", "q\"u\\o\te")));
        assert_eq!(found(text, "i"), Some(pair("j", "")));
        assert_eq!(
            found("machine h login l password é\"#x", "h"),
            Some(pair("l", "é\"#x")),
            "a quote inside is a character"
        );
    }

    #[test]
    fn what_is_no_netrc_is_refused() {
        for bad in [
            "t0ken",
            "login me",
            "machine",
            "machine h password",
            "machine h password \"x",
            "machine h \"x\\",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
