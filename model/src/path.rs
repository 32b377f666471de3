//! Simple paths into an object: `.spec.template.port`.

use std::fmt;

use serde_json::Value;

/// A dotted path of field names, with or without a leading dot. A name that holds dots stands in brackets:
/// `metadata.labels[orion/config]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(String);

impl FieldPath {
    /// A path by its text.
    pub fn new(text: &str) -> Self {
        Self(text.trim_start_matches('.').to_owned())
    }

    /// The path without a leading dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its field names in order.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches('.');
            if let Some(inner) = rest.strip_prefix('[') {
                let (name, after) = inner.split_once(']')?;
                rest = after;
                return Some(name.trim_matches(['\'', '"']));
            }
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            rest = after;
            (!name.is_empty()).then_some(name)
        })
    }

    /// The value it leads to; a number segment indexes a list.
    pub fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.segments().try_fold(value, |value, segment| match value {
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
            other => other.get(segment),
        })
    }

    /// The scalar it leads to, as text; `None` where there is none.
    pub fn text_in(&self, value: &Value) -> Option<String> {
        match self.find(value)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            Value::Array(_) | Value::Object(_) => None,
            scalar => Some(scalar.to_string()),
        }
    }

    /// Sets the value it leads to, making the objects on the way.
    pub fn set(&self, value: &mut Value, to: Value) {
        let mut at = value;
        for segment in self.segments() {
            if !at.is_object() {
                *at = Value::Object(serde_json::Map::new());
            }
            let Some(fields) = at.as_object_mut() else {
                return;
            };
            at = fields.entry(segment).or_insert(Value::Null);
        }
        *at = to;
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_finds_fields_list_items_and_bracketed_names() {
        let object = json!({"metadata": {"labels": {"orion/config.x": "hello"}}, "spec": {"ports": [{"port": 80}]}});
        assert_eq!(FieldPath::new(".spec.ports[0].port").text_in(&object).as_deref(), Some("80"));
        assert_eq!(FieldPath::new("metadata.labels[orion/config.x]").text_in(&object).as_deref(), Some("hello"));
        assert_eq!(FieldPath::new("spec.missing.deep").find(&object), None);
        assert_eq!(FieldPath::new("spec.ports").text_in(&object), None);
    }

    #[test]
    fn setting_a_path_makes_what_is_missing_on_the_way() {
        let mut object = json!({"spec": {}});
        FieldPath::new(".status.phase").set(&mut object, json!("Running"));
        assert_eq!(object, json!({"spec": {}, "status": {"phase": "Running"}}));
    }
}
