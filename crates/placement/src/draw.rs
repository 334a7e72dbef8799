//! Where the draws come from.
//!
//! A runner's draw for partition `p` is the `p`-th 8 bytes, little-endian, of the extended output of BLAKE3 in
//! key-derivation mode over the runner's name, with a context for each kind of runner. So it depends on the name and the
//! partition alone, not on the policy or the other runners, and one compression gives eight draws.

use crate::{partition::PARTITIONS, straw::straw};

/// How many partitions are drawn for at once.
pub(crate) const BLOCK: usize = 64;
/// How many blocks there are.
pub(crate) const BLOCKS: usize = PARTITIONS / BLOCK;

/// Who runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Runner<'a> {
    /// A zone against other zones, by its name.
    Zone(&'a str),
    /// A mirror that is in no zone, and so is one of its own, against zones. By the mirror's name.
    Zoneless(&'a str),
    /// A mirror against the others of its zone, by its name.
    Mirror(&'a str),
}

/// The draws of several runners, block after block.
pub(crate) struct Draws {
    readers: Vec<blake3::OutputReader>,
}

impl Draws {
    /// Starts at the first partition.
    pub(crate) fn new(runners: &[Runner<'_>]) -> Self {
        let reader = |runner: &Runner<'_>| {
            let (context, name) = match runner {
                Runner::Zone(name) => ("granary placement 1 zone", name),
                Runner::Zoneless(name) => ("granary placement 1 mirror without zone", name),
                Runner::Mirror(name) => ("granary placement 1 mirror", name),
            };
            blake3::Hasher::new_derive_key(context).update(name.as_bytes()).finalize_xof()
        };
        Self { readers: runners.iter().map(reader).collect() }
    }

    /// The straws of the next [`BLOCK`] partitions: for each partition one of each runner, in the order of the runners.
    pub(crate) fn next_block(&mut self, straws: &mut Vec<u64>) {
        let count = self.readers.len();
        straws.clear();
        straws.resize(count * BLOCK, 0);
        let mut bytes = [0; BLOCK * 8];
        for (runner, reader) in self.readers.iter_mut().enumerate() {
            reader.fill(&mut bytes);
            for (partition, draw) in bytes.as_chunks::<8>().0.iter().enumerate() {
                straws[partition * count + runner] = straw(u64::from_le_bytes(*draw));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition in the module's text, read at one partition.
    fn draw(context: &str, name: &str, partition: u64) -> u64 {
        let mut reader = blake3::Hasher::new_derive_key(context).update(name.as_bytes()).finalize_xof();
        reader.set_position(partition * 8);
        let mut bytes = [0; 8];
        reader.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn blocks_hold_what_the_definition_says() {
        let mut draws = Draws::new(&[Runner::Zone("a"), Runner::Zoneless("a"), Runner::Mirror("a")]);
        let mut straws = Vec::new();
        draws.next_block(&mut straws);
        draws.next_block(&mut straws);
        assert_eq!(straws.len(), 3 * BLOCK);
        for (at, context) in ["zone", "mirror without zone", "mirror"].iter().enumerate() {
            let context = format!("granary placement 1 {context}");
            assert_eq!(straws[5 * 3 + at], straw(draw(&context, "a", BLOCK as u64 + 5)));
        }
    }
}
