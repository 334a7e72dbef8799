//! The conditions: what holds and what does not, with the names of whatever is concerned.

use std::{collections::BTreeSet, fmt::Write as _};

use granary_crds::{
    CacheMirror,
    cache_mirror::{MirrorStatus, ObservedState},
};
use granary_placement::{
    MirrorName,
    report::{CertificateReport, Refusal, Report},
};

use super::{Now, Outcome, holder};
use crate::{map::Note, mirror::dereference::Known};

/// Every replica serves.
pub(super) const READY: &str = "Ready";
/// Every replica has a place to run.
pub(super) const ASSIGNED: &str = "Assigned";
/// Every replica answers.
pub(super) const REACHABLE: &str = "Reachable";
/// Every replica has what it is assigned.
pub(super) const SYNCED: &str = "Synced";
/// Nothing was refused.
pub(super) const ACCEPTED: &str = "ArtifactsAccepted";
/// Every upstream answers.
pub(super) const UPSTREAMS: &str = "UpstreamsReachable";
/// HTTPS is spoken with the certificate that was asked for. Only with `serving.tls`.
pub(super) const CERTIFICATE: &str = "CertificateUsable";
/// The operator leaves everything as it is.
pub(super) const SUSPENDED: &str = "Suspended";

/// One condition, before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mirror) struct Verdict {
    pub type_: &'static str,
    /// `None`: it is not known.
    pub status: Option<bool>,
    pub reason: &'static str,
    pub message: String,
}

fn verdict(
    type_: &'static str,
    status: impl Into<Option<bool>>,
    reason: &'static str,
    message: impl Into<String>,
) -> Verdict {
    Verdict { type_, status: status.into(), reason, message: message.into() }
}

/// All conditions.
pub(super) fn all(
    object: &CacheMirror,
    outcome: &Outcome<'_>,
    known: &Known,
    mirrors: &[MirrorStatus],
    now: Now,
) -> Vec<Verdict> {
    let reports: Vec<(&MirrorName, &Report)> = known
        .holders
        .iter()
        .filter_map(|(name, seen)| Some((name, seen.observed.as_ref()?.current(now.instant)?.as_ref())))
        .collect();
    let assigned = assigned(object, outcome, known);
    let reachable = reachable(known, mirrors, now);
    let mut verdicts = vec![
        ready(outcome, mirrors, &assigned, &reachable),
        assigned,
        reachable,
        synced(mirrors, &reports),
        accepted(&reports),
        upstreams(&reports),
    ];
    if object.spec.serving.tls.is_some() {
        verdicts.push(certificate(&reports));
    }
    if matches!(outcome, Outcome::Suspended) {
        verdicts.push(verdict(
            SUSPENDED,
            true,
            "Suspended",
            "nothing is applied while spec.suspend is true; the pods go on as they are",
        ));
    }
    verdicts
}

fn ready(
    outcome: &Outcome<'_>,
    mirrors: &[MirrorStatus],
    assigned: &Verdict,
    reachable: &Verdict,
) -> Verdict {
    match outcome {
        Outcome::Invalid(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            return verdict(READY, false, "InvalidSpec", faults.join("; "));
        }
        Outcome::Failed(_, error) => return verdict(READY, false, "ApplyFailed", error.clone()),
        Outcome::Suspended | Outcome::Applied(_) => {}
    }
    let waiting: Vec<&MirrorStatus> =
        mirrors.iter().filter(|mirror| mirror.state != ObservedState::Serving).collect();
    let wanted = mirrors.len();
    if assigned.status == Some(false) {
        return verdict(READY, false, "NotAssigned", assigned.message.clone());
    }
    if reachable.status == Some(false) {
        return verdict(READY, false, reachable.reason, reachable.message.clone());
    }
    if waiting.is_empty() {
        return verdict(READY, true, "Serving", format!("{wanted} of {wanted} replicas serve"));
    }
    let why: Vec<String> = waiting
        .iter()
        .map(|mirror| {
            format!(
                "{}: {}",
                mirror.name,
                mirror.message.as_deref().unwrap_or("waits for the next mirror map")
            )
        })
        .collect();
    let message = format!("{} of {wanted} replicas serve; {}", wanted - waiting.len(), why.join("; "));
    verdict(READY, false, "Joining", message)
}

