//! The compiled placement of one policy: for each partition the mirrors that hold it.

use std::collections::BTreeMap;

use crate::{
    draw::{BLOCK, BLOCKS, Draws, Runner},
    map::{MirrorMap, Policy},
    name::MirrorName,
    partition::{PARTITIONS, Partition},
    rank::{Field, Scratch, Straws},
};

/// Which mirrors hold each partition under one policy. Looking one up is reading one short row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    mirrors: Vec<MirrorName>,
    width: usize,
    rows: Vec<u16>,
}

impl Table {
    /// Computes a policy's placement. It depends on the selected mirrors' names, zones, regions, organizations and weights
    /// and on the policy's target and spread: not on the order in which they are listed, nor on states, URLs or epochs. What
    /// cannot be had is left out (see [`crate::shortfall`]): with fewer mirrors than the target every one holds everything.
    #[must_use]
    pub fn compile(map: &MirrorMap, policy: &Policy) -> Self {
        let nothing = Self { mirrors: Vec::new(), width: 0, rows: Vec::new() };
        compile(&[Field::new(map, policy)]).pop().unwrap_or(nothing)
    }

    /// Computes the placement of all policies, in the map's order. Draws are made once for all.
    #[must_use]
    pub fn compile_all(map: &MirrorMap) -> Vec<Self> {
        let fields: Vec<Field<'_>> = map.policies.iter().map(|policy| Field::new(map, policy)).collect();
        compile(&fields)
    }

    /// The policy's mirrors, sorted by name; a holder is a place in this list.
    #[must_use]
    pub fn mirrors(&self) -> &[MirrorName] {
        &self.mirrors
    }

    /// How many copies each artifact gets: the target, or all the mirrors if they are fewer.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.width
    }

    /// The holders of a partition, best first, as places in [`Table::mirrors`].
    #[must_use]
    pub fn holders(&self, partition: Partition) -> &[u16] {
        let start = partition.index() * self.width;
        &self.rows[start..start + self.width]
    }

    /// The names of the holders of a partition, best first.
    #[must_use]
    pub fn holder_names(&self, partition: Partition) -> impl ExactSizeIterator<Item = &MirrorName> {
        self.holders(partition).iter().map(|holder| &self.mirrors[usize::from(*holder)])
    }

    /// The place of a mirror in [`Table::mirrors`]; `None` when the policy does not select it.
    #[must_use]
    pub fn place_of(&self, mirror: &str) -> Option<u16> {
        let place = self.mirrors.binary_search_by(|name| name.as_str().cmp(mirror)).ok()?;
        u16::try_from(place).ok()
    }

    /// Whether this mirror is to hold the partition's artifacts.
    #[must_use]
    pub fn holds(&self, mirror: &str, partition: Partition) -> bool {
        self.place_of(mirror).is_some_and(|place| self.holders(partition).contains(&place))
    }

    /// BLAKE3 of the mirrors' names and of every row: equal exactly when the placements are.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let Self { mirrors, width, rows } = self;
        let mut hasher = blake3::Hasher::new_derive_key("granary placement 1 table");
        // No name contains a line feed, and none is empty.
        let names: String = mirrors.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
        hasher.update(names.as_bytes()).update(b"\n").update(&(*width as u64).to_le_bytes());
        let bytes: Vec<u8> = rows.iter().flat_map(|holder| holder.to_le_bytes()).collect();
        *hasher.update(&bytes).finalize().as_bytes()
    }
}

/// The hash that a map states: hex BLAKE3 of each policy's name and table, in the map's order.
pub(crate) fn hash_all(policies: &[Policy], tables: &[Table]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("granary placement 1 tables");
    for (policy, table) in policies.iter().zip(tables) {
        hasher.update(&(policy.name.len() as u64).to_le_bytes()).update(policy.name.as_bytes());
        hasher.update(&table.hash());
    }
    hasher.finalize().to_hex().to_string()
}

/// Ranks every partition for every policy, a block of partitions after the other, so that the straws stay in the cache.
fn compile(fields: &[Field<'_>]) -> Vec<Table> {
    // Every runner once, however many policies it runs for.
    let mut runners: BTreeMap<Runner<'_>, usize> = BTreeMap::new();
    for field in fields {
        runners.extend(field.runners().map(|runner| (runner, 0)));
    }
    for (number, place) in runners.values_mut().enumerate() {
        *place = number;
    }
    let place = |runner| runners.get(&runner).copied().unwrap_or_default();
    let places: Vec<Vec<usize>> = fields.iter().map(|field| field.runners().map(place).collect()).collect();
    let empty = |field: &Field<'_>| Table {
        mirrors: field.mirrors.iter().map(|mirror| mirror.name.clone()).collect(),
        width: field.width,
        rows: Vec::with_capacity(field.width * PARTITIONS),
    };
    let mut tables: Vec<Table> = fields.iter().map(empty).collect();
    let numbered: Vec<Runner<'_>> = runners.keys().copied().collect();
    let (mut draws, mut straws, mut scratch) = (Draws::new(&numbered), Vec::new(), Scratch::default());
    for _ in 0..BLOCKS {
        draws.next_block(&mut straws);
        for ((field, places), table) in fields.iter().zip(&places).zip(tables.iter_mut()) {
            for partition in 0..BLOCK {
                let all = &straws[partition * numbered.len()..][..numbered.len()];
                field.rank(&Straws { all, places }, &mut scratch, &mut table.rows);
            }
        }
    }
    tables
}
