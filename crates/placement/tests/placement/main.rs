//! What holds of placements as a whole, from maps to Mirrors entries.

#[cfg(test)]
mod common;
#[cfg(test)]
mod entries;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