fn assigned(object: &CacheMirror, outcome: &Outcome<'_>, known: &Known) -> Verdict {
    if object.spec.storage.filesystem.host_path.is_none() {
        return verdict(ASSIGNED, true, "Scheduled", "the scheduler chooses the nodes, and volumes follow");
    }
    let Some(map) = &known.map else {
        return verdict(ASSIGNED, None, "NoMap", "there is no mirror map in this namespace yet");
    };
    let waiting: Vec<&MirrorName> =
        known.holders.keys().filter(|holder| holder::is_waiting(outcome, holder)).collect();
    if waiting.is_empty() {
        let places: Vec<String> = known
            .holders
            .keys()
            .filter_map(|holder| {
                Some(format!("{holder} on {}", map.mirror(holder.as_str())?.node.as_deref()?))
            })
            .collect();
        return verdict(ASSIGNED, true, "Assigned", places.join(", "));
    }
    let refused: Vec<&Note> = waiting.iter().filter_map(|holder| known.note(holder)).collect();
    if let Some(first) = refused.first() {
        let why: Vec<String> =
            refused.iter().map(|note| format!("{}: {}", note.holder, note.trouble)).collect();
        return verdict(ASSIGNED, false, first.trouble.reason(), why.join("; "));
    }
    let names: Vec<&str> = waiting.iter().map(|holder| holder.as_str()).collect();
    verdict(
        ASSIGNED,
        None,
        "Assigning",
        format!("{} will get a node with the next mirror map", names.join(", ")),
    )
}

fn reachable(known: &Known, mirrors: &[MirrorStatus], now: Now) -> Verdict {
    let mut lost_node = false;
    let silent: Vec<String> = mirrors
        .iter()
        .filter(|mirror| mirror.state == ObservedState::Unreachable)
        .map(|mirror| {
            let node = mirror.node.as_deref().unwrap_or("an unknown node");
            lost_node |=
                mirror.node.as_deref().is_some_and(|node| holder::node_trouble(node, known).is_some());
            let why = mirror.message.as_deref().unwrap_or("no reason is known");
            format!("{} on node {node} does not answer: {why}", mirror.name)
        })
        .collect();
    if !silent.is_empty() {
        let reason = if lost_node { "NodeLost" } else { "Unreachable" };
        return verdict(REACHABLE, false, reason, silent.join("; "));
    }
    let answers = |seen: &crate::mirror::dereference::Seen| {
        seen.observed.as_ref().is_some_and(|observed| observed.reachable(now.instant))
    };
    let unheard: Vec<&str> =
        known.holders.iter().filter(|(_, seen)| !answers(seen)).map(|(name, _)| name.as_str()).collect();
    if unheard.is_empty() {
        return verdict(REACHABLE, true, "Answering", "every replica answers");
    }
    verdict(REACHABLE, None, "Waiting", format!("no answer yet from {}", unheard.join(", ")))
}

