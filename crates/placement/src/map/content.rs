//! The canonical form of a map, and the hash of what it says.

use super::{MirrorMap, Policy};

impl MirrorMap {
    /// Sorts every list whose order means nothing, and drops repeated roots and selections, so that two maps that say the
    /// same have the same bytes.
    pub fn canonicalize(&mut self) {
        self.mirrors.sort_by(|one, other| one.name.cmp(&other.name));
        self.policies.sort_by(|one, other| one.name.cmp(&other.name));
        for policy in &mut self.policies {
            let Policy { name: _, mirrors, target: _, spread, store_paths, channels, retention: _ } = policy;
            mirrors.sort();
            mirrors.dedup();
            spread.sort();
            spread.dedup();
            store_paths.sort();
            store_paths.dedup();
            channels.sort();
            channels.dedup();
        }
    }

    /// Hex BLAKE3 of everything in the canonical form except the epoch and the table hash, which follow from the rest.
    /// The operator publishes a new epoch when, and only when, this differs from the published map's.
    #[must_use]
    pub fn content_hash(&self) -> String {
        let mut content = self.clone();
        content.canonicalize();
        content.epoch = 0;
        content.table_hash.clear();
        let mut hasher = blake3::Hasher::new_derive_key("granary mirror map content 1");
        hasher.update(&content.to_json());
        hasher.finalize().to_hex().to_string()
    }

    /// The map as JSON, with its lists in the order they have. Equal maps give equal bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Every key is a string and every value has a JSON form, so this cannot fail; an empty text is read by nobody.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use crate::map::tests::sample;

    #[test]
    fn order_and_epoch_do_not_change_the_content() {
        let map = sample();
        let mut shuffled = map.clone();
        shuffled.mirrors.reverse();
        shuffled.policies.reverse();
        for policy in &mut shuffled.policies {
            policy.mirrors.reverse();
            policy.spread.reverse();
            policy.store_paths.reverse();
            policy.store_paths.extend_from_within(..1);
        }
        shuffled.epoch = 99;
        shuffled.table_hash = "other".to_owned();
        assert_ne!(map, shuffled);
        assert_eq!(map.content_hash(), shuffled.content_hash());
        shuffled.canonicalize();
        shuffled.epoch = map.epoch;
        shuffled.table_hash.clone_from(&map.table_hash);
        assert_eq!(map.to_json(), shuffled.to_json());
    }

    #[test]
    fn every_other_field_changes_the_content() {
        let map = sample();
        let changes: [fn(&mut crate::MirrorMap); 19] = [
            |map| map.namespace.push('x'),
            |map| drop(map.mirrors.pop()),
            |map| map.mirrors[0].disk = Some("d".into()),
            |map| map.mirrors[0].node = Some("n".into()),
            |map| map.mirrors[0].region = Some("r".into()),
            |map| map.mirrors[0].zone = Some("z".into()),
            |map| map.mirrors[0].organization = Some("o".into()),
            |map| map.mirrors[0].weight += 1,
            |map| map.mirrors[0].url = None,
            |map| map.mirrors[0].internal_url.push('x'),
            |map| map.mirrors[0].state = crate::MirrorState::Unreachable,
            |map| drop(map.policies.pop()),
            |map| drop(map.policies[0].mirrors.pop()),
            |map| map.policies[0].target += 1,
            |map| map.policies[0].spread[0].min += 1,
            |map| drop(map.policies[0].store_paths.pop()),
            |map| drop(map.policies[0].channels.pop()),
            |map| map.policies[0].channels[0].keep += 1,
            |map| map.policies[0].retention = None,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut edited = map.clone();
            change(&mut edited);
            assert_ne!(map.content_hash(), edited.content_hash(), "change {number}");
        }
    }
}
