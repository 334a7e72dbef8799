//! Entries of the index of debug information.

use serde::{Deserialize, Serialize};

use super::{BuildId, ExtraError};
use crate::text::excerpt;

/// Longest entry that is read, in bytes. Real ones have less than 200.
pub const MAX_TEXT: usize = 16 << 10;

/// Says in which NAR the debug information of a build id stands: a file below `debuginfo/`.
///
/// The entry is not signed. Which member it names follows from the build id, so that is not kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugInfo {
    /// The NAR file by its name in the cache, as `nar/<FileHash>.nar.xz`; what a narinfo has as its `URL`.
    pub nar: String,
}

#[derive(Serialize, Deserialize)]
struct Raw {
    archive: String,
    member: String,
}

impl DebugInfo {
    /// Reads the entry of `build_id`. Its archive must be a file directly below the cache's `nar/`, and its member the one
    /// that the build id has.
    pub fn parse(text: &[u8], build_id: &BuildId) -> Result<Self, ExtraError> {
        if text.len() > MAX_TEXT {
            return Err(ExtraError::TooLarge { length: text.len() });
        }
        let Raw { archive, member } =
            serde_json::from_slice(text).map_err(|error| ExtraError::Json { problem: error.to_string() })?;
        let expected = build_id.member();
        if member != expected {
            let (member, build_id) = (excerpt(&member), build_id.to_string());
            return Err(ExtraError::Member { member, build_id, expected });
        }
        match archive.strip_prefix("../") {
            Some(nar) if is_nar_file(nar) => Ok(Self { nar: nar.to_owned() }),
            _ => Err(ExtraError::Archive { archive: excerpt(&archive) }),
        }
    }

    /// The text of the entry of `build_id`, as Nix writes it.
    #[must_use]
    pub fn to_text(&self, build_id: &BuildId) -> String {
        let (archive, member) = (format!("../{}", self.nar), build_id.member());
        serde_json::json!({ "archive": archive, "member": member }).to_string()
    }
}

/// Whether a name is that of a file directly below `nar/`, of plain characters.
fn is_nar_file(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._=".contains(c);
    name.strip_prefix("nar/")
        .is_some_and(|file| !file.is_empty() && !file.starts_with('.') && file.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3da4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c";

    fn parse(text: &str) -> Result<DebugInfo, ExtraError> {
        DebugInfo::parse(text.as_bytes(), &ID.parse().unwrap())
    }

    fn entry(archive: &str, member: &str) -> String {
        format!("{{\"archive\":\"{archive}\",\"member\":\"{member}\"}}")
    }

    #[test]
    fn the_text_that_nix_writes() {
        let id: BuildId = ID.parse().unwrap();
        let text = entry("../nar/1abc.nar.xz", &id.member());
        let info = DebugInfo { nar: "nar/1abc.nar.xz".into() };
        assert_eq!(parse(&text), Ok(info.clone()));
        assert_eq!(info.to_text(&id), text);
    }

    #[test]
    fn an_archive_or_a_member_elsewhere_is_refused() {
        let member = ID.parse::<BuildId>().unwrap().member();
        for archive in [
            "nar/a.nar",
            "../nar/",
            "../nar/../../etc/passwd",
            "../nar/..",
            "../nar/.hidden",
            "../nar/a/b",
            "../../nar/a",
            "/nar/a",
            "http://x/nar/a",
            "../nar/a?b",
            "../nar/a%2fb",
        ] {
            let error = parse(&entry(archive, &member)).unwrap_err();
            assert!(matches!(error, ExtraError::Archive { .. }), "{archive}: {error}");
        }
        for member in
            ["", "/etc/passwd", "lib/debug/../../x", &member.replace("3d/", "3e/"), &format!("/{member}")]
        {
            let error = parse(&entry("../nar/a.nar", member)).unwrap_err();
            assert!(matches!(error, ExtraError::Member { .. }), "{member}: {error}");
        }
        assert!(matches!(parse("[]"), Err(ExtraError::Json { .. })));
        assert!(matches!(parse(&" ".repeat(MAX_TEXT + 1)), Err(ExtraError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(text in r#"\{"archive":"(\.\./)?(nar/)?\PC{0,20}","member":"\PC{0,20}"\}"#) {
            let _ = parse(&text);
        }
    }
}
