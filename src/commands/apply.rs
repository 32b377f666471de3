//! `orion apply`: sends files to the server and shows what they change.

use std::path::Path;

use orion_http::{ApplyError, ApplyOptions, WriteOptions};
use orion_model::{ObjectKey, Part, yaml};
use orion_types::applied::{AppliedChange, ApplyAnswer};
use serde_json::Value;

use crate::{
    cli::{self, Global, Output},
    commands::{get::print_document, validate::print_issues},
    config_files::{self, Document},
    failure::Failure,
    progress,
    remote::{Remote, shown, text},
    style::{Style, Tone, tone_of},
};

/// Applies files.
pub(crate) async fn run(global: &Global, apply: &cli::Apply) -> Result<(), Failure> {
    let remote = Remote::of(global)?;
    if let Some(objects) = other_objects(&apply.files)? {
        return apply_objects(&remote, apply, objects).await;
    }
    let document = config_files::load(&apply.files)?;
    let options = ApplyOptions {
        dry_run: apply.dry_run,
        prune: apply.prune,
        force: apply.force,
        strict: apply.files.strict,
        expect_version: expected(apply)?,
    };
    let answer = send(&remote, &document, options).await?;
    if matches!(apply.output, Output::Json | Output::Yaml) {
        print_document(&serde_json::to_value(&answer).unwrap_or_default(), apply.output)?;
    } else {
        print_answer(&document, &answer);
    }
    if apply.wait && !apply.dry_run {
        return progress::wait_for(&remote, &applied_keys(&remote, &answer).await?, apply.timeout).await;
    }
    Ok(())
}

/// Sends a config; what is wrong with it is printed, one line each.
pub(crate) async fn send(remote: &Remote, document: &Document, options: ApplyOptions) -> Result<ApplyAnswer, Failure> {
    match remote.client.apply(document.text.clone(), document.media_type, options).await {
        Ok(answer) => Ok(answer),
        Err(ApplyError::Invalid { message, issues }) => {
            print_issues(document, &issues, "error", Tone::Bad);
            Err(Failure::refused(format!("{}: {message}; nothing was changed", document.source())))
        }
        Err(ApplyError::Client(error)) => Err(error.into()),
    }
}

/// Says what an apply changed.
pub(crate) fn print_answer(document: &Document, answer: &ApplyAnswer) {
    let style = Style::of_stdout();
    print_issues(document, &answer.warnings, "warning", Tone::Notice);
    for change in &answer.changes {
        println!("{}", change_line(style, change));
    }
    for orphan in &answer.orphaned {
        println!("{orphan} {}: no longer in the file; --prune deletes it", style.paint("orphaned", Tone::Notice));
    }
    if answer.changes.iter().all(|change| change.action == "unchanged") && answer.orphaned.is_empty() {
        println!("nothing to change");
    }
    if answer.dry_run {
        println!("(dry run: nothing was changed)");
    }
}

fn change_line(style: Style, change: &AppliedChange) -> String {
    let mut line = format!(
        "{}/{} {}",
        change.kind.to_lowercase(),
        change.name,
        style.paint(&change.action, tone_of(&change.action))
    );
    if !change.fields.is_empty() {
        line.push_str(&format!(": {}", change.fields.join(", ")));
    }
    if !change.effect.is_empty() && change.effect != "none" {
        line.push_str(&style.paint(&format!(" ({})", change.effect), Tone::Faint));
    }
    line
}

async fn applied_keys(remote: &Remote, answer: &ApplyAnswer) -> Result<Vec<ObjectKey>, Failure> {
    let kinds = remote.client.kinds().await?;
    let waited =
        answer.changes.iter().filter(|c| matches!(c.kind.as_str(), "Service" | "Job") && c.action != "deleted");
    waited.map(|change| Ok(remote.key(&kinds.resolve(&change.kind)?, &change.name))).collect()
}

fn expected(apply: &cli::Apply) -> Result<Option<orion_model::ResourceVersion>, Failure> {
    let parse =
        |text: &String| text.parse().map_err(|_| Failure::usage(format!("--expect-version {text}: is no version")));
    apply.expect_version.as_ref().map(parse).transpose()
}

/// The objects of a file that is no config but holds other kinds, or several documents.
fn other_objects(files: &cli::Files) -> Result<Option<Vec<Value>>, Failure> {
    let [path] =
        config_files::named_or_default(&files.files)?.try_into().unwrap_or_else(|_| [Path::new("-").to_owned()]);
    if path.as_os_str() == "-" || !files.set.is_empty() {
        return Ok(None);
    }
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    let Ok(documents) = yaml::parse(&text, &yaml::Limits::default()) else { return Ok(None) };
    let is_config = |value: &Value| value.get("kind").is_none_or(|kind| kind == "Config");
    let all_configs = documents.iter().all(|document| is_config(&document.value));
    // One config, well formed or not, goes to the server, which says what is wrong with it.
    let plain = documents.len() <= 1 && all_configs;
    if plain || documents.iter().any(|document| is_config(&document.value)) {
        return Ok(None);
    }
    Ok(Some(documents.into_iter().map(|document| document.value).collect()))
}

/// Creates or replaces objects of other kinds, each under its own resource.
async fn apply_objects(remote: &Remote, apply: &cli::Apply, objects: Vec<Value>) -> Result<(), Failure> {
    let options = WriteOptions { dry_run: apply.dry_run, strict: apply.files.strict };
    for object in objects {
        let kind = remote.kind(&text(&object, "/kind")).await?;
        let mut key = remote.key(&kind, &text(&object, "/metadata/name"));
        if let Some(namespace) = object.pointer("/metadata/namespace").and_then(Value::as_str) {
            key.namespace = namespace.into();
        }
        let action = match remote.client.get(&key).await {
            Ok(existing) => {
                let written = remote.client.merge(&key, &object, Part::Main, options).await?;
                let version = |object: &Value| text(object, "/metadata/resourceVersion");
                if version(&existing) == version(&written.object) { "unchanged" } else { "changed" }
            }
            Err(error) if error.is_not_found() => {
                remote.client.create(&key, &object, options).await?;
                "created"
            }
            Err(error) => return Err(error.into()),
        };
        println!("{} {action}", shown(&key));
    }
    Ok(())
}
