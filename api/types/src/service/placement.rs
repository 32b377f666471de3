//! Where replicas run.

use std::ops::Deref;

use orion_model::{LabelSelector, selector::SelectorError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::scalar::{Scalar, impl_scalar, text};

/// Which nodes may run a replica, and which of them are better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Placement {
    /// Whether replicas are spread over nodes (`spread`, default) or put together on few (`binpack`).
    pub packing: Packing,
    /// Nodes by their labels, such as `zone=eu,!gpu`; default all.
    #[serde(skip_serializing_if = "NodeSelector::is_everything")]
    pub nodes: NodeSelector,
    /// The one node; a replica pinned so is never moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Nodes that are better than others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<Preference>,
    /// Whether replicas of the service keep apart: `none`, `soft` (where they can; default) or `hard`.
    pub anti_affinity: AntiAffinity,
    /// A node label over whose values replicas are spread evenly, such as `zone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
    /// How much the most and the least loaded value of `spread` may differ; default 1.
    #[schemars(range(min = 1))]
    pub max_skew: u32,
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            packing: Packing::default(),
            nodes: NodeSelector::default(),
            node: None,
            prefer: Vec::new(),
            anti_affinity: AntiAffinity::default(),
            spread: None,
            max_skew: 1,
        }
    }
}

/// Whether the emptiest or the fullest node that fits is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Packing {
    /// The emptiest.
    #[default]
    Spread,
    /// The fullest.
    Binpack,
}

/// Whether replicas of one service keep apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum AntiAffinity {
    /// They need not.
    None,
    /// Where they can.
    #[default]
    Soft,
    /// Never two on a node.
    Hard,
}

/// Nodes that are better than others by a weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preference {
    /// Which nodes.
    pub nodes: NodeSelector,
    /// How much better, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u32,
}

/// Nodes by their labels, in Kubernetes' notation: `zone=eu,tier in (a,b),!gpu`. Empty means every node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeSelector(LabelSelector);

impl NodeSelector {
    /// Whether it selects every node.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
}

impl Deref for NodeSelector {
    type Target = LabelSelector;

    fn deref(&self) -> &LabelSelector {
        &self.0
    }
}

impl Scalar for NodeSelector {
    const FORMAT: &'static str = "selector";
    const TYPES: &'static [&'static str] = &["string"];

    fn read(value: &Value) -> Result<Self, String> {
        text(value)?.parse().map(Self).map_err(|error: SelectorError| error.message)
    }

    fn write(&self) -> Value {
        self.0.to_string().into()
    }
}

impl_scalar!(NodeSelector);
