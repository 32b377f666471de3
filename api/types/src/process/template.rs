//! The part of a process that restarts it when it changes, and the hash that tells whether it did.

use std::collections::BTreeMap;

use orion_model::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    process::{Command, EnvSource, EnvValue, PortSpec, Runtime, WorkloadType, command::is_release},
    scalar::{Scalar, any_text, impl_scalar},
};

/// The fields of a process whose change restarts it; all others change in place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Template {
    /// What kind of program it is; default `node`.
    #[serde(rename = "type")]
    pub kind: WorkloadType,
    /// Its folder, relative to the agent's workspace root; default `.`. `{release}` is put in.
    pub path: String,
    /// The file the runtime runs where there is no command; default `index.ts`.
    pub entry: String,
    /// What is run: a line, split as a shell splits words, or a list of words. `{release}` is put in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Whether the command runs through `/bin/sh -c`; default false.
    pub shell: bool,
    /// What runs the entry; default by type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// A name for this version of the program. A new one restarts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// An archive fetched and unpacked by the agent once; `path` is inside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// Environment variables. Numbers and booleans are taken as the text they are written as.
    pub env: BTreeMap<String, EnvValue>,
    /// Sets of environment variables from elsewhere; `env` wins over them, later ones over earlier ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvSource>,
    /// The ports it listens on.
    pub ports: Vec<PortSpec>,
    /// The user it runs as; default the agent's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// When a restart was last asked for. Set by `orion restart`, never by a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<Timestamp>,
}

impl Default for Template {
    fn default() -> Self {
        Self {
            kind: WorkloadType::default(),
            path: ".".to_owned(),
            entry: "index.ts".to_owned(),
            command: None,
            shell: false,
            runtime: None,
            release: None,
            artifact: None,
            env: BTreeMap::new(),
            env_from: Vec::new(),
            ports: Vec::new(),
            user: None,
            restarted_at: None,
        }
    }
}

impl Template {
    /// Its fields as JSON, without those that stand at their default.
    pub(crate) fn said_fields(&self) -> Map<String, Value> {
        let mut fields = fields_of(self);
        let defaults = fields_of(&Self::default());
        fields.retain(|name, value| defaults.get(name) != Some(value));
        fields
    }
}

pub(crate) fn fields_of<T: Serialize>(value: &T) -> Map<String, Value> {
    match serde_json::to_value(value).expect("a spec has string keys and finite numbers only") {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// An archive that holds a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Where it is fetched from, http or https. `{release}` is put in.
    pub url: String,
    /// The SHA-256 of the archive in hex; an archive with another is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The name of a version of a program: letters, digits, `.`, `_`, `+` and `-`, at most 128.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release(String);

impl Release {
    pub(super) const MAX_LEN: usize = 128;

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for Release {
    const FORMAT: &'static str = "release";
    const TYPES: &'static [&'static str] = &["string", "number", "boolean"];

    fn read(value: &Value) -> Result<Self, String> {
        let text = any_text(value)?;
        if is_release(&text) {
            return Ok(Self(text));
        }
        Err(format!(
            "{text:?} is no release: letters, digits, `.`, `_`, `+` and `-` only, at most {}, beginning with a letter or digit",
            Self::MAX_LEN
        ))
    }

    fn write(&self) -> Value {
        self.0.as_str().into()
    }
}

/// A user by name or number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User(String);

impl User {
    /// The name, or the number in decimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for User {
    const FORMAT: &'static str = "user";
    const TYPES: &'static [&'static str] = &["string", "number", "boolean"];

    fn read(value: &Value) -> Result<Self, String> {
        let text = any_text(value)?;
        let is_name = !text.is_empty()
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, ':' | '/' | ','));
        if is_name { Ok(Self(text)) } else { Err(format!("{text:?} is no user's name or number")) }
    }

    fn write(&self) -> Value {
        self.0.as_str().into()
    }
}

impl_scalar!(Release, User);

/// How many characters of the hash name a template: 50 bits.
const HASH_LEN: usize = 10;

/// A short name for the content of a template: the same content has the same name on every machine and in every
/// version of Orion.
///
/// It is the beginning of a SHA-256 over the template's JSON with sorted keys, in base 32, without the fields that
/// stand at their default: so a field that a later version adds changes no hash while nobody uses it.
pub fn template_hash(template: &Template) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut canonical = Value::Object(template.said_fields());
    canonical.sort_all_objects();
    let digest = Sha256::digest(canonical.to_string());
    let bits = digest.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    (0..HASH_LEN).map(|index| char::from(ALPHABET[(bits >> (59 - 5 * index) & 31) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(value: Value) -> Template {
        serde_json::from_value(value).expect("a template")
    }

    #[test]
    fn the_hash_depends_on_content_not_on_its_notation() {
        let hash = |value| template_hash(&template(value));
        let base = hash(json!({"command": "serve", "env": {"A": "1", "B": "2"}, "ports": [{"port": 80}]}));
        assert_eq!(base.len(), HASH_LEN);
        for same in [
            json!({"ports": [{"protocol": "tcp", "port": 80}], "env": {"B": 2, "A": 1}, "command": "serve"}),
            json!({"command": "serve", "type": "node", "path": ".", "entry": "index.ts", "shell": false, "env": {"A": "1", "B": "2"}, "ports": [{"port": 80, "allocation": "static"}], "user": null}),
        ] {
            assert_eq!(hash(same.clone()), base, "{same}");
        }
        for other in [
            json!({"command": "serve2", "env": {"A": "1", "B": "2"}, "ports": [{"port": 80}]}),
            json!({"command": "serve", "env": {"A": "1", "B": "3"}, "ports": [{"port": 80}]}),
            json!({"command": "serve", "env": {"A": "1", "B": "2"}, "ports": [{"port": 81}]}),
            json!({"command": "serve", "env": {"A": "1", "B": "2"}, "ports": [{"port": 80}], "restartedAt": "2026-11-24T10:00:00Z"}),
        ] {
            assert_ne!(hash(other.clone()), base, "{other}");
        }
    }

    /// The expected names are of `printf '{…}' | sha256sum | cut -c1-20 | xxd -r -p | base32 | cut -c1-10`.
    #[test]
    fn the_hash_of_known_templates_never_changes() {
        assert_eq!(template_hash(&Template::default()), "iqjw7i2vwn");
        let serve = template(json!({"ports": [{"port": 80}], "env": {"A": 1}, "command": "serve"}));
        assert_eq!(template_hash(&serve), "e4rn5ij6ee");
        let sorted = template(json!({"path": "web", "command": "serve"}));
        assert_eq!(template_hash(&sorted), "zzljdlvqit");
    }

    #[test]
    fn a_release_holds_nothing_that_means_something_in_a_path_or_a_shell() {
        for good in ["2026-11-24.3", "v1.0.0+build_7", "7"] {
            assert!(Release::read(&good.into()).is_ok(), "{good}");
        }
        for bad in ["", "../x", ".x", "a b", "a;b", "a/b", "$(x)", &"a".repeat(129)] {
            assert!(Release::read(&bad.into()).is_err(), "{bad}");
        }
    }
}
