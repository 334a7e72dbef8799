//! Which revisions of a channel are kept. Decisions over plain data.

use std::time::Duration;

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
    /// When the list was last had; before the first, when it was first asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked: Option<Timestamp>,
}

impl State {
    /// For how long this mirror has been behind the channel, in seconds. `well`: the list was had when it was last asked for.
    /// Who asks `every` so often and has not for two times that is late as well, whatever the reason.
    #[must_use]
    pub fn lag(&self, well: bool, every: Duration, now: Timestamp) -> u64 {
        let since = |time: Timestamp| u64::try_from(now.as_second() - time.as_second()).unwrap_or_default();
        let coming = self.revisions.first().filter(|newest| newest.complete.is_none());
        let unseen = self.looked.map_or(0, since);
        let late = !well || unseen > every.as_secs().saturating_mul(2);
        coming.map_or(0, |newest| since(newest.seen)).max(if late { unseen } else { 0 })
    }

    /// The list was asked for, and `had` or not. Since when it was not is known over a restart, too. A time that has not come
    /// yet is of a clock that was set back: from `now` on it is late.
    pub fn looked(&mut self, had: bool, now: Timestamp) {
        if had || self.looked.is_none_or(|looked| looked > now) {
            self.looked = Some(now);
        }
        for revision in &mut self.revisions {
            revision.seen = revision.seen.min(now);
        }
    }

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
    fn the_lag_grows_from_the_last_list_that_was_had() {
        let (every, mut state) = (Duration::from_mins(10), State::default());
        assert_eq!(state.lag(true, every, time(0)), 0, "nobody has asked");
        state.looked = Some(time(100));
        assert_eq!(state.lag(false, every, time(100 + 7 * 86_400)), 7 * 86_400, "it never answered");
        found(&mut state, "a");
        assert_eq!(state.lag(true, every, time(250)), 250, "it comes");
        state.completed("a", 0, time(260), 2);
        assert_eq!(state.lag(true, every, time(1300)), 0, "the next look is not due for long");
        assert_eq!(state.lag(true, every, time(1301)), 1201, "nobody looks");
        assert_eq!(state.lag(false, every, time(400)), 300, "what is complete here may not be the newest");
        found(&mut state, "b");
        assert_eq!(state.lag(false, every, time(400)), 400, "the longer of the two");
        assert_eq!(state.lag(false, every, time(0)), 0, "the clock was set back");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_channel_well_for_ever() {
        let (every, year) = (Duration::from_mins(10), 365 * 86_400);
        let mut state = State::default();
        state.looked(true, time(year));
        for at in [100, 200] {
            state.looked(false, time(at));
        }
        assert_eq!(state.lag(false, every, time(400)), 300, "from the first look by the right clock");
        found(&mut state, "a");
        state.revisions[0].seen = time(year);
        state.looked(true, time(300));
        assert_eq!(state.lag(true, every, time(400)), 100, "it comes");
        state.completed("a", 0, time(400), 2);
        state.looked(true, time(500));
        state.looked(false, time(600));
        assert_eq!(state.lag(false, every, time(700)), 200, "from the last list that was had");
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
