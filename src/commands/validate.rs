//! `orion validate`: everything that can be said of a file without a server.

use orion_model::{Issue, Registry, object::Raw};
use orion_types::{
    config::{self, OrionConfig, unsupported},
    suggest::did_you_mean,
};
use serde_json::Value;

use crate::{
    cli::{self, Global},
    config_files::{self, Document, Item},
    failure::Failure,
    issues::{self, Severity, counted},
    out::{note, put, say},
    remote::text,
    style::Style,
    table::columns,
};

/// Checks files, or lists what has no effect yet.
pub(crate) fn run(global: &Global, validate: &cli::Validate) -> Result<(), Failure> {
    if validate.unsupported {
        return print_unsupported();
    }
    let shown = config_files::named_or_default(&validate.files.files)?;
    let shown: Vec<_> = shown.iter().map(|path| config_files::shown(path)).collect();
    let be = if shown.len() == 1 { "is" } else { "are" };
    let shown = shown.join(" + ");
    let items = config_files::load(&validate.files, global.namespace.as_deref())?;
    match errors_of(&items, validate.files.strict, Purpose::Know) {
        0 => {
            say!("{shown} {be} valid");
            Ok(())
        }
        errors => Err(Failure::refused(format!("{shown} {be} not valid: {}", counted(errors)))),
    }
}

/// What a check is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To know what is wrong with the files, and what is worth a look.
    Know,
    /// To apply them: what cannot be applied is wrong, and what is worth a look the server tells.
    Apply,
}

/// Prints what a check of files finds, and returns how many errors there are.
pub(crate) fn errors_of(items: &[Item], strict: bool, purpose: Purpose) -> usize {
    let registry = Registry::new().with_all::<orion_types::Kinds>();
    let errors = items.iter().map(|item| match item {
        Item::Config(document) => config_errors(document, strict, purpose),
        Item::Object(object) => object_errors(&registry, object),
    });
    errors.sum()
}

fn config_errors(document: &Document, strict: bool, purpose: Purpose) -> usize {
    // The files that envFrom names are the CLI's to read.
    let options = config::Options { strict, env_files: true, ..config::Options::default() };
    match OrionConfig::parse(&document.text, config::Format::Auto, &options) {
        Ok(parsed) if purpose == Purpose::Know => {
            issues::print_of(document, &parsed.warnings, Severity::Warning);
            issues::print_of(document, &document.not_yet, Severity::Warning);
            0
        }
        Ok(_) => {
            issues::print_of(document, &document.not_yet, Severity::Error);
            document.not_yet.len()
        }
        Err(issues) => {
            issues::print_of(document, &issues, Severity::Error);
            issues.len()
        }
    }
}

/// An object of another kind, checked by its kind's rules where this program knows it.
fn object_errors(registry: &Registry, object: &Value) -> usize {
    let kind = text(object, "/kind");
    let name = format!("{} {}", kind.to_lowercase(), text(object, "/metadata/name"));
    let api_version = text(object, "/apiVersion");
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let issues = match registry.named(group, &kind) {
        Some(definition) => match Raw::from_value(definition.kind.clone(), object.clone()) {
            Ok(raw) => definition.issues(&raw, None),
            Err(error) => vec![Issue::at("", error.to_string())],
        },
        // A server may have kinds that this program does not know.
        None if !group.is_empty() && group != "orion" => {
            note!("{name}: {api_version} is the server's to check: `orion apply --dry-run`");
            Vec::new()
        }
        None => {
            let known = ["Config"].into_iter().chain(registry.iter().map(|definition| definition.kind.name()));
            vec![Issue::at("kind", format!("{kind:?} is no kind of orion/v1{}", did_you_mean(&kind, known)))]
        }
    };
    issues::print(&name, issues.iter().map(|issue| (None, issue)), Severity::Error);
    issues.len()
}

fn print_unsupported() -> Result<(), Failure> {
    say!("These fields are read, checked and kept, but have no effect yet:\n");
    let rows: Vec<Vec<String>> =
        unsupported::all().iter().map(|field| vec![field.path.to_string(), field.reason.to_string()]).collect();
    put!("{}", columns(Style::of_stdout(), &["FIELD", "WHY"], &rows));
    Ok(())
}
