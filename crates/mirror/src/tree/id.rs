//! The disk's id, by which a swapped, emptied or copied disk is seen.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::TreeError;
use super::durable::Scratch;

/// Reads the id, or makes it when there is none that can be read.
pub(super) fn read_or_make(path: &Path, scratch: &Arc<Scratch>) -> Result<String, TreeError> {
    match fs::read_to_string(path) {
        Ok(text) if is_id(text.trim()) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != ErrorKind::NotFound && error.kind() != ErrorKind::InvalidData => {
            return Err(TreeError::io("read", path)(error));
        }
        _ => {}
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| TreeError::io("make an id for", path)(error.into()))?;
    let id = format!("{:032x}", u128::from_be_bytes(random));
    scratch.write(path, format!("{id}\n").as_bytes())?;
    Ok(id)
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
