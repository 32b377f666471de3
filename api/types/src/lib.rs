//! Orion's kinds, its configuration file and the agents' protocol.

pub mod change;
pub mod dns_label;
pub mod duration;
pub mod job;
pub mod process;
pub mod quantity;
pub mod rules;
pub mod schedule;
pub mod service;

mod scalar;
mod suggest;

pub use duration::Duration;
pub use job::JobSpec;
pub use quantity::{Capacity, CpuQuantity, MemoryQuantity};
pub use schedule::{Schedule, TimeZone};
pub use service::ServiceSpec;
