//! The report: what a mirror says about itself at `GET /granary/v1/report`. The operator reads it for status and
//! conditions; nothing is ever deleted because of one.
//!
//! Fields that this version does not know are ignored.

mod refusal;
mod upkeep;

use serde::{Deserialize, Serialize};

use crate::name::MirrorName;
pub use refusal::{Refusal, RefusalReason};
pub use upkeep::{CapacityReport, RetentionReport, ScrubReport, Upkeep};

/// How many refusals a report carries, the newest first; [`Report::refused_total`] counts all.
pub const MAX_REFUSED: usize = 20;
/// Largest report that is read, in bytes of JSON.
pub const MAX_REPORT_BYTES: usize = 1 << 20;

/// What one mirror says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Who reports.
    pub mirror: MirrorName,
    /// The id kept on its disk: another id under the same name is another, or an emptied, disk.
    pub disk: String,
    /// The version of the mirror's program.
    pub version: String,
    /// The epoch of the map it goes by; 0 when it has none yet.
    pub epoch: u64,
    /// How many artifacts are published in its tree.
    pub artifacts: u64,
    /// The bytes of their NAR files.
    pub bytes: u64,
    /// When the last artifact was verified, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<String>,
    /// One entry for each policy that selects the mirror.
    #[serde(default)]
    pub policies: Vec<PolicyReport>,
    /// The newest [`MAX_REFUSED`] refusals that still stand, newest first.
    #[serde(default)]
    pub refused: Vec<Refusal>,
    /// How many refusals stand.
    #[serde(default)]
    pub refused_total: u64,
    /// Whether nginx's configuration has been rendered, so that it can serve.
    #[serde(default)]
    pub front_ready: bool,
    /// How each upstream last answered.
    #[serde(default)]
    pub upstreams: Vec<UpstreamReport>,
    /// The certificate, when the mirror is meant to speak HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateReport>,
    /// How it keeps what it has.
    #[serde(default)]
    pub upkeep: Upkeep,
    /// How far each channel is that the mirror follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelReport>,
}

/// How far one policy is on this mirror.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    /// The policy's name.
    pub name: String,
    /// What the roots' closure turned out to be; absent until it has been resolved once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogReport>,
    /// Why the closure could not be resolved in the last pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_error: Option<String>,
    /// How many artifacts of the closure this mirror has to hold.
    pub assigned: u64,
    /// How many of these it has verified and published.
    pub verified: u64,
    /// The bytes of these copies' NAR files.
    pub verified_bytes: u64,
    /// How many of the assigned artifacts it refused.
    pub refused: u64,
    /// One of them: a cause where there is one, before an artifact that only lacks a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// When the last pass ended, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pass: Option<String>,
    /// Whether the last pass, over the current map and catalog, left nothing to do except what is refused.
    #[serde(default)]
    pub synced: bool,
}

/// The closure of a policy's roots. Two mirrors that resolved the same closure report the same digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogReport {
    /// How many artifacts.
    pub artifacts: u64,
    /// Hex digest over the sorted hash parts.
    pub digest: String,
    /// The NAR file sizes, as far as they are known, in bytes.
    pub bytes: u64,
}

/// How far one channel is on this mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChannelReport {
    /// The channel's name.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// Where its newest revision was found; absent until one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    /// How many store paths that lists.
    pub artifacts: u64,
    /// How many of them are here, verified.
    pub published: u64,
    /// How many of them were not to be had in the last round.
    pub refused: u64,
    /// The newest revision that is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<String>,
    /// When it became so, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    /// When its list was last had, RFC 3339; before the first, when it was first asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<String>,
    /// For how long the mirror has been behind, in seconds: the newest revision is known and not complete, or it is not known
    /// whether there is a newer one, because the list was not had. 0 while it is neither.
    pub lag_seconds: u64,
    /// How many revisions are kept, the newest included.
    pub revisions: u64,
    /// Why the channel cannot be followed now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What there is of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateReport {
    /// When the one in use expires, RFC 3339; absent: none is in use, and there is no HTTPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Why the one in the configured files is not in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// How an upstream last answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamReport {
    /// The upstream's URL.
    pub url: String,
    /// Whether it answered.
    pub ok: bool,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Why a report is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Larger than [`MAX_REPORT_BYTES`].
    #[error("the report has {0} bytes; at most {MAX_REPORT_BYTES} are read")]
    TooLarge(usize),
    /// Not the JSON of a report.
    #[error("the report cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

