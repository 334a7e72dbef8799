//! The order of a policy's mirrors for one partition.
//!
//! Zones race with the sum of their selected mirrors' weights, and the mirrors of a zone race with their own; the smaller
//! `straw / weight` is ahead, and of equal ones the first by name. The *base order* is every zone's first mirror in order of zones, then every
//! zone's second, and so on, so that any beginning of it covers as many zones as it can.
//!
//! Spread rules are skips along the base order: while a rule has fewer domains than its minimum, the next mirror is the
//! first one that adds a domain to the most unmet rules. Nothing looks ahead to the target, so the ranking for fewer copies is
//! a beginning of the one for more. In return rules over domains that cross (zones over organizations) can need more mirrors
//! than their minimum: all rules are met for certain when the domains nest, or when the target is at least the sum of
//! the minimums; [`crate::shortfall`] tells where one is not.

use std::{cmp::Ordering, collections::BTreeMap};

use crate::{
    draw::Runner,
    map::{MAX_TARGET, Mirror, MirrorMap, Policy},
    name::MirrorName,
};

/// A policy's mirrors, grouped and indexed for ranking.
pub(crate) struct Field<'a> {
    /// The selected mirrors that the map has, sorted by name. Everything else counts by place in this list.
    pub(crate) mirrors: Vec<&'a Mirror>,
    zones: Vec<Zone<'a>>,
    rules: Vec<Rule>,
    /// How many mirrors are ranked.
    pub(crate) width: usize,
}

struct Zone<'a> {
    runner: Runner<'a>,
    weight: u64,
    members: Vec<u16>,
}

struct Rule {
    /// How many domains are wanted; never more than there are, so that an unmet rule can always be served.
    min: usize,
    /// The domain of each mirror.
    domains: Vec<Option<u16>>,
}

/// The straws of one partition.
pub(crate) struct Straws<'a> {
    /// The straws of all runners of all fields.
    pub(crate) all: &'a [u64],
    /// Where in these each of [`Field::runners`] has its own.
    pub(crate) places: &'a [usize],
}

impl<'a> Field<'a> {
    /// Prepares a policy. A selected mirror that the map lacks holds nothing.
    pub(crate) fn new(map: &'a MirrorMap, policy: &Policy) -> Self {
        let known: BTreeMap<&MirrorName, &Mirror> =
            map.mirrors.iter().map(|mirror| (&mirror.name, mirror)).collect();
        let selected: BTreeMap<&MirrorName, &Mirror> = policy
            .mirrors
            .iter()
            .filter_map(|name| known.get_key_value(name))
            .map(|(name, mirror)| (*name, *mirror))
            .collect();
        // More than 65,536 mirrors cannot be numbered; a map that was read has at most a thousand.
        let mirrors: Vec<&Mirror> = selected.into_values().take(usize::from(u16::MAX)).collect();
        let mut zones: BTreeMap<Runner<'_>, Zone<'_>> = BTreeMap::new();
        for (number, mirror) in (0_u16..).zip(&mirrors) {
            let runner = match &mirror.zone {
                Some(zone) => Runner::Zone(zone),
                None => Runner::Zoneless(mirror.name.as_str()),
            };
            let zone = zones.entry(runner).or_insert(Zone { runner, weight: 0, members: Vec::new() });
            zone.weight += u64::from(mirror.weight.max(1));
            zone.members.push(number);
        }
        let rules = policy.spread.iter().map(|rule| {
            let mut numbers: BTreeMap<&str, u16> = BTreeMap::new();
            let domains = mirrors.iter().map(|mirror| {
                let domain = mirror.domain(rule.topology_key)?;
                let next = u16::try_from(numbers.len()).ok()?;
                Some(*numbers.entry(domain).or_insert(next))
            });
            let domains = domains.collect();
            Rule { min: usize::from(rule.min).min(numbers.len()), domains }
        });
        let rules = rules.collect();
        let width = usize::from(policy.target.min(MAX_TARGET)).min(mirrors.len());
        Self { mirrors, zones: zones.into_values().collect(), rules, width }
    }

