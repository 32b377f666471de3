//! A server as a command sees it: a client, and the words by which people name objects.

use orion_http::{HttpClient, Kinds};
use orion_model::{Kind, LabelSelector, ObjectKey, Selection};
use serde_json::Value;

use crate::{cli::Global, endpoint::Endpoint, failure::Failure};

/// A server that a command speaks to.
pub(crate) struct Remote {
    pub(crate) client: HttpClient,
    pub(crate) namespace: String,
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
    pub(crate) fn of(global: &Global) -> Result<Self, Failure> {
        Self::at(&Endpoint::find(global)?, &global.namespace)
    }

    /// The server at an endpoint.
    pub(crate) fn at(endpoint: &Endpoint, namespace: &str) -> Result<Self, Failure> {
        let client = HttpClient::new(&endpoint.url, endpoint.token.clone())?;
        Ok(Self { client, namespace: namespace.to_owned() })
    }

    /// The kind that goes by a word.
    pub(crate) async fn kind(&self, word: &str) -> Result<Kind, Failure> {
        self.client.kinds().await?.resolve(word).map_err(wrong_word)
    }

    /// What words mean: `services`, `svc,jobs`, `service/api`, `service api web`, `all`.
    pub(crate) async fn targets(&self, words: &[String]) -> Result<Vec<Target>, Failure> {
        let kinds = self.client.kinds().await?;
        let Some((first, names)) = words.split_first() else { return Ok(Vec::new()) };
        if first.contains('/') {
            return words.iter().map(|word| self.slashed(&kinds, word)).collect();
        }
        let named = if first == "all" { ALL.to_vec() } else { first.split(',').collect() };
        let of_kinds =
            named.into_iter().map(|word| kinds.resolve(word).map_err(wrong_word)).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Ok(of_kinds.into_iter().map(Target::Kind).collect());
        }
        let [kind] = of_kinds.as_slice() else { return Err(Failure::usage("names go with one kind only")) };
        Ok(names.iter().map(|name| Target::Object(self.key(kind, name))).collect())
    }

    /// Objects by words, where a bare name means one of `default`'s kind.
    pub(crate) async fn objects(&self, words: &[String], default: &str) -> Result<Vec<ObjectKey>, Failure> {
        let kinds = self.client.kinds().await?;
        let (first, rest) = words.split_first().ok_or_else(|| Failure::usage("name an object"))?;
        let kind_first = !first.contains('/') && !rest.is_empty() && !kinds.called(first).is_empty();
        let (kind, names) = if kind_first { (first.as_str(), rest) } else { (default, words) };
        let kind = kinds.resolve(kind).map_err(wrong_word)?;
        let key = |word: &String| match self.slashed(&kinds, word)? {
            Target::Object(key) => Ok(key),
            Target::Kind(_) => Ok(self.key(&kind, word)),
        };
        names.iter().map(|word| if word.contains('/') { key(word) } else { Ok(self.key(&kind, word)) }).collect()
    }

    /// Like [`objects`](Self::objects), where a bare name is looked for among several kinds.
    pub(crate) async fn find(&self, words: &[String], among: &[&str]) -> Result<ObjectKey, Failure> {
        let [name] = words else {
            let keys = self.objects(words, among[0]).await?;
            let [key] = keys.as_slice() else { return Err(Failure::usage("name one object")) };
            return Ok(key.clone());
        };
        if name.contains('/') {
            return Ok(self.objects(words, among[0]).await?.remove(0));
        }
        let kinds = self.client.kinds().await?;
        let mut found = Vec::new();
        for word in among {
            let key = self.key(&kinds.resolve(word).map_err(wrong_word)?, name);
            match self.client.get(&key).await {
                Ok(_) => found.push(key),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Failure::refused(format!(
                "there is no {} {name:?} in namespace {}",
                among.join(", no "),
                self.namespace
            ))),
            _ => {
                let several: Vec<_> = found.iter().map(|key| format!("{}/{name}", key.kind.names().singular)).collect();
                Err(Failure::usage(format!("{name:?} is {}; say which", several.join(" and "))))
            }
        }
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

    fn slashed(&self, kinds: &Kinds, word: &str) -> Result<Target, Failure> {
        match word.split_once('/') {
            Some((kind, name)) if !name.is_empty() => {
                let kind = kinds.resolve(kind).map_err(wrong_word)?;
                Ok(Target::Object(self.key(&kind, name)))
            }
            _ => Ok(Target::Kind(kinds.resolve(word).map_err(wrong_word)?)),
        }
    }
}

/// A label selector from the command line.
pub(crate) fn labels(text: Option<&str>) -> Result<LabelSelector, Failure> {
    text.map_or(Ok(LabelSelector::everything()), |text| {
        text.parse().map_err(|error| Failure::usage(format!("{error}")))
    })
}

/// `kind/name` as commands print it.
pub(crate) fn shown(key: &ObjectKey) -> String {
    format!("{}/{}", key.kind.names().singular, key.name)
}

/// A field of an object as text; empty where it is absent.
pub(crate) fn text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A number of an object; 0 where it is absent.
pub(crate) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn wrong_word(error: orion_model::ClientError) -> Failure {
    Failure::usage(error.to_string())
}
