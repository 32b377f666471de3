//! Replicas by CPU use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When and how far the number of replicas follows their CPU use: its mean over 60 s divided by the request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Autoscaling {
    /// Default false.
    pub enabled: bool,
    /// The fewest replicas; default 1.
    pub min_replicas: u32,
    /// The most; default 5.
    pub max_replicas: u32,
    /// Above this use there are more; default 0.75.
    #[schemars(range(min = 0.0))]
    pub scale_up_threshold: f64,
    /// Below this use, for the whole delay, there is one fewer; default 0.25.
    #[schemars(range(min = 0.0))]
    pub scale_down_threshold: f64,
    /// That delay in seconds; default 60.
    #[schemars(range(max = 31_536_000))]
    pub scale_down_delay_seconds: u64,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self {
            enabled: false,
            min_replicas: 1,
            max_replicas: 5,
            scale_up_threshold: 0.75,
            scale_down_threshold: 0.25,
            scale_down_delay_seconds: 60,
        }
    }
}
