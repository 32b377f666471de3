//! `orion events`: what controllers have told, oldest first.

use futures::StreamExt;
use orion_http::WatchEvent;
use orion_model::{FieldSelector, Selection, Timestamp};
use serde_json::{Value, json};

use crate::{
    cli::{self, Global, Output},
    commands::get::print_document,
    failure::Failure,
    remote::{Remote, number, text},
    style::{Style, age, columns, safe},
};

/// Shows events.
pub(crate) async fn run(global: &Global, events: &cli::Events) -> Result<(), Failure> {
    let remote = Remote::of(global)?;
    let selection = selection(&remote, &events.what).await?;
    let listing = remote.client.list(&selection).await?;
    let mut items = listing.items;
    items.sort_by_key(last_seen);
    match events.output {
        Output::Json | Output::Yaml => {
            return print_document(&json!({"apiVersion": "v1", "kind": "List", "items": items}), events.output);
        }
        Output::Name => items.iter().for_each(|event| println!("event/{}", text(event, "/metadata/name"))),
        Output::Table | Output::Wide if items.is_empty() && !events.watch => eprintln!("no events"),
        Output::Table | Output::Wide => {
            let rows: Vec<_> = items.iter().map(row).collect();
            print!("{}", columns(Style::of_stdout(), &["LAST", "TYPE", "REASON", "OBJECT", "COUNT", "NOTE"], &rows));
        }
    }
    if events.watch { follow(&remote, selection, listing.version).await } else { Ok(()) }
}

async fn follow(remote: &Remote, selection: Selection, after: orion_model::ResourceVersion) -> Result<(), Failure> {
    let mut events = std::pin::pin!(remote.client.watch(selection, Some(after)));
    while let Some(event) = events.next().await {
        match event {
            Ok(WatchEvent::Added(event) | WatchEvent::Modified(event)) => println!("{}", row(&event).join("  ")),
            Ok(WatchEvent::Deleted(_) | WatchEvent::Synced) => {}
            Err(error) if error.is_retryable() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn selection(remote: &Remote, what: &[String]) -> Result<Selection, Failure> {
    let selection = remote.selection(&remote.kind("events").await?);
    if what.is_empty() {
        return Ok(selection);
    }
    let key = remote.find(what, &["services", "jobs", "runs", "replicas", "nodes", "configs"]).await?;
    Ok(selection.with_fields(about(key.kind.name(), &key.name)))
}

/// The events about an object.
pub(crate) fn about(kind: &str, name: &str) -> FieldSelector {
    FieldSelector::default().and_equals("regarding.kind", kind).and_equals("regarding.name", name)
}

/// When an event last happened.
pub(crate) fn last_seen(event: &Value) -> String {
    let last = text(event, "/series/lastObservedTime");
    if last.is_empty() { text(event, "/eventTime") } else { last }
}

fn row(event: &Value) -> Vec<String> {
    let object = format!("{}/{}", text(event, "/regarding/kind").to_lowercase(), text(event, "/regarding/name"));
    let count = number(event, "/series/count").max(1);
    vec![
        ago(&last_seen(event)),
        text(event, "/type"),
        text(event, "/reason"),
        object,
        count.to_string(),
        safe(&text(event, "/note")),
    ]
}

/// How long ago a time was, as tables show it.
pub(crate) fn ago(time: &str) -> String {
    let now: Timestamp = std::time::SystemTime::now().into();
    time.parse::<Timestamp>().map_or("-".into(), |time| age(now.as_secs() - time.as_secs()))
}
