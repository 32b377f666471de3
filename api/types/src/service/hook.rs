//! Plugin actions called at moments of a replica's life.

use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Duration,
    scalar::{Scalar, impl_scalar, kind_of},
};

/// Which actions are called when. Each is one hook or a list of hooks.
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
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &[HookRef])> {
        [
            ("beforeStart", &*self.before_start),
            ("afterDeploy", &*self.after_deploy),
            ("onFailure", &*self.on_failure),
            ("beforeStop", &*self.before_stop),
        ]
        .into_iter()
    }
}

/// The hooks of one moment, called in order. Written as one or as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HookList(Vec<HookRef>);

impl HookList {
    /// Whether it names no hook.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Deref for HookList {
    type Target = [HookRef];

    fn deref(&self) -> &[HookRef] {
        &self.0
    }
}

impl From<Vec<HookRef>> for HookList {
    fn from(hooks: Vec<HookRef>) -> Self {
        Self(hooks)
    }
}

impl Scalar for HookList {
    const FORMAT: &'static str = "hooks";
    const TYPES: &'static [&'static str] = &["array", "string", "object"];

    fn shape() -> Value {
        let mut hook = HookRef::shape();
        let item = json!({ "type": HookRef::TYPES, "properties": hook["properties"].clone() });
        hook["items"] = item;
        hook
    }

    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(items) => items.iter().map(HookRef::read).collect::<Result<_, _>>().map(Self),
            one => HookRef::read(one).map(|hook| Self(vec![hook])),
        }
    }

    fn write(&self) -> Value {
        self.0.iter().map(Scalar::write).collect()
    }
}

/// One hook: `plugin:action`, or `{hook, timeout, failurePolicy}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HookRef {
    /// `plugin:action`.
    pub hook: String,
    /// How long it may take; default 30s.
    pub timeout: Option<Duration>,
    /// What its failure means; default `fail` for beforeStart, `ignore` for the others.
    pub failure_policy: Option<HookFailure>,
}

/// What the failure of a hook means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum HookFailure {
    /// The replica waits, or fails.
    Fail,
    /// Nothing; it is recorded.
    Ignore,
}

impl HookRef {
    /// The plugin and its action; the last colon divides them, since a plugin's name may hold one.
    pub fn parts(&self) -> Option<(&str, &str)> {
        self.hook.rsplit_once(':').filter(|(plugin, action)| !plugin.is_empty() && !action.is_empty())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LongForm {
    hook: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure_policy: Option<HookFailure>,
}

impl Scalar for HookRef {
    const FORMAT: &'static str = "hook";
    const TYPES: &'static [&'static str] = &["string", "object"];

    fn shape() -> Value {
        let policies = json!({ "type": "string", "enum": ["fail", "ignore"] });
        json!({ "properties": { "hook": { "type": "string" }, "timeout": { "type": "string" }, "failurePolicy": policies } })
    }

    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(hook) if !hook.is_empty() => {
                Ok(Self { hook: hook.clone(), timeout: None, failure_policy: None })
            }
            Value::Object(_) => {
                let LongForm { hook, timeout, failure_policy } =
                    LongForm::deserialize(value).map_err(|error| error.to_string())?;
                Ok(Self { hook, timeout, failure_policy })
            }
            other => {
                Err(format!("must be `plugin:action` or {{hook, timeout, failurePolicy}}, not {}", kind_of(other)))
            }
        }
    }

    fn write(&self) -> Value {
        if self.timeout.is_none() && self.failure_policy.is_none() {
            return self.hook.as_str().into();
        }
        let long = LongForm { hook: self.hook.clone(), timeout: self.timeout, failure_policy: self.failure_policy };
        serde_json::to_value(long).expect("three plain fields")
    }
}

impl_scalar!(HookRef, HookList);
