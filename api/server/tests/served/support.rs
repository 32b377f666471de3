//! A server with a small registry, and a client for it.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use orion_apiserver::{Guard, Health, Limits, Listener, Resources, Token, WriteHandler, serve, with_status_errors};
use orion_model::{Client, Issue, Kind, Registry, Resource};
use orion_store::{Memory, Store};
use reqwest::{Method, RequestBuilder, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// How long a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";

#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Widget, group = "example.org", version = "v1", status = WidgetStatus, short = "wg", validate = check)]
#[resource(column("SIZE", ".spec.size"), column("PHASE", ".status.phase"), selectable = ".spec.colour")]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WidgetSpec {
    pub(crate) size: u32,
    pub(crate) colour: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WidgetStatus {
    pub(crate) phase: String,
}

fn check(new: &Widget, _: Option<&Widget>) -> Vec<Issue> {
    if new.spec.size > 100 { vec![Issue::at("spec.size", "must be at most 100")] } else { Vec::new() }
}

/// A cluster-scoped kind without a status.
#[derive(Resource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[resource(kind = Region, group = "example.org", version = "v1", cluster)]
#[serde(default)]
pub(crate) struct RegionSpec {
    pub(crate) place: String,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) client: Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
    http: reqwest::Client,
    _dir: tempfile::TempDir,
    store: Store<Memory>,
}

/// What a test's server is made of.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) handler: Option<(Kind, Arc<dyn WriteHandler>)>,
    pub(crate) more: Router,
}

impl Default for Setup {
    fn default() -> Self {
        Self { limits: Limits::default(), handler: None, more: Router::new() }
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let store = orion_store::memory(Registry::new().with_all::<(Widget, Region)>()).await.expect("opens");
        let client = store.client();
        let mut resources = Resources::new(client.clone());
        if let Some((kind, handler)) = setup.handler {
            resources = resources.handler(kind, handler);
        }
        let router = resources.router().merge(Health::new().router()).merge(setup.more);
        let router = Guard::new(Token::new(SECRET)).protect(with_status_errors(router));
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("orion.sock");
        let tcp = Listener::tcp("127.0.0.1:0").await.expect("binds");
        let address = tcp.address().expect("has an address");
        let listeners = vec![tcp, Listener::unix(&socket).expect("binds")];
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listeners, router, setup.limits, shutdown.clone()));
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { address, socket, client, shutdown, serving, http, _dir: dir, store }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path)).await
    }

    /// Sends JSON.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(method, path).header("content-type", "application/json").body(body.to_string())).await
    }

    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Answer {
        let request = self.request("PATCH", path).header("content-type", "application/merge-patch+json");
        Answer::of(request.body(patch.to_string())).await
    }

    /// Makes a widget and answers it as it is.
    pub(crate) async fn widget(&self, name: &str, size: u32) -> Value {
        let answer = self.send("POST", WIDGETS, &widget(name, size)).await;
        assert_eq!(answer.code, 201, "{}", answer.body);
        answer.body
    }

    pub(crate) async fn close_store(&self) {
        self.store.close().await;
    }
}

pub(crate) fn widget(name: &str, size: u32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"size": size, "colour": "red"}})
}

/// A whole answer; its body is null where it is not JSON.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response: Response =
            timeout(PATIENCE, request.send()).await.expect("answers in time").expect("is answered");
        let (code, headers) = (response.status().as_u16(), response.headers().clone());
        let text = timeout(PATIENCE, response.text()).await.expect("ends in time").expect("is text");
        let body = serde_json::from_str(&text).unwrap_or_default();
        Self { code, headers, text, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("is text"))
    }

    /// Asserts that this is a failure in the form Kubernetes' clients expect.
    pub(crate) fn fails(&self, code: u16, reason: &str) -> &str {
        assert_eq!((self.code, self.header("content-type")), (code, "application/json"), "{}", self.text);
        let Value::String(message) = &self.body["message"] else { panic!("no message: {}", self.text) };
        let told = (&self.body["kind"], &self.body["apiVersion"], &self.body["status"], &self.body["reason"]);
        assert_eq!(told, (&json!("Status"), &json!("v1"), &json!("Failure"), &json!(reason)), "{}", self.text);
        assert_eq!(self.body["code"], code, "{}", self.text);
        message
    }
}

pub(crate) fn version_of(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("has a version")
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("has items");
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("has a name")).collect()
}
