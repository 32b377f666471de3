//! The check of a document: by shape, then as typed specs, then each beside the others.

mod findings;
mod form;

use orion_model::{
    Issue,
    yaml::{Document, Path},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(super) use self::findings::Findings;
use crate::{
    Plugin,
    applied::ConfigSpec,
    config::{Declared, Options, OrionConfig, Parsed, references, shape, typed, unsupported, workload},
    dns_label::{MAX_LABEL, MAX_WORKLOAD_NAME, label_problem},
    rules::{self, EnvFiles},
};

/// What a file may be called in `apiVersion` and `kind`.
const API_VERSION: &str = "orion/v1";
const KIND: &str = "Config";

/// Checks a document.
pub(super) fn check(document: &Document, options: &Options) -> Result<Parsed, Vec<Issue>> {
    let mut findings = Findings::new(document);
    let mut parsed = Parsed::default();
    if let Some(Value::Object(root)) = form::normalised(&shape::CONFIG, document, &mut findings) {
        header(&root, &mut findings);
        content(root, &mut parsed, &mut findings);
        entries(options, &mut parsed, &mut findings);
    }
    let (issues, warnings) = findings.into_parts(options.strict);
    parsed.warnings = warnings;
    if issues.is_empty() { Ok(parsed) } else { Err(issues) }
}

impl OrionConfig {
    /// The JSON schema of a configuration file.
    pub fn json_schema() -> Value {
        orion_model::schema::Schema::inline::<Self>()
    }
}

fn header(root: &Map<String, Value>, findings: &mut Findings<'_>) {
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        if let Some(said) = root.get(field).filter(|said| *said != expected) {
            findings.issue(Path::root().join(field), format!("must be {expected:?}, not {said}"));
        }
    }
}

/// Name, namespace and the normalised content.
fn content(mut root: Map<String, Value>, parsed: &mut Parsed, findings: &mut Findings<'_>) {
    let metadata = root.remove("metadata").unwrap_or_default();
    let text = |field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
    parsed.name = text("name").unwrap_or_else(|| "default".to_owned());
    parsed.namespace = text("namespace").unwrap_or_else(|| "default".to_owned());
    for (field, name) in [("name", &parsed.name), ("namespace", &parsed.namespace)] {
        if let Some(problem) = label_problem(name, MAX_LABEL) {
            findings.issue(Path::root().join("metadata").join(field), problem);
        }
    }
    let Some(Value::Object(mut spec)) = root.remove("spec") else { return };
    let mut list = |field: &str| match spec.remove(field) {
        // What is wrong leaves an empty mapping, so that the others keep their index.
        Some(Value::Array(items)) => items.into_iter().map(as_fields).collect(),
        _ => Vec::new(),
    };
    let (services, jobs, nodes, plugins) = (list("services"), list("jobs"), list("nodes"), list("plugins"));
    let said = |field: &str| text(field).or_else(|| spec.get(field)?.as_str().map(str::to_owned));
    let text_of = |field: &str| spec.get(field).and_then(Value::as_str).map(str::to_owned);
    parsed.content = ConfigSpec {
        services,
        jobs,
        nodes,
        plugins,
        source: text_of("source"),
        release: text_of("release"),
        description: said("description").unwrap_or_default(),
        environment: said("environment").unwrap_or_default(),
    };
}

fn as_fields(item: Value) -> Map<String, Value> {
    match item {
        Value::Object(fields) => fields,
        // A plugin may be only a name.
        Value::String(name) => [("name".to_owned(), Value::String(name))].into_iter().collect(),
        _ => Map::new(),
    }
}

/// The services, jobs, nodes and plugins of the content, each by itself and then beside the others.
fn entries(options: &Options, parsed: &mut Parsed, findings: &mut Findings<'_>) {
    workload::drop_restarts(&mut parsed.content, findings);
    references::check_names(&parsed.content, findings);
    unsupported::warn(&parsed.content, findings);
    let env_files = if options.env_files { EnvFiles::Allowed } else { EnvFiles::Refused };

    for (index, entry) in parsed.content.services.iter().enumerate() {
        let path = path_of("services", index);
        if workload::is_job(entry) {
            let fields = workload::job_fields(entry, &path, findings);
            parsed.jobs.extend(declared(path, entry, fields, findings, |spec| rules::job(spec, env_files)));
        } else {
            let fields = workload::spec_fields(entry);
            let service = declared(path, entry, fields, findings, |spec| rules::service(spec, env_files));
            workload::warn_of_service(service.as_ref(), options.nodes, findings);
            parsed.services.extend(service);
        }
    }
    for (index, entry) in parsed.content.jobs.iter().enumerate() {
        let (path, fields) = (path_of("jobs", index), workload::spec_fields(entry));
        workload::warn_of_restart(&fields, &path, findings);
        parsed.jobs.extend(declared(path, entry, fields, findings, |spec| rules::job(spec, env_files)));
    }
    for (index, entry) in parsed.content.nodes.iter().enumerate() {
        parsed
            .nodes
            .extend(declared(path_of("nodes", index), entry, workload::spec_fields(entry), findings, |_| Vec::new()));
    }
    for (index, entry) in parsed.content.plugins.iter().enumerate() {
        let (path, fields) = (path_of("plugins", index), workload::spec_fields(entry));
        if !fields.is_empty() {
            parsed.plugins.extend(declared(path, entry, fields, findings, |spec| plugin_issues(entry, spec)));
        }
    }
    references::check(parsed, options, findings);
}

pub(super) fn path_of(list: &str, index: usize) -> Path {
    Path::root().join("spec").join(list).join(index)
}

/// One entry as its typed spec, if it has a name and all its fields read; what its rules say is found.
fn declared<T: DeserializeOwned>(
    path: Path,
    entry: &Map<String, Value>,
    sparse: Map<String, Value>,
    findings: &mut Findings<'_>,
    rules: impl FnOnce(&T) -> Vec<Issue>,
) -> Option<Declared<T>> {
    let name = entry.get("name")?.as_str()?.to_owned();
    let spec: T = match typed(&sparse) {
        Ok(spec) => spec,
        Err(error) => {
            findings.backstop(path, error.to_string());
            return None;
        }
    };
    for issue in rules(&spec) {
        findings.rule(issue.under(&path.to_string()));
    }
    Some(Declared { name, place: findings.place(&path), path: path.to_string(), sparse, spec })
}

/// A plugin is checked as the object it becomes.
fn plugin_issues(entry: &Map<String, Value>, spec: &crate::plugin::PluginSpec) -> Vec<Issue> {
    let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
    let mut issues: Vec<Issue> =
        label_problem(name, MAX_LABEL).map(|problem| Issue::at("name", problem)).into_iter().collect();
    let of_object = crate::plugin::check(&Plugin::new(name, spec.clone()), None);
    issues.extend(
        of_object.into_iter().map(|issue| Issue { path: issue.path.trim_start_matches("spec.").to_owned(), ..issue }),
    );
    issues
}

/// The longest name in a list of a configuration.
pub(super) fn max_name(list: &str) -> usize {
    if list == "nodes" { MAX_LABEL } else { MAX_WORKLOAD_NAME }
}
