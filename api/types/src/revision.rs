//! Revisions: the process templates a Service has had, immutable.

use orion_model::{Issue, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::process::Template;

/// One process template of a Service. Its name is `<service>-<hash>`.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Revision, group = "orion", version = "v1", short = "rev", validate = immutable)]
#[resource(
    column("SERVICE", ".spec.serviceName"),
    column("NUMBER", ".spec.number"),
    column("RELEASE", ".spec.template.release")
)]
#[resource(selectable = ".spec.serviceName")]
#[serde(rename_all = "camelCase", default)]
pub struct RevisionSpec {
    /// The Service it belongs to.
    pub service_name: String,
    /// Counts the Service's revisions, from 1; the highest is the newest, and one that is gone back to gets no new one.
    pub number: u64,
    /// The template's hash.
    pub hash: String,
    /// The template.
    pub template: Template,
}

fn immutable(new: &Revision, old: Option<&Revision>) -> Vec<Issue> {
    let changed = old.is_some_and(|old| old.spec != new.spec);
    changed.then(|| Issue::at("spec", "of a Revision cannot be changed")).into_iter().collect()
}
