//! The kinds a server has, as its discovery says.

use std::borrow::Cow;

use orion_model::{
    ClientError, Kind,
    kind::{Names, Scope},
};
use serde::Deserialize;

use crate::{HttpClient, client::nothing};

/// Discovery of all groups in one answer.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The kinds a server has.
#[derive(Clone, Debug, Default)]
pub struct Kinds(Vec<Kind>);

impl Kinds {
    /// All kinds, in the order of their groups.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.0.iter()
    }

    /// The kinds that go by a word: kind, plural, singular or short name, each also as `name.group`.
    pub fn called(&self, word: &str) -> Vec<&Kind> {
        self.iter().filter(|kind| kind.is_called(word)).collect()
    }

    /// The kind that goes by a word.
    ///
    /// # Errors
    /// [`ClientError::BadRequest`] when there is none, with those there are, or when there is more than one.
    pub fn resolve(&self, word: &str) -> Result<Kind, ClientError> {
        match self.called(word)[..] {
            [kind] => Ok(kind.clone()),
            [] => {
                let known: Vec<_> = self.iter().map(named).collect();
                Err(ClientError::BadRequest(format!("the server has no kind {word:?}; it has {}", known.join(", "))))
            }
            ref several => {
                let several: Vec<_> = several.iter().map(|kind| kind.resource()).collect();
                Err(ClientError::BadRequest(format!("{word:?} is more than one kind: {}", several.join(", "))))
            }
        }
    }
}

/// A kind as people call it: `services (svc)`.
fn named(kind: &Kind) -> String {
    let names = kind.names();
    if names.short.is_empty() {
        names.plural.to_string()
    } else {
        format!("{} ({})", names.plural, names.short.join(", "))
    }
}

impl HttpClient {
    /// Asks the server which kinds it has.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn kinds(&self) -> Result<Kinds, ClientError> {
        let about = nothing();
        let answer = self.fetch("/apis", &(), AGGREGATED, &about).await?;
        let discovered: Discovered = answer.json(&about)?;
        Ok(discovered.into_kinds())
    }
}

#[derive(Deserialize)]
struct Discovered {
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    metadata: GroupMetadata,
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
struct GroupMetadata {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource: String,
    response_kind: ResponseKind,
    scope: String,
    #[serde(default)]
    singular_resource: String,
    #[serde(default)]
    short_names: Vec<String>,
}

#[derive(Deserialize)]
struct ResponseKind {
    kind: String,
}

impl Discovered {
    /// Each kind once, in the version its group prefers.
    fn into_kinds(self) -> Kinds {
        let mut kinds = Vec::<Kind>::new();
        for group in self.items {
            for version in group.versions {
                for resource in version.resources {
                    let kind = resource.into_kind(&group.metadata.name, &version.version);
                    if !kinds.contains(&kind) {
                        kinds.push(kind);
                    }
                }
            }
        }
        Kinds(kinds)
    }
}

impl Resource {
    fn into_kind(self, group: &str, version: &str) -> Kind {
        Kind::shared(Names {
            group: Cow::Owned(group.to_owned()),
            version: Cow::Owned(version.to_owned()),
            kind: Cow::Owned(self.response_kind.kind),
            plural: Cow::Owned(self.resource),
            singular: Cow::Owned(self.singular_resource),
            short: Cow::Owned(self.short_names.into_iter().map(Cow::Owned).collect()),
            scope: if self.scope == "Namespaced" { Scope::Namespaced } else { Scope::Cluster },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds() -> Kinds {
        let resource = |plural: &str, kind: &str, short: &[&str]| {
            json!({"resource": plural, "responseKind": {"group": "g", "version": "v1", "kind": kind}, "scope": "Namespaced",
                "singularResource": kind.to_lowercase(), "verbs": [], "shortNames": short})
        };
        let group = |name: &str, resources: &[serde_json::Value]| {
            json!({"metadata": {"name": name}, "versions": [
                {"version": "v2", "freshness": "Current", "resources": resources},
                {"version": "v1", "freshness": "Current", "resources": resources}]})
        };
        let discovered = json!({"kind": "APIGroupDiscoveryList", "items": [
            group("orion", &[resource("services", "Service", &["svc"]), resource("jobs", "Job", &[])]),
            group("example.org", &[resource("jobs", "Job", &[])]),
        ]});
        serde_json::from_value::<Discovered>(discovered).expect("reads").into_kinds()
    }

    #[test]
    fn a_kind_goes_by_all_its_names_and_by_the_preferred_version() {
        for word in ["svc", "services", "service", "Service", "services.orion"] {
            let kind = kinds().resolve(word).expect(word);
            assert_eq!((kind.resource().as_str(), kind.version()), ("services.orion", "v2"), "{word}");
        }
    }

    #[test]
    fn a_word_for_no_kind_or_for_several_is_refused_with_what_there_is() {
        let error = kinds().resolve("srv").expect_err("is unknown").to_string();
        assert!(error.contains("services (svc), jobs"), "{error}");
        let error = kinds().resolve("jobs").expect_err("is ambiguous").to_string();
        assert!(error.contains("jobs.orion, jobs.example.org"), "{error}");
        assert_eq!(kinds().resolve("jobs.example.org").expect("is one").group(), "example.org");
    }
}
