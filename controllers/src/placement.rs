//! Whether a node may run something at all, before it is asked whether it has room: for the scheduler, and for a
//! rollout that asks where a successor could go.

use std::collections::BTreeMap;

use orion_model::Object;
use orion_types::{
    Node,
    node::NodePhase,
    service::{NodeSelector, Placement},
};

/// Why a node may not run something, whatever room it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Its agent is not heard.
    NotReady(NodePhase),
    /// A person keeps it free.
    Cordoned,
    /// The placement selects other nodes.
    NotSelected(NodeSelector),
    /// The placement names another node.
    Pinned(String),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady(NodePhase::Lost) => f.write_str("is lost"),
            Self::NotReady(_) => f.write_str("is not ready"),
            Self::Cordoned => f.write_str("is cordoned"),
            Self::NotSelected(selector) => write!(f, "does not match {:?}", selector.to_string()),
            Self::Pinned(node) => write!(f, "is not {node}, to which it is pinned"),
        }
    }
}

/// Why a node may not run what has this placement; `None` where it may. `labels` are the node's placement labels.
pub(crate) fn unfit(node: &Node, labels: &BTreeMap<String, String>, placement: &Placement) -> Option<Unfit> {
    if let Some(pinned) = placement.node.as_ref().filter(|pinned| *pinned != node.name()) {
        return Some(Unfit::Pinned(pinned.clone()));
    }
    if !placement.nodes.matches(labels) {
        return Some(Unfit::NotSelected(placement.nodes.clone()));
    }
    if node.status.phase != NodePhase::Ready || node.is_being_deleted() {
        return Some(Unfit::NotReady(node.status.phase));
    }
    node.spec.cordoned.then_some(Unfit::Cordoned)
}

/// Whether a node may run what has this placement.
pub(crate) fn fits(node: &Node, placement: &Placement) -> bool {
    unfit(node, &node.placement_labels(), placement).is_none()
}
