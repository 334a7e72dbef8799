//! Several things that go through the same steps, some of them alone and some of them together.

use super::TreeError;

/// Things on their way. One that fails takes no part in the steps that follow.
pub(super) struct Batch<T>(Vec<(T, Result<(), TreeError>)>);

impl<T> Batch<T> {
    pub(super) fn new(things: impl Iterator<Item = T>) -> Self {
        Self(things.map(|thing| (thing, Ok(()))).collect())
    }

    /// A step that each takes for itself, in order.
    pub(super) fn each(&mut self, mut step: impl FnMut(&mut T) -> Result<(), TreeError>) {
        for (thing, outcome) in self.0.iter_mut().filter(|(_, outcome)| outcome.is_ok()) {
            *outcome = step(thing);
        }
    }

    /// A step that is taken once for all that have come this far, if there are any. They fail together.
    pub(super) fn together(&mut self, step: impl FnOnce(&[&mut T]) -> Result<(), TreeError>) {
        let (things, outcomes): (Vec<&mut T>, Vec<_>) = self
            .0
            .iter_mut()
            .filter(|(_, outcome)| outcome.is_ok())
            .map(|(thing, outcome)| (thing, outcome))
            .unzip();
        if things.is_empty() {
            return;
        }
        if let Err(error) = step(&things) {
            for outcome in outcomes {
                *outcome = Err(error.again());
            }
        }
    }

    /// What became of each, in order.
    pub(super) fn outcomes(self) -> Vec<Result<(), TreeError>> {
        self.0.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn failure(number: u32) -> TreeError {
        TreeError::InUse { path: PathBuf::from(number.to_string()) }
    }

    #[test]
    fn what_failed_takes_no_further_part() {
        let mut batch = Batch::new(0..5);
        batch.each(|number| if *number == 1 { Err(failure(*number)) } else { Ok(()) });
        let mut seen = Vec::new();
        batch.together(|numbers| {
            seen = numbers.iter().map(|number| **number).collect();
            Ok(())
        });
        assert_eq!(seen, [0, 2, 3, 4]);
        batch.each(|number| if *number == 0 { Err(failure(*number)) } else { Ok(()) });
        batch.together(|_| Err(failure(9)));
        batch.together(|_| unreachable!("nothing has come this far"));
        let words =
            batch.outcomes().into_iter().map(|outcome| outcome.unwrap_err().to_string()[..1].to_owned());
        assert_eq!(words.collect::<String>(), "01999");
    }
}
