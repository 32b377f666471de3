//! Scalars with rules of their own: how a value is read, checked and written, in one place each.
//!
//! A type that implements [`Scalar`] gets serde and a JSON schema from [`impl_scalar!`](crate::scalar::impl_scalar). The
//! schema carries the scalar's format, by which the check of a configuration finds the same rule again.

use std::borrow::Cow;

use serde_json::Value;

/// A value of one JSON scalar (or a short list) that has its own notation.
pub(crate) trait Scalar: Sized {
    /// The format's name in the JSON schema, under [`FORMAT_KEYWORD`].
    const FORMAT: &'static str;
    /// The JSON types it may be written as.
    const TYPES: &'static [&'static str];

    /// What else the JSON schema says of it: the items of a list, the properties of a mapping.
    fn shape() -> Value {
        serde_json::json!({})
    }

    /// Reads it; the error says what is wrong and how to write it.
    fn read(value: &Value) -> Result<Self, String>;

    /// Writes it in its canonical form.
    fn write(&self) -> Value;
}

/// The schema keyword that names a scalar's format.
pub(crate) const FORMAT_KEYWORD: &str = "x-orion-format";

/// What a value of a scalar becomes in canonical form.
pub(crate) fn normalise<T: Scalar>(value: &Value) -> Result<Value, String> {
    T::read(value).map(|scalar| scalar.write())
}

/// The JSON schema of a scalar.
pub(crate) fn schema<T: Scalar>() -> schemars::Schema {
    let types = match T::TYPES {
        [one] => Value::from(*one),
        many => Value::from(many.to_vec()),
    };
    let mut schema = schemars::json_schema!({ "type": types, FORMAT_KEYWORD: T::FORMAT });
    if let Value::Object(shape) = T::shape() {
        shape.into_iter().for_each(|(keyword, value)| drop(schema.insert(keyword, value)));
    }
    schema
}

/// The scalar's name in the JSON schema.
pub(crate) fn schema_name<T: Scalar>() -> Cow<'static, str> {
    T::FORMAT.into()
}

/// The text of a scalar that may be written as a string, a number or a boolean.
pub(crate) fn any_text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null => Err("has no value; write \"\" for an empty one".to_owned()),
        Value::Array(_) | Value::Object(_) => Err(format!("must be one value, not {}", kind_of(value))),
    }
}

/// The text of a scalar that must be written as a string.
pub(crate) fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Bool(_) => Err(format!("must be a string; write \"{value}\"")),
        other => Err(format!("must be a string, not {}", kind_of(other))),
    }
}

/// What a person calls the type of a value.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// Gives types that are [`Scalar`] their serde and schema.
macro_rules! impl_scalar {
    ($($scalar:ty),+ $(,)?) => {$(
        impl serde::Serialize for $scalar {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::scalar::Scalar::write(self).serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $scalar {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                $crate::scalar::Scalar::read(&value).map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $scalar {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $crate::scalar::schema_name::<Self>()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::scalar::schema::<Self>()
            }

            fn inline_schema() -> bool {
                true
            }
        }
    )+};
}
pub(crate) use impl_scalar;
