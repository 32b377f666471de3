//! How replicas of an old template give way to those of a new one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// How a rollout goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdatePolicy {
    /// `rolling` (default): new ones start before old ones stop, within the two bounds; `recreate`: all old ones stop first.
    pub strategy: Strategy,
    /// How many more than `replicas` may be placed; default 1.
    pub max_surge: u32,
    /// How many fewer than `replicas` may be available; default 0.
    pub max_unavailable: u32,
    /// How long a new replica must have been ready before it counts; default 5s.
    pub min_ready: Duration,
    /// When a rollout that is not done has failed; default 5m.
    pub deadline: Duration,
    /// Whether replicas of a failed rollout go back to what was stable; default true.
    pub auto_rollback: bool,
    /// How many old revisions are kept; default 10.
    #[schemars(range(max = 1000))]
    pub history_limit: u32,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            max_surge: 1,
            max_unavailable: 0,
            min_ready: Duration::from_secs(5),
            deadline: Duration::from_mins(5),
            auto_rollback: true,
            history_limit: 10,
        }
    }
}

/// Whether old and new replicas run beside each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Strategy {
    /// They do, within bounds.
    #[default]
    Rolling,
    /// They never do.
    Recreate,
}
