//! Waiting for a condition, with the reason why it did not come.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(250);

/// Repeats `check` until it returns `Ok`, and returns that value. An `Err` means "not yet" and says what was seen;
/// when `timeout` passes, the last one becomes part of the error. A check that hangs counts against the timeout too.
pub async fn wait_for<T, F>(what: &str, timeout: Duration, mut check: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
{
    let start = Instant::now();
    let mut last = String::from("the first check did not return");
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => bail!("waited {} s for {what}; last seen: {last}", timeout.as_secs()),
        }
        if start.elapsed() >= timeout {
            bail!("waited {} s for {what}; last seen: {last}", timeout.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[tokio::test]
    async fn the_value_of_the_first_success_comes_back() {
        let mut calls = 0;
        let value = wait_for("three calls", Duration::from_secs(5), async || {
            calls += 1;
            if calls == 3 { Ok(calls) } else { Err(anyhow!("only {calls}")) }
        })
        .await
        .unwrap();
        assert_eq!(value, 3);
    }

    #[tokio::test]
    async fn the_error_names_the_condition_and_what_was_seen_last() {
        let result: Result<()> =
            wait_for("the moon", Duration::from_millis(10), async || Err(anyhow!("only clouds"))).await;
        let message = result.unwrap_err().to_string();
        assert!(message.contains("the moon") && message.contains("only clouds"), "{message}");
    }

    #[tokio::test]
    async fn a_check_that_hangs_ends_with_the_timeout() {
        let result: Result<()> =
            wait_for("an answer", Duration::from_millis(10), async || std::future::pending().await).await;
        assert!(result.unwrap_err().to_string().contains("an answer"));
    }
}
