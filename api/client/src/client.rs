//! The connection to a server: where it is, how long it may take, and how its failures are told.

use std::{fs::File, os::fd::AsRawFd as _, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use orion_model::{ClientError, Clock, CommitId, ObjectKey, Randomness};
use reqwest::{Method, RequestBuilder, Response, Url, header, redirect};
use serde::{Serialize, de::DeserializeOwned};

use crate::answer::Answer;

/// How long connecting may take. A server is near; a person at a terminal waits no longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request with an answer of its own may take in all: longer than the server waits for its store (30 s), so
/// that the server's reason is heard and not this clock's.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);
/// How long an unused connection is kept: shorter than the server keeps it, so that none is picked that just closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the system asks whether the other end is still there, for streams that are quiet for long.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The form in which most is asked for.
pub(crate) const JSON: &str = "application/json";

/// The header by which a writer names its commit, so that a write whose answer was lost can be settled by repeating it.
const COMMIT_ID: &str = "orion-commit-id";

/// A client of one API server. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    http: reqwest::Client,
    base: Url,
    /// What people call the server: its URL, or the path of its socket.
    name: String,
    token: Option<String>,
    clock: Clock,
    pub(crate) randomness: Randomness,
    /// Keeps the descriptor of the socket's directory, by which it is reached.
    _directory: Option<Arc<File>>,
}

impl HttpClient {
    /// A client of the server at a URL such as `http://127.0.0.1:6060`. A token is sent as a bearer token.
    ///
    /// Nothing is sent before the first request.
    ///
    /// # Errors
    /// [`ClientError::BadRequest`] when it is not an `http` URL.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, ClientError> {
        let wrong = |why: String| ClientError::BadRequest(format!("the server's URL {url:?} cannot be used: {why}"));
        let mut base = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if base.scheme() != "http" {
            return Err(wrong("only http is supported".to_owned()));
        }
        // So that joined paths go below it.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let name = base.as_str().trim_end_matches('/').to_owned();
        Self::build(base, name, token, settings())
    }

    /// A client of the server that listens on a Unix socket, where the user is known without a token.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] when there is no such directory.
    pub fn over_socket(path: &Path) -> Result<Self, ClientError> {
        let base = Url::parse("http://localhost/").expect("is a URL");
        let unusable = |error| ClientError::Unavailable(format!("cannot reach {}: {error}", path.display()));
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = File::open(directory).map_err(unusable)?;
        // The address of a socket holds 107 bytes, and a path may be longer.
        let address = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
        let address = address.join(path.file_name().unwrap_or_default());
        let client = Self::build(base, path.display().to_string(), None, settings().unix_socket(address))?;
        Ok(Self { _directory: Some(Arc::new(directory)), ..client })
    }

    fn build(
        base: Url,
        name: String,
        token: Option<String>,
        settings: reqwest::ClientBuilder,
    ) -> Result<Self, ClientError> {
        let http = settings.build().map_err(|error| ClientError::Unavailable(told(&error)))?;
        Ok(Self { http, base, name, token, clock: Clock::system(), randomness: Randomness::system(), _directory: None })
    }

    /// The server's URL, or the path of its socket.
    pub fn server(&self) -> &str {
        &self.name
    }

    /// Reads whatever JSON stands at a path such as `/version`.
    ///
    /// # Errors
    /// As the server answers; `BadRequest` when the answer is not of this shape.
    pub async fn read<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ClientError> {
        let about = nothing();
        self.fetch(path, query, JSON, &about).await?.json(&about)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(method, path, JSON)
    }

    fn request_as(&self, method: Method, path: &str, accept: &str) -> RequestBuilder {
        let url = self.base.join(path.trim_start_matches('/')).expect("paths are encoded");
        let request = self.http.request(method, url).header(header::ACCEPT, accept);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Reads a path, about an object, in the form that `accept` asks for.
    pub(crate) async fn fetch(
        &self,
        path: &str,
        query: &(impl Serialize + ?Sized),
        accept: &str,
        about: &ObjectKey,
    ) -> Result<Answer, ClientError> {
        let request = self.request_as(Method::GET, path, accept).query(query).timeout(REQUEST_TIMEOUT);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let answer = Answer::read(response).await.map_err(|error| self.unreachable(&error))?;
        answer.into_success(about)
    }

    /// Sends a write and reads its answer, good or bad. If it is not known whether the write arrived, that is the error.
    pub(crate) async fn write(&self, request: RequestBuilder) -> Result<Answer, ClientError> {
        let id = CommitId::fresh(self.clock.now(), &self.randomness);
        let request = request.header(COMMIT_ID, id.to_string()).timeout(REQUEST_TIMEOUT);
        let lost = |error: reqwest::Error| {
            if error.is_connect() || error.is_builder() {
                self.unreachable(&error)
            } else {
                ClientError::Unknown {
                    id: id.clone(),
                    reason: format!("no answer from {}: {}", self.name, told(&error)),
                }
            }
        };
        let response = request.send().await.map_err(lost)?;
        Answer::read(response).await.map_err(lost)
    }

    /// Begins a read that goes on: headers in time, the body for as long as it lasts.
    pub(crate) async fn open(&self, request: RequestBuilder, about: &ObjectKey) -> Result<Response, ClientError> {
        let response = tokio::time::timeout(REQUEST_TIMEOUT, request.send())
            .await
            .map_err(|_| ClientError::Unavailable(format!("no answer from {} within {REQUEST_TIMEOUT:?}", self.name)))?
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let answer = Answer::read(response).await.map_err(|error| self.unreachable(&error))?;
        Err(answer.into_error(about))
    }

    /// How a failure of the connection is told.
    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let what = if error.is_connect() { "cannot reach" } else { "no answer from" };
        ClientError::Unavailable(format!("{what} {}: {}", self.name, told(error)))
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("server", &self.name).finish_non_exhaustive()
    }
}

fn settings() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("orion/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_keepalive(KEEPALIVE)
        .tcp_nodelay(true)
        // A token goes to the server it is for, and nowhere else.
        .redirect(redirect::Policy::none())
        .no_proxy()
}

/// The innermost reason: `connection refused` rather than three layers of "error trying to".
fn told(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// What a request is about that is about no object.
pub(crate) fn nothing() -> ObjectKey {
    use orion_model::kind::{Names, Scope};
    static NAMES: Names = Names {
        group: std::borrow::Cow::Borrowed(""),
        version: std::borrow::Cow::Borrowed("v1"),
        kind: std::borrow::Cow::Borrowed("Request"),
        plural: std::borrow::Cow::Borrowed("requests"),
        singular: std::borrow::Cow::Borrowed("request"),
        short: std::borrow::Cow::Borrowed(&[]),
        scope: Scope::Cluster,
    };
    ObjectKey::new(orion_model::Kind::from_static(&NAMES), "", "")
}

/// The bytes of a JSON value.
pub(crate) fn to_json(value: &serde_json::Value) -> Bytes {
    serde_json::to_vec(value).expect("a JSON value always serialises").into()
}
