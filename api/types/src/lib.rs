//! Orion's kinds, its configuration file and the agents' protocol.

pub mod applied;
pub mod change;
pub mod config;
pub mod dns_label;
pub mod duration;
pub mod job;
pub mod node;
pub mod plugin;
pub mod process;
pub mod protocol;
pub mod quantity;
pub mod replica;
pub mod revision;
pub mod rules;
pub mod run;
pub mod schedule;
pub mod service;
pub mod suggest;

mod scalar;

pub use applied::Config;
pub use config::OrionConfig;
pub use duration::Duration;
pub use job::{Job, JobSpec};
pub use node::Node;
pub use plugin::{HookRun, Plugin};
pub use quantity::{Capacity, CpuQuantity, MemoryQuantity};
pub use replica::Replica;
pub use revision::Revision;
pub use run::JobRun;
pub use schedule::{Schedule, TimeZone};
pub use service::{Service, ServiceSpec};

/// All of Orion's kinds, to be registered together.
pub type Kinds = (Config, Service, Revision, Replica, Job, JobRun, Plugin, HookRun, Node);
