//! Which revisions of a channel are kept. Decisions over plain data.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// By which its list is kept, and known.
    pub id: String,
    /// Where the list was found, after all redirects: it mostly names the release.
    pub url: String,
    /// How many store paths it lists.
    pub paths: u64,
    /// When it was first seen.
    pub seen: Timestamp,
    /// When all of it was here that can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<Timestamp>,
    /// Store paths that no upstream gives as they should be.
    #[serde(default)]
    pub refused: u64,
}

/// The revisions of a channel that are kept, the newest first; `.granary/channels/<name>/state.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Newest first.
    pub revisions: Vec<Revision>,
    /// The entity tag of the newest list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl State {
    /// A list was found. A revision that is there already, such as one that the channel went back to, becomes the newest.
    pub fn found(&mut self, revision: Revision, keep: usize) {
        let known = self.revisions.iter().position(|known| known.id == revision.id);
        let revision = known.map_or(revision, |place| self.revisions.remove(place));
        self.revisions.insert(0, revision);
        self.tidy(keep);
    }

    /// Everything of a revision is here that can be had.
    pub fn completed(&mut self, id: &str, refused: u64, now: Timestamp, keep: usize) {
        if let Some(revision) = self.revisions.iter_mut().find(|revision| revision.id == id) {
            revision.complete.get_or_insert(now);
            revision.refused = refused;
        }
        self.tidy(keep);
    }

    /// The revisions that somebody wants who keeps so many complete ones, the newest first.
    #[must_use]
    pub fn wanted_by(&self, keep: usize) -> Vec<Revision> {
        let mut state = self.clone();
        state.tidy(keep);
        state.revisions
    }

    /// Keeps the newest, and so many complete ones: what was complete stays wanted until enough that is newer is complete.
    fn tidy(&mut self, keep: usize) {
        let mut complete = 0;
        let mut newest = true;
        self.revisions.retain(|revision| {
            let first = std::mem::take(&mut newest);
            if revision.complete.is_some() {
                complete += 1;
                return complete <= keep.max(1);
            }
            first
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn found(state: &mut State, id: &str) {
        let revision = Revision {
            id: id.into(),
            url: format!("https://x/{id}"),
            paths: 1,
            seen: time(0),
            complete: None,
            refused: 0,
        };
        state.found(revision, 2);
    }

    fn ids(state: &State) -> String {
        state
            .revisions
            .iter()
            .map(|it| if it.complete.is_some() { it.id.to_uppercase() } else { it.id.clone() })
            .collect()
    }

    #[test]
    fn the_complete_ones_stay_until_newer_ones_are_complete() {
        let mut state = State::default();
        for id in ["a", "b"] {
            found(&mut state, id);
            state.completed(id, 0, time(1), 2);
        }
        assert_eq!(ids(&state), "BA");
        found(&mut state, "c");
        assert_eq!(ids(&state), "cBA", "both stay while the third is incomplete");
        found(&mut state, "d");
        assert_eq!(ids(&state), "dBA", "one that was never complete is not waited for");
        state.completed("d", 3, time(2), 2);
        assert_eq!(ids(&state), "DB");
        assert_eq!(state.revisions[0].refused, 3);
        assert_eq!(state.wanted_by(1).iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["d"]);
        assert_eq!(state.wanted_by(5).len(), 2);
        state.completed("d", 0, time(9), 2);
        assert_eq!(state.revisions[0].complete, Some(time(2)), "it was complete before");
    }

    #[test]
    fn a_channel_may_go_back() {
        let mut state = State::default();
        for id in ["a", "b"] {
            found(&mut state, id);
            state.completed(id, 0, time(1), 2);
        }
        found(&mut state, "a");
        assert_eq!(ids(&state), "AB");
    }
}
