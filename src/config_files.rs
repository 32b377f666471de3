//! What the CLI does to orion.yaml files before the server sees them: `${VAR}`, several files, `--set`.
//!
//! One file without `--set` is sent as its text, so that errors name its lines; anything else is merged into one JSON
//! document first.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use orion_model::yaml;
use serde_json::{Map, Value};

use crate::{cli, failure::Failure};

/// The lists of a config whose items are told apart by name, and so merge by name.
const NAMED_LISTS: [&str; 4] = ["services", "jobs", "nodes", "plugins"];

/// A config ready to be sent.
pub(crate) struct Document {
    /// Its text.
    pub(crate) text: String,
    /// Its media type.
    pub(crate) media_type: &'static str,
    /// The files it came from.
    pub(crate) sources: Vec<PathBuf>,
}

impl Document {
    /// What it came from, for messages.
    pub(crate) fn source(&self) -> String {
        let shown: Vec<_> = self.sources.iter().map(|path| path.display().to_string()).collect();
        shown.join(" + ")
    }

    /// The name a config without one gets: its folder's, made a DNS label.
    pub(crate) fn folder_name(&self) -> Option<String> {
        let first = self.sources.first().filter(|path| path.as_os_str() != "-")?;
        let folder = std::path::absolute(first).ok()?.parent()?.file_name()?.to_string_lossy().to_lowercase();
        let label: String = folder.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let label = label.trim_matches('-').chars().take(50).collect::<String>();
        (!label.is_empty()).then_some(label)
    }
}

/// The files a command is about: those named, or `orion.yaml` here.
pub(crate) fn named_or_default(files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    if !files.is_empty() {
        return Ok(files.to_vec());
    }
    let default = ["orion.yaml", "orion.yml"].map(PathBuf::from).into_iter().find(|path| path.is_file());
    default.map(|path| vec![path]).ok_or_else(|| {
        Failure::usage("there is no orion.yaml here; name a file with -f, or write a first one with `orion init`")
    })
}

/// Reads, expands, merges and sets.
pub(crate) fn load(files: &cli::Files) -> Result<Document, Failure> {
    let sources = named_or_default(&files.files)?;
    let texts = sources.iter().map(|path| read_expanded(path)).collect::<Result<Vec<_>, _>>()?;
    if let ([text], [], false) = (texts.as_slice(), files.set.as_slice(), lacks_name(&texts)) {
        return Ok(Document { text: text.clone(), media_type: "application/yaml", sources });
    }
    let mut merged = Value::Object(Map::new());
    for (text, path) in texts.iter().zip(&sources) {
        merge(&mut merged, parse_one(text, path)?, "");
    }
    for assignment in &files.set {
        set(&mut merged, assignment)?;
    }
    let mut document = Document { text: String::new(), media_type: "application/json", sources };
    name_after_folder(&mut merged, &document);
    document.text = merged.to_string();
    Ok(document)
}

/// Whether the only file has no `metadata.name`; such a config is named after its folder.
fn lacks_name(texts: &[String]) -> bool {
    let parsed = texts.first().and_then(|text| yaml::parse(text, &yaml::Limits::default()).ok());
    let value = parsed.and_then(|documents| documents.into_iter().next()).map(|document| document.value);
    // What is no mapping at all goes to the server as it is, which says what is wrong and where.
    value.is_some_and(|value| value.is_object() && value.pointer("/metadata/name").is_none())
}

fn name_after_folder(merged: &mut Value, document: &Document) {
    let Some(fields) = merged.as_object_mut() else { return };
    let Some(name) = document.folder_name() else { return };
    let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.entry("name").or_insert_with(|| name.into());
    }
}

fn read_expanded(path: &Path) -> Result<String, Failure> {
    let bytes = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(|e| Failure::usage(format!("cannot read stdin: {e}")))?;
        bytes
    } else {
        std::fs::read(path).map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?
    };
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::refused(format!("{}: byte {at} is not UTF-8; orion.yaml files are UTF-8 text", path.display()))
    })?;
    expand(&text, &|name| std::env::var(name).ok()).map_err(|e| Failure::refused(format!("{}:{e}", path.display())))
}

/// Replaces `${NAME}` and `${NAME:-default}`; `$${` stands for `${`. Comments are left alone.
fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut missing = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with('#') {
            expanded.push_str(line);
            continue;
        }
        expand_line(line, lookup, &mut expanded).unwrap_or_else(|name| missing.push(format!("{}: {name}", number + 1)));
    }
    if missing.is_empty() { Ok(expanded) } else { Err(missing.join("; ")) }
}

fn expand_line(line: &str, lookup: &dyn Fn(&str) -> Option<String>, expanded: &mut String) -> Result<(), String> {
    let mut rest = line;
    while let Some(start) = rest.find("${") {
        if let Some(literal) = rest[..start].strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        expanded.push_str(&rest[..start]);
        let Some(end) = rest[start..].find('}') else { return Err("`${` without `}`".into()) };
        let inner = &rest[start + 2..start + end];
        let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
        let value = lookup(name).filter(|value| default.is_none() || !value.is_empty());
        match value.as_deref().or(default) {
            Some(value) => expanded.push_str(value),
            None => {
                return Err(format!(
                    "the environment variable {name} is not set (write ${{{name}:-default}} for a default)"
                ));
            }
        }
        rest = &rest[start + end + 1..];
    }
    expanded.push_str(rest);
    Ok(())
}

fn parse_one(text: &str, path: &Path) -> Result<Value, Failure> {
    let documents = yaml::parse(text, &yaml::Limits::default())
        .map_err(|error| Failure::refused(format!("{}: {error}", path.display())))?;
    match <[_; 1]>::try_from(documents) {
        Ok([document]) => Ok(document.value),
        Err(several) => Err(Failure::refused(format!("{}: has {} documents, not one", path.display(), several.len()))),
    }
}

/// Lays one document over another: mappings merge, named lists merge by name, everything else is replaced.
fn merge(base: &mut Value, over: Value, name: &str) {
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

fn set(config: &mut Value, assignment: &str) -> Result<(), Failure> {
    let (path, text) =
        assignment.split_once('=').ok_or_else(|| Failure::usage(format!("--set {assignment}: wants PATH=VALUE")))?;
    let value = scalar(text).map_err(|e| Failure::usage(format!("--set {assignment}: {e}")))?;
    if path == "release" {
        return set_release(config, text);
    }
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

    fn expanded(text: &str) -> Result<String, String> {
        expand(text, &|name| (name == "HOME_PORT").then(|| "8080".to_owned()))
    }

    #[test]
    fn variables_are_replaced_and_missing_ones_are_named_with_their_lines() {
        assert_eq!(expanded("port: ${HOME_PORT}\nzone: ${ZONE:-eu}").as_deref(), Ok("port: 8080\nzone: eu"));
        assert_eq!(expanded("a: $${HOME_PORT}").as_deref(), Ok("a: ${HOME_PORT}"));
        assert_eq!(expanded("# ${NOT_SET} in a comment\n").as_deref(), Ok("# ${NOT_SET} in a comment\n"));
        let error = expanded("a: 1\nb: ${FIRST}\nc: ${SECOND}").expect_err("they are not set");
        assert!(
            error.contains("2: the environment variable FIRST") && error.contains("3: the environment variable SECOND"),
            "{error}"
        );
    }

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
        assert!(set(&mut config, "spec.services.web.replicas=3").is_err());
        assert!(set(&mut config, "nothing").is_err());
    }
}
