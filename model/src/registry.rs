//! What is known of each kind, as data: names, schema, defaults, validation, derived, selectable and sensitive fields,
//! printed columns. A store is opened with a registry and holds every writer to it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value;

use crate::{
    Issue, Kind, Raw, Resource,
    object::DecodeError,
    path::FieldPath,
    schema::{Schema, SchemaError},
};

/// A printed column, as in a CustomResourceDefinition's `additionalPrinterColumns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// Where its value stands.
    pub path: FieldPath,
    /// Shown only in wide output.
    pub wide: bool,
}

type Decodes = fn(&Raw) -> Result<(), DecodeError>;
type Validate = Arc<dyn Fn(&Raw, Option<&Raw>) -> Result<Vec<Issue>, DecodeError> + Send + Sync>;
type Derive = Arc<dyn Fn(&Raw) -> Result<Vec<(FieldPath, Value)>, DecodeError> + Send + Sync>;

/// Everything a [`Registry`] knows of one kind.
#[derive(Clone)]
pub struct Definition {
    /// The kind.
    pub kind: Kind,
    /// The schema of a whole object.
    pub schema: Schema,
    /// Whether `status` is written on its own.
    pub has_status: bool,
    /// Printed columns, after the name.
    pub columns: Vec<Column>,
    /// Fields that field selectors may use, beside name and namespace.
    pub selectable: Vec<FieldPath>,
    /// Fields shown only as hashes.
    pub sensitive: Vec<FieldPath>,
    /// Whether an object reads as the kind's type; `None` where the kind has none.
    decodes: Option<Decodes>,
    validate: Vec<Validate>,
    derive: Vec<Derive>,
}

impl Definition {
    /// The definition of a kind with a type: what does not read as one is refused, whatever the schema lets through.
    pub fn of<K: Resource>(schema: Schema) -> Self {
        Self { decodes: Some(|raw| K::decode(raw).map(drop)), ..Self::new(K::KIND, schema) }
    }

    /// The definition of a kind without a type, which is what its schema says.
    pub fn new(kind: Kind, schema: Schema) -> Self {
        Self {
            kind,
            schema,
            has_status: true,
            columns: Vec::new(),
            selectable: Vec::new(),
            sensitive: Vec::new(),
            decodes: None,
            validate: Vec::new(),
            derive: Vec::new(),
        }
    }

    /// This definition for a kind without a status.
    #[must_use]
    pub fn without_status(mut self) -> Self {
        self.has_status = false;
        self
    }

    /// This definition with a printed column.
    #[must_use]
    pub fn column(mut self, name: &str, path: &str) -> Self {
        self.columns.push(Column { name: name.to_owned(), path: FieldPath::new(path), wide: false });
        self
    }

    /// This definition with a column that only wide output shows.
    #[must_use]
    pub fn wide_column(mut self, name: &str, path: &str) -> Self {
        self.columns.push(Column { name: name.to_owned(), path: FieldPath::new(path), wide: true });
        self
    }

    /// This definition with a field that selectors may use.
    #[must_use]
    pub fn selectable(mut self, path: &str) -> Self {
        self.selectable.push(FieldPath::new(path));
        self
    }

    /// This definition with a field whose value is shown only as a hash.
    #[must_use]
    pub fn sensitive(mut self, path: &str) -> Self {
        self.sensitive.push(FieldPath::new(path));
        self
    }

    /// This definition with a pure check of each new state beside the old one.
    #[must_use]
    pub fn validate<K: Resource>(
        mut self,
        check: impl Fn(&K, Option<&K>) -> Vec<Issue> + Send + Sync + 'static,
    ) -> Self {
        self.validate.push(Arc::new(move |new, old| {
            let new = K::decode(new)?;
            // An old object that no longer decodes must not make the new one unwritable.
            let old = old.and_then(|old| K::decode(old).ok());
            Ok(check(&new, old.as_ref()))
        }));
        self
    }