impl Report {
    /// Reads a report. At most [`MAX_REFUSED`] refusals are kept.
    pub fn from_json(json: &[u8]) -> Result<Self, ReportError> {
        if json.len() > MAX_REPORT_BYTES {
            return Err(ReportError::TooLarge(json.len()));
        }
        let mut report: Self = serde_json::from_slice(json)?;
        report.refused.truncate(MAX_REFUSED);
        Ok(report)
    }

    /// What the report says about one policy.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&PolicyReport> {
        self.policies.iter().find(|policy| policy.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let refusal = |number| Refusal {
            store_path: format!("/nix/store/{number:032}-a"),
            reason: RefusalReason::NarHash,
            message: "differs".into(),
            source: "https://cache.example".into(),
        };
        Report {
            mirror: "north-0".parse().unwrap(),
            disk: "0123".into(),
            version: "0.1.0".into(),
            epoch: 3,
            artifacts: 40,
            bytes: 5_000_000_000,
            verified_at: Some("2026-11-23T12:00:00Z".into()),
            policies: vec![PolicyReport {
                name: "stable".into(),
                catalog: Some(CatalogReport { artifacts: 42, digest: "ab".into(), bytes: 7 }),
                catalog_error: Some("late".into()),
                assigned: 41,
                verified: 40,
                verified_bytes: 6,
                refused: 1,
                refusal: Some(refusal(1)),
                last_pass: Some("2026-11-23T12:00:01Z".into()),
                synced: true,
            }],
            refused: (0..30).map(refusal).collect(),
            refused_total: 30,
            front_ready: true,
            upstreams: vec![UpstreamReport {
                url: "https://u".into(),
                ok: false,
                message: Some("503".into()),
            }],
            certificate: Some(CertificateReport {
                expires: Some("2027-01-01T00:00:00Z".into()),
                trouble: None,
            }),
            upkeep: Upkeep {
                retention: Some(RetentionReport {
                    unwanted: 1,
                    waiting: Some("w".into()),
                    ..Default::default()
                }),
                capacity: Some(CapacityReport { free: Some(7), full: None, read_only: true }),
                scrub: Some(ScrubReport { began: "b".into(), rotten: 3, ..Default::default() }),
            },
            channels: vec![ChannelReport {
                name: "nixos-26.05".into(),
                artifacts: 9,
                ..ChannelReport::default()
            }],
        }
    }

    #[test]
    fn a_report_is_read_back_with_the_newest_refusals() {
        let mut report = sample();
        let read = Report::from_json(&serde_json::to_vec(&report).unwrap()).unwrap();
        report.refused.truncate(MAX_REFUSED);
        assert_eq!(read, report);
        assert_eq!(read.policy("stable"), report.policies.first());
        assert_eq!(read.policy("other"), None);
    }

    #[test]
    fn unknown_fields_are_ignored_and_optional_ones_may_be_absent() {
        let json = br#"{"mirror":"local","disk":"d","version":"1","epoch":0,"artifacts":0,"bytes":0,"new":[],
            "policies":[{"name":"p","assigned":1,"verified":0,"verifiedBytes":0,"refused":0,"new":1}]}"#;
        let report = Report::from_json(json).unwrap();
        assert!(!report.front_ready && !report.policies[0].synced && report.policies[0].catalog.is_none());
    }

    #[test]
    fn a_report_is_bounded() {
        let huge = vec![b' '; MAX_REPORT_BYTES + 1];
        assert!(matches!(Report::from_json(&huge), Err(ReportError::TooLarge(_))));
        assert!(matches!(Report::from_json(b"{}"), Err(ReportError::Json(_))));
    }

    #[test]
    fn a_reason_is_written_as_its_label() {
        for reason in RefusalReason::ALL {
            let label = reason.to_string();
            assert!(label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{label}");
            assert_eq!(serde_json::to_string(reason).unwrap(), format!("{label:?}"));
            assert_eq!(serde_json::from_str::<RefusalReason>(&format!("{label:?}")).unwrap(), *reason);
        }
        assert_eq!(RefusalReason::ALL.len(), 17);
    }
}
