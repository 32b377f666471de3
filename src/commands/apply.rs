//! `orion apply`: sends files to the server and shows what they change.

use orion_http::{ApplyError, ApplyOptions, WriteOptions};
use orion_model::{ClientError, Issue, ObjectKey, Part, ResourceVersion};
use orion_types::applied::{AppliedChange, ApplyAnswer};
use serde_json::Value;

use crate::{
    cli::{self, Global, Output},
    commands::get::print_document,
    config_files::{self, Document, Item},
    failure::Failure,
    issues::{self, Severity, counted},
    out::{note, say},
    progress,
    remote::{Remote, shown, text},
    status_line::Channel,
    style::{Style, Tone, tone_of},
};

/// Applies files.
pub(crate) async fn run(global: &Global, apply: &cli::Apply) -> Result<(), Failure> {
    let items = config_files::load(&apply.files, global.namespace.as_deref())?;
    let options = ApplyOptions {
        dry_run: apply.dry_run,
        prune: apply.prune,
        force: apply.force,
        strict: apply.files.strict,
        expect_version: expected(apply)?,
    };
    let mut remote = Remote::of(global).await?;
    if !matches!(apply.output, Output::Json | Output::Yaml) {
        let applied = apply_all(&remote, &items, options).await?;
        return wait(&mut remote, apply, &applied, Channel::Stdout).await;
    }
    let [Item::Config(document)] = items.as_slice() else {
        return Err(Failure::usage("-o json and -o yaml show the answer to one config; the files hold something else"));
    };
    let answer = send(&remote, document, options).await?;
    print_document(&serde_json::to_value(&answer).map_err(|error| Failure::of(&error))?, apply.output)?;
    let applied = [Applied { namespace: document.namespace.clone(), answer }];
    wait(&mut remote, apply, &applied, Channel::Stderr).await
}

/// What became of one config.
pub(crate) struct Applied {
    namespace: String,
    answer: ApplyAnswer,
}

/// Applies everything in the order of the files, and says what it changed.
pub(crate) async fn apply_all(remote: &Remote, items: &[Item], options: ApplyOptions) -> Result<Vec<Applied>, Failure> {
    let mut applied = Vec::new();
    for item in items {
        match item {
            Item::Config(document) => {
                let answer = send(remote, document, options).await?;
                print_answer(document, &answer)?;
                applied.push(Applied { namespace: document.namespace.clone(), answer });
            }
            Item::Object(object) => apply_object(remote, object, options).await?,
        }
    }
    Ok(applied)
}

/// Sends a config; what is wrong with it is printed, one line each.
async fn send(remote: &Remote, document: &Document, options: ApplyOptions) -> Result<ApplyAnswer, Failure> {
    if !document.not_yet.is_empty() {
        return Err(invalid(document, &document.not_yet));
    }
    match remote.client.apply(document.text.clone(), document.media_type, options).await {
        Ok(answer) => Ok(answer),
        Err(ApplyError::Invalid { issues, .. }) => Err(invalid(document, &issues)),
        Err(ApplyError::Client(ClientError::Conflict { expected, current, .. })) => {
            Err(Failure::refused(moved(document, expected, current)))
        }
        Err(ApplyError::Client(ClientError::OwnedElsewhere { key, whose })) => {
            let advice = "rename it, or take it over with --force";
            Err(Failure::refused(format!("{}: {} {whose}; {advice}", document.sources(), key.name)))
        }
        Err(ApplyError::Client(error)) => Err(error.into()),
    }
}

fn invalid(document: &Document, issues: &[Issue]) -> Failure {
    issues::print_of(document, issues, Severity::Error);
    let errors = counted(issues.len());
    Failure::refused(format!("{} is not valid: {errors}; nothing was changed", document.sources()))
}

