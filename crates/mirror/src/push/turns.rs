//! One after the other, for each name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Names that somebody works with.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until nobody else has this name; it is ours until the guard is dropped.
    pub(super) async fn of(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Only the map has what nobody works with or waits for.
            names.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(names.entry(name.to_owned()).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_had_by_one_at_a_time_and_then_forgotten() {
        let turns = Turns::default();
        let first = turns.of("a").await;
        let _other = turns.of("b").await;
        assert!(futures::FutureExt::now_or_never(turns.of("a")).is_none());
        drop(first);
        assert!(futures::FutureExt::now_or_never(turns.of("a")).is_some());
        let _third = turns.of("c").await;
        assert_eq!(turns.0.lock().unwrap().len(), 2, "a is gone");
    }
}
