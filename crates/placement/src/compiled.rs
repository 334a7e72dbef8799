//! A map together with the placement that follows from it: what mirrors and operator act on.

use crate::{
    map::{MapError, Mirror, MirrorMap, Policy},
    name::MirrorName,
    shortfall::{self, Shortfall},
    table::{self, Table},
};

/// A checked map in canonical form, with the table of each policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledMap {
    map: MirrorMap,
    tables: Vec<Table>,
}

impl CompiledMap {
    /// The writer's way in: brings a map into canonical form, checks it, computes its placement, and states its table hash.
    pub fn build(mut map: MirrorMap) -> Result<Self, MapError> {
        map.canonicalize();
        map.check()?;
        let tables = Table::compile_all(&map);
        map.table_hash = table::hash_all(&map.policies, &tables);
        Ok(Self { map, tables })
    }

    /// The reader's way in: the same, and the stated table hash must be the one computed here.
    pub fn accept(map: MirrorMap) -> Result<Self, MapError> {
        let stated = map.table_hash.clone();
        let compiled = Self::build(map)?;
        if compiled.map.table_hash == stated {
            Ok(compiled)
        } else {
            Err(MapError::TableHash { stated, computed: compiled.map.table_hash })
        }
    }

    /// Reads a map from JSON and accepts it.
    pub fn read(json: &[u8]) -> Result<Self, MapError> {
        Self::accept(MirrorMap::from_json(json)?)
    }

    /// The map.
    #[must_use]
    pub fn map(&self) -> &MirrorMap {
        &self.map
    }

    /// The policies with their tables, sorted by name.
    #[must_use]
    pub fn policies(&self) -> impl ExactSizeIterator<Item = (&Policy, &Table)> {
        self.map.policies.iter().zip(&self.tables)
    }

    /// The policies that select this mirror, with their tables, sorted by name.
    pub fn policies_of(&self, mirror: &MirrorName) -> impl Iterator<Item = (&Policy, &Table)> {
        self.policies().filter(|(_, table)| table.place_of(mirror.as_str()).is_some())
    }

    /// One policy's table.
    #[must_use]
    pub fn table(&self, policy: &str) -> Option<&Table> {
        self.policies().find(|(candidate, _)| candidate.name == policy).map(|(_, table)| table)
    }

    /// Why one policy cannot hold in full; empty when it can, and for a policy that the map does not have.
    #[must_use]
    pub fn shortfalls(&self, policy: &str) -> Vec<Shortfall> {
        let found = self.policies().find(|(candidate, _)| candidate.name == policy);
        found.map(|(policy, table)| shortfall::of_table(&self.map, policy, table)).unwrap_or_default()
    }

    /// The map's mirrors that clients are sent to: serving, with a public URL.
    pub(crate) fn published(&self) -> impl Iterator<Item = (&Mirror, &str)> {
        let serving = |mirror: &&Mirror| mirror.state == crate::map::MirrorState::Serving;
        self.map.mirrors.iter().filter(serving).filter_map(|mirror| Some((mirror, mirror.url.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::tests::sample;

    #[test]
    fn a_map_with_another_placement_is_refused() {
        let built = CompiledMap::build(sample()).unwrap();
        let mut map = built.map().clone();
        assert_eq!(CompiledMap::accept(map.clone()).unwrap(), built);
        map.mirrors[1].zone = map.mirrors[0].zone.clone();
        map.mirrors[0].weight *= 3;
        map.policies[0].target = 1;
        map.policies[0].spread.clear();
        assert!(matches!(CompiledMap::accept(map), Err(MapError::TableHash { .. })));
        assert!(matches!(CompiledMap::read(&sample().to_json()), Err(MapError::TableHash { .. })));
    }

    #[test]
    fn a_table_belongs_to_its_policy() {
        let mut map = sample();
        map.policies[0].target = 1;
        map.policies[0].spread.clear();
        map.policies[1].mirrors.truncate(1);
        map.policies[1].spread.clear();
        map.policies.reverse();
        let compiled = CompiledMap::build(map).unwrap();
        assert_eq!(compiled.table("one").map(|table| (table.copies(), table.mirrors().len())), Some((1, 2)));
        assert_eq!(compiled.table("two").map(|table| (table.copies(), table.mirrors().len())), Some((1, 1)));
        assert_eq!(compiled.table("three"), None);
        let names = |mirror: &str| -> Vec<String> {
            compiled.policies_of(&mirror.parse().unwrap()).map(|(policy, _)| policy.name.clone()).collect()
        };
        assert_eq!(names("east-0"), ["one", "two"]);
        assert_eq!(names("north-0"), ["one"]);
    }
}
