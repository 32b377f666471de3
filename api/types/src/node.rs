//! Nodes: machines with an agent. They have no namespace.

use std::collections::BTreeMap;

use orion_model::{Conditions, Resource, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Capacity;

/// What people say of a node. The object itself is made by the gateway at the agent's first hello, or by a declaration.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Node, group = "orion", version = "v1", status = NodeStatus, cluster, short = "no")]
#[resource(
    column("PHASE", ".status.phase"),
    column("ADDRESS", ".status.observed.address"),
    column("CORDONED", ".spec.cordoned")
)]
#[resource(wide("AGENT", ".status.observed.agentVersion"), wide("CPU", ".status.observed.capacity.cpu"))]
#[resource(wide("MEMORY", ".status.observed.capacity.memory"))]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// Labels declared by a config or the CLI; they win over those the agent reports.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Address declared by a config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Declared capacity; what counts is the smaller of declared and reported.
    pub capacity: Capacity,
    /// Whether the scheduler leaves it alone.
    pub cordoned: bool,
}

/// What is of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// What the Node controller says of it.
    pub phase: NodePhase,
    /// Why, and what else is so.
    #[serde(skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// When the phase last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What the gateway knows of its agent; absent for a declared node that was never seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<NodeObserved>,
}

/// Whether a node can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum NodePhase {
    /// Its agent is heard.
    Ready,
    /// Its agent is silent, or was never seen.
    #[default]
    Unknown,
    /// Its agent has been silent for too long.
    Lost,
}

/// Whether an agent is heard; a change of this is all the gateway writes of a node while it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Contact {
    /// Its agent is heard.
    Connected,
    /// It is not.
    #[default]
    Silent,
}

/// What the gateway knows of a node's agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeObserved {
    /// The id the agent calls itself by.
    pub node_id: String,
    /// Where it says it can be reached.
    pub address: String,
    /// Labels it reports.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What the machine has.
    pub capacity: Capacity,
    /// The agent's version; empty for an original agent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// The identity in the agent's data directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// The agent's present start.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance_id: String,
    /// Whether it speaks the original protocol only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub legacy: bool,
    /// Whether it is heard.
    pub contact: Contact,
    /// Since when, by the gateway's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_since: Option<Timestamp>,
}

impl Node {
    /// The labels that selectors see: those the agent reports, under those declared, and the name.
    pub fn placement_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.status.observed.as_ref().map(|observed| observed.labels.clone()).unwrap_or_default();
        labels.extend(self.spec.labels.clone());
        labels.insert("orion/node".into(), self.metadata.name.clone());
        labels
    }

    /// What the scheduler may hand out: the smaller of declared and reported.
    pub fn capacity(&self) -> Capacity {
        let reported = self.status.observed.as_ref().map(|observed| observed.capacity).unwrap_or_default();
        self.spec.capacity.at_most(&reported)
    }

    /// Whether its agent speaks the original protocol only.
    pub fn is_legacy(&self) -> bool {
        self.status.observed.as_ref().is_some_and(|observed| observed.legacy)
    }

    /// Whether its agent is heard.
    pub fn is_connected(&self) -> bool {
        self.status.observed.as_ref().is_some_and(|observed| observed.contact == Contact::Connected)
    }
}
