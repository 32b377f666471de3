//! The table a server prints of objects (`meta.k8s.io/v1`).

use orion_model::ResourceVersion;
use serde::Deserialize;
use serde_json::Value;

use crate::resources::ListMetadata;

/// A table of objects.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Table {
    pub(crate) metadata: ListMetadata,
    /// Its columns.
    pub column_definitions: Vec<Column>,
    /// Its rows, ordered by namespace and name.
    pub rows: Vec<Row>,
}

impl Table {
    /// The version from which a watch misses nothing.
    pub fn version(&self) -> ResourceVersion {
        self.metadata.resource_version
    }
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// What it shows.
    pub description: String,
    /// Shown always at 0, in wide output above.
    pub priority: i32,
}

/// A row: one object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Row {
    /// A scalar or null for each column.
    pub cells: Vec<Value>,
    /// The object's metadata, under `metadata`.
    pub object: Value,
}

impl Row {
    /// The object's name.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The object's namespace; empty for cluster-scoped kinds.
    pub fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"].as_str().unwrap_or_default()
    }
}
