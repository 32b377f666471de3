//! One config over another, and `--set` over all.

use orion_model::yaml;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// The lists of a config whose items are told apart by name, and so merge by name.
const NAMED_LISTS: [&str; 4] = ["services", "jobs", "nodes", "plugins"];

/// Lays one document over another: mappings merge, named lists merge by name, everything else is replaced. `name` is
/// the field that both stand in.
pub(super) fn merge(base: &mut Value, over: Value, name: &str) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name.clone()).or_insert(Value::Null), value, &name);
            }
        }
        (Value::Array(base), Value::Array(over)) if NAMED_LISTS.contains(&name) => {
            for item in over {
                let same =
                    base.iter_mut().find(|known| known.get("name").is_some() && known.get("name") == item.get("name"));
                match same {
                    Some(known) => merge(known, item, ""),
                    None => base.push(item),
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// Sets a value: `spec.services.api.replicas=3`, `release=2026-11-24.1`.
pub(super) fn set(config: &mut Value, assignment: &str) -> Result<(), Failure> {
    let (path, text) =
        assignment.split_once('=').ok_or_else(|| Failure::usage(format!("--set {assignment}: wants PATH=VALUE")))?;
    if path == "release" {
        return set_release(config, text);
    }
    let value = scalar(text).map_err(|error| Failure::usage(format!("--set {assignment}: {error}")))?;
    let mut at = config;
    for segment in path.split('.') {
        at =
            step(at, segment).ok_or_else(|| Failure::usage(format!("--set {path}: there is no {segment:?} to set")))?;
    }
    *at = value;
    Ok(())
}

/// `--set release=X` is for every service and job of the config.
fn set_release(config: &mut Value, release: &str) -> Result<(), Failure> {
    let spec = config.get_mut("spec").and_then(Value::as_object_mut);
    let Some(spec) = spec else { return Err(Failure::usage("--set release: the config has no spec")) };
    for list in ["services", "jobs"] {
        for item in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(item) = item.as_object_mut() {
                item.insert("release".into(), release.into());
            }
        }
    }
    Ok(())
}

/// A field of a mapping (made if absent), or an item of a list by its name or its number.
fn step<'a>(at: &'a mut Value, segment: &str) -> Option<&'a mut Value> {
    if segment.is_empty() {
        return None;
    }
    if at.is_null() {
        *at = Value::Object(Map::new());
    }
    match at {
        Value::Object(fields) => Some(fields.entry(segment).or_insert(Value::Null)),
        Value::Array(items) => {
            let named = items.iter().position(|item| item.get("name").and_then(Value::as_str) == Some(segment));
            items.get_mut(named.or_else(|| segment.parse().ok())?)
        }
        _ => None,
    }
}

fn scalar(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::String(String::new()));
    }
    let documents = yaml::parse(text, &yaml::Limits::default()).map_err(|error| error.to_string())?;
    documents.into_iter().next().map(|document| document.value).ok_or_else(|| "is empty".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_merge_by_the_names_of_services() {
        let mut base = json!({"spec": {"services": [{"name": "a", "replicas": 1, "env": {"X": "1"}}, {"name": "b"}]}});
        merge(&mut base, json!({"spec": {"services": [{"name": "a", "replicas": 3}, {"name": "c"}]}}), "");
        let expected = json!({"spec": {"services": [{"name": "a", "replicas": 3, "env": {"X": "1"}}, {"name": "b"}, {"name": "c"}]}});
        assert_eq!(base, expected);
    }

    #[test]
    fn set_reaches_services_by_name_and_sets_releases_everywhere() {
        let mut config = json!({"spec": {"services": [{"name": "api"}], "jobs": [{"name": "load"}]}});
        set(&mut config, "spec.services.api.replicas=3").expect("it is there");
        set(&mut config, "spec.services.api.env.MODE=fast").expect("it is made");
        set(&mut config, "release=7").expect("it has a spec");
        let expected = json!({"spec": {
            "services": [{"name": "api", "replicas": 3, "env": {"MODE": "fast"}, "release": "7"}],
            "jobs": [{"name": "load", "release": "7"}]
        }});
        assert_eq!(config, expected);
        for refused in ["spec.services.web.replicas=3", "nothing", "=3", "spec..a=3"] {
            assert!(set(&mut config, refused).is_err(), "{refused}");
        }
    }
}
