//! What is remembered from pass to pass.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_nix::{HashPart, NarInfo, Trust};
use granary_placement::report::{CatalogReport, Refusal};

use super::graph::{Graph, Id};
use super::resolve::Need;
use crate::compact::HashParts;
use crate::refusals::Refusals;
use crate::tree::{Signed, Tree};
use crate::wants::Wants;

/// The first pause after a repeated refusal.
const PAUSE: Duration = Duration::from_secs(30);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// How much of the tree the policies of a job speak for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of it: what they do not want leaves the catalog.
    #[default]
    All,
    /// All that is refused, but others have things in the catalog.
    Shared,
    /// A part: nothing follows about anything else.
    Part,
}

/// What is remembered from pass to pass. All of it can be lost: a restarted mirror reads the tree and asks the sources.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By what the narinfos were judged that are known.
    trust: Trust,
    /// What verified narinfos refer to.
    pub(super) graph: Graph,
    /// Verified narinfos that the catalog does not have, in whatever form they came.
    unwritten: HashMap<HashPart, Arc<NarInfo>>,
    /// How much of the tree the policies speak for.
    pub(super) scope: Scope,
    /// Who is told what the policies want.
    pub(super) wants: Option<Arc<Wants>>,
    /// What is refused beside what the policies want: its records stay.
    pub(super) refusals: Option<Arc<Refusals>>,
    /// What was refused and has not been published since.
    refused: HashMap<HashPart, Standing>,
    /// What each policy's report said last.
    pub(super) policies: HashMap<String, LastReport>,
}

/// The parts of a policy's report that outlive a pass which could not find them out again.
#[derive(Clone, Debug, Default)]
pub(super) struct LastReport {
    pub(super) catalog: Option<CatalogReport>,
    pub(super) ended: Option<String>,
}

/// A verified narinfo is known.
#[derive(Debug)]
pub(super) enum Known {
    /// The catalog has it, or it is not needed.
    Elsewhere,
    /// Nothing else has it.
    Only(Arc<NarInfo>),
}

/// A refusal that stands.
#[derive(Debug)]
struct Standing {
    refusal: Refusal,
    /// Whether a NAR file was had, and was bad.
    bytes: bool,
    /// How often that was so.
    times: u32,
    not_before: Option<Instant>,
}

impl Memory {
    /// Forgets what was judged by other rules than these.
    pub(super) fn trust(&mut self, trust: &Trust) {
        if self.trust != *trust {
            self.forget_narinfos();
            self.trust.clone_from(trust);
        }
    }

    /// Forgets every narinfo.
    pub(super) fn forget_narinfos(&mut self) {
        (self.graph, self.unwritten) = Default::default();
    }

    /// A verified narinfo of the path. `elsewhere`: whoever needs more of it than what it refers to finds it in the catalog.
    pub(super) fn learn(&mut self, id: Id, info: &Arc<NarInfo>, elsewhere: bool) {
        self.graph.learn(id, info);
        let hash = info.store_path.hash_part();
        if elsewhere {
            self.unwritten.remove(&hash);
        } else {
            self.unwritten.insert(hash, Arc::clone(info));
        }
    }

    /// Whether a narinfo of the path is known and can be had. One that was replaced in the catalog is not.
    pub(super) fn known(&self, id: Id, tree: &Tree, need: Need) -> Option<Known> {
        let signed = self.graph.signed(id)?;
        if need == Need::Names {
            return Some(Known::Elsewhere);
        }
        let hash = self.graph.hash(self.graph.node(id));
        if let Some(info) = self.unwritten.get(&hash).filter(|info| Signed::of(info) == signed) {
            return Some(Known::Only(Arc::clone(info)));
        }
        (tree.catalog_signed(&hash) == Some(signed)).then_some(Known::Elsewhere)
    }

    /// What is known of the NAR file's size, if the source has said it.
    pub(super) fn file_size(&self, hash: &HashPart, tree: &Tree) -> Option<u64> {
        match self.unwritten.get(hash) {
            Some(info) => info.file_size,
            None => tree.catalog_entry(hash)?.expected.file_size,
        }
    }

    /// The catalog has been written: what is in it is needed here no longer.
    pub(super) fn written(&mut self, tree: &Tree) {
        self.unwritten.retain(|hash, info| tree.catalog_signed(hash) != Some(Signed::of(info)));
        self.unwritten.shrink_to_fit();
    }

    /// Records a refusal; whether it stood already. `bytes` says that a NAR file was had and was bad: only such an artifact
    /// is not tried again with every pass.
    pub(super) fn refuse(&mut self, hash: HashPart, refusal: &Refusal, bytes: bool, now: Instant) -> bool {
        let before = self.refused.remove(&hash);
        let again = before.is_some();
        let times = before.map_or(0, |standing| standing.times) + u32::from(bytes);
        let pause = times.checked_sub(2).filter(|_| bytes).map(pause);
        let not_before = pause.and_then(|pause| now.checked_add(pause));
        self.refused.insert(hash, Standing { refusal: refusal.clone(), bytes, times, not_before });
        again
    }

    /// The artifact is good now.
    pub(super) fn accept(&mut self, hash: &HashPart) {
        self.refused.remove(hash);
    }

    /// The refusal that still holds without trying again.
    pub(super) fn standing(&self, hash: &HashPart, now: Instant) -> Option<&Refusal> {
        let standing = self.refused.get(hash)?;
        standing.not_before.is_some_and(|time| now < time).then_some(&standing.refusal)
    }

