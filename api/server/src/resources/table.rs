//! Objects as a `meta.k8s.io/v1` Table: the columns that a kind's definition prints.

use std::time::Duration;

use orion_model::{Definition, Raw, ResourceVersion, Timestamp, object::Stored, path::FieldPath};
use serde_json::{Value, json};

use super::query::Query;
use crate::Failure;

/// What each row says of its object beside the cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    /// Nothing.
    Nothing,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    pub(super) fn of(query: &Query) -> Result<Self, Failure> {
        match query.text("includeObject") {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::Nothing),
            Some("Object") => Ok(Self::Object),
            Some(other) => {
                Err(Failure::invalid_option("includeObject", format!("{other:?} is not None, Metadata or Object")))
            }
        }
    }
}

/// A table of objects. Ages are counted to `now`.
pub(super) fn table(
    definition: &Definition,
    objects: &[Stored],
    version: ResourceVersion,
    include: Include,
    now: Timestamp,
) -> Value {
    let rows: Vec<_> = objects.iter().map(|object| row(definition, object, include, now)).collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": columns(definition),
        "rows": rows,
    })
}

fn columns(definition: &Definition) -> Vec<Value> {
    let mut columns = vec![json!({
        "name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Name, unique for its kind within the namespace.",
    })];
    columns.extend(definition.columns.iter().map(|column| {
        let priority = u8::from(column.wide);
        let description = format!("The field {}.", column.path);
        json!({"name": column.name, "type": "string", "format": "", "description": description, "priority": priority})
    }));
    if shows_age(definition) {
        let description = "How long ago it was created.";
        columns.push(json!({"name": "Age", "type": "string", "format": "", "description": description, "priority": 0}));
    }
    columns
}

/// A kind that prints an age of its own making gets no second one.
fn shows_age(definition: &Definition) -> bool {
    !definition.columns.iter().any(|column| column.name.eq_ignore_ascii_case("age"))
}

fn row(definition: &Definition, object: &Stored, include: Include, now: Timestamp) -> Value {
    let value = object.to_value();
    let mut cells = vec![json!(object.metadata().name)];
    cells.extend(definition.columns.iter().map(|column| {
        if definition.sensitive.contains(&column.path) { json!("<hidden>") } else { cell(&column.path, &value, now) }
    }));
    if shows_age(definition) {
        cells.push(
            object.metadata().creation_timestamp.map_or(json!("<unknown>"), |made| json!(human(now.since(made)))),
        );
    }
    match include {
        Include::Nothing => json!({"cells": cells}),
        Include::Metadata => json!({"cells": cells, "object": partial(object)}),
        Include::Object => json!({"cells": cells, "object": value}),
    }
}

fn partial(object: &Raw) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.metadata()})
}

/// A column's value as it is printed: scalars as they are, times as ages, lists of scalars joined.
fn cell(path: &FieldPath, object: &Value, now: Timestamp) -> Value {
    match path.find(object) {
        None | Some(Value::Null) => Value::Null,
        Some(Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => json!(human(now.since(time))),
            Err(_) => json!(text),
        },
        Some(Value::Array(items)) => json!(items.iter().map(plain).collect::<Vec<_>>().join(",")),
        Some(other @ Value::Object(_)) => json!(other.to_string()),
        Some(scalar) => scalar.clone(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A span of time as kubectl writes it: the more of it, the coarser.
fn human(span: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    let seconds = span.as_secs();
    let two = |unit: u64, name: &str, smaller: u64, small_name: &str| match seconds % unit / smaller {
        0 => format!("{}{name}", seconds / unit),
        rest => format!("{}{name}{rest}{small_name}", seconds / unit),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        let table = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (300_000_000, "9y"),
        ];
        for (seconds, expected) in table {
            assert_eq!(human(Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn cells_are_scalars_ages_and_joined_lists() {
        let now = Timestamp::from_millis(1_000_000);
        let object = json!({"a": 3, "b": true, "c": "x", "d": ["x", 1], "e": null, "t": "1970-01-01T00:16:00Z"});
        let table = [
            ("a", json!(3)),
            ("b", json!(true)),
            ("c", json!("x")),
            ("d", json!("x,1")),
            ("e", Value::Null),
            ("missing", Value::Null),
            ("t", json!("40s")),
        ];
        for (path, expected) in table {
            assert_eq!(cell(&FieldPath::new(path), &object, now), expected, "{path}");
        }
    }
}
