//! What to do about a refusal, in the words of the book's table.

use granary_placement::report::RefusalReason;

/// What a person can do.
pub(super) const fn advice(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::Unsigned => "sign the upstream's cache, or take the path from one that does",
        RefusalReason::UntrustedKey => "add the key that the message names, if you trust it",
        RefusalReason::BadSignature => "the upstream is broken or lies: ask its admin",
        RefusalReason::BadNarinfo => "the message names the line and the field",
        RefusalReason::WrongPath => "the upstream is broken",
        RefusalReason::ForbiddenUrl => {
            "the upstream is broken or hostile; or name the host in `allowedHosts`"
        }
        RefusalReason::UnknownCompression => {
            "ask for xz, zstd, bzip2, gzip, br, lz4, lzip, lzma, compress or none"
        }
        RefusalReason::FileSize | RefusalReason::FileHash => "damaged at the upstream or on the way",
        RefusalReason::NarSize | RefusalReason::NarHash => {
            "damaged at the upstream: stock Nix would fail on it too"
        }
        RefusalReason::TooLarge => "nothing, if it was declared wrongly",
        RefusalReason::MissingReference => "look at the path that the message names",
        RefusalReason::NotFound => "check the store path and the upstreams",
        RefusalReason::UpstreamUnreachable => "it is tried again by itself",
        RefusalReason::NoSpace => "make room, or change `capacity`; it is tried again by itself",
        RefusalReason::Disk => "the message has the system's words: full, read-only, …",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_says_the_same() {
        let book = include_str!("../../../../../docs/src/refusals.md");
        let row = |reason: RefusalReason| {
            let rows = book.lines().filter(|line| line.starts_with("| `"));
            rows.map(|line| line.split('|').collect::<Vec<_>>())
                .find(|cells| cells[1].contains(&format!("`{reason}`")))
        };
        for reason in RefusalReason::ALL {
            let cells = row(*reason).unwrap_or_else(|| panic!("{reason} is not in the book"));
            assert_eq!(cells[3].trim(), advice(*reason), "{reason}");
        }
    }
}
