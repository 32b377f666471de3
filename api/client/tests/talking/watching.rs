use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use orion_http::WatchEvent;
use orion_model::{ClientError, ResourceVersion};
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{PATIENCE, Server, Widget, all};

type Events = Pin<Box<dyn Stream<Item = Result<WatchEvent, ClientError>> + Send>>;

fn watch(server: &Server, after: Option<ResourceVersion>) -> Events {
    server.client().watch(all(), after).boxed()
}

async fn next(events: &mut Events) -> Option<Result<WatchEvent, ClientError>> {
    timeout(PATIENCE, events.next()).await.expect("goes on in time")
}

/// The next event as `verb name size`, over interruptions that pass.
async fn told(events: &mut Events) -> String {
    loop {
        let name = |object: Value| {
            format!("{} {}", object["metadata"]["name"].as_str().expect("a name"), object["spec"]["size"])
        };
        return match next(events).await.expect("goes on") {
            Ok(WatchEvent::Added(object)) => format!("added {}", name(object)),
            Ok(WatchEvent::Modified(object)) => format!("modified {}", name(object)),
            Ok(WatchEvent::Deleted(object)) => format!("deleted {}", name(object)),
            Ok(WatchEvent::Synced) => "synced".to_owned(),
            Err(ClientError::Unavailable(_)) => continue,
            Err(error) => panic!("{error}"),
        };
    }
}

#[tokio::test]
async fn a_watch_delivers_what_exists_then_what_changes() {
    let server = Server::start().await;
    let made: Widget = server.make("a").await;
    let mut events = watch(&server, None);
    assert_eq!(told(&mut events).await, "added a 0");
    assert_eq!(told(&mut events).await, "synced");
    server.make("b").await;
    server.resize("b", 3).await;
    server.store.delete(&made).await.expect("is deleted");
    assert_eq!(told(&mut events).await, "added b 0");
    assert_eq!(told(&mut events).await, "modified b 3");
    assert_eq!(told(&mut events).await, "deleted a 0");
    let mut later = watch(&server, Some(made.metadata.resource_version));
    assert_eq!(told(&mut later).await, "added b 0");
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_when_the_server_was_away() {
    let server = Server::start().await;
    server.make("a").await;
    let mut events = watch(&server, None);
    assert_eq!(told(&mut events).await, "added a 0");
    assert_eq!(told(&mut events).await, "synced");
    server.resize("a", 1).await;
    assert_eq!(told(&mut events).await, "modified a 1");
    let server = server.stop().await;
    server.resize("a", 2).await;
    let Some(Err(ClientError::Unavailable(text))) = next(&mut events).await else { panic!("nobody listens") };
    assert!(text.contains(&server.url()), "{text}");
    server.resize("a", 3).await;
    let server = server.start_again().await;
    assert_eq!(told(&mut events).await, "modified a 2");
    assert_eq!(told(&mut events).await, "modified a 3");
    let server = server.restart().await;
    server.resize("a", 4).await;
    assert_eq!(told(&mut events).await, "modified a 4");
}

#[tokio::test]
async fn an_expired_watch_says_so_and_ends() {
    let server = Server::start().await;
    let mut events = watch(&server, Some(ResourceVersion::new(1)));
    assert!(matches!(next(&mut events).await, Some(Err(ClientError::Expired { .. }))));
    assert!(next(&mut events).await.is_none());
}

#[tokio::test]
async fn a_watch_of_what_is_not_served_ends_with_the_reason() {
    let server = Server::start().await;
    let mut selection = all();
    selection.fields = selection.fields.and_equals("spec.size", "3");
    let mut events: Events = server.client().watch(selection, None).boxed();
    assert!(matches!(next(&mut events).await, Some(Err(ClientError::BadRequest(_)))));
    assert!(next(&mut events).await.is_none());
}
