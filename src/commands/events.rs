//! `orion events`: what controllers have told, oldest first.

use futures::StreamExt;
use orion_http::WatchEvent;
use orion_model::{Event, FieldSelector, Object, ResourceVersion, Selection, Timestamp};
use serde_json::json;

use crate::{
    cli::{self, Global, Output},
    commands::get::{print_document, print_watched},
    failure::Failure,
    local_time::ago,
    out::{note, put, say},
    remote::{Remote, decoded},
    style::{Style, safe},
    table::Growing,
};

const HEADER: [&str; 6] = ["LAST", "TYPE", "REASON", "OBJECT", "COUNT", "NOTE"];

/// Shows events.
pub(crate) async fn run(global: &Global, events: &cli::Events) -> Result<(), Failure> {
    let remote = Remote::of(global).await?;
    let selection = selection(&remote, &events.what).await?;
    let listing = remote.client.list(&selection).await?;
    let documents = matches!(events.output, Output::Json | Output::Yaml);
    if documents && !events.watch {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": listing.items});
        return print_document(&list, events.output);
    }
    if documents {
        listing.items.iter().try_for_each(|event| print_watched(event, events.output))?;
        return follow(&remote, selection, listing.version, |event| print_watched(&event, events.output)).await;
    }
    let mut items = listing.items.into_iter().map(decoded).collect::<Result<Vec<Event>, _>>()?;
    items.sort_by_key(last_seen);
    let rows: Vec<_> = items.iter().map(row).collect();
    let mut table = Growing::new(Style::of_stdout(), &HEADER, &rows);
    let header = table.header();
    let named = events.output == Output::Name;
    let mut show = |event: &Event| {
        match named {
            true => say!("event/{}", event.name()),
            false => put!("{}", table.row(&row(event))),
        }
        Ok(())
    };
    if items.is_empty() && !events.watch {
        note!("no events in namespace {}", remote.namespace);
        return Ok(());
    }
    if !named {
        put!("{}", header);
    }
    items.iter().try_for_each(&mut show)?;
    if !events.watch {
        return Ok(());
    }
    follow(&remote, selection, listing.version, |event| show(&decoded(event)?)).await
}

async fn follow(
    remote: &Remote,
    selection: Selection,
    after: ResourceVersion,
    mut show: impl FnMut(serde_json::Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut events = std::pin::pin!(remote.client.watch(selection, Some(after)));
    while let Some(event) = events.next().await {
        match event {
            Ok(WatchEvent::Added(event) | WatchEvent::Modified(event)) => show(event)?,
            Ok(WatchEvent::Deleted(_) | WatchEvent::Synced) => {}
            Err(error) if error.is_retryable() => note!("{error}; trying again"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn selection(remote: &Remote, what: &[String]) -> Result<Selection, Failure> {
    let selection = remote.selection(&remote.kind("events")?);
    if what.is_empty() {
        return Ok(selection);
    }
    let key = remote.find(what, &["services", "jobs", "runs", "replicas", "nodes", "configs", "plugins"]).await?;
    Ok(selection.with_fields(about(key.kind.name(), &key.name)))
}

/// The events about an object.
pub(crate) fn about(kind: &str, name: &str) -> FieldSelector {
    FieldSelector::default().and_equals("regarding.kind", kind).and_equals("regarding.name", name)
}

/// When an event last happened.
pub(crate) fn last_seen(event: &Event) -> Timestamp {
    let repeated = event.series.as_ref().map(|series| series.last_observed_time);
    repeated.or(event.event_time).or(event.metadata.creation_timestamp).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn row(event: &Event) -> Vec<String> {
    let count = event.series.as_ref().map_or(1, |series| series.count.max(1));
    vec![
        ago(last_seen(event)),
        event.kind.clone(),
        event.reason.clone(),
        format!("{}/{}", event.regarding.kind.to_lowercase(), event.regarding.name),
        count.to_string(),
        safe(&event.note),
    ]
}