    /// Whether the artifact's bytes were refused the last time, so that the sources must be asked for its narinfo anew.
    pub(super) fn is_doubtful(&self, hash: &HashPart) -> bool {
        self.refused.get(hash).is_some_and(|standing| standing.bytes)
    }

    /// Accepts everything refused for which `is_settled` holds.
    pub(super) fn accept_where(&mut self, is_settled: impl Fn(&Graph, &HashPart) -> bool) {
        let graph = &self.graph;
        self.refused.retain(|hash, _| !is_settled(graph, hash));
    }

    /// Forgets everything about artifacts that nobody wants.
    pub(super) fn keep(&mut self, wanted: &HashParts, policies: &HashSet<&str>) {
        self.graph.keep(|hash| wanted.contains(hash));
        self.unwritten.retain(|hash, _| wanted.contains(hash));
        self.refused.retain(|hash, _| wanted.contains(hash));
        self.policies.retain(|name, _| policies.contains(name.as_str()));
    }
}

fn pause(doublings: u32) -> Duration {
    PAUSE.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use granary_placement::report::RefusalReason;

    use super::*;

    fn hash() -> HashPart {
        "00bgd045z0d4icpbc2yyz4gx48ak44la".parse().unwrap()
    }

    fn refusal(reason: RefusalReason) -> Refusal {
        Refusal { store_path: "p".into(), reason, message: "m".into(), source: "s".into() }
    }

    #[test]
    fn a_refused_artifact_is_tried_at_once_and_then_ever_more_rarely() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let bad = refusal(RefusalReason::NarHash);
        assert!(!memory.refuse(hash(), &bad, true, now));
        assert_eq!(memory.standing(&hash(), now), None, "the next pass tries again");
        assert!(memory.refuse(hash(), &bad, true, now));
        assert_eq!(memory.standing(&hash(), now + Duration::from_secs(29)), Some(&bad));
        assert_eq!(memory.standing(&hash(), now + Duration::from_secs(30)), None);
        for _ in 0..40 {
            memory.refuse(hash(), &bad, true, now);
        }
        assert!(memory.standing(&hash(), now + LONGEST_PAUSE).is_none());
        assert!(memory.is_doubtful(&hash()));
        memory.accept_where(|_, _| false);
        assert!(memory.is_doubtful(&hash()));
        assert!(memory.refuse(hash(), &refusal(RefusalReason::NotFound), false, now));
        assert!(memory.standing(&hash(), now).is_none(), "to ask for a narinfo costs little");
        memory.accept(&hash());
        assert!(!memory.is_doubtful(&hash()) && memory.standing(&hash(), now).is_none());
    }

    #[test]
    fn a_narinfo_is_kept_as_long_as_the_catalog_does_not_have_it() {
        let temp = tempfile::tempdir().unwrap();
        let tree = Tree::open(temp.path(), &granary_nix::CacheInfo::default()).unwrap();
        let info = |size: u32| -> Arc<NarInfo> {
            let text = format!(
                "StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: x\n\
                 NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\nNarSize: {size}\n"
            );
            Arc::new(text.parse().unwrap())
        };
        let (mut memory, one, other) = (Memory::default(), info(1), info(2));
        let id = memory.graph.id(&one.store_path);
        let known = |memory: &Memory, need| match memory.known(id, &tree, need) {
            None => "no",
            Some(Known::Elsewhere) => "elsewhere",
            Some(Known::Only(_)) => "only",
        };
        let needs = |memory: &Memory| [Need::Narinfos, Need::Names].map(|need| known(memory, need));
        assert_eq!(needs(&memory), ["no"; 2]);
        memory.learn(id, &one, false);
        memory.written(&tree);
        assert_eq!(needs(&memory), ["only", "elsewhere"], "it is not written");
        tree.put_in_catalog([&*one]).unwrap();
        memory.written(&tree);
        assert_eq!((needs(&memory), memory.unwritten.len()), (["elsewhere"; 2], 0));
        // Somebody else has written another one, which was not judged here.
        tree.put_in_catalog([&*other]).unwrap();
        assert_eq!(needs(&memory), ["no", "elsewhere"]);
        memory.learn(id, &other, true);
        assert_eq!((needs(&memory), memory.unwritten.len()), (["elsewhere"; 2], 0));
        memory.learn(id, &one, false);
        assert_eq!(memory.file_size(&hash(), &tree), None);
        assert_eq!(needs(&memory), ["only", "elsewhere"]);
    }

    #[test]
    fn other_rules_make_everything_unknown() {
        let mut memory = Memory::default();
        let info = "StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: x\n\
                    NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\nNarSize: 9\n";
        let info: Arc<NarInfo> = Arc::new(info.parse().unwrap());
        let id = memory.graph.id(&info.store_path);
        memory.learn(id, &info, false);
        memory.trust(&Trust::default());
        assert_eq!((memory.graph.len(), memory.unwritten.len()), (1, 1));
        let key = granary_nix::SecretKey::from_seed("k", &[1; 32]).unwrap().public_key();
        let keys: granary_nix::PublicKeys = [key].into_iter().collect();
        memory.trust(&Trust::from(&keys));
        assert_eq!((memory.graph.len(), memory.unwritten.len()), (0, 0));
    }
}
