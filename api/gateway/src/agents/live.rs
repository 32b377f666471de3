//! Live numbers: what agents last said of themselves, kept in memory only.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use orion_model::{Timestamp, Uid};
use orion_types::protocol::{Heartbeat, HostMetrics, ReplicaMetrics};

/// The live numbers of all nodes. Cheap to clone; clones see the same numbers.
#[derive(Clone, Debug, Default)]
pub struct LiveMetrics(Arc<RwLock<BTreeMap<String, NodeLive>>>);

/// What a node's agent last said of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeLive {
    /// When it was last heard to beat, by the gateway's clock.
    pub last_heartbeat: Timestamp,
    /// How busy the machine was then.
    pub metrics: HostMetrics,
    /// How busy its replicas were then, by uid.
    pub replicas: Arc<BTreeMap<Uid, ReplicaMetrics>>,
}

impl LiveMetrics {
    /// What a node's agent last said; `None` where it has not been heard since this gateway started.
    pub fn node(&self, name: &str) -> Option<NodeLive> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// What all agents last said, by node.
    pub fn nodes(&self) -> BTreeMap<String, NodeLive> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How busy a replica was at its node's last heartbeat.
    pub fn replica(&self, node: &str, uid: &Uid) -> Option<ReplicaMetrics> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(node)?.replicas.get(uid).copied()
    }

    pub(super) fn beat(&self, node: &str, now: Timestamp, heartbeat: Heartbeat) {
        let live = NodeLive { last_heartbeat: now, metrics: heartbeat.metrics, replicas: Arc::new(heartbeat.replicas) };
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match nodes.get_mut(node) {
            Some(known) => *known = live,
            None => drop(nodes.insert(node.to_owned(), live)),
        }
    }

    /// A hello counts as a sign of life: a node that has just connected is not one that was never heard.
    pub(super) fn hello(&self, node: &str, now: Timestamp) {
        let mut nodes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = NodeLive { last_heartbeat: now, metrics: HostMetrics::default(), replicas: Arc::default() };
        nodes.entry(node.to_owned()).or_insert(fresh).last_heartbeat = now;
    }

    pub(super) fn forget(&self, node: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(node);
    }
}
