//! Which artifact to begin with next, so that no core is idle at the end. Pure.

/// How many cores' worth of shares of what is left one artifact may be before it is brought forward. Some of those that are
/// begun earlier wait for a decoder, and it behind them.
const SLACK: u64 = 4;

/// An order in which artifacts are begun.
///
/// It is the given one, references first, so that what is pulled can soon be published. But the largest of all is begun as
/// soon as it is so large a part of what is left that, were it left to the end, one core would still work on it when the
/// others have nothing more to do.
#[derive(Debug)]
pub(super) struct Schedule {
    sizes: Vec<u64>,
    begun: Vec<bool>,
    /// All before it are begun.
    next: usize,
    by_size: Vec<usize>,
    /// All of [`Self::by_size`] before it are begun.
    largest: usize,
    /// The sizes of all that are not begun.
    left: u64,
    cores: u64,
}

impl Schedule {
    /// For artifacts of these sizes, in the order in which they should be begun, on so many cores.
    pub(super) fn new(sizes: Vec<u64>, cores: usize) -> Self {
        let mut by_size: Vec<usize> = (0..sizes.len()).collect();
        by_size.sort_by_key(|index| std::cmp::Reverse(sizes[*index]));
        let left = sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(*size));
        let (begun, cores) = (vec![false; sizes.len()], cores.max(1) as u64);
        Self { sizes, begun, next: 0, by_size, largest: 0, left, cores }
    }

    /// The place of the one to begin now.
    pub(super) fn next(&mut self) -> Option<usize> {
        while self.begun.get(self.next).is_some_and(|begun| *begun) {
            self.next += 1;
        }
        while self.by_size.get(self.largest).is_some_and(|index| self.begun[*index]) {
            self.largest += 1;
        }
        let largest = *self.by_size.get(self.largest)?;
        let share = self.sizes[largest].saturating_mul(self.cores).saturating_mul(SLACK);
        let chosen = if share >= self.left { largest } else { self.next };
        self.begun[chosen] = true;
        self.left = self.left.saturating_sub(self.sizes[chosen]);
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(sizes: &[u64], cores: usize) -> Vec<usize> {
        let mut schedule = Schedule::new(sizes.to_vec(), cores);
        std::iter::from_fn(|| schedule.next()).collect()
    }

    #[test]
    fn the_given_order_is_kept_while_there_is_much_to_do() {
        let order = order(&vec![10; 1000], 2);
        assert_eq!(order[..900], (0..900).collect::<Vec<_>>());
    }

    #[test]
    fn a_giant_at_the_end_is_brought_forward() {
        let mut sizes = vec![10; 1000];
        sizes.push(1500);
        assert_eq!(order(&sizes, 2)[0], 1000, "half of the time of one of two cores");
        let mut sizes = vec![10; 10_000];
        sizes.push(1500);
        let place = order(&sizes, 2).iter().position(|index| *index == 10_000).unwrap();
        assert!((8_000..9_800).contains(&place), "in time and not at once: {place}");
    }

    #[test]
    fn everything_is_begun_once() {
        for cores in [0, 1, 2, 64] {
            let sizes: Vec<u64> = (0..500_u64).map(|number| number * number % 977).collect();
            let mut order = order(&sizes, cores);
            order.sort_unstable();
            assert_eq!(order, (0..500).collect::<Vec<_>>(), "{cores} cores");
        }
        assert_eq!(order(&[u64::MAX, u64::MAX, 0], 2).len(), 3);
        assert!(order(&[], 2).is_empty());
    }
}
