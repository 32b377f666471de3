//! A server as a command sees it: a client, and the words by which people name objects.

use orion_http::{HttpClient, Kinds};
use orion_model::{ClientError, Kind, LabelSelector, ObjectKey, Resource, Selection};
use orion_types::suggest::did_you_mean;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{cli::Global, endpoint::Endpoint, failure::Failure};

/// A server that a command speaks to.
pub(crate) struct Remote {
    pub(crate) client: HttpClient,
    pub(crate) namespace: String,
    kinds: Kinds,
}

/// What a word on the command line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// All objects of a kind.
    Kind(Kind),
    /// One object.
    Object(ObjectKey),
}

/// The kinds that `all` means: what a person asks for first.
const ALL: [&str; 4] = ["services", "replicas", "jobs", "runs"];

impl Remote {
    /// The server that the global flags and the environment name.
    pub(crate) async fn of(global: &Global) -> Result<Self, Failure> {
        Self::at(&Endpoint::find(global)?, global.namespace()).await
    }

    /// The server at an endpoint, asked which kinds it has.
    pub(crate) async fn at(endpoint: &Endpoint, namespace: &str) -> Result<Self, Failure> {
        let client = HttpClient::new(&endpoint.url, endpoint.token.clone())?;
        let kinds = client.kinds().await.map_err(|error| match error {
            ClientError::Unavailable(_) => endpoint.unreachable(&error),
            error => error.into(),
        })?;
        Ok(Self { client, namespace: namespace.to_owned(), kinds })
    }

    /// The kind that goes by a word.
    pub(crate) fn kind(&self, word: &str) -> Result<Kind, Failure> {
        self.kinds.resolve(word).map_err(|error| {
            let known = self.kinds.iter().map(|kind| kind.names()).flat_map(|names| [&*names.plural, &*names.singular]);
            Failure::usage(format!("{error}{}", did_you_mean(word, known)))
        })
    }

