//! The schema of a kind: checks objects, finds unknown fields, fills in defaults.

use std::{fmt, sync::Arc};

use jsonschema::Validator;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

use crate::{Issue, path::FieldPath};

/// A schema that is none.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(String);

/// A JSON schema (OpenAPI 3's flavour, everything inline) with its compiled validator.
#[derive(Clone)]
pub struct Schema(Arc<Compiled>);

struct Compiled {
    value: Value,
    validator: Validator,
}

/// A field that the schema does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Where: `spec.replcas`.
    pub path: String,
    /// The known field it is most like, if one is near.
    pub meant: Option<String>,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// When it is not a valid JSON schema.
    pub fn new(value: Value) -> Result<Self, SchemaError> {
        let validator = jsonschema::options().build(&value).map_err(|e| SchemaError(e.to_string()))?;
        Ok(Self(Arc::new(Compiled { value, validator })))
    }

    /// The schema of a derived kind: metadata, `spec` and `status` by their types.
    ///
    /// # Panics
    /// When a type's `JsonSchema` is not a valid schema, which is a defect of that implementation.
    pub fn of<Spec: JsonSchema, Status: JsonSchema>() -> Self {
        let mut properties = Map::new();
        properties.insert("spec".into(), Self::inline::<Spec>());
        properties.insert("status".into(), Self::inline::<Status>());
        Self::of_properties(properties, &["spec"])
    }

    /// The schema of a kind with these properties beside `apiVersion`, `kind` and `metadata`.
    ///
    /// # Panics
    /// When a property's schema is not valid.
    pub fn of_properties(mut properties: Map<String, Value>, required: &[&str]) -> Self {
        let string = serde_json::json!({"type": "string"});
        properties.insert("apiVersion".into(), string.clone());
        properties.insert("kind".into(), string);
        properties.insert("metadata".into(), Self::inline::<crate::Metadata>());
        let schema = serde_json::json!({"type": "object", "properties": properties, "required": required});
        Self::new(schema).expect("a derived schema is valid")
    }

    /// The inlined schema of one type.
    pub fn inline<T: JsonSchema>() -> Value {
        let settings = SchemaSettings::openapi3().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let mut value = settings.into_generator().into_root_schema_for::<T>().to_value();
        if let Some(fields) = value.as_object_mut() {
            fields.shift_remove("title");
            fields.shift_remove("components");
        }
        value
    }

    /// The schema as JSON.
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// All that is wrong with a value, each with its path.
    pub fn issues(&self, value: &Value) -> Vec<Issue> {
        if self.0.validator.is_valid(value) {
            return Vec::new();
        }
        let errors = self.0.validator.iter_errors(value);
        errors.map(|error| Issue::at(dotted(error.instance_path().as_str()), error.to_string())).collect()
    }

    /// Whether the schema has a field at `path`.
    pub fn has(&self, path: &FieldPath) -> bool {
        let mut at = &self.0.value;
        for segment in path.segments() {
            match property(at, segment) {
                Found::Field(schema) => at = schema,
                Found::Open => return true,
                Found::Nothing => return false,
            }
        }
        true
    }

    /// The fields of `value` that the schema does not know, with a proposal where one is near. Fields whose names
    /// begin with `x-` are free.
    pub fn unknown_fields(&self, value: &Value) -> Vec<UnknownField> {
        let mut found = Vec::new();
        collect_unknown(&self.0.value, value, "", &mut found);
        found
    }

    /// Fills in the defaults of absent fields within the objects that are there. Items of lists are left as written:
    /// clients compare lists whole, and would see a difference for ever.
    pub fn fill_defaults(&self, value: &mut Value) {
        fill(&self.0.value, value);
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

enum Found<'a> {
    Field(&'a Value),
    Open,
    Nothing,
}

/// The branches of a schema that each hold a part of its fields.
fn branches(schema: &Value) -> impl Iterator<Item = &Value> {
    ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten()
}

fn property<'a>(schema: &'a Value, name: &str) -> Found<'a> {
    if schema.as_bool() == Some(true) || schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
    {
        return Found::Open;
    }
    if let Some(field) = schema.get("properties").and_then(|properties| properties.get(name)) {
        return Found::Field(field);
    }
    for branch in branches(schema) {
        match property(branch, name) {
            Found::Nothing => {}
            found => return found,
        }
    }
    match schema.get("additionalProperties") {
        Some(Value::Bool(false)) => Found::Nothing,
        Some(Value::Bool(true)) => Found::Open,
        Some(values) => Found::Field(values),
        None if has_fields(schema) => Found::Nothing,
        None => Found::Open,
    }
}

