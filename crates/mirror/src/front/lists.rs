//! The lists of other mirrors, one for each partition, with equal lists kept once.

use std::collections::HashMap;
use std::fmt::Write as _;

/// The lists that the `Mirrors:` line and the `Link` header are made from.
///
/// A few mirrors give few different lists for 32,768 partitions, so a partition only names a list by its number.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lists {
    distinct: Vec<Vec<String>>,
    partitions: Vec<(String, usize)>,
}

impl Lists {
    /// Collects lists of base URLs, best mirror first. A partition is named by its three characters.
    ///
    /// A URL that could not stand in an nginx string, a header or a narinfo is left out (see [`safe_url`]);
    /// a partition whose list ends up empty is left out too.
    pub fn collect<'a, U>(partitions: impl IntoIterator<Item = (String, U)>) -> Self
    where
        U: IntoIterator<Item = &'a str>,
    {
        let mut lists = Self::default();
        let mut numbers: HashMap<Vec<String>, usize> = HashMap::new();
        for (partition, urls) in partitions {
            let urls: Vec<String> = urls.into_iter().filter(|url| safe_url(url)).map(str::to_owned).collect();
            if urls.is_empty() {
                continue;
            }
            let number = *numbers.entry(urls).or_insert_with_key(|urls| {
                lists.distinct.push(urls.clone());
                lists.distinct.len() - 1
            });
            lists.partitions.push((partition, number));
        }
        lists
    }

    /// Whether no partition has another mirror to name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// The include file: partition → list number → `Link` header and `Mirrors:` line.
    #[must_use]
    pub fn mirrors_map(&self) -> String {
        let mut out = String::from("map $granary_partition $granary_list {\n    default \"\";\n");
        for (partition, number) in &self.partitions {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "    {partition} {number};");
        }
        out.push_str("}\nmap $granary_list $granary_links {\n    default \"\";\n");
        for (number, urls) in self.distinct.iter().enumerate() {
            let links: Vec<String> = urls
                .iter()
                .zip(1_u32..)
                .map(|(url, pri)| format!("<{url}/$granary_hash.narinfo>; rel=duplicate; pri={pri}"))
                .collect();
            let _ = writeln!(out, "    {number} \"{}\";", links.join(", "));
        }
        out.push_str("}\nmap $granary_reader $granary_line {\n    default \"\";\n");
        for (number, urls) in self.distinct.iter().enumerate() {
            let _ = writeln!(out, "    {number} \"Mirrors: {}\\n\";", urls.join(" "));
        }
        out.push_str("}\n");
        out
    }
}

/// Whether a mirror's URL may be written into nginx's configuration, a `Link` header and a narinfo: http or https,
/// and only characters that mean nothing in any of the three.
#[must_use]
pub fn safe_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/[]@%+=&".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(lists: &[(&str, &[&str])]) -> Lists {
        Lists::collect(lists.iter().map(|(partition, urls)| ((*partition).to_owned(), urls.iter().copied())))
    }

    #[test]
    fn equal_lists_share_a_number_and_order_counts() {
        let lists = collect(&[
            ("000", &["https://a", "https://b"]),
            ("001", &["https://b", "https://a"]),
            ("002", &["https://a", "https://b"]),
        ]);
        assert_eq!(
            lists.mirrors_map(),
            "map $granary_partition $granary_list {\n    default \"\";\n    000 0;\n    001 1;\n    002 0;\n}\n\
             map $granary_list $granary_links {\n    default \"\";\n\
             \x20   0 \"<https://a/$granary_hash.narinfo>; rel=duplicate; pri=1, <https://b/$granary_hash.narinfo>; rel=duplicate; pri=2\";\n\
             \x20   1 \"<https://b/$granary_hash.narinfo>; rel=duplicate; pri=1, <https://a/$granary_hash.narinfo>; rel=duplicate; pri=2\";\n}\n\
             map $granary_reader $granary_line {\n    default \"\";\n\
             \x20   0 \"Mirrors: https://a https://b\\n\";\n    1 \"Mirrors: https://b https://a\\n\";\n}\n"
        );
    }

    #[test]
    fn a_url_that_could_break_out_is_left_out() {
        let bad = [
            "https://a\"; return 200 \"",
            "https://$http_host",
            "https://a b",
            "file:///etc",
            "https://",
            "https://a\n",
            "https://a>",
        ];
        for url in bad {
            assert!(!safe_url(url), "{url:?}");
            assert!(collect(&[("000", &[url])]).is_empty(), "{url:?}");
        }
        for url in ["https://cache.example.edu", "http://[::1]:8080/sub/dir", "http://10.0.0.1:80"] {
            assert!(safe_url(url), "{url}");
        }
        let lists = collect(&[("000", &["https://$x", "https://b"])]);
        assert!(lists.mirrors_map().contains("\"Mirrors: https://b\\n\""));
    }
}
