//! What stands in the body of a request: JSON or YAML, read within bounds, with the place of what is wrong.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, header, request::Parts},
};
use orion_model::yaml;
use serde_json::Value;

use crate::{Failure, guard::essence, serve::BodyTimeout};

const JSON: &str = "application/json";
const YAML: [&str; 3] = ["application/yaml", "application/x-yaml", "text/yaml"];
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A request whose body has not been read yet.
pub(super) struct Unread(Request);

impl Unread {
    pub(super) fn new(parts: Parts, body: Body) -> Self {
        Self(Request::from_parts(parts, body))
    }

    /// The value in the body: JSON or YAML.
    pub(super) async fn value(self) -> Result<Value, Failure> {
        let headers = self.0.headers().clone();
        Syntax::of(&headers)?.parse(&read(self.0).await?)
    }

    /// The value in the body, if there is a body.
    pub(super) async fn optional(self) -> Result<Option<Value>, Failure> {
        let headers = self.0.headers().clone();
        let bytes = read(self.0).await?;
        if bytes.is_empty() { Ok(None) } else { Syntax::of(&headers)?.parse(&bytes).map(Some) }
    }

    /// The merge patch in the body.
    pub(super) async fn merge_patch(self) -> Result<Value, Failure> {
        let sent = content_type(self.0.headers());
        if sent.as_deref() != Some(MERGE_PATCH) {
            return Err(Failure::unsupported_media_type(sent.as_deref().unwrap_or("none"), &[MERGE_PATCH]));
        }
        Syntax::Json.parse(&read(self.0).await?)
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// JSON.
    Json,
    /// YAML: one document.
    Yaml,
}

impl Syntax {
    /// What the headers say the body is; JSON where they say nothing.
    ///
    /// # Errors
    /// 415 for anything else.
    pub fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        match content_type(headers).as_deref() {
            None | Some(JSON) => Ok(Self::Json),
            Some(sent) if YAML.contains(&sent) => Ok(Self::Yaml),
            Some(sent) => Err(Failure::unsupported_media_type(sent, &[JSON, YAML[0]])),
        }
    }

    /// Reads a body as one value.
    ///
    /// # Errors
    /// 400, with line and column where the text is at fault.
    pub fn parse(self, bytes: &[u8]) -> Result<Value, Failure> {
        if bytes.is_empty() {
            return Err(Failure::bad_request("the body of the request is empty"));
        }
        match self {
            Self::Json => yaml::decode(bytes)
                .and_then(|text| yaml::parse_json(text, &yaml::Limits::default()))
                .map(|document| document.value)
                .map_err(|error| Failure::bad_request(format!("the body is not JSON that can be kept: {error}"))),
            Self::Yaml => yaml::decode(bytes)
                .and_then(|text| yaml::parse(text, &yaml::Limits::default()))
                .map_err(|error| Failure::bad_request(format!("the body is not YAML that can be kept: {error}")))
                .and_then(only),
        }
    }
}

fn only(documents: Vec<yaml::Document>) -> Result<Value, Failure> {
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next()) {
        (Some(document), None) => Ok(document.value),
        (None, _) => Err(Failure::bad_request("the body holds no YAML document")),
        (Some(_), Some(_)) => {
            Err(Failure::bad_request("the body holds more than one YAML document; send them one by one"))
        }
    }
}

/// The whole body, within the route's limit.
///
/// # Errors
/// 413 above the limit, 408 when it did not come in time, 400 when the connection broke.
pub async fn read(request: Request) -> Result<Bytes, Failure> {
    Bytes::from_request(request, &()).await.map_err(|rejection| refused(&rejection))
}

fn refused(rejection: &BytesRejection) -> Failure {
    if rejection.status().as_u16() == 413 {
        return Failure::new(413, "RequestEntityTooLarge", "the body of the request is larger than this route takes");
    }
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(rejection);
    while let Some(error) = source {
        if let Some(late) = error.downcast_ref::<BodyTimeout>() {
            return Failure::new(408, "Timeout", late.to_string());
        }
        source = error.source();
    }
    Failure::bad_request(rejection.body_text())
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    Some(essence(value.to_str().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        let deep = "[".repeat(100_000);
        let table: [(&[u8], &str); 8] = [
            (b"", "empty"),
            (b"{\n  \"a\": }", "line 2, column 8"),
            (b"{\"a\": 1} x", "line 1, column 10"),
            (b"{\"a\": 1, \"a\": 2}", "line 1, column 10"),
            (b"{\"a\": 1e400}", "line 1, column 7"),
            (b"\xff\xfe{\0}\0", "UTF-16"),
            (b"{\"a\": \"\xff\"}", "not UTF-8"),
            (deep.as_bytes(), "nested too deeply"),
        ];
        for (bytes, expected) in table {
            let failure = Syntax::Json.parse(bytes).expect_err(expected);
            assert_eq!(failure.status().code, 400);
            assert!(failure.status().message.contains(expected), "{}", failure.status().message);
        }
        assert_eq!(Syntax::Json.parse(b"{\"a\": 1}").expect("is JSON"), json!({"a": 1}));
    }

    #[test]
    fn yaml_is_one_document() {
        assert_eq!(Syntax::Yaml.parse(b"a: 1\n").expect("is YAML"), json!({"a": 1}));
        for (text, expected) in [("a: 1\n---\nb: 2\n", "more than one"), ("a: [1\n", "line"), ("", "empty")] {
            let failure = Syntax::Yaml.parse(text.as_bytes()).expect_err(expected);
            assert!(failure.status().message.contains(expected), "{}", failure.status().message);
        }
    }
}