fn has_fields(schema: &Value) -> bool {
    schema.get("properties").is_some()
        || branches(schema).any(has_fields)
        || schema.get("type").is_some_and(|t| t != "object")
}

fn items(schema: &Value) -> Option<&Value> {
    schema.get("items").or_else(|| branches(schema).find_map(items))
}

fn known_names<'a>(schema: &'a Value, names: &mut Vec<&'a str>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        names.extend(properties.keys().map(String::as_str));
    }
    branches(schema).for_each(|branch| known_names(branch, names));
}

fn collect_unknown(schema: &Value, value: &Value, path: &str, found: &mut Vec<UnknownField>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match property(schema, name) {
                    Found::Field(field) => collect_unknown(field, inner, &at, found),
                    Found::Open => {}
                    Found::Nothing if name.starts_with("x-") => {}
                    Found::Nothing => found.push(UnknownField { path: at, meant: nearest(schema, name) }),
                }
            }
        }
        Value::Array(list) => {
            let Some(schema) = items(schema) else { return };
            for (index, inner) in list.iter().enumerate() {
                collect_unknown(schema, inner, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn nearest(schema: &Value, name: &str) -> Option<String> {
    let mut names = Vec::new();
    known_names(schema, &mut names);
    let scored =
        names.into_iter().map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase()), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then(|| best.1.to_owned())
}

fn fill(schema: &Value, value: &mut Value) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            match (fields.get_mut(name), property.get("default")) {
                (Some(inner), _) => fill(property, inner),
                (None, Some(default)) if !default.is_null() => {
                    fields.insert(name.clone(), default.clone());
                }
                (None, _) => {}
            }
        }
    }
    if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
        all.iter().for_each(|branch| fill(branch, value));
    }
}

/// `/spec/ports/0/port` as `spec.ports[0].port`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if segment.chars().all(|c| c.is_ascii_digit()) && !segment.is_empty() {
            path.push_str(&format!("[{segment}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&segment);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", default)]
    struct Spec {
        replicas: u32,
        ports: Vec<Port>,
        update: Update,
        #[serde(flatten)]
        extra: Extra,
    }
    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Extra {
        path: Option<String>,
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Port {
        port: u16,
        #[serde(default = "tcp")]
        protocol: String,
    }
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", default)]
    struct Update {
        max_surge: u32,
    }
    impl Default for Update {
        fn default() -> Self {
            Self { max_surge: 1 }
        }
    }
    impl Default for Spec {
        fn default() -> Self {
            Self { replicas: 1, ports: Vec::new(), update: Update::default(), extra: Extra::default() }
        }
    }
    fn tcp() -> String {
        "tcp".into()
    }

    fn schema() -> Schema {
        Schema::of::<Spec, crate::NoStatus>()
    }

    #[test]
    fn every_wrong_field_is_named_with_its_path() {
        let object =
            json!({"metadata": {"name": "a"}, "spec": {"replicas": "three", "ports": [{"port": 80}, {"port": 70000}]}});
        let issues = schema().issues(&object);
        let paths: Vec<_> = issues.iter().map(|issue| issue.path.as_str()).collect();
        assert_eq!(paths, ["spec.replicas", "spec.ports[1].port"], "{issues:?}");
    }

    #[test]
    fn unknown_fields_are_found_with_a_proposal_and_x_fields_are_free() {
        let object =
            json!({"spec": {"replcas": 1, "x-note": 1, "path": "a", "ports": [{"port": 1, "protcol": "tcp"}]}});
        let unknown = schema().unknown_fields(&object);
        assert_eq!(
            unknown,
            [
                UnknownField { path: "spec.replcas".into(), meant: Some("replicas".into()) },
                UnknownField { path: "spec.ports[0].protcol".into(), meant: Some("protocol".into()) },
            ]
        );
    }

    #[test]
    fn defaults_fill_objects_and_leave_list_items_as_written() {
        let mut object = json!({"spec": {"update": {}, "ports": [{"port": 80}]}});
        schema().fill_defaults(&mut object);
        assert_eq!(object, json!({"spec": {"update": {"maxSurge": 1}, "ports": [{"port": 80}], "replicas": 1}}));
    }

    #[test]
    fn a_schema_knows_which_paths_it_has() {
        assert!(schema().has(&FieldPath::new(".spec.update.maxSurge")));
        assert!(schema().has(&FieldPath::new(".metadata.labels[any]")));
        assert!(!schema().has(&FieldPath::new(".spec.nothing")));
    }
}
