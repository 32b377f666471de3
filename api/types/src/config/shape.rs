//! What a field may hold, compiled from the JSON schema of its type.

use std::{collections::BTreeMap, sync::LazyLock};

use orion_model::schema::Schema;
use serde_json::Value;

use crate::{
    CpuQuantity, Duration, MemoryQuantity, Schedule, TimeZone,
    config::OrionConfig,
    process::{Command, EnvValue, PortRef, Release, Signal, User},
    scalar::{FORMAT_KEYWORD, Scalar, normalise},
    service::{Dependency, HookList, NodeSelector, Replicas},
};

/// What a value may be.
pub(super) enum Shape {
    /// Anything.
    Any,
    /// A boolean.
    Bool,
    /// A string.
    Text,
    /// One of some words.
    Word(Vec<String>),
    /// A whole number, bounds included.
    Integer { min: i128, max: i128 },
    /// A number, bounds included.
    Number { min: f64, max: f64 },
    /// A value with a notation of its own.
    Format(Format),
    /// A list.
    List(Box<Shape>),
    /// The list of what a configuration declares: an item that is wrong leaves its place empty, so that others keep theirs.
    Entries(Box<Shape>),
    /// A mapping with keys of any name.
    Map(Box<Shape>),
    /// A mapping with known fields.
    Object(Object),
    /// A string, or else the shape.
    TextOr(Box<Shape>),
}

/// A mapping with known fields.
pub(super) struct Object {
    pub(super) fields: BTreeMap<String, Shape>,
    pub(super) required: Vec<String>,
}

/// A value with a notation of its own.
pub(super) struct Format {
    pub(super) normalise: Normalise,
    /// Numbers and booleans are taken as the text they were written as.
    pub(super) takes_any_text: bool,
}

type Normalise = fn(&Value) -> Result<Value, String>;

const FORMATS: [(&str, Normalise); 15] = [
    (Command::FORMAT, normalise::<Command>),
    (CpuQuantity::FORMAT, normalise::<CpuQuantity>),
    (Dependency::FORMAT, normalise::<Dependency>),
    (Duration::FORMAT, normalise::<Duration>),
    (EnvValue::FORMAT, normalise::<EnvValue>),
    (HookList::FORMAT, normalise::<HookList>),
    (MemoryQuantity::FORMAT, normalise::<MemoryQuantity>),
    (NodeSelector::FORMAT, normalise::<NodeSelector>),
    (PortRef::FORMAT, normalise::<PortRef>),
    (Release::FORMAT, normalise::<Release>),
    (Replicas::FORMAT, normalise::<Replicas>),
    (Schedule::FORMAT, normalise::<Schedule>),
    (Signal::FORMAT, normalise::<Signal>),
    (TimeZone::FORMAT, normalise::<TimeZone>),
    (User::FORMAT, normalise::<User>),
];

/// The shape of a configuration file.
pub(super) static CONFIG: LazyLock<Shape> = LazyLock::new(|| Shape::compile(&Schema::inline::<OrionConfig>()));

impl Shape {
    /// The shape a schema describes.
    fn compile(schema: &Value) -> Self {
        if let Some(name) = schema.get(FORMAT_KEYWORD).and_then(Value::as_str) {
            return Self::Format(Format::named(name, schema));
        }
        if let Some(branches) = ["oneOf", "anyOf", "allOf"].into_iter().find_map(|word| schema.get(word)?.as_array()) {
            return Self::of_branches(branches);
        }
        if let Some(words) = words(schema) {
            return Self::Word(words);
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("boolean") => Self::Bool,
            Some("string") => Self::Text,
            Some("integer") => {
                let (min, max) = integer_range(schema);
                Self::Integer { min: bound(schema, "minimum", min), max: bound(schema, "maximum", max) }
            }
            Some("number") => {
                let bound = |word: &str, or: f64| schema.get(word).and_then(Value::as_f64).unwrap_or(or);
                Self::Number { min: bound("minimum", f64::MIN), max: bound("maximum", f64::MAX) }
            }
            Some("array") => {
                let items = Box::new(schema.get("items").map_or(Self::Any, Self::compile));
                if schema.get("x-orion-entries").is_some() { Self::Entries(items) } else { Self::List(items) }
            }
            Some("object") => Self::of_object(schema),
            _ => Self::Any,
        }
    }

    /// Alternatives: words, one shape and nothing, or a string and another shape.
    fn of_branches(branches: &[Value]) -> Self {
        let real: Vec<&Value> =
            branches.iter().filter(|branch| branch.get("enum") != Some(&serde_json::json!([null]))).collect();
        if let Some(words) = real.iter().map(|branch| words(branch)).collect::<Option<Vec<_>>>() {
            return Self::Word(words.concat());
        }
        match real.as_slice() {
            [one] => Self::compile(one),
            [text, other] if matches!(Self::compile(text), Self::Text) => Self::TextOr(Box::new(Self::compile(other))),
            _ => Self::Any,
        }
    }

    fn of_object(schema: &Value) -> Self {
        match (schema.get("properties").and_then(Value::as_object), schema.get("additionalProperties")) {
            (Some(properties), _) => {
                let fields = properties.iter().map(|(name, schema)| (name.clone(), Self::compile(schema))).collect();
                let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
                Self::Object(Object {
                    fields,
                    required: required.filter_map(Value::as_str).map(str::to_owned).collect(),
                })
            }
            (None, Some(values @ Value::Object(_))) => Self::Map(Box::new(Self::compile(values))),
            (None, _) => Self::Any,
        }
    }

    /// The known fields, if it is a mapping with known fields, or a list of such.
    pub(super) fn object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::List(inner) | Self::Entries(inner) | Self::TextOr(inner) => inner.object(),
            _ => None,
        }
    }
}

impl Object {
    /// The known fields of the field of this name.
    pub(super) fn within(&self, name: &str) -> Option<&Object> {
        self.fields.get(name)?.object()
    }
}

impl Format {
    fn named(name: &str, schema: &Value) -> Self {
        let known = FORMATS.iter().find(|(known, _)| *known == name);
        let (_, normalise) = known.expect("each scalar's format stands in the table");
        let types = schema.get("type").and_then(Value::as_array);
        let takes_any_text = types.is_some_and(|types| types.iter().any(|word| word == "boolean"));
        Self { normalise: *normalise, takes_any_text }
    }
}

fn words(schema: &Value) -> Option<Vec<String>> {
    let words = schema.get("enum")?.as_array()?.iter();
    words.filter(|word| !word.is_null()).map(|word| word.as_str().map(str::to_owned)).collect()
}

fn bound(schema: &Value, word: &str, or: i128) -> i128 {
    let bound = schema.get(word);
    let whole = bound.and_then(|bound| bound.as_i64().map(i128::from).or_else(|| bound.as_u64().map(i128::from)));
    whole.or_else(|| bound.and_then(Value::as_f64).map(|bound| bound as i128)).unwrap_or(or)
}

/// The numbers of an integer's format.
fn integer_range(schema: &Value) -> (i128, i128) {
    match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("int64") => (i64::MIN.into(), i64::MAX.into()),
        _ => (0, u64::MAX.into()),
    }
}
