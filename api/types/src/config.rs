//! OrionConfig, the content of an orion.yaml: from a text to services, jobs, nodes and plugins, or to all that is wrong
//! with it at once.
//!
//! ```text
//! text --model::yaml--> Document --check by shape--> normalised content (sparse: what the file says)
//!                                                      |  typed, defaults filled in
//!                                                      v
//!                                     services, jobs, nodes, plugins --rules, references--> Parsed
//! ```
//!
//! The shape of each field comes from its type's JSON schema, so a field is described once, where it is defined. The
//! sparse content is what Apply merges by; the typed specs are what it would mean alone. Nothing stops at the first
//! error: what is wrong is taken out, and the rest is checked on.

pub mod unsupported;

mod check;
mod file;
mod references;
mod shape;
mod workload;

use std::collections::BTreeSet;

use orion_model::{
    Issue,
    issue::{Place, Warning},
    yaml::{self, Document, Limits},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use self::file::{
    ConfigMetadata, JobEntry, NodeEntry, OrionConfig, OrionConfigSpec, PluginEntry, PluginItem, ServiceEntry,
};
use crate::{JobSpec, ServiceSpec, applied::ConfigSpec, node::NodeSpec, plugin::PluginSpec};

/// How a text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// JSON if it reads as JSON, else YAML.
    #[default]
    Auto,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// What a check goes by.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Unknown fields are errors rather than warnings.
    pub strict: bool,
    /// `envFrom` may name files: the CLI, which reads them, says yes; the server no.
    pub env_files: bool,
    /// How many nodes there are, where that is known.
    pub nodes: Option<u32>,
    /// Plugins that are registered, beside those of the file.
    pub plugins: BTreeSet<String>,
    /// Bounds of the text.
    pub limits: Limits,
}

/// A configuration without errors.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The Config's name; `default` unless said.
    pub name: String,
    /// The namespace of all it holds; `default` unless said.
    pub namespace: String,
    /// What the file says, normalised and sparse: the spec of a Config object. `source` and `release` are the applier's.
    pub content: ConfigSpec,
    /// Services, in the order of the file, without those that a schedule makes jobs.
    pub services: Vec<Declared<ServiceSpec>>,
    /// Jobs, in the order of the file, services with a schedule among them.
    pub jobs: Vec<Declared<JobSpec>>,
    /// Nodes, in the order of the file.
    pub nodes: Vec<Declared<NodeSpec>>,
    /// Plugins that the file defines. A plugin of which it says only the name is one registered elsewhere.
    pub plugins: Vec<Declared<PluginSpec>>,
    /// What is accepted, but not silently.
    pub warnings: Vec<Warning>,
}

/// One thing a file declares.
#[derive(Clone, Debug)]
pub struct Declared<T> {
    /// Its name.
    pub name: String,
    /// Where in the file: `spec.services[0]`.
    pub path: String,
    /// Where in the text.
    pub place: Option<Place>,
    /// The fields of its spec that the file says, normalised.
    pub sparse: Map<String, Value>,
    /// Its spec, with defaults for all else.
    pub spec: T,
}

impl OrionConfig {
    /// Reads and checks a text.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of the text.
    pub fn parse(text: &str, format: Format, options: &Options) -> Result<Parsed, Vec<Issue>> {
        let documents = read(text, format, &options.limits).map_err(|error| vec![Issue::from(error)])?;
        match documents.as_slice() {
            [document] => Self::check(document, options),
            [] => Err(vec![Issue::at("", "is empty; a configuration has a spec")]),
            [_, second, ..] => {
                let message = format!("holds {} documents; a configuration is one", documents.len());
                Err(vec![Issue { place: second.place(&[]), ..Issue::at("", message) }])
            }
        }
    }

    /// Checks a document, such as one that was read from a text and changed since.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of the text.
    pub fn check(document: &Document, options: &Options) -> Result<Parsed, Vec<Issue>> {
        check::check(document, options)
    }
}

fn read(text: &str, format: Format, limits: &Limits) -> Result<Vec<Document>, yaml::Error> {
    let json = || yaml::parse_json(text, limits).map(|document| vec![document]);
    match format {
        Format::Yaml => yaml::parse(text, limits),
        Format::Json if text.trim().is_empty() => Ok(Vec::new()),
        Format::Json => json(),
        Format::Auto if !text.trim_start().starts_with(['{', '[']) => yaml::parse(text, limits),
        // What gets further is what was meant.
        Format::Auto => json().or_else(|as_json| {
            yaml::parse(text, limits).map_err(|as_yaml| if as_yaml.place > as_json.place { as_yaml } else { as_json })
        }),
    }
}

/// A spec from the fields a file says; all else at its default.
///
/// # Errors
/// When a field is not what its type reads, which the check by shape should have found.
fn typed<T: DeserializeOwned>(sparse: &Map<String, Value>) -> Result<T, serde_json::Error> {
    T::deserialize(Value::Object(sparse.clone()))
}

#[cfg(test)]
mod tests;
