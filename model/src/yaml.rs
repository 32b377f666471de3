//! YAML with places.

pub use crate::issue::Place;