    /// What words mean: `services`, `svc,jobs`, `service/api`, `service api web`, `all`.
    pub(crate) fn targets(&self, words: &[String]) -> Result<Vec<Target>, Failure> {
        let Some((first, names)) = words.split_first() else { return Ok(Vec::new()) };
        if first.contains('/') {
            return words.iter().map(|word| self.slashed(word)).collect();
        }
        let named = if first == "all" { ALL.to_vec() } else { first.split(',').collect() };
        let kinds = named.into_iter().map(|word| self.kind(word)).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Ok(kinds.into_iter().map(Target::Kind).collect());
        }
        let [kind] = kinds.as_slice() else { return Err(Failure::usage("names go with one kind only")) };
        Ok(names.iter().map(|name| Target::Object(self.key(kind, name))).collect())
    }

    /// Objects by words, where a bare name means one of `default`'s kind.
    pub(crate) fn objects(&self, words: &[String], default: &str) -> Result<Vec<ObjectKey>, Failure> {
        let (first, rest) = words.split_first().ok_or_else(|| Failure::usage("name an object"))?;
        let kind_first = !first.contains('/') && !rest.is_empty() && !self.kinds.called(first).is_empty();
        let (kind, names) = if kind_first { (first.as_str(), rest) } else { (default, words) };
        let kind = self.kind(kind)?;
        names
            .iter()
            .map(|word| match word.contains('/') {
                false => Ok(self.key(&kind, word)),
                true => match self.slashed(word)? {
                    Target::Object(key) => Ok(key),
                    Target::Kind(kind) => Err(Failure::usage(format!("{word:?} names no {}", kind.names().singular))),
                },
            })
            .collect()
    }

    /// Objects of kind `K` alone, by words.
    pub(crate) fn objects_of<K: Resource>(&self, words: &[String]) -> Result<Vec<ObjectKey>, Failure> {
        let keys = self.objects(words, K::KIND.plural())?;
        match keys.iter().find(|key| key.kind != K::KIND) {
            None => Ok(keys),
            Some(other) => Err(Failure::usage(format!("{} is no {}", shown(other), K::KIND.name().to_lowercase()))),
        }
    }

    /// One object by words, where a bare name is looked for among several kinds.
    pub(crate) async fn find(&self, words: &[String], among: &[&str]) -> Result<ObjectKey, Failure> {
        let name = match words {
            [name] if !name.contains('/') => name,
            _ => {
                let keys = self.objects(words, among[0])?;
                return match <[_; 1]>::try_from(keys) {
                    Ok([key]) => Ok(key),
                    Err(_) => Err(Failure::usage("name one object")),
                };
            }
        };
        let mut found = Vec::new();
        for word in among {
            let key = self.key(&self.kind(word)?, name);
            match self.client.get(&key).await {
                Ok(_) => found.push(key),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Failure::refused(self.nobody(name, among))),
            _ => {
                let several: Vec<_> = found.iter().map(shown).collect();
                Err(Failure::usage(format!("{name:?} is {}; say which", several.join(" and "))))
            }
        }
    }

    fn nobody(&self, name: &str, among: &[&str]) -> String {
        let singular =
            |word: &&str| self.kind(word).map_or_else(|_| (*word).to_owned(), |kind| kind.names().singular.to_string());
        let kinds: Vec<_> = among.iter().map(singular).collect();
        let hint = match self.kinds.called(name).first() {
            Some(kind) => format!("; name one of them, as in {}/NAME", kind.names().singular),
            None => String::new(),
        };
        format!("there is no {} {name:?} in namespace {}{hint}", alternatives(&kinds), self.namespace)
    }

    /// A selection of a kind in this command's namespace.
    pub(crate) fn selection(&self, kind: &Kind) -> Selection {
        let selection = Selection::all(kind.clone());
        if kind.is_namespaced() { selection.in_namespace(self.namespace.as_str()) } else { selection }
    }

    /// The key of an object in this command's namespace.
    pub(crate) fn key(&self, kind: &Kind, name: &str) -> ObjectKey {
        let namespace = if kind.is_namespaced() { self.namespace.as_str() } else { "" };
        ObjectKey::new(kind.clone(), namespace, name)
    }

    /// Reads an object of a kind this program knows.
    pub(crate) async fn get<K: Resource>(&self, key: &ObjectKey) -> Result<K, Failure> {
        decoded(self.client.get(key).await?)
    }

    /// Lists the objects of a kind this program knows that have these labels, in this command's namespace.
    pub(crate) async fn list<K: Resource>(&self, labels: LabelSelector) -> Result<Vec<K>, Failure> {
        let listing = self.client.list(&self.selection(&K::KIND).with_labels(labels)).await?;
        listing.items.into_iter().map(decoded).collect()
    }

    fn slashed(&self, word: &str) -> Result<Target, Failure> {
        match word.split_once('/') {
            Some((kind, name)) if !name.is_empty() => Ok(Target::Object(self.key(&self.kind(kind)?, name))),
            _ => Ok(Target::Kind(self.kind(word.trim_end_matches('/'))?)),
        }
    }
}

/// An object as the type this program knows it by.
pub(crate) fn decoded<T: DeserializeOwned>(object: Value) -> Result<T, Failure> {
    let named = format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name"));
    serde_json::from_value(object)
        .map_err(|error| Failure::refused(format!("{named} is not as this orion knows it: {error}")))
}

/// `a, b or c`.
fn alternatives(words: &[String]) -> String {
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}

/// A label selector from the command line.
pub(crate) fn labels(text: Option<&str>) -> Result<LabelSelector, Failure> {
    text.map_or(Ok(LabelSelector::everything()), |text| {
        text.parse::<LabelSelector>().map_err(|error| Failure::usage(error.to_string()))
    })
}

/// `kind/name` as commands print it.
pub(crate) fn shown(key: &ObjectKey) -> String {
    format!("{}/{}", key.kind.names().singular, key.name)
}

/// A field of an object of any kind as text; empty where it is absent.
pub(crate) fn text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