fn moved(document: &Document, expected: Option<ResourceVersion>, current: Option<ResourceVersion>) -> String {
    let what = format!("the config of {}", document.sources());
    match (expected, current) {
        (Some(expected), Some(current)) => format!("{what} has moved: expected version {expected}, it is at {current}"),
        (Some(expected), None) => format!("{what} is not there: expected version {expected}"),
        (None, _) => format!("{what} was changed by others all the while; try again"),
    }
}

/// Says what an apply changed.
fn print_answer(document: &Document, answer: &ApplyAnswer) -> Result<(), Failure> {
    let style = Style::of_stdout();
    issues::print_of(document, &answer.warnings, Severity::Warning);
    for change in &answer.changes {
        say!("{}", change_line(style, change));
    }
    for orphan in &answer.orphaned {
        say!("{orphan} {}: no longer in the file; --prune deletes it", style.paint("orphaned", Tone::Notice));
    }
    if answer.changes.iter().all(|change| change.action == "unchanged") {
        say!("nothing to change");
    }
    if answer.dry_run {
        say!("(dry run: nothing was changed)");
    }
    Ok(())
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

/// Waits for what was applied, where that was asked for.
async fn wait(remote: &mut Remote, apply: &cli::Apply, applied: &[Applied], channel: Channel) -> Result<(), Failure> {
    if !apply.wait || apply.dry_run {
        return Ok(());
    }
    for Applied { namespace, answer } in applied {
        remote.namespace.clone_from(namespace);
        let waited = answer.changes.iter().filter(|change| progress::waitable(&change.kind, &change.action));
        let keys: Vec<ObjectKey> = waited
            .map(|change| Ok(remote.key(&remote.kind(&change.kind)?, &change.name)))
            .collect::<Result<_, Failure>>()?;
        progress::wait_for(remote, &keys, apply.timeout, channel).await?;
    }
    Ok(())
}

fn expected(apply: &cli::Apply) -> Result<Option<ResourceVersion>, Failure> {
    let parse =
        |text: &String| text.parse().map_err(|_| Failure::usage(format!("--expect-version {text}: is no version")));
    apply.expect_version.as_ref().map(parse).transpose()
}

/// Creates or changes an object of another kind, under its own resource.
async fn apply_object(remote: &Remote, object: &Value, options: ApplyOptions) -> Result<(), Failure> {
    let options = WriteOptions { dry_run: options.dry_run, strict: options.strict };
    let kind = remote.kind(&text(object, "/kind"))?;
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        return Err(Failure::refused(format!("a {} of the files has no metadata.name", kind.name())));
    }
    let mut key = remote.key(&kind, &name);
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
    if let Some(namespace) = namespace.filter(|_| kind.is_namespaced()) {
        key.namespace = namespace.into();
    }
    let written = match remote.client.get(&key).await {
        Ok(existing) => {
            let written = remote.client.merge(&key, object, Part::Main, options).await?;
            let version = |object: &Value| text(object, "/metadata/resourceVersion");
            let action = if version(&existing) == version(&written.object) { "unchanged" } else { "changed" };
            (action, written.warnings)
        }
        Err(error) if error.is_not_found() => ("created", remote.client.create(&key, object, options).await?.warnings),
        Err(error) => return Err(error.into()),
    };
    let (action, warnings) = written;
    warnings.iter().for_each(|warning| note!("{}: {warning}", shown(&key)));
    let trial = if options.dry_run { " (dry run)" } else { "" };
    say!("{} {}{trial}", shown(&key), Style::of_stdout().paint(action, tone_of(action)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_its_fields_and_what_it_does() {
        let change = AppliedChange {
            kind: "Service".into(),
            name: "web".into(),
            action: "changed".into(),
            fields: vec!["env".into(), "replicas".into()],
            effect: "restarts 3 one at a time".into(),
        };
        assert_eq!(
            change_line(Style::plain(), &change),
            "service/web changed: env, replicas (restarts 3 one at a time)"
        );
        let unchanged =
            AppliedChange { action: "unchanged".into(), effect: "none".into(), fields: Vec::new(), ..change };
        assert_eq!(change_line(Style::plain(), &unchanged), "service/web unchanged");
    }
}
