//! The lists of a mirror's Mirrors entries.

use std::collections::{BTreeMap, HashMap};

use crate::{
    compiled::CompiledMap,
    name::MirrorName,
    partition::{PARTITIONS, Partition},
    table::Table,
};

/// For each partition the URLs of the other mirrors that hold its artifacts, best first, as one mirror publishes them.
/// Equal lists are kept once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    urls: Vec<String>,
    lists: Vec<Vec<u16>>,
    list_of: Vec<u16>,
}

impl CompiledMap {
    /// The Mirrors entries that this mirror publishes. An artifact may be in any of the policies that select the mirror, so a
    /// partition's list has only mirrors that hold it under all of them, in the order of the first. The mirror itself and
    /// mirrors that are not serving or have no public URL are left out, and so nothing that is not a holder is ever named.
    #[must_use]
    pub fn entries_for(&self, mirror: &MirrorName) -> Entries {
        let mut published = BTreeMap::new();
        let mut urls = Vec::new();
        for (number, (other, url)) in
            (0_u16..).zip(self.published().filter(|(other, _)| other.name != *mirror))
        {
            published.insert(&other.name, number);
            urls.push(url.to_owned());
        }
        // Each table's places as numbers of URLs.
        let tables: Vec<(&Table, Vec<Option<u16>>)> = self
            .policies_of(mirror)
            .map(|(_, table)| {
                (table, table.mirrors().iter().map(|name| published.get(name).copied()).collect())
            })
            .collect();
        let holders = |(table, numbers): &(&Table, Vec<Option<u16>>), partition| {
            let holders = table.holders(partition).iter();
            holders.filter_map(|holder| numbers[usize::from(*holder)]).collect::<Vec<u16>>()
        };
        let mut known: HashMap<Vec<u16>, u16> = HashMap::new();
        let mut lists: Vec<Vec<u16>> = Vec::new();
        let mut list_of = Vec::with_capacity(PARTITIONS);
        for partition in Partition::all() {
            let mut list = tables.first().map(|table| holders(table, partition)).unwrap_or_default();
            for table in tables.iter().skip(1) {
                let others = holders(table, partition);
                list.retain(|holder| others.contains(holder));
            }
            // There are as many partitions as half the numbers, so that the number of lists always fits.
            let next = u16::try_from(lists.len()).unwrap_or(u16::MAX);
            list_of.push(*known.entry(list).or_insert_with_key(|list| {
                lists.push(list.clone());
                next
            }));
        }
        Entries { urls, lists, list_of }
    }
}

impl Entries {
    /// The URLs for a partition, best first. Empty: the narinfo gets no Mirrors line.
    #[must_use]
    pub fn urls(&self, partition: Partition) -> impl ExactSizeIterator<Item = &str> {
        self.list(self.list_of[partition.index()])
    }

    /// The number of the partition's list, for [`Entries::list`]. Partitions with equal lists have one number.
    #[must_use]
    pub fn list_number(&self, partition: Partition) -> u16 {
        self.list_of[partition.index()]
    }

    /// How many different lists there are, the empty one included: 1 to 32,768.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.lists.len()
    }

    /// The URLs of one list, best first; none for a number that no list has.
    pub fn list(&self, number: u16) -> impl ExactSizeIterator<Item = &str> {
        let list = self.lists.get(usize::from(number)).map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|url| self.urls[usize::from(*url)].as_str())
    }
}
