//! Finds the kind of what a journal holds. One that the registry does not know is kept all the same: the program that
//! defines it may be back tomorrow.

use bytes::Bytes;
use orion_model::{
    Kind, Registry,
    kind::{Names, Scope},
};
use serde::Deserialize;

/// The kind of a stored object.
pub(crate) fn kind_of(registry: &Registry, group: &str, kind: &str, body: &Bytes) -> Kind {
    match registry.named(group, kind) {
        Some(definition) => definition.kind.clone(),
        None => unknown(group, kind, body),
    }
}

fn unknown(group: &str, kind: &str, body: &Bytes) -> Kind {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Head {
        api_version: String,
        metadata: Place,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Place {
        namespace: String,
    }
    let head: Head = serde_json::from_slice(body).unwrap_or_default();
    let version = head.api_version.rsplit('/').next().unwrap_or_default().to_owned();
    let singular = kind.to_lowercase();
    Kind::shared(Names {
        group: group.to_owned().into(),
        version: version.into(),
        kind: kind.to_owned().into(),
        plural: format!("{singular}s").into(),
        singular: singular.into(),
        short: [].as_slice().into(),
        scope: if head.metadata.namespace.is_empty() { Scope::Cluster } else { Scope::Namespaced },
    })
}
