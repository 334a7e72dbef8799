//! The conditions of a policy, in words. Pure.

use granary_placement::Shortfall;

use super::{count::Count, dereference::Placed};

/// A condition before it is compared with the one that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `None`: not known.
    pub status: Option<bool>,
    /// One word.
    pub reason: &'static str,
    /// What to read, and where something is wrong, what to do.
    pub message: String,
}

fn verdict(status: impl Into<Option<bool>>, reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict { status: status.into(), reason, message: message.into() }
}

/// Whether the policy can be carried out in full.
pub fn accepted(placed: &Placed) -> Verdict {
    let Some(first) = placed.shortfalls.first() else {
        return verdict(
            true,
            "Placed",
            format!("placed on {}", plural(placed.entry.mirrors.len(), "mirror")),
        );
    };
    let reason = match first {
        Shortfall::NoMirrors => "NoMirrors",
        Shortfall::TargetAboveMirrors { .. } => "TargetAboveMirrors",
        Shortfall::SpreadAboveDomains { .. } => "SpreadAboveDomains",
        Shortfall::SpreadMissed { .. } => "SpreadMissed",
    };
    let mut words: Vec<String> = placed.shortfalls.iter().map(ToString::to_string).collect();
    if !placed.homeless.is_empty() {
        words.push(format!("in this namespace {} without a node", list(&placed.homeless)));
    }
    verdict(false, reason, words.join("; "))
}

/// Whether the mirrors know the closure, and the same one.
pub fn catalog_resolved(count: &Count) -> Verdict {
    if let Some((who, why)) = count.catalog_errors.first() {
        let more = count.catalog_errors.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        return verdict(false, "Unresolved", format!("{who}{more}: {why}"));
    }
    let mut catalogs = count.catalogs.values();
    match (catalogs.next(), catalogs.next()) {
        (None, _) => verdict(None, "Waiting", "no mirror has resolved the closure yet"),
        (Some((artifacts, _)), None) => {
            verdict(true, "Resolved", format!("the closure has {}", plural(*artifacts, "artifact")))
        }
        (Some((one, here)), Some((two, there))) => verdict(
            false,
            "Disagree",
            format!(
                "the mirrors resolved different closures: {} artifacts on {}, {} on {}; their upstreams differ",
                one,
                list(here),
                two,
                list(there)
            ),
        ),
    }
}

/// Whether every copy is there. `wanted` is the number of copies.
pub fn satisfied(accepted: &Verdict, resolved: &Verdict, count: &Count, wanted: u64) -> Verdict {
    if resolved.status != Some(true) {
        return verdict(resolved.status, "CatalogUnknown", resolved.message.clone());
    }
    let there = format!("{} of {wanted} copies are verified", count.copies);
    let mut why = Vec::new();
    if !count.silent.is_empty() {
        why.push(format!("no answer from {}", list(&count.silent)));
    }
    let awaited: Vec<&String> = count.unasked.iter().chain(&count.behind).collect();
    if !awaited.is_empty() {
        why.push(format!("waiting for a report from {}", list(&awaited)));
    }
    if count.refused > 0 {
        why.push(format!("{} refused: {}", count.refused, count.refusals.join(", ")));
    }
    let with_reasons = |mut words: Vec<String>| {
        words.insert(0, there.clone());
        words.join("; ")
    };
    if accepted.status == Some(false) {
        why.insert(0, accepted.message.clone());
        return verdict(false, "CannotBePlaced", with_reasons(why));
    }
    if count.copies >= wanted {
        return verdict(
            true,
            "Verified",
            format!("all {wanted} copies are verified on {}", plural(count.reporting, "mirror")),
        );
    }
    let reason = if !count.silent.is_empty() {
        "MirrorsSilent"
    } else if count.refused > 0 {
        "Refused"
    } else {
        "CopiesMissing"
    };
    verdict(false, reason, with_reasons(why))
}

/// Names in a sentence; at most five of them.
fn list(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(5) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn plural(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
