//! Amounts of CPU and memory.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::scalar::{Scalar, impl_scalar, kind_of};

/// An amount of CPU in thousandths of a core. Written as cores (`0.5`, `2`) or as `"500m"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuQuantity(u64);

/// An amount of memory or disk in bytes. A bare number is MiB; `"512Mi"`, `"1G"`, `"64Ki"` and `"1024B"` say their unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryQuantity(u64);

/// How much of each there is on a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuQuantity>,
    /// Memory; a bare number is MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryQuantity>,
}

impl Capacity {
    /// The smaller of two, field by field; what one of them does not say, the other does.
    #[must_use]
    pub fn at_most(&self, other: &Self) -> Self {
        fn smaller<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (one, other) => one.or(other),
            }
        }
        Self { cpu: smaller(self.cpu, other.cpu), memory: smaller(self.memory, other.memory) }
    }
}

const MIB: u64 = 1 << 20;

/// Units of memory with their bytes; binary ones first, so that they are preferred in print.
const MEMORY_UNITS: [(&str, u64); 11] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", MIB),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("K", 1000),
    ("k", 1000),
    ("B", 1),
    ("", 1),
];

impl CpuQuantity {
    /// The most that can be written: a million cores.
    pub const MAX: Self = Self(1_000_000_000);

    /// So many thousandths of a core.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Thousandths of a core.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Cores.
    pub fn cores(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl MemoryQuantity {
    /// The most that can be written: an exbibyte.
    pub const MAX: Self = Self(1 << 60);

    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib * MIB)
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CpuQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

impl fmt::Display for MemoryQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) =
            MEMORY_UNITS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)).unwrap_or(&("B", 1));
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{}{unit}", self.0 / factor) }
    }
}

/// `number × factor`, rounded up to a whole one and bounded.
fn scaled(number: f64, factor: f64, max: u64) -> Result<u64, String> {
    if number < 0.0 {
        return Err("must not be negative".to_owned());
    }
    // The epsilon keeps what decimal notation cannot say exactly (0.57 × 1000) from rounding up.
    let product = (number * factor * (1.0 - f64::EPSILON)).ceil();
    if product.is_finite() && product <= max as f64 { Ok(product as u64) } else { Err("is too large".to_owned()) }
}

/// The number before a unit, as plain decimal digits with at most one point.
fn decimal(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'));
    text.parse().ok().filter(|_| plain)
}

impl Scalar for CpuQuantity {
    const FORMAT: &'static str = "cpu";
    const TYPES: &'static [&'static str] = &["number", "string"];

    fn read(value: &Value) -> Result<Self, String> {
        let parsed = match value {
            Value::Number(number) => number.as_f64().map(|number| (number, 1000.0)),
            Value::String(text) => match text.strip_suffix('m') {
                Some(millis) => decimal(millis).map(|number| (number, 1.0)),
                None => decimal(text).map(|number| (number, 1000.0)),
            },
            other => return Err(format!("must be cores like 0.5 or \"500m\", not {}", kind_of(other))),
        };
        let (number, factor) =
            parsed.ok_or_else(|| format!("{value} is no amount of CPU; write cores like 0.5 or \"500m\""))?;
        scaled(number, factor, Self::MAX.0).map(Self)
    }

    fn write(&self) -> Value {
        if self.0.is_multiple_of(1000) {
            return Value::from(self.0 / 1000);
        }
        Number::from_f64(self.cores()).map_or(Value::Null, Value::Number)
    }
}

impl Scalar for MemoryQuantity {
    const FORMAT: &'static str = "memory";
    const TYPES: &'static [&'static str] = &["number", "string"];

    fn read(value: &Value) -> Result<Self, String> {
        let parsed = match value {
            Value::Number(number) => number.as_f64().map(|number| (number, MIB)),
            Value::String(text) => {
                let text = text.trim();
                let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
                let factor = MEMORY_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
                // A bare number is MiB in quotes too: quoting must not divide it by a million.
                let factor = if unit.is_empty() { Some(MIB) } else { factor };
                decimal(number.trim()).zip(factor)
            }
            other => return Err(format!("must be MiB like 256, or \"512Mi\" or \"1G\", not {}", kind_of(other))),
        };
        let (number, factor) = parsed
            .ok_or_else(|| format!("{value} is no amount of memory; write MiB like 256, or \"512Mi\" or \"1G\""))?;
        scaled(number, factor as f64, Self::MAX.0).map(Self)
    }

    fn write(&self) -> Value {
        if self.0.is_multiple_of(MIB) { Value::from(self.0 / MIB) } else { Value::String(self.to_string()) }
    }
}

impl_scalar!(CpuQuantity, MemoryQuantity);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cpu_is_cores_or_thousandths() {
        let table = [
            (json!(0.5), 500, json!(0.5)),
            (json!(2), 2000, json!(2)),
            (json!("500m"), 500, json!(0.5)),
            (json!("1.5"), 1500, json!(1.5)),
            (json!(0.57), 570, json!(0.57)),
            (json!(0.0001), 1, json!(0.001)),
            (json!(0), 0, json!(0)),
        ];
        for (written, millis, canonical) in table {
            let cpu = CpuQuantity::read(&written).expect("reads");
            assert_eq!((cpu.millis(), cpu.write()), (millis, canonical), "{written}");
            assert_eq!(CpuQuantity::read(&cpu.write()), Ok(cpu));
        }
    }

    #[test]
    fn memory_is_mib_unless_it_says_its_unit() {
        let table = [
            (json!(256), 256 << 20, json!(256)),
            (json!("256"), 256 << 20, json!(256)),
            (json!("512Mi"), 512 << 20, json!(512)),
            (json!("1G"), 1_000_000_000, json!("1G")),
            (json!("1.5Gi"), 1536 << 20, json!(1536)),
            (json!("64Ki"), 64 << 10, json!("64Ki")),
            (json!("1000B"), 1000, json!("1K")),
            (json!("7B"), 7, json!("7B")),
            (json!(0.5), 1 << 19, json!("512Ki")),
            (json!(0), 0, json!(0)),
        ];
        for (written, bytes, canonical) in table {
            let memory = MemoryQuantity::read(&written).expect("reads");
            assert_eq!((memory.bytes(), memory.write()), (bytes, canonical), "{written}");
            assert_eq!(MemoryQuantity::read(&memory.write()), Ok(memory));
        }
    }

    #[test]
    fn bad_amounts_say_what_is_wrong() {
        let table = [
            (json!(-1), "negative"),
            (json!("-1"), "negative"),
            (json!(1e300), "too large"),
            (json!("lots"), "no amount"),
            (json!("1e9"), "no amount"),
            (json!(true), "not true or false"),
        ];
        for (written, says) in table {
            for error in
                [CpuQuantity::read(&written).expect_err("cpu"), MemoryQuantity::read(&written).expect_err("memory")]
            {
                assert!(error.contains(says), "{written}: {error}");
            }
        }
        assert!(MemoryQuantity::read(&json!("5 parsecs")).is_err());
    }
}
