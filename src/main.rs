//! The `orion` binary.
fn main() {}
