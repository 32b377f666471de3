//! The three-way rule: set what the file says; reset to its default what the last file said and this one does not;
//! leave the rest.

use serde_json::{Map, Value};

/// What a live object's fields become, given what the last file said of them and what this one says.
///
/// Fields that neither file mentions stay as whoever set them left them. Lists and scalars are set whole.
pub(super) fn three_way(
    last: &Map<String, Value>,
    new: &Map<String, Value>,
    live: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = live.clone();
    for name in last.keys().filter(|name| !new.contains_key(*name)) {
        // Its default is filled in by the store, as for any absent field.
        match (last.get(name), merged.get_mut(name)) {
            (Some(Value::Object(said)), Some(Value::Object(fields))) => {
                *fields = three_way(said, &Map::new(), fields);
                if fields.is_empty() {
                    merged.shift_remove(name);
                }
            }
            _ => {
                merged.shift_remove(name);
            }
        }
    }
    for (name, value) in new {
        let value = match (value, merged.get(name)) {
            (Value::Object(said), Some(Value::Object(fields))) => {
                let before = last.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
                Value::Object(three_way(&before, said, fields))
            }
            (value, _) => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    merged
}

/// What becomes of `replicas`, which people and the autoscaler change beside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scaled {
    /// It is as the file says, or the file never said.
    AsSaid,
    /// Another writer changed it and the file's own value has not changed: it is kept.
    Kept {
        /// What it is.
        live: String,
        /// What the file says; nothing where the file no longer names it.
        file: Option<String>,
    },
}

/// Keeps a `replicas` that another writer changed, until the file's own value changes; and one that the file no longer
/// names.
pub(super) fn keep_scaled(
    last: &Map<String, Value>,
    new: &Map<String, Value>,
    live: &Map<String, Value>,
    merged: &mut Map<String, Value>,
) -> Scaled {
    let field = "replicas";
    let Some(now) = live.get(field) else { return Scaled::AsSaid };
    let unchanged = last.contains_key(field) && last.get(field) == new.get(field);
    let unnamed = last.contains_key(field) && !new.contains_key(field);
    if !unchanged && !unnamed {
        return Scaled::AsSaid;
    }
    merged.insert(field.to_owned(), now.clone());
    if unchanged && new.get(field) == Some(now) {
        return Scaled::AsSaid;
    }
    Scaled::Kept { live: plain(now), file: new.get(field).map(plain) }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn said_fields_are_set_unsaid_ones_reset_and_the_rest_left() {
        let table = [
            ("set", json!({}), json!({"a": 1}), json!({}), json!({"a": 1})),
            ("set over another writer", json!({"a": 1}), json!({"a": 1}), json!({"a": 2}), json!({"a": 1})),
            ("reset", json!({"a": 1}), json!({}), json!({"a": 1, "b": 2}), json!({"b": 2})),
            ("left", json!({}), json!({}), json!({"b": 2}), json!({"b": 2})),
            (
                "deep",
                json!({"env": {"A": "1", "B": "2"}}),
                json!({"env": {"A": "3"}}),
                json!({"env": {"A": "1", "B": "2", "BY_HAND": "x"}}),
                json!({"env": {"A": "3", "BY_HAND": "x"}}),
            ),
            (
                "a mapping that is no longer said loses only what was said",
                json!({"env": {"A": "1"}}),
                json!({}),
                json!({"env": {"A": "1", "BY_HAND": "x"}}),
                json!({"env": {"BY_HAND": "x"}}),
            ),
            ("lists whole", json!({"p": [1]}), json!({"p": [2]}), json!({"p": [1, 3]}), json!({"p": [2]})),
        ];
        for (case, last, new, live, expected) in table {
            assert_eq!(Value::Object(three_way(&map(last), &map(new), &map(live))), expected, "{case}");
        }
    }

    #[test]
    fn a_scaled_service_keeps_its_replicas_until_the_files_value_changes() {
        let kept = |live: &str, file: Option<&str>| Scaled::Kept { live: live.into(), file: file.map(str::to_owned) };
        let table = [
            (json!({"replicas": 3}), json!({"replicas": 3}), 5, 5, kept("5", Some("3"))),
            (json!({"replicas": 3}), json!({"replicas": 4}), 5, 4, Scaled::AsSaid),
            (json!({"replicas": 3}), json!({"replicas": 3}), 3, 3, Scaled::AsSaid),
            (json!({"replicas": 3}), json!({}), 3, 3, kept("3", None)),
            (json!({}), json!({"replicas": 2}), 5, 2, Scaled::AsSaid),
            (json!({}), json!({}), 5, 5, Scaled::AsSaid),
        ];
        for (last, new, live, expected, scaled) in table {
            let (last, new, live) = (map(last), map(new), map(json!({"replicas": live})));
            let mut merged = three_way(&last, &new, &live);
            assert_eq!(keep_scaled(&last, &new, &live, &mut merged), scaled, "{last:?} {new:?}");
            assert_eq!(merged["replicas"], json!(expected), "{last:?} {new:?}");
        }
    }
}
