//! `orion get`: objects as tables, JSON, YAML or names, once or as they change.

use futures::StreamExt;
use orion_http::{Table, WatchEvent};
use orion_model::{FieldSelector, Selection, yaml};
use serde_json::{Value, json};

use crate::{
    cli::{self, Global, Output},
    failure::Failure,
    remote::{Remote, Target, labels, text},
    style::{Style, columns},
};

/// Shows what was asked for.
pub(crate) async fn run(global: &Global, get: &cli::Get) -> Result<(), Failure> {
    let remote = Remote::of(global)?;
    let targets = remote.targets(&get.what).await?;
    let selections = targets.iter().map(|target| selection(&remote, get, target)).collect::<Result<Vec<_>, _>>()?;
    if get.watch {
        let [selection] = selections.as_slice() else {
            return Err(Failure::usage("--watch follows one kind or object"));
        };
        return watch(&remote, get, selection).await;
    }
    match get.output {
        Output::Table | Output::Wide => tables(&remote, get, &targets, &selections).await,
        Output::Json | Output::Yaml => documents(&remote, get, &targets, &selections).await,
        Output::Name => names(&remote, &targets, &selections).await,
    }
}

fn selection(remote: &Remote, get: &cli::Get, target: &Target) -> Result<Selection, Failure> {
    let fields: FieldSelector = match &get.field_selector {
        Some(text) => text.parse().map_err(|error| Failure::usage(format!("{error}")))?,
        None => FieldSelector::default(),
    };
    let (kind, fields) = match target {
        Target::Kind(kind) => (kind, fields),
        Target::Object(key) => (&key.kind, fields.and_equals("metadata.name", &*key.name)),
    };
    let selection = if get.all_namespaces { Selection::all(kind.clone()) } else { remote.selection(kind) };
    Ok(selection.with_labels(labels(get.selector.as_deref())?).with_fields(fields))
}

async fn tables(remote: &Remote, get: &cli::Get, targets: &[Target], selections: &[Selection]) -> Result<(), Failure> {
    let style = Style::of_stdout();
    let several = targets.len() > 1;
    let mut shown = 0;
    for (target, selection) in targets.iter().zip(selections) {
        let table = remote.client.list_table(selection).await?;
        if let (Target::Object(key), true) = (target, table.rows.is_empty()) {
            return Err(orion_model::ClientError::NotFound(key.clone()).into());
        }
        if table.rows.is_empty() {
            continue;
        }
        if several && shown > 0 {
            println!();
        }
        shown += table.rows.len();
        let prefix = several.then(|| selection.kind.names().singular.to_string());
        print!("{}", render(style, &table, get, prefix.as_deref()));
    }
    if shown == 0 {
        let kinds: Vec<_> = selections.iter().map(|selection| selection.kind.plural().to_owned()).collect();
        let place = if get.all_namespaces { String::new() } else { format!(" in namespace {}", remote.namespace) };
        eprintln!("no {}{place}", kinds.join(", no "));
    }
    Ok(())
}

fn render(style: Style, table: &Table, get: &cli::Get, prefix: Option<&str>) -> String {
    let wide = get.output == Output::Wide;
    let kept: Vec<_> =
        (0..table.column_definitions.len()).filter(|i| wide || table.column_definitions[*i].priority == 0).collect();
    let mut header: Vec<String> = kept.iter().map(|i| table.column_definitions[*i].name.to_uppercase()).collect();
    if get.all_namespaces {
        header.insert(0, "NAMESPACE".into());
    }
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| {
            let mut cells: Vec<_> = kept.iter().map(|i| cell(row.cells.get(*i))).collect();
            if let (Some(prefix), Some(name)) = (prefix, cells.first_mut()) {
                *name = format!("{prefix}/{name}");
            }
            if get.all_namespaces {
                cells.insert(0, row.namespace().to_owned());
            }
            cells
        })
        .collect();
    columns(style, &header.iter().map(String::as_str).collect::<Vec<_>>(), &rows)
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => crate::style::safe(text),
        Some(other) => other.to_string(),
    }
}

async fn documents(
    remote: &Remote,
    get: &cli::Get,
    targets: &[Target],
    selections: &[Selection],
) -> Result<(), Failure> {
    let document = if let [Target::Object(key)] = targets {
        remote.client.get(key).await?
    } else {
        let mut items = Vec::new();
        let mut version = String::new();
        for selection in selections {
            let listing = remote.client.list(selection).await?;
            version = listing.version.to_string();
            items.extend(listing.items);
        }
        json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": version}, "items": items})
    };
    print_document(&document, get.output)
}

/// Prints a JSON or YAML document.
pub(crate) fn print_document(document: &Value, output: Output) -> Result<(), Failure> {
    if output == Output::Yaml {
        let text = yaml::to_string(document).map_err(|error| Failure::refused(error.to_string()))?;
        print!("{text}");
    } else {
        println!("{document:#}");
    }
    Ok(())
}

async fn names(remote: &Remote, targets: &[Target], selections: &[Selection]) -> Result<(), Failure> {
    for (target, selection) in targets.iter().zip(selections) {
        let listing = remote.client.list(selection).await?;
        if let (Target::Object(key), true) = (target, listing.items.is_empty()) {
            return Err(orion_model::ClientError::NotFound(key.clone()).into());
        }
        for item in &listing.items {
            println!("{}/{}", selection.kind.names().singular, text(item, "/metadata/name"));
        }
    }
    Ok(())
}

async fn watch(remote: &Remote, get: &cli::Get, selection: &Selection) -> Result<(), Failure> {
    let style = Style::of_stdout();
    let mut events = std::pin::pin!(remote.client.watch(selection.clone(), None));
    while let Some(event) = events.next().await {
        let (object, gone) = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => (object, false),
            Ok(WatchEvent::Deleted(object)) => (object, true),
            Ok(WatchEvent::Synced) => continue,
            Err(error) if error.is_retryable() => {
                eprintln!("{error}; trying again");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match get.output {
            Output::Json => println!("{object}"),
            Output::Yaml => {
                println!("---");
                print_document(&object, Output::Yaml)?;
            }
            Output::Name => println!("{}/{}", selection.kind.names().singular, text(&object, "/metadata/name")),
            Output::Table | Output::Wide => print_line(remote, get, selection, style, &object, gone).await?,
        }
    }
    Ok(())
}

/// One changed object as a row of its kind's table; the heading comes with each, since rows may differ in width.
async fn print_line(
    remote: &Remote,
    get: &cli::Get,
    selection: &Selection,
    style: Style,
    object: &Value,
    gone: bool,
) -> Result<(), Failure> {
    let name = text(object, "/metadata/name");
    let key = orion_model::ObjectKey::new(selection.kind.clone(), text(object, "/metadata/namespace"), name.as_str());
    if gone {
        println!("{name}  gone");
        return Ok(());
    }
    match remote.client.get_table(&key).await {
        Ok(table) => {
            let shown = render(style, &table, get, None);
            println!("{}", shown.lines().nth(1).unwrap_or_default());
            Ok(())
        }
        // It has gone meanwhile; its deletion is on the way.
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
