//! What has to come before a workload starts.

use std::fmt;

use serde_json::{Value, json};

use crate::scalar::kind_of;

/// A service or job that comes first. Written as its name, or as `{name, condition}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dependency {
    /// The name of a service or job in the same configuration.
    pub name: String,
    /// What it must have reached.
    pub condition: DependencyCondition,
}

/// What a dependency must have reached before its dependents start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DependencyCondition {
    /// Its process runs.
    #[default]
    Started,
    /// Its readiness probe passes.
    Ready,
    /// A Run of the job succeeded for its current template.
    Completed,
}

impl DependencyCondition {
    const ALL: [Self; 3] = [Self::Started, Self::Ready, Self::Completed];

    /// `started`, `ready` or `completed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Completed => "completed",
        }
    }
}

impl fmt::Display for DependencyCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// Not a `Scalar` by nature, but the same mechanism serves: two notations of one value, read and written in one place.
impl crate::scalar::Scalar for Dependency {
    const FORMAT: &'static str = "dependency";
    const TYPES: &'static [&'static str] = &["string", "object"];

    fn shape() -> Value {
        let conditions = DependencyCondition::ALL.map(DependencyCondition::as_str);
        json!({ "properties": { "name": { "type": "string" }, "condition": { "type": "string", "enum": conditions } } })
    }

    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(name) if !name.is_empty() => {
                Ok(Self { name: name.clone(), condition: DependencyCondition::default() })
            }
            Value::Object(fields) => {
                if let Some(other) = fields.keys().find(|key| *key != "name" && *key != "condition") {
                    return Err(format!(
                        "has the unknown field {other:?}; a dependency is a name or {{name, condition}}"
                    ));
                }
                let name =
                    fields.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()).ok_or("has no name")?;
                Ok(Self { name: name.to_owned(), condition: read_condition(fields.get("condition"))? })
            }
            other => Err(format!("must be a name or {{name, condition}}, not {}", kind_of(other))),
        }
    }

    fn write(&self) -> Value {
        match self.condition {
            DependencyCondition::Started => self.name.as_str().into(),
            condition => json!({ "name": self.name, "condition": condition.as_str() }),
        }
    }
}

fn read_condition(value: Option<&Value>) -> Result<DependencyCondition, String> {
    match value {
        None | Some(Value::Null) => Ok(DependencyCondition::default()),
        Some(word) => {
            let found = DependencyCondition::ALL.into_iter().find(|condition| word == condition.as_str());
            found.ok_or_else(|| format!("has the unknown condition {word}; it is one of started, ready, completed"))
        }
    }
}

crate::scalar::impl_scalar!(Dependency);