    /// This definition with a field that is a pure function of the object, kept by the store on each write.
    #[must_use]
    pub fn derived<K: Resource>(
        mut self,
        path: &'static str,
        field: impl Fn(&K) -> Value + Send + Sync + 'static,
    ) -> Self {
        self.derive.push(Arc::new(move |raw| Ok(vec![(FieldPath::new(path), field(&K::decode(raw)?))])));
        self
    }

    /// What is wrong with a new state beside the old one: by schema first, then by the kind's type, then by its own
    /// checks.
    pub fn issues(&self, new: &Raw, old: Option<&Raw>) -> Vec<Issue> {
        let issues = self.schema.issues(&new.to_value());
        if !issues.is_empty() {
            return issues;
        }
        if let Some(Err(error)) = self.decodes.map(|decodes| decodes(new)) {
            return vec![undecoded(error)];
        }
        self.validate.iter().flat_map(|check| check(new, old).unwrap_or_else(|error| vec![undecoded(error)])).collect()
    }

    /// The fields that are functions of this state, with their values.
    ///
    /// # Errors
    /// When the object does not read as its type.
    pub fn derived_fields(&self, state: &Raw) -> Result<Vec<(FieldPath, Value)>, DecodeError> {
        let fields: Vec<_> = self.derive.iter().map(|derive| derive(state)).collect::<Result<_, _>>()?;
        Ok(fields.into_iter().flatten().collect())
    }

    /// Whether anything is to be derived.
    pub fn derives(&self) -> bool {
        !self.derive.is_empty()
    }

    /// Checks that each path the definition names is in its schema.
    ///
    /// # Errors
    /// Names the first one that is not.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let columns = self.columns.iter().map(|column| &column.path);
        for path in columns.chain(&self.selectable).chain(&self.sensitive) {
            if !self.schema.has(path) {
                return Err(DefinitionError::NoSuchField { kind: self.kind.clone(), path: path.clone() });
            }
        }
        Ok(())
    }
}

fn undecoded(error: DecodeError) -> Issue {
    Issue::at(error.path, error.message)
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("kind", &self.kind).field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// A definition that does not fit together.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DefinitionError {
    /// A column, selectable or sensitive field is not in the schema.
    #[error("{kind} names the field {path}, which its schema does not have")]
    NoSuchField {
        /// The kind.
        kind: Kind,
        /// The path.
        path: FieldPath,
    },
    /// Two kinds of the same group and name, or two that are served under the same path.
    #[error("{0} is defined twice")]
    Twice(Kind),
    /// The schema itself is wrong.
    #[error("the schema of {0}")]
    Schema(Kind, #[source] SchemaError),
}

/// The kinds a store or a program knows.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    kinds: BTreeMap<Kind, Arc<Definition>>,
}

impl Registry {
    /// A registry of the kinds that are in every one: Lease and Event.
    pub fn new() -> Self {
        Self::default().with::<crate::Lease>().with::<crate::Event>()
    }

    /// This registry with one more kind. One that was there under this name is replaced.
    #[must_use]
    pub fn with<K: Resource>(self) -> Self {
        self.with_definition(K::definition())
    }

    /// This registry with one more definition.
    #[must_use]
    pub fn with_definition(mut self, definition: Definition) -> Self {
        self.kinds.insert(definition.kind.clone(), Arc::new(definition));
        self
    }

    /// This registry with a tuple of kinds: `Registry::new().with_all::<(Website, Probe)>()`.
    #[must_use]
    pub fn with_all<All: Kinds>(self) -> Self {
        All::register(self)
    }

    /// What is known of a kind.
    pub fn get(&self, kind: &Kind) -> Option<&Arc<Definition>> {
        self.kinds.get(kind)
    }

    /// The definition served under `/apis/{group}/{version}/{plural}`.
    pub fn served(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Definition>> {
        self.iter().find(|d| d.kind.group() == group && d.kind.version() == version && d.kind.plural() == plural)
    }

    /// The definition with this group and kind name.
    pub fn named(&self, group: &str, kind: &str) -> Option<&Arc<Definition>> {
        self.iter().find(|d| d.kind.group() == group && d.kind.name() == kind)
    }

    /// The definitions that go by `word`: kind, plural, singular or short name, each also as `name.group`.
    pub fn called(&self, word: &str) -> Vec<&Arc<Definition>> {
        self.iter().filter(|definition| definition.kind.is_called(word)).collect()
    }

    /// All definitions, by group and kind.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.kinds.values()
    }

