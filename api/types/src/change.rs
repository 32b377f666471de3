//! What a change of a Service does: nothing, something in place, or a restart; and whether old and new may meet.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    process::{Template, fields_of},
    service::{Replicas, ServiceSpec},
};

/// What a change does to what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Something, under the same pids.
    InPlace,
    /// Replicas are replaced.
    Restarts {
        /// The fields of the template that say so, sorted.
        fields: Vec<String>,
    },
}

/// What becoming `new` does to the replicas of a service that was `old`.
pub fn effect(old: &ServiceSpec, new: &ServiceSpec) -> Effect {
    let fields = changed_template_fields(&old.process.template, &new.process.template);
    if !fields.is_empty() {
        Effect::Restarts { fields }
    } else if old == new {
        Effect::None
    } else {
        Effect::InPlace
    }
}

/// The top-level fields in which two specs differ, sorted.
pub fn changed_fields<T: Serialize>(old: &T, new: &T) -> Vec<String> {
    differing(&fields_of(old), &fields_of(new))
}

fn changed_template_fields(old: &Template, new: &Template) -> Vec<String> {
    if old == new { Vec::new() } else { differing(&fields_of(old), &fields_of(new)) }
}

fn differing(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<&String> =
        old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).collect();
    names.sort();
    names.dedup();
    names.into_iter().cloned().collect()
}

/// Why a new replica cannot run beside the one it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SurgeBlock {
    /// At most one process may live.
    Singleton,
    /// Each eligible node's static port is taken by a replica of this service.
    StaticPort {
        /// The port.
        port: u16,
        /// How many nodes may run the service.
        nodes: u32,
    },
}

impl std::fmt::Display for SurgeBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Singleton => f.write_str("a singleton has at most one live process"),
            Self::StaticPort { port, nodes: 1 } => write!(f, "port {port} is static and one node may run it"),
            Self::StaticPort { port, nodes } => {
                write!(f, "port {port} is static and all {nodes} nodes that may run it have a replica")
            }
        }
    }
}

/// Whether by the spec alone no surge copy can be placed, given how many nodes may run the service; then one old
/// replica is stopped before its successor starts. Whether a node has room otherwise is the scheduler's to find.
pub fn surge_block(spec: &ServiceSpec, eligible_nodes: u32) -> Option<SurgeBlock> {
    if spec.singleton {
        return Some(SurgeBlock::Singleton);
    }
    let port = spec.process.template.ports.iter().find_map(|port| port.exclusive())?.0;
    let nodes = if spec.placement.node.is_some() { eligible_nodes.min(1) } else { eligible_nodes };
    let replicas = match spec.replicas {
        Replicas::Count(count) => count,
        Replicas::EachNode => nodes,
    };
    (nodes > 0 && replicas >= nodes).then_some(SurgeBlock::StaticPort { port, nodes })
}
