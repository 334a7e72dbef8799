//! Small documents of other parts of the mirror, in `.granary`. Each must be one whose loss does no harm.

use std::fs;

use super::{Tree, TreeError};

impl Tree {
    /// The document of this name, such as `retention.json`; `None` when there is none that can be read.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.layout.state().join(name)).ok()
    }

    /// Puts a document in the place of the one before, whole, for good.
    pub fn keep_state(&self, name: &str, content: &[u8]) -> Result<(), TreeError> {
        self.scratch.write(&self.layout.state().join(name), content)
    }
}
