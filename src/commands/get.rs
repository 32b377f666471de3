//! `orion get`: objects as tables, JSON, YAML or names, once or as they change.

mod watch;

use orion_http::Table;
use orion_model::{ClientError, FieldSelector, Selection, yaml};
use serde_json::{Value, json};

use crate::{
    cli::{self, Global, Output},
    failure::Failure,
    local_time,
    out::{note, put, say},
    remote::{Remote, Target, labels, text},
    style::{Style, safe},
    table::columns,
};

/// Shows what was asked for.
pub(crate) async fn run(global: &Global, get: &cli::Get) -> Result<(), Failure> {
    let remote = Remote::of(global).await?;
    let targets = remote.targets(&get.what)?;
    let selections = targets.iter().map(|target| selection(&remote, get, target)).collect::<Result<Vec<_>, _>>()?;
    if get.watch {
        let [selection] = selections.as_slice() else {
            return Err(Failure::usage("--watch follows one kind or object"));
        };
        return watch::run(&remote, get, selection).await;
    }
    match get.output {
        Output::Table | Output::Wide => tables(&remote, get, &targets, &selections).await,
        Output::Json | Output::Yaml => documents(&remote, get, &targets, &selections).await,
        Output::Name => names(&remote, &targets, &selections).await,
    }
}

fn selection(remote: &Remote, get: &cli::Get, target: &Target) -> Result<Selection, Failure> {
    let fields: FieldSelector = match &get.field_selector {
        Some(text) => text.parse().map_err(|error| Failure::usage(format!("--field-selector: {error}")))?,
        None => FieldSelector::default(),
    };
    let (kind, fields) = match target {
        Target::Kind(kind) => (kind, fields),
        Target::Object(_) if get.all_namespaces => {
            return Err(Failure::usage("an object that is named is of one namespace: leave -A out"));
        }
        Target::Object(key) => (&key.kind, fields.and_equals("metadata.name", &*key.name)),
    };
    let selection = if get.all_namespaces { Selection::all(kind.clone()) } else { remote.selection(kind) };
    Ok(selection.with_labels(labels(get.selector.as_deref())?).with_fields(fields))
}

async fn tables(remote: &Remote, get: &cli::Get, targets: &[Target], selections: &[Selection]) -> Result<(), Failure> {
    let style = Style::of_stdout();
    let several = targets.len() > 1;
    let mut shown = 0;
    for group in grouped(selections) {
        let mut table = Table::default();
        for selection in group {
            let part = remote.client.list_table(selection).await?;
            if part.rows.is_empty() {
                missing(targets, selections, selection)?;
            }
            table.column_definitions = part.column_definitions;
            table.rows.extend(part.rows);
        }
        if table.rows.is_empty() {
            continue;
        }
        if shown > 0 {
            say!();
        }
        shown += table.rows.len();
        let prefix = several.then(|| group[0].kind.names().singular.to_string());
        let layout = Layout::of(&table, get, prefix);
        let rows: Vec<_> = table.rows.iter().map(|row| layout.cells(row)).collect();
        put!("{}", columns(style, &layout.header(), &rows));
    }
    if shown == 0 {
        let kinds: Vec<_> = selections.iter().map(|selection| selection.kind.plural().to_owned()).collect();
        let namespaced = selections.iter().any(|selection| selection.kind.is_namespaced());
        let place = match get.all_namespaces || !namespaced {
            true => String::new(),
            false => format!(" in namespace {}", remote.namespace),
        };
        note!("no {}{place}", kinds.join(", no "));
    }
    Ok(())
}

/// Selections of one kind that stand beside each other make one table.
fn grouped(selections: &[Selection]) -> impl Iterator<Item = &[Selection]> {
    selections.chunk_by(|a, b| a.kind == b.kind)
}

/// An object that was named must be there.
fn missing(targets: &[Target], selections: &[Selection], selection: &Selection) -> Result<(), Failure> {
    let at = selections.iter().position(|known| std::ptr::eq(known, selection));
    match at.map(|at| &targets[at]) {
        Some(Target::Object(key)) => Err(ClientError::NotFound(key.clone()).into()),
        Some(Target::Kind(_)) | None => Ok(()),
    }
}

/// Which of a table's columns are shown, and what stands before them.
struct Layout {
    kept: Vec<usize>,
    names: Vec<String>,
    namespaces: bool,
    prefix: Option<String>,
}

impl Layout {
    fn of(table: &Table, get: &cli::Get, prefix: Option<String>) -> Self {
        let wide = get.output == Output::Wide;
        let kept: Vec<_> = (0..table.column_definitions.len())
            .filter(|i| wide || table.column_definitions[*i].priority == 0)
            .collect();
        let mut names: Vec<String> = kept.iter().map(|i| table.column_definitions[*i].name.to_uppercase()).collect();
        if get.all_namespaces {
            names.insert(0, "NAMESPACE".into());
        }
        Self { kept, names, namespaces: get.all_namespaces, prefix }
    }

    fn header(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// The column that changes by itself.
    fn age(&self) -> Option<usize> {
        self.names.iter().position(|name| name == "AGE")
    }

    fn cells(&self, row: &orion_http::Row) -> Vec<String> {
        let mut cells: Vec<_> = self.kept.iter().map(|i| cell(row.cells.get(*i))).collect();
        if let (Some(prefix), Some(name)) = (&self.prefix, cells.first_mut()) {
            *name = format!("{prefix}/{name}");
        }
        if self.namespaces {
            cells.insert(0, row.namespace().to_owned());
        }
        cells
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => local_time::short(text).unwrap_or_else(|| safe(text)),
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
            if listing.items.is_empty() {
                missing(targets, selections, selection)?;
            }
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
        let text = yaml::to_string(document).map_err(|error| Failure::of(&error))?;
        put!("{text}");
    } else {
        say!("{document:#}");
    }
    Ok(())
}

/// Prints one document of many that come one after another: JSON a line, YAML apart.
pub(crate) fn print_watched(document: &Value, output: Output) -> Result<(), Failure> {
    if output == Output::Yaml {
        say!("---");
        return print_document(document, output);
    }
    say!("{document}");
    Ok(())
}

async fn names(remote: &Remote, targets: &[Target], selections: &[Selection]) -> Result<(), Failure> {
    for selection in selections {
        let listing = remote.client.list(selection).await?;
        if listing.items.is_empty() {
            missing(targets, selections, selection)?;
        }
        for item in &listing.items {
            say!("{}/{}", selection.kind.names().singular, text(item, "/metadata/name"));
        }
    }
    Ok(())
}
