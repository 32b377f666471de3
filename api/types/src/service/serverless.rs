//! What starts a workload that is not to run all the time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Runs on demand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Serverless {
    /// Default false.
    pub enabled: bool,
    /// What starts it; default `http`.
    pub trigger: Trigger,
    /// The queue, with trigger `queue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
}

/// What starts a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Trigger {
    /// A request.
    #[default]
    Http,
    /// The schedule.
    Cron,
    /// A message.
    Queue,
}
