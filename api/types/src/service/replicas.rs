//! How many replicas.

use std::fmt;

use serde_json::Value;

use crate::scalar::{Scalar, impl_scalar, kind_of};

/// A number of replicas, or one on each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replicas {
    /// So many; 0 is allowed.
    Count(u32),
    /// One on each ready node that the placement selects. Written `eachNode`.
    EachNode,
}

impl Replicas {
    /// The number, unless it is one on each node.
    pub fn count(self) -> Option<u32> {
        match self {
            Self::Count(count) => Some(count),
            Self::EachNode => None,
        }
    }
}

impl Default for Replicas {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::EachNode => f.write_str("eachNode"),
        }
    }
}

impl Scalar for Replicas {
    const FORMAT: &'static str = "replicas";
    const TYPES: &'static [&'static str] = &["integer", "string"];

    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(word) if word == "eachNode" => Ok(Self::EachNode),
            Value::Number(number) if number.as_f64().is_some_and(|n| n < 0.0) => {
                Err(format!("must be 0 or more, not {number}"))
            }
            Value::Number(number) => {
                let count = number.as_u64().and_then(|count| u32::try_from(count).ok());
                count.map(Self::Count).ok_or_else(|| format!("must be a whole number up to {}, not {number}", u32::MAX))
            }
            Value::String(word) => Err(format!("must be a number or `eachNode`, not {word:?}")),
            other => Err(format!("must be a number or `eachNode`, not {}", kind_of(other))),
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Count(count) => (*count).into(),
            Self::EachNode => "eachNode".into(),
        }
    }
}

impl_scalar!(Replicas);
