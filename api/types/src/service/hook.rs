//! Plugin actions called at moments of a replica's life.

use std::{fmt, ops::Deref};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::scalar::{Scalar, impl_scalar, kind_of};

/// Which actions are called when. Each is one hook or a list of hooks, named `plugin:action`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Before each placement of a replica; may refuse it or add environment.
    #[serde(skip_serializing_if = "HookList::is_empty")]
    pub before_start: HookList,
    /// When a rollout is done.
    #[serde(skip_serializing_if = "HookList::is_empty")]
    pub after_deploy: HookList,
    /// When a replica fails or a rollout is rolled back.
    #[serde(skip_serializing_if = "HookList::is_empty")]
    pub on_failure: HookList,
    /// Before the stop signal.
    #[serde(skip_serializing_if = "HookList::is_empty")]
    pub before_stop: HookList,
}

impl Hooks {
    /// Whether no hook is named.
    pub fn is_empty(&self) -> bool {
        self.all().all(|(_, hooks)| hooks.is_empty())
    }

    /// The moments with their hooks, by field name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &[Hook])> {
        [
            ("beforeStart", &*self.before_start),
            ("afterDeploy", &*self.after_deploy),
            ("onFailure", &*self.on_failure),
            ("beforeStop", &*self.before_stop),
        ]
        .into_iter()
    }
}

/// One hook: `plugin:action`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hook(String);

impl Hook {
    /// A hook by its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The plugin and its action. The last colon divides them, since a plugin's name may hold one; `None` where the
    /// text names no plugin or no action, and so nothing that could be called.
    pub fn parts(&self) -> Option<(&str, &str)> {
        self.0.rsplit_once(':').filter(|(plugin, action)| !plugin.is_empty() && !action.is_empty())
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The hooks of one moment, called in order. Written as one or as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HookList(Vec<Hook>);

impl Deref for HookList {
    type Target = [Hook];

    fn deref(&self) -> &[Hook] {
        &self.0
    }
}

impl HookList {
    /// Whether it names no hook.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Hook> for HookList {
    fn from_iter<I: IntoIterator<Item = Hook>>(hooks: I) -> Self {
        Self(hooks.into_iter().collect())
    }
}

impl Scalar for HookList {
    const FORMAT: &'static str = "hooks";
    const TYPES: &'static [&'static str] = &["array", "string"];

    fn shape() -> Value {
        json!({ "items": { "type": "string" } })
    }

    fn read(value: &Value) -> Result<Self, String> {
        let hook = |value: &Value| match value {
            Value::String(text) if !text.is_empty() => Ok(Hook::new(text.as_str())),
            other => Err(format!("must be `plugin:action` or a list of such, not {}", kind_of(other))),
        };
        match value {
            Value::Array(items) => items.iter().map(hook).collect(),
            one => hook(one).map(|hook| Self(vec![hook])),
        }
    }

    fn write(&self) -> Value {
        self.0.iter().map(Hook::as_str).collect()
    }
}

impl_scalar!(HookList);
