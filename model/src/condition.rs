//! Conditions: what is true of an object, since when and why, as Kubernetes writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can say now.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// One condition of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which condition: `Ready`, `Available`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// A CamelCase word that says why.
    #[serde(default)]
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: Timestamp,
    /// The generation of the object this was said of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The conditions of an object, at most one of each type, in the order in which they first appeared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent, inline)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// The condition of this type.
    pub fn get(&self, kind: &str) -> Option<&Condition> {
        self.0.iter().find(|condition| condition.kind == kind)
    }

    /// Whether the condition of this type is there and holds.
    pub fn is_true(&self, kind: &str) -> bool {
        self.get(kind).is_some_and(|condition| condition.status == ConditionStatus::True)
    }

    /// These conditions with one more, or one replaced. The transition time of one whose status stays is kept, so that
    /// saying the same thing again changes nothing.
    #[must_use]
    pub fn with(mut self, condition: Condition) -> Self {
        self.set(condition);
        self
    }

    /// Sets a condition as [`with`](Self::with) does.
    pub fn set(&mut self, mut condition: Condition) {
        match self.0.iter_mut().find(|existing| existing.kind == condition.kind) {
            Some(existing) => {
                if existing.status == condition.status {
                    condition.last_transition_time = existing.last_transition_time;
                }
                *existing = condition;
            }
            None => self.0.push(condition),
        }
    }

    /// Removes the condition of this type.
    pub fn remove(&mut self, kind: &str) {
        self.0.retain(|condition| condition.kind != kind);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Condition> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(status: bool, message: &str, at: i64) -> Condition {
        Condition {
            kind: "Ready".into(),
            status: status.into(),
            reason: "Probed".into(),
            message: message.into(),
            last_transition_time: Timestamp::from_millis(at),
            observed_generation: Some(1),
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let conditions = Conditions::default().with(ready(true, "a", 1000)).with(ready(true, "b", 2000));
        let condition = conditions.get("Ready").expect("set");
        assert_eq!((condition.last_transition_time.as_millis(), condition.message.as_str()), (1000, "b"));
        let conditions = conditions.with(ready(false, "c", 3000));
        assert_eq!(conditions.get("Ready").expect("set").last_transition_time.as_millis(), 3000);
        assert!(!conditions.is_true("Ready"));
    }
}
