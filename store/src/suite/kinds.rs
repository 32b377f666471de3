//! The kinds the suite works with.

use orion_model::{Definition, Issue, Metadata, Registry, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A namespaced kind with a status, a default, a rule, a selectable and a derived field.
#[derive(Resource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Widget, group = "suite.orion", version = "v1", status = WidgetStatus)]
#[resource(selectable = ".spec.color", validate = check)]
#[serde(rename_all = "camelCase")]
pub struct WidgetSpec {
    /// How large; it may grow and never shrink.
    pub size: u32,
    /// Its colour.
    #[serde(default = "grey")]
    pub color: String,
    /// Anything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What is known of a widget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WidgetStatus {
    /// How many are ready.
    pub ready: u32,
    /// `Whole` once as many are ready as it is large; kept by the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}

/// A kind without namespaces and status.
#[derive(Resource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Zone, group = "suite.orion", version = "v1", cluster)]
pub struct ZoneSpec {
    /// Anything.
    pub note: String,
}

fn grey() -> String {
    "grey".to_owned()
}

fn check(new: &Widget, old: Option<&Widget>) -> Vec<Issue> {
    let mut issues = Vec::new();
    if new.spec.size > 1000 {
        issues.push(Issue::at(".spec.size", "is over 1000"));
    }
    if old.is_some_and(|old| old.spec.size > new.spec.size) {
        issues.push(Issue::at(".spec.size", "cannot shrink"));
    }
    issues
}

fn widgets() -> Definition {
    Widget::definition().derived::<Widget>("status.phase", |widget| {
        json!(if widget.status.ready >= widget.spec.size { "Whole" } else { "Partial" })
    })
}

/// The kinds a backend under test must serve.
pub fn registry() -> Registry {
    Registry::new().with::<Zone>().with_definition(widgets())
}

/// A widget in the namespace `default`.
pub fn widget(name: &str) -> Widget {
    let metadata = Metadata { namespace: "default".to_owned(), ..Metadata::named(name) };
    let spec = WidgetSpec { size: 1, color: grey(), note: String::new() };
    Widget { metadata, spec, status: WidgetStatus::default() }
}

/// A zone.
pub fn zone(name: &str) -> Zone {
    Zone::new(name, ZoneSpec { note: String::new() })
}
