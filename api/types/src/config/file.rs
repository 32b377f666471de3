//! The shape of a configuration file; its JSON schema is what editors and the check go by.

use std::collections::BTreeMap;

use orion_model::Metadata;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Capacity, JobSpec, Schedule, ServiceSpec, plugin::PluginSpec};

/// The content of an orion.yaml.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrionConfig {
    /// `orion/v1`, also where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `Config`, also where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What it is called.
    #[serde(default)]
    pub metadata: ConfigMetadata,
    /// What it holds.
    pub spec: OrionConfigSpec,
    /// Kept for a Config that was read from a server and is applied again; ignored.
    #[serde(default, skip_serializing)]
    pub status: Option<serde_json::Value>,
}

/// What a configuration is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMetadata {
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `dev`, `production` or any other word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub environment: String,
    /// Name and namespace, both `default` unless said; what else Kubernetes' clients write here is taken too.
    #[serde(flatten)]
    pub object: Metadata,
}

/// What a configuration holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OrionConfigSpec {
    /// Services; one with a schedule is a job.
    #[schemars(extend("x-orion-entries" = true))]
    pub services: Vec<ServiceEntry>,
    /// Jobs.
    #[schemars(extend("x-orion-entries" = true))]
    pub jobs: Vec<JobEntry>,
    /// Nodes: the labels and capacity that people declare.
    #[schemars(extend("x-orion-entries" = true))]
    pub nodes: Vec<NodeEntry>,
    /// Plugins: definitions, or names of plugins registered elsewhere.
    #[schemars(extend("x-orion-entries" = true))]
    pub plugins: Vec<PluginItem>,
    /// The file it came from; set by the applier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The release it was applied as; set by the applier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// What it is for, as a Config object keeps it; files say it in metadata.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The environment, as a Config object keeps it; files say it in metadata.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub environment: String,
}

/// A service in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEntry {
    /// Its name, a DNS label of at most 50 characters.
    pub name: String,
    /// When it is due: with a schedule it is a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// All else.
    #[serde(flatten)]
    pub spec: ServiceSpec,
}

/// A job in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobEntry {
    /// Its name, a DNS label of at most 50 characters.
    pub name: String,
    /// All else.
    #[serde(flatten)]
    pub spec: JobSpec,
}

/// A node in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeEntry {
    /// Its name, as its agent says it.
    pub name: String,
    /// Its address; the agent's own word counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Labels; they win over those the agent reports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Capacity; what counts is the smaller of declared and reported.
    #[serde(default)]
    pub capacity: Capacity,
}

/// A plugin in a file: its definition, or the name of one registered elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum PluginItem {
    /// A name.
    Name(String),
    /// A definition.
    Definition(Box<PluginEntry>),
}

/// A plugin's definition in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginEntry {
    /// Its name; hooks call it by `name:action`.
    pub name: String,
    /// All else.
    #[serde(flatten)]
    pub spec: PluginSpec,
}
