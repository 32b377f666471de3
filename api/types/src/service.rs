//! The spec of a Service: a process, how many of it, where, and how they are replaced.

mod autoscaling;
mod dependency;
mod hook;
mod placement;
mod replicas;
mod serverless;
mod update;

use std::collections::BTreeMap;

use orion_model::{Conditions, Resource, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    autoscaling::Autoscaling,
    dependency::{Dependency, DependencyCondition},
    hook::{Hook, HookList, Hooks},
    placement::{AntiAffinity, NodeSelector, Packing, Placement, Preference},
    replicas::Replicas,
    serverless::{Serverless, Trigger},
    update::{Strategy, UpdatePolicy},
};
use crate::{Duration, process::ProcessSpec};

/// A workload that runs until it is stopped, like a Kubernetes Deployment; not a network endpoint.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Service, group = "orion", version = "v1", status = ServiceStatus, short = "svc", validate = crate::rules::check_service)]
#[resource(
    column("DESIRED", ".status.desired"),
    column("READY", ".status.ready"),
    column("UPDATED", ".status.updated")
)]
#[resource(
    column("AVAILABLE", ".status.available"),
    wide("REVISION", ".status.current"),
    wide("STABLE", ".status.stable")
)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessSpec,
    /// How many replicas, or `eachNode`: one on each ready node that `placement.nodes` selects; default 1.
    pub replicas: Replicas,
    /// Labels of the service.
    pub labels: BTreeMap<String, String>,
    /// Where replicas run.
    pub placement: Placement,
    /// How replicas of an old template give way to those of a new one.
    pub update: UpdatePolicy,
    /// What happens to replicas whose node is silent.
    pub disconnect: Disconnect,
    /// At most one live process in the whole fleet; then `replicas` is at most 1. Default false.
    pub singleton: bool,
    /// Replicas by CPU use.
    pub autoscaling: Autoscaling,
    /// What starts it, where it is not to run all the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serverless: Option<Serverless>,
    /// Replicas kept ready beside those that serve.
    pub warm_pool: WarmPool,
    /// Plugin actions called at moments of a replica's life.
    #[serde(skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// Plugins that concern themselves with this service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
    /// Services and jobs that come first: a name, or `{name, condition}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
}

/// What happens to replicas whose node is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Disconnect {
    /// How long after the node's last contact its replicas are lost and replaced; default 60s.
    pub lost_after: Duration,
}

impl Default for Disconnect {
    fn default() -> Self {
        Self { lost_after: Duration::from_secs(60) }
    }
}

/// Replicas launched and ready on dynamic ports of their own, promoted on scale-up or loss without a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WarmPool {
    /// How many; default 0.
    pub size: u32,
}

/// The condition that says whether enough replicas are available.
pub const AVAILABLE: &str = "Available";
/// The condition that says whether a rollout goes on, is done or has failed.
pub const PROGRESSING: &str = "Progressing";
/// The condition that says whether something is wrong that a person should look at.
pub const DEGRADED: &str = "Degraded";

/// What is of a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that are ready and, where they replace others, have been for `update.minReady`.
    pub available: u32,
    /// Placed replicas of the current revision.
    pub updated: u32,
    /// How many there should be.
    pub desired: u32,
    /// The last revision whose rollout was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// The revision of the spec as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The revision that failed and is not tried again unasked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The rollout that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// `Available`, `Progressing`, `Degraded`.
    #[serde(skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// The generation all this was said of.
    pub observed_generation: i64,
}

/// A rollout that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// To which revision.
    pub revision: String,
    /// Since when; its deadline counts from here.
    pub since: Timestamp,
}
