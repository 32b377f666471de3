//! Configs: what one orion.yaml last said, and the applies that made it so.

use orion_model::{Resource, ResourceVersion, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The label by which a thing belongs to a Config.
pub const CONFIG_LABEL: &str = "orion/config";

/// The finalizer by which the Config controller removes what belongs to a Config.
pub const CONFIG_FINALIZER: &str = "orion/config";

/// What one orion.yaml last said: its normalised content (sparse: no defaults), where it came from, its release.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Config, group = "orion", version = "v1", status = ConfigStatus, short = "cfg")]
#[resource(column("RELEASE", ".spec.release"), column("SOURCE", ".spec.source"))]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigSpec {
    /// Services, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Map<String, Value>>,
    /// Jobs, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Map<String, Value>>,
    /// Nodes, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Map<String, Value>>,
    /// Plugins, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Map<String, Value>>,
    /// The file it came from, where the applier said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The release it was applied as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `dev`, `production` or any other word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub environment: String,
}

/// The last applies of a Config.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigStatus {
    /// The last 20, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applies: Vec<AppliedRecord>,
}

/// One apply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedRecord {
    /// Who applied.
    pub who: String,
    /// When.
    pub when: Timestamp,
    /// The release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// What it changed: `service/api changed`.
    #[serde(default)]
    pub changes: Vec<String>,
}

/// The answer to an apply, on the wire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplyAnswer {
    /// Always `accepted`.
    pub status: String,
    /// The version of the commit; the newest version where nothing changed.
    pub resource_version: ResourceVersion,
    /// Whether nothing was written because only a trial was asked for.
    pub dry_run: bool,
    /// What changed, in the order of the file.
    pub changes: Vec<AppliedChange>,
    /// What this Config once said and no longer does; still there.
    pub orphaned: Vec<String>,
    /// What deserves attention.
    pub warnings: Vec<orion_model::Issue>,
}

/// What an apply did to one object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppliedChange {
    /// Kind: `Service`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// `created`, `changed`, `unchanged`, `deleted`.
    pub action: String,
    /// The fields that changed, with a remark where one was kept: `replicas: 5 kept (scaled; file: 3)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// What it does to processes: `restarts 3 one at a time`, `in place`, `none`.
    pub effect: String,
}
