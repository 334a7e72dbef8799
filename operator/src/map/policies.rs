//! The entry of one policy. Pure.

use granary_crds::replication_policy::{self, Artifacts};
use granary_crds::{Duration, ReplicationPolicy};
use granary_placement::{Channel, MirrorMap, Policy, Retention, Spread, TopologyKey};
use kube::{ResourceExt, core::Selector};

/// Why a policy cannot be read as it stands. Its last good form stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// The selector is not one.
    #[error("spec.mirrors is not a label selector: {0}")]
    Selector(String),
    /// A field has a value that the API's rules forbid (the object may be older than the rule).
    #[error("{0}")]
    Field(String),
}

/// A policy without its mirrors, and what selects these.
pub fn read(policy: &ReplicationPolicy) -> Result<(Policy, Selector), PolicyFault> {
    let replication_policy::ReplicationPolicySpec {
        mirrors,
        artifacts,
        copies,
        spread,
        retention,
        suspend: _,
    } = &policy.spec;
    let Artifacts { store_paths, channels } = artifacts;
    let selector =
        Selector::try_from(mirrors.clone()).map_err(|error| PolicyFault::Selector(error.to_string()))?;
    let small = |field: &str, number: i32| {
        u8::try_from(number)
            .map_err(|_| PolicyFault::Field(format!("{field} is {number}; it must be 1 to 8")))
    };
    let rule = |spread: &replication_policy::Spread| {
        let topology_key = match spread.topology_key {
            replication_policy::TopologyKey::Zone => TopologyKey::Zone,
            replication_policy::TopologyKey::Region => TopologyKey::Region,
            replication_policy::TopologyKey::Organization => TopologyKey::Organization,
        };
        Ok(Spread { topology_key, min: small("spec.spread[].min", spread.min)? })
    };
    let policy = Policy {
        name: policy.name_any(),
        mirrors: Vec::new(),
        target: small("spec.copies.target", copies.target)?,
        spread: spread.iter().map(rule).collect::<Result<_, _>>()?,
        store_paths: store_paths.clone(),
        channels: channels.iter().map(channel).collect::<Result<_, _>>()?,
        retention: retention.as_ref().map(periods).transpose()?,
    };
    // The rules for what may stand in a map, asked of this policy alone.
    let mut alone = MirrorMap {
        epoch: 0,
        namespace: "x".into(),
        mirrors: Vec::new(),
        policies: vec![policy],
        table_hash: String::new(),
    };
    alone.canonicalize();
    alone.check().map_err(|error| PolicyFault::Field(error.to_string()))?;
    let policy = alone.policies.pop().ok_or_else(|| PolicyFault::Field("it has no name".into()))?;
    Ok((policy, selector))
}

fn channel(channel: &replication_policy::Channel) -> Result<Channel, PolicyFault> {
    let replication_policy::Channel { url, keep } = channel;
    let number = u16::try_from(*keep).map_err(|_| {
        PolicyFault::Field(format!("spec.artifacts.channels[].keep is {keep}; it must be 1 to 100"))
    })?;
    Ok(Channel { url: url.clone(), keep: number })
}

fn periods(retention: &replication_policy::Retention) -> Result<Retention, PolicyFault> {
    let replication_policy::Retention { grace_after_unreferenced, trash } = retention;
    let seconds = |name: &str, period: &Duration| {
        let fault =
            |error| PolicyFault::Field(format!("spec.retention.{name} is {:?}: {error}", period.as_str()));
        period.seconds().map_err(fault)
    };
    Ok(Retention {
        grace_seconds: seconds("graceAfterUnreferenced", grace_after_unreferenced)?,
        trash_seconds: seconds("trash", trash)?,
    })
}

/// Whether two entries ask for the same, apart from the mirrors that they select.
#[must_use]
pub fn asks_the_same(one: &Policy, other: &Policy) -> bool {
    let Policy { name, mirrors: _, target, spread, store_paths, channels, retention } = one;
    (name, target, spread) == (&other.name, &other.target, &other.spread)
        && (store_paths, channels, retention) == (&other.store_paths, &other.channels, &other.retention)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::desired::tests::policy;

    #[test]
    fn a_policy_is_read_in_canonical_form() {
        let (read, selector) = read(&policy(
            "p",
            "{mirrors: {matchLabels: {tier: a}}, copies: {target: 3},
              spread: [{topologyKey: region, min: 1}, {topologyKey: zone, min: 2}],
              artifacts: {storePaths: [/nix/store/11111111111111111111111111111111-b, /nix/store/00000000000000000000000000000000-a]}}",
        ))
        .unwrap();
        assert_eq!(read.target, 3);
        assert_eq!(read.spread[0], Spread { topology_key: TopologyKey::Zone, min: 2 });
        assert!(read.store_paths.is_sorted());
        assert_eq!((read.channels, read.retention), (vec![], None));
        assert!(!selector.selects_all());
    }

    #[test]
    fn channels_and_periods_are_read() {
        let read = |keep: &str, grace: &str| {
            read(&policy(
                "p",
                &format!(
                    "{{mirrors: {{}}, copies: {{target: 1}}, retention: {{graceAfterUnreferenced: {grace}, trash: 7d}},
                       artifacts: {{channels: [{{url: 'https://b/two', keep: {keep}}}, {{url: 'https://a/one'}}]}}}}"
                ),
            ))
        };
        let (good, _) = read("3", "14d").unwrap();
        let channel = |url: &str, keep| Channel { url: url.into(), keep };
        assert_eq!(good.channels, [channel("https://a/one", 1), channel("https://b/two", 3)]);
        let retention = Retention { grace_seconds: 14 * 86_400, trash_seconds: 7 * 86_400 };
        assert_eq!(good.retention, Some(retention));
        assert_eq!(good.store_paths, Vec::<String>::new());
        assert!(!asks_the_same(&good, &Policy { channels: vec![], ..good.clone() }));
        assert!(!asks_the_same(&good, &Policy { retention: None, ..good.clone() }));
        for (keep, grace, what) in
            [("-1", "14d", "keep"), ("101", "14d", "keep"), ("3", "soon", "graceAfter")]
        {
            let error = read(keep, grace).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn what_the_api_should_have_refused_is_refused_in_words() {
        let with = |mirrors: &str, target: i32| {
            read(&policy(
                "p",
                &format!(
                    "{{mirrors: {mirrors}, copies: {{target: {target}}},
                       artifacts: {{storePaths: [/nix/store/00000000000000000000000000000000-a]}}}}"
                ),
            ))
        };
        assert!(with("{}", 1).is_ok());
        assert!(with("{}", 300).unwrap_err().to_string().contains("300"));
        assert!(with("{}", 0).unwrap_err().to_string().contains("1 to 8"));
        let broken = "{matchExpressions: [{key: a, operator: Near, values: [b]}]}";
        assert!(matches!(with(broken, 1), Err(PolicyFault::Selector(_))));
    }
}
