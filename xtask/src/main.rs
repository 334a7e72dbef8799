//! Every command the README names.
fn main() {}
