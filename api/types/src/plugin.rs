//! Plugins and the runs of their hooks.

use std::{collections::BTreeMap, fmt};

use orion_model::{Issue, Resource, Timestamp, Uid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// What extends Orion: a webhook, or a command (which has no effect yet).
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Plugin, group = "orion", version = "v1", status = PluginStatus, validate = check)]
#[resource(column("URL", ".spec.webhook.url"), sensitive = ".spec.webhook.secret")]
#[serde(rename_all = "camelCase", default)]
pub struct PluginSpec {
    /// Called over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Run as a process: JSON on stdin, JSON on stdout.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// How long one call may take.
    pub timeout: HookTimeout,
    /// What a call that fails means, for each hook; `fail` for beforeStart, `ignore` for the others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failure_policy: BTreeMap<HookPoint, FailurePolicy>,
    /// The plugin's own settings, handed to it as they are.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// Where a webhook plugin is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Webhook {
    /// `http://` address to which calls are posted.
    pub url: String,
    /// The key of the HMAC-SHA256 signature in `X-Orion-Signature`; no signature without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How often a call that could not be made, or was answered with a status from 500, is tried again.
    pub retries: Retries,
}

/// How long a hook may take: 30 s unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, inline)]
pub struct HookTimeout(pub Duration);

impl Default for HookTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(30))
    }
}

/// How often a call is repeated: 3 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, inline)]
pub struct Retries(pub u32);

impl Default for Retries {
    fn default() -> Self {
        Self(3)
    }
}

/// A moment in a replica's life at which plugins are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum HookPoint {
    /// Before each placement; may refuse it or add environment.
    BeforeStart,
    /// When a rollout is done.
    AfterDeploy,
    /// When a replica fails or a rollout is rolled back.
    OnFailure,
    /// Before the signal.
    BeforeStop,
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeStart => "beforeStart",
            Self::AfterDeploy => "afterDeploy",
            Self::OnFailure => "onFailure",
            Self::BeforeStop => "beforeStop",
        })
    }
}

/// What a failed hook means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum FailurePolicy {
    /// What the hook stands before does not happen.
    Fail,
    /// It goes on.
    Ignore,
}

impl PluginSpec {
    /// What a failed call at this point means.
    pub fn policy(&self, point: HookPoint) -> FailurePolicy {
        self.failure_policy.get(&point).copied().unwrap_or(match point {
            HookPoint::BeforeStart => FailurePolicy::Fail,
            HookPoint::AfterDeploy | HookPoint::OnFailure | HookPoint::BeforeStop => FailurePolicy::Ignore,
        })
    }
}

/// What is of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginStatus {
    /// The last call that failed, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
}

pub(crate) fn check(plugin: &Plugin, _old: Option<&Plugin>) -> Vec<Issue> {
    let mut issues = Vec::new();
    if let Some(webhook) = &plugin.spec.webhook
        && !webhook.url.starts_with("http://")
    {
        issues.push(Issue::at(
            "spec.webhook.url",
            format!("{:?} must begin with http:// (TLS is not built yet)", webhook.url),
        ));
    }
    if plugin.spec.webhook.is_some() && !plugin.spec.command.is_empty() {
        issues.push(Issue::at("spec.command", "a plugin is a webhook or a command, not both"));
    }
    issues
}

/// One call of one hook.
#[derive(Resource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = HookRun, group = "orion", version = "v1", status = HookRunStatus)]
#[resource(column("HOOK", ".spec.hook"), column("REPLICA", ".spec.replica"), column("PHASE", ".status.phase"))]
#[serde(rename_all = "camelCase")]
pub struct HookRunSpec {
    /// Which hook: `plugin:action`.
    pub hook: String,
    /// At which moment.
    pub point: HookPoint,
    /// The Replica it is about.
    pub replica: String,
    /// Its incarnation; with the hook's name the idempotency key.
    pub replica_uid: Uid,
    /// The Service it is a copy of.
    #[serde(default)]
    pub service_name: String,
}

/// What became of a hook's call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HookRunStatus {
    /// Where it stands.
    pub phase: HookPhase,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The environment it added.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// Where a hook's call stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum HookPhase {
    /// Not answered yet.
    #[default]
    Pending,
    /// It passed.
    Succeeded,
    /// It failed.
    Failed,
}