    /// Checks every definition against its schema and the paths for clashes.
    ///
    /// # Errors
    /// Names the first that does not fit.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let mut served = std::collections::BTreeSet::new();
        for definition in self.iter() {
            definition.check()?;
            let kind = &definition.kind;
            if !served.insert((kind.group(), kind.plural())) {
                return Err(DefinitionError::Twice(kind.clone()));
            }
        }
        Ok(())
    }
}

/// A tuple of resources, to be registered together.
pub trait Kinds {
    /// Adds them to a registry.
    fn register(registry: Registry) -> Registry;
}

impl Kinds for () {
    fn register(registry: Registry) -> Registry {
        registry
    }
}

macro_rules! kinds {
    ($($kind:ident),+) => {
        impl<$($kind: Resource),+> Kinds for ($($kind,)+) {
            fn register(registry: Registry) -> Registry {
                registry$(.with::<$kind>())+
            }
        }
    };
}

kinds!(A);
kinds!(A, B);
kinds!(A, B, C);
kinds!(A, B, C, D);
kinds!(A, B, C, D, E);
kinds!(A, B, C, D, E, F);
kinds!(A, B, C, D, E, F, G);
kinds!(A, B, C, D, E, F, G, H);
kinds!(A, B, C, D, E, F, G, H, I);
kinds!(A, B, C, D, E, F, G, H, I, J);
kinds!(A, B, C, D, E, F, G, H, I, J, K);
kinds!(A, B, C, D, E, F, G, H, I, J, K, L);

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Deserializer, Serialize, de::Error};
    use serde_json::json;

    use super::*;

    #[derive(Resource, Clone, Debug, Serialize, Deserialize, JsonSchema)]
    #[resource(kind = Tank, group = "tests.orion", version = "v1")]
    struct TankSpec {
        level: Level,
    }

    /// Even, which its schema does not say.
    #[derive(Clone, Debug, Serialize, JsonSchema)]
    struct Level(u32);

    impl<'de> Deserialize<'de> for Level {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let level = u32::deserialize(deserializer)?;
            if level % 2 == 0 { Ok(Self(level)) } else { Err(D::Error::custom("must be even")) }
        }
    }

    fn issues(definition: &Definition, level: u32) -> Vec<Issue> {
        let value = json!({"metadata": {"name": "a"}, "spec": {"level": level}});
        definition.issues(&Raw::from_value(Tank::KIND, value).expect("it is an object"), None)
    }

    #[test]
    fn what_does_not_read_as_its_type_is_invalid_though_the_kind_has_no_checks() {
        let typed = Tank::definition();
        assert_eq!(issues(&typed, 4), []);
        assert_eq!(issues(&typed, 3), [Issue::at("spec.level", "must be even")]);
        let untyped = Definition::new(Tank::KIND, typed.schema);
        assert_eq!(issues(&untyped, 3), [], "the schema alone lets it through");
    }

    #[test]
    fn checks_see_only_what_reads_as_its_type() {
        let checked = Tank::definition().validate::<Tank>(|_, _| vec![Issue::at("spec", "is never right")]);
        assert_eq!(issues(&checked, 4), [Issue::at("spec", "is never right")]);
        assert_eq!(issues(&checked, 3).len(), 1, "and what does not is told once");
    }

    #[test]
    fn the_events_of_every_registry_are_typed() {
        let event = crate::Event::definition();
        let raw = Raw::from_value(crate::Event::KIND, json!({"metadata": {"name": "a"}, "eventTime": "yesterday"}));
        let issues = event.issues(&raw.expect("it is an object"), None);
        assert_eq!(issues.len(), 1, "{issues:?}");
        assert_eq!(issues[0].path, "eventTime");
    }
}
