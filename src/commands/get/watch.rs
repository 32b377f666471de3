//! `orion get -w`: what is, then each row again when a reader would see it changed, under columns that stay in line.

use futures::StreamExt;
use orion_http::{Table, WatchEvent};
use orion_model::{ObjectKey, ResourceVersion, Selection};
use serde_json::Value;

use super::{Layout, print_watched};
use crate::{
    cli::{self, Output},
    failure::Failure,
    out::{note, put, say},
    remote::{Remote, text},
    style::Style,
    table::{Growing, Rows},
};

/// Shows what is and what changes, for ever.
pub(super) async fn run(remote: &Remote, get: &cli::Get, selection: &Selection) -> Result<(), Failure> {
    match get.output {
        Output::Table | Output::Wide => rows(remote, get, selection).await,
        Output::Json | Output::Yaml => {
            events(remote, selection, None, async |object, _| print_watched(&object, get.output)).await
        }
        Output::Name => {
            let singular = selection.kind.names().singular.clone();
            events(remote, selection, None, async |object, _| {
                say!("{singular}/{}", text(&object, "/metadata/name"));
                Ok(())
            })
            .await
        }
    }
}

/// Calls `show` with each object, and whether it is gone.
async fn events(
    remote: &Remote,
    selection: &Selection,
    after: Option<ResourceVersion>,
    mut show: impl AsyncFnMut(Value, bool) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut events = std::pin::pin!(remote.client.watch(selection.clone(), after));
    while let Some(event) = events.next().await {
        match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => show(object, false).await?,
            Ok(WatchEvent::Deleted(object)) => show(object, true).await?,
            Ok(WatchEvent::Synced) => {}
            Err(error) if error.is_retryable() => note!("{error}; trying again"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn rows(remote: &Remote, get: &cli::Get, selection: &Selection) -> Result<(), Failure> {
    let table = remote.client.list_table(selection).await?;
    let layout = Layout::of(&table, get, None);
    let rows: Vec<_> = table.rows.iter().map(|row| layout.cells(row)).collect();
    let mut shown = Growing::new(Style::of_stdout(), &layout.header(), &rows);
    let mut known = Rows::default();
    put!("{}", shown.header());
    for (row, cells) in table.rows.iter().zip(&rows) {
        known.differs(&id(row.namespace(), row.name()), cells, layout.age());
        put!("{}", shown.row(cells));
    }
    events(remote, selection, Some(table.version()), async |object, gone| {
        let (namespace, name) = (text(&object, "/metadata/namespace"), text(&object, "/metadata/name"));
        let id = id(&namespace, &name);
        if gone {
            known.remove(&id);
            say!("{name} is gone");
            return Ok(());
        }
        let key = ObjectKey::new(selection.kind.clone(), namespace, name.as_str());
        let Some(cells) = row_of(remote, &key, &layout).await? else { return Ok(()) };
        if let Some(before) = known.differs(&id, &cells, layout.age()) {
            put!("{}", shown.changed_row(&cells, &before));
        }
        Ok(())
    })
    .await
}

fn id(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// An object's row as the server prints it; none where it has gone meanwhile, whose deletion is on the way.
async fn row_of(remote: &Remote, key: &ObjectKey, layout: &Layout) -> Result<Option<Vec<String>>, Failure> {
    match remote.client.get_table(key).await {
        Ok(Table { rows, .. }) => Ok(rows.first().map(|row| layout.cells(row))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
