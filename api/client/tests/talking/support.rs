//! A server with one kind, and a client for it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum::Router;
use orion_apiserver::{Guard, Limits, Listener, Resources, Token, serve, with_status_errors};
use orion_http::HttpClient;
use orion_model::{Client, Commit, Key, ObjectKey, Op, Precondition, Registry, Resource, Selection, Write};
use orion_store::{Memory, Store};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// How long a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Widget, group = "example.org", version = "v1", status = WidgetStatus, short = "wg")]
#[resource(column("SIZE", ".spec.size"))]
#[serde(default)]
pub(crate) struct WidgetSpec {
    pub(crate) size: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct WidgetStatus {
    pub(crate) phase: String,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) store: Client,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    more: Router,
    dir: tempfile::TempDir,
    _store: Store<Memory>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Router::new()).await
    }

    pub(crate) async fn with(more: Router) -> Self {
        let store = orion_store::memory(Registry::new().with::<Widget>()).await.expect("opens");
        let client = store.client();
        let tcp = Listener::tcp("127.0.0.1:0").await.expect("binds");
        let address = tcp.address().expect("has an address");
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("orion.sock");
        let listeners = vec![tcp, Listener::unix(&socket).expect("binds")];
        let (shutdown, serving) = spawn(listeners, client.clone(), more.clone());
        Self { address, socket, store: client, shutdown, serving, more, dir, _store: store }
    }

    /// The same store and address, served anew.
    pub(crate) async fn restart(self) -> Self {
        let stopped = self.stop().await;
        stopped.start_again().await
    }

    pub(crate) async fn stop(mut self) -> Self {
        self.shutdown.cancel();
        timeout(PATIENCE, &mut self.serving).await.expect("stops in time").expect("did not panic");
        self
    }

    pub(crate) async fn start_again(self) -> Self {
        let listener = Listener::tcp(self.address).await.expect("binds again");
        let (shutdown, serving) = spawn(vec![listener], self.store.clone(), self.more.clone());
        Self { shutdown, serving, ..self }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn client(&self) -> HttpClient {
        HttpClient::new(&self.url(), None).expect("a client")
    }

    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Makes widgets `w0000`, `w0001`, …, in one commit.
    pub(crate) async fn fill(&self, count: usize) {
        let writes = (0..count).map(|index| {
            let name = format!("w{index:04}");
            let op = Op::Create(json!({"metadata": {"name": name}, "spec": {"size": index}}));
            Write { key: key(&name), op, precondition: Precondition::NONE }
        });
        let commit = Commit { writes: writes.collect(), ..Commit::default() };
        self.store.commit(commit).await.expect("commits");
    }

    pub(crate) async fn make(&self, name: &str) -> Widget {
        self.store.create(&Widget::new(name, WidgetSpec::default())).await.expect("is made")
    }

    pub(crate) async fn resize(&self, name: &str, size: u32) -> Widget {
        let key = Key::new("default", name);
        self.store.merge(&key, json!({"spec": {"size": size}})).await.expect("is changed")
    }
}

fn spawn(listeners: Vec<Listener>, client: Client, more: Router) -> (CancellationToken, JoinHandle<()>) {
    let router = with_status_errors(Resources::new(client).router().merge(more));
    let router = Guard::new(Token::new(SECRET)).protect(router);
    let shutdown = CancellationToken::new();
    (shutdown.clone(), tokio::spawn(serve(listeners, router, Limits::default(), shutdown)))
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Widget::KIND, "default", name)
}

pub(crate) fn all() -> Selection {
    Selection::all(Widget::KIND).in_namespace("default")
}

pub(crate) fn widget(name: &str, size: u32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"size": size}})
}
