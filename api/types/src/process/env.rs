//! The environment a process is given.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::scalar::{Scalar, any_text, impl_scalar};

/// The value of an environment variable. Numbers and booleans are taken as the text they were written as.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvValue(String);

impl EnvValue {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for EnvValue {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for EnvValue {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Scalar for EnvValue {
    const FORMAT: &'static str = "env-value";
    const TYPES: &'static [&'static str] = &["string", "number", "boolean"];

    fn read(value: &Value) -> Result<Self, String> {
        any_text(value).map(Self)
    }

    fn write(&self) -> Value {
        Value::String(self.0.clone())
    }
}

impl_scalar!(EnvValue);

/// Whether an environment can hold a variable of this name: it is not empty and has neither `=` nor NUL.
pub fn is_env_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// A set of variables from elsewhere: a file (read by the CLI at apply) or a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvSource {
    /// A file of `NAME=value` lines beside the configuration. The CLI turns it into a Secret; the server refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The name of a Secret, all of whose entries become variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether it may be absent; default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}
