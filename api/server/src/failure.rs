//! Errors on their way to a client: always a Kubernetes `Status` object, for whatever router they come from.

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
};
use orion_model::{ClientError, Issue, ObjectKey, Status, status::Details};

use crate::limits::BODY_BYTES;

/// A request that failed: the `Status` it is answered with. Handlers return it as their error.
#[derive(Clone, Debug)]
pub struct Failure {
    // Boxed since it travels in every `Result`.
    status: Box<Status>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// A failure with this HTTP status code, reason (a CamelCase word) and message.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Status::failure(code, reason, message).into()
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 404: no route or resource has this path.
    pub fn no_such_path(path: &str) -> Self {
        Self::new(404, "NotFound", format!("the server could not find the requested resource: {path}"))
    }

    /// 405: the path is there, but not for this method; `allowed` lists those it is there for.
    pub fn method_not_allowed(method: &str, allowed: &'static str) -> Self {
        let message = format!("{method} is not allowed here; allowed: {allowed}");
        let allow = HeaderValue::from_static(allowed);
        Self::new(405, "MethodNotAllowed", message).with_header(header::ALLOW, allow)
    }

    /// 415: a body of this type is not read here.
    pub fn unsupported_media_type(sent: &str, accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format ({sent}) - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 422: an object, or what is said beside it, is wrong.
    pub fn invalid(key: ObjectKey, issues: Vec<Issue>) -> Self {
        ClientError::Invalid { key, issues }.into()
    }

    /// 422: a query parameter is wrong.
    pub fn invalid_option(name: &str, message: impl std::fmt::Display) -> Self {
        Self::new(422, "Invalid", format!("{name}: {message}"))
    }

    /// This failure with a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    /// This failure with details.
    #[must_use]
    pub fn about(mut self, details: Details) -> Self {
        self.status.details = Some(details);
        self
    }

    /// The status.
    pub fn status(&self) -> &Status {
        &self.status
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { status: Box::new(status), header: None }
    }
}

impl From<&ClientError> for Failure {
    fn from(error: &ClientError) -> Self {
        Status::from(error).into()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Status::from(&error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if code.is_server_error() {
            tracing::warn!(code = code.as_u16(), reason = self.status.reason, message = self.status.message, "failed");
        }
        let retry_after = self.status.details.as_ref().and_then(|details| details.retry_after_seconds);
        let mut response = (code, axum::Json(&*self.status)).into_response();
        let headers = response.headers_mut();
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Makes every error of a router a `Status`: unknown paths, wrong methods, and what extractors refuse. Also sets the
/// default limit of bodies (1 MiB) and the headers that keep answers out of caches and away from sniffing browsers.
///
/// Call it once, on the router that has everything merged.
pub fn with_status_errors(router: Router) -> Router {
    router
        .fallback(|request: Request| async move { Failure::no_such_path(request.uri().path()) })
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::map_response(as_status))
}

async fn wrong_method(request: Request) -> Failure {
    // The router adds `Allow` itself.
    let (method, path) = (request.method(), request.uri().path());
    Failure::new(405, "MethodNotAllowed", format!("{method} is not allowed for {path}"))
}

/// Marks a response whose plain text is meant, such as a failing health check's.
#[derive(Clone, Copy)]
pub(crate) struct PlainText;

/// The longest text of a rejection that is kept.
const REJECTION_BYTES: usize = 4096;

async fn as_status(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    parts.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    let failed = parts.status.is_client_error() || parts.status.is_server_error();
    if !failed || !is_plain_text(&parts.headers) || parts.extensions.get::<PlainText>().is_some() {
        return Response::from_parts(parts, body);
    }
    let message = axum::body::to_bytes(body, REJECTION_BYTES).await.unwrap_or_default();
    let status = Status::failure(parts.status.as_u16(), reason(parts.status), String::from_utf8_lossy(&message));
    let body = serde_json::to_vec(&status).expect("a status always serialises");
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(body))
}

fn is_plain_text(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_none_or(|value| value.starts_with("text/plain"))
}

fn reason(code: StatusCode) -> &'static str {
    match code.as_u16() {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        408 | 504 => "Timeout",
        413 => "RequestEntityTooLarge",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        426 => "UpgradeRequired",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    }
}