    /// Who draws: the mirrors, then the zones.
    pub(crate) fn runners(&self) -> impl Iterator<Item = Runner<'a>> {
        let mirrors = self.mirrors.iter().map(|mirror| Runner::Mirror(mirror.name.as_str()));
        mirrors.chain(self.zones.iter().map(|zone| zone.runner))
    }

    /// The first [`Field::width`] mirrors for the partition with these straws, appended to `ranking`.
    pub(crate) fn rank(&self, straws: &Straws<'_>, scratch: &mut Scratch, ranking: &mut Vec<u16>) {
        let start = ranking.len();
        // Mostly the beginning of the base order decides; the whole of it costs much more.
        let mut length = self.width;
        loop {
            self.base_order(straws, length, scratch);
            if self.choose(&scratch.order, ranking, start) {
                return;
            }
            ranking.truncate(start);
            length = (length * 4).min(self.mirrors.len());
        }
    }

    /// The first `length` of the base order.
    fn base_order(&self, straws: &Straws<'_>, length: usize, scratch: &mut Scratch) {
        let Scratch { zones, members, order } = scratch;
        let zone_order = |one: &usize, other: &usize| {
            let straw = |zone: usize| straws.all[straws.places[self.mirrors.len() + zone]];
            compare(straw(*one), self.zones[*one].weight, straw(*other), self.zones[*other].weight)
                .then(one.cmp(other))
        };
        zones.clear();
        zones.extend(0..self.zones.len());
        keep_first(zones, length, zone_order);
        let mirror_order = |one: &u16, other: &u16| {
            let straw = |mirror: u16| straws.all[straws.places[usize::from(mirror)]];
            let weight = |mirror: u16| u64::from(self.mirrors[usize::from(mirror)].weight.max(1));
            compare(straw(*one), weight(*one), straw(*other), weight(*other)).then(one.cmp(other))
        };
        order.clear();
        if length <= zones.len() {
            let first = |zone: &usize| self.zones[*zone].members.iter().copied().min_by(mirror_order);
            order.extend(zones.iter().filter_map(first));
            return;
        }
        // Every zone was kept. As many of each as the fullest beginning of this length can take.
        let mut rounds = 1;
        while self.zones.iter().map(|zone| zone.members.len().min(rounds)).sum::<usize>() < length {
            rounds += 1;
        }
        members.resize_with(zones.len(), Vec::new);
        for (zone, members) in zones.iter().zip(members.iter_mut()) {
            members.clone_from(&self.zones[*zone].members);
            keep_first(members, rounds, mirror_order);
        }
        let round = |round| members.iter().filter_map(move |zone: &Vec<u16>| zone.get(round).copied());
        order.extend((0..rounds).flat_map(round).take(length));
    }

    /// Chooses along this beginning of the base order. False when a mirror beyond it could have served more rules.
    fn choose(&self, order: &[u16], ranking: &mut Vec<u16>, start: usize) -> bool {
        while ranking.len() - start < self.width {
            let chosen = &ranking[start..];
            let unmet: Vec<&Rule> =
                self.rules.iter().filter(|rule| rule.reached(chosen) < rule.min).collect();
            let mut best: Option<(usize, u16)> = None;
            for mirror in order.iter().filter(|mirror| !chosen.contains(mirror)) {
                let served = unmet.iter().filter(|rule| rule.gains(chosen, *mirror)).count();
                if best.is_none_or(|(most, _)| served > most) {
                    best = Some((served, *mirror));
                }
                if served == unmet.len() {
                    break;
                }
            }
            match best {
                Some((served, mirror)) if served == unmet.len() || order.len() == self.mirrors.len() => {
                    ranking.push(mirror);
                }
                _ => return false,
            }
        }
        true
    }
}

impl Rule {
    /// How many domains these mirrors cover.
    fn reached(&self, chosen: &[u16]) -> usize {
        (0..chosen.len()).filter(|place| self.gains(&chosen[..*place], chosen[*place])).count()
    }

    /// Whether a mirror adds a domain.
    fn gains(&self, chosen: &[u16], mirror: u16) -> bool {
        let domain = |mirror: u16| self.domains[usize::from(mirror)];
        domain(mirror).is_some_and(|new| chosen.iter().all(|other| domain(*other) != Some(new)))
    }
}

/// Buffers that one partition leaves to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    zones: Vec<usize>,
    members: Vec<Vec<u16>>,
    order: Vec<u16>,
}

/// `straw / weight` against `straw / weight`, exactly.
fn compare(one: u64, weight: u64, other: u64, other_weight: u64) -> Ordering {
    (u128::from(one) * u128::from(other_weight)).cmp(&(u128::from(other) * u128::from(weight)))
}

/// Leaves the first `count` in this order.
fn keep_first<T>(items: &mut Vec<T>, count: usize, order: impl Fn(&T, &T) -> Ordering) {
    if (1..items.len()).contains(&count) {
        items.select_nth_unstable_by(count - 1, &order);
    }
    items.truncate(count);
    items.sort_unstable_by(&order);
}
