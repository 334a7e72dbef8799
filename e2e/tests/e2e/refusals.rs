//! Upstreams that do not answer: told in the status and a metric, what is there is served meanwhile, and the rest comes as
//! soon as they answer again. What upstreams answer wrongly is in [`crate::bad_input`].

use anyhow::{Result, bail};
use granary_e2e::wait::wait_for;

use crate::case::{Space, cases};
use crate::farm::{Farm, SYNC, TOLD, root};

cases![an_upstream_that_is_down_is_told_and_waited_for, an_upstream_that_falls_silent_is_told_and_waited_for,];

const FIRST: &str = "less";
const SECOND: &str = "jq";

async fn an_upstream_that_is_down_is_told_and_waited_for(space: &Space<'_>) -> Result<()> {
    unreachable(space, |farm| farm.upstream.stop(), |farm| farm.upstream.start_again()).await
}

async fn an_upstream_that_falls_silent_is_told_and_waited_for(space: &Space<'_>) -> Result<()> {
    unreachable(space, |farm| farm.upstream.pause(), |farm| farm.upstream.resume()).await
}

async fn unreachable(
    space: &Space<'_>,
    hurt: impl Fn(&Farm<'_>) -> Result<()>,
    heal: impl Fn(&Farm<'_>) -> Result<()>,
) -> Result<()> {
    let mut farm = Farm::prepare(space, "zstd").await?;
    farm.sites.truncate(1);
    farm.plant().await?;
    farm.policy("tools", &[root(FIRST)?], 1).await?;
    farm.satisfied("tools").await?;
    let site = &farm.sites[0];
    hurt(&farm)?;
    farm.policy("more", &[root(SECOND)?], 1).await?;
    let message = farm.mirror_is(site, "UpstreamsReachable", "False", SYNC).await?;
    assert!(message.contains(farm.upstream.url()), "the condition does not name the upstream: {message}");
    farm.policy_is("more", "CatalogResolved", "False", TOLD).await?;
    let series = format!("granary_mirror_upstream_up{{upstream=\"{}\"}}", farm.upstream.url());
    wait_for(&series, TOLD, async || {
        let value = farm.metric(site, &series).await?;
        if value > 0.0 {
            bail!("it is {value}");
        }
        Ok(())
    })
    .await?;
    let refused = "granary_mirror_refused_total{reason=\"upstream-unreachable\"}";
    assert!(farm.metric(site, refused).await? >= 1.0, "nothing counted in {refused}");
    let log = space.kubectl(&["logs", &site.pod(), "-c", "agent"]).await?;
    let wanted = root(SECOND)?;
    let told = |line: &str| line.contains("upstream-unreachable") && line.contains(&wanted);
    assert!(log.lines().any(told), "the log does not tell of it:\n{log}");
    // What is there is served meanwhile.
    farm.substitute(site, &[root(FIRST)?]).await?;
    heal(&farm)?;
    farm.satisfied("more").await?;
    farm.mirror_is(site, "UpstreamsReachable", "True", TOLD).await?;
    farm.substitute(site, &[root(SECOND)?]).await?;
    farm.verify().await
}