fn synced(mirrors: &[MirrorStatus], reports: &[(&MirrorName, &Report)]) -> Verdict {
    let failed: Vec<String> = reports
        .iter()
        .flat_map(|(name, report)| report.policies.iter().map(move |policy| (name, policy)))
        .filter_map(|(name, policy)| Some((name, policy, policy.catalog_error.as_ref()?)))
        .map(|(name, policy, error)| {
            format!("{name} cannot resolve the closure of policy {}: {error}", policy.name)
        })
        .collect();
    if !failed.is_empty() {
        return verdict(SYNCED, false, "CatalogFailed", failed.join("; "));
    }
    if reports.len() < mirrors.len() {
        let message = format!("{} of {} replicas answer", reports.len(), mirrors.len());
        return verdict(SYNCED, None, "Waiting", message);
    }
    let policies = || reports.iter().flat_map(|(_, report)| &report.policies);
    if policies().next().is_none() {
        return verdict(
            SYNCED,
            true,
            "NothingAssigned",
            "no ReplicationPolicy has assigned anything to this mirror",
        );
    }
    let assigned: u64 = policies().map(|policy| policy.assigned).sum();
    let verified: u64 = policies().map(|policy| policy.verified).sum();
    let message = format!("{verified} of {assigned} assigned copies are there and verified");
    if policies().all(|policy| policy.synced) {
        verdict(SYNCED, true, "Synced", message)
    } else {
        verdict(SYNCED, false, "Copying", message)
    }
}

fn accepted(reports: &[(&MirrorName, &Report)]) -> Verdict {
    let refusing: Vec<String> = reports
        .iter()
        .filter(|(_, report)| report.refused_total > 0)
        .map(|(name, report)| {
            let reasons: BTreeSet<&str> =
                report.refused.iter().map(|refusal| refusal.reason.as_str()).collect();
            let reasons: Vec<&str> = reasons.into_iter().collect();
            let mut text = format!("{name} refused {} ({})", report.refused_total, reasons.join(", "));
            if let Some(Refusal { store_path, reason, message, source }) = report.refused.first() {
                let _ = write!(text, ", the newest: {store_path} from {source} ({reason}): {message}");
            }
            text
        })
        .collect();
    if !refusing.is_empty() {
        return verdict(ACCEPTED, false, "ArtifactsRefused", refusing.join("; "));
    }
    if reports.is_empty() {
        return verdict(ACCEPTED, None, "Waiting", "no replica answers");
    }
    verdict(ACCEPTED, true, "Accepted", "every artifact that was pulled passed its checks")
}

fn upstreams(reports: &[(&MirrorName, &Report)]) -> Verdict {
    let failing: Vec<String> = reports
        .iter()
        .flat_map(|(name, report)| report.upstreams.iter().map(move |upstream| (name, upstream)))
        .filter(|(_, upstream)| !upstream.ok)
        .map(|(name, upstream)| {
            let why = upstream.message.as_deref().unwrap_or("no reason is known");
            format!("{name} cannot use {}: {why}", upstream.url)
        })
        .collect();
    if !failing.is_empty() {
        return verdict(UPSTREAMS, false, "UpstreamFailed", failing.join("; "));
    }
    if reports.iter().all(|(_, report)| report.upstreams.is_empty()) {
        return verdict(UPSTREAMS, None, "Waiting", "no upstream has been asked yet");
    }
    verdict(UPSTREAMS, true, "Answering", "every upstream that was asked answered")
}

fn certificate(reports: &[(&MirrorName, &Report)]) -> Verdict {
    let certificates =
        || reports.iter().filter_map(|(name, report)| report.certificate.as_ref().map(|said| (name, said)));
    let failing: Vec<String> = certificates()
        .filter_map(|(name, CertificateReport { expires, trouble })| {
            let instead = match expires {
                Some(expires) => format!("it goes on with the one that expires {expires}"),
                None => "it speaks no HTTPS".to_owned(),
            };
            Some(format!("{name} cannot use the certificate, and {instead}: {}", trouble.as_ref()?))
        })
        .collect();
    if !failing.is_empty() {
        return verdict(CERTIFICATE, false, "NotUsable", failing.join("; "));
    }
    let expiries: BTreeSet<&str> = certificates().filter_map(|(_, said)| said.expires.as_deref()).collect();
    match expiries.first() {
        Some(first) => verdict(CERTIFICATE, true, "InUse", format!("it expires {first}")),
        None => verdict(CERTIFICATE, None, "Waiting", "no replica has said what it has"),
    }
}
