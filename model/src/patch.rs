//! JSON merge patch (RFC 7396): `null` removes, objects merge, everything else replaces.

use serde_json::{Map, Value};

/// Applies a merge patch to a value in place.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else {
        return;
    };
    for (name, change) in patch {
        match change {
            Value::Null => {
                fields.shift_remove(name);
            }
            change => merge(fields.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

/// The merge patch that turns `old` into `new`, or `None` where they are equal.
///
/// A `null` inside `new`'s objects reads as an absent field, since a merge patch cannot say it.
pub fn diff(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for name in before.keys().filter(|name| after.get(*name).is_none_or(Value::is_null)) {
        if !before[name].is_null() {
            patch.insert(name.clone(), Value::Null);
        }
    }
    for (name, value) in after.iter().filter(|(_, value)| !value.is_null()) {
        match before.get(name) {
            Some(old) => {
                if let Some(change) = diff(old, value) {
                    patch.insert(name.clone(), change);
                }
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The cases of RFC 7396, appendix A.
    #[test]
    fn merge_patches_as_the_rfc_lists_them() {
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ];
        for (mut target, patch, expected) in cases {
            merge(&mut target, &patch);
            assert_eq!(target, expected, "patch {patch}");
        }
    }

    #[test]
    fn a_diff_merged_back_gives_the_new_value() {
        let cases = [
            (json!({"a":1,"b":{"c":2,"d":3}}), json!({"a":1,"b":{"c":4}})),
            (json!({"a":[1,2]}), json!({"a":[2],"z":{}})),
            (json!({}), json!({"deep":{"er":{"x":true}}})),
        ];
        for (old, new) in cases {
            let patch = diff(&old, &new).expect("they differ");
            let mut merged = old.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, new);
            assert_eq!(diff(&new, &new), None);
        }
    }
}
