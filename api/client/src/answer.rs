//! A whole answer of a server: status code, warnings, body; and the error it stands for.

use bytes::{Bytes, BytesMut};
use orion_model::{ClientError, ObjectKey, Status};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;

/// The largest answer that is read: a page of the largest objects.
const MAX_ANSWER: usize = 512 * 1024 * 1024;

pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) body: Bytes,
    /// The texts of the `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    pub(crate) async fn read(mut response: Response) -> Result<Self, reqwest::Error> {
        let code = response.status();
        let headers = response.headers().get_all("warning").iter();
        let warnings = headers.filter_map(|value| warning(value.to_str().ok()?)).collect();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                // Cut: what follows would not fit, and what is there will not read as JSON.
                break;
            }
        }
        Ok(Self { code, body: body.freeze(), warnings })
    }

    pub(crate) fn into_success(self, about: &ObjectKey) -> Result<Self, ClientError> {
        if self.code.is_success() { Ok(self) } else { Err(self.into_error(about)) }
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, about: &ObjectKey) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let what = if about.name.is_empty() { String::new() } else { format!(" about {about}") };
            ClientError::BadRequest(format!("the server's answer{what} is not what was asked for: {error}"))
        })
    }

    /// The error that a failed answer stands for. Servers that are not Orion's, and proxies, may say it in any form.
    pub(crate) fn into_error(self, about: &ObjectKey) -> ClientError {
        let code = self.code.as_u16();
        let status = serde_json::from_slice::<Status>(&self.body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&self.body);
            let text: String = text.trim().chars().take(500).collect();
            let reason = self.code.canonical_reason().unwrap_or_default();
            Status::failure(code, "", format!("the server answered {code} {reason}: {text}"))
        });
        // The code of the answer counts, not what a body claims.
        Status { code, ..status }.into_error(about)
    }
}

/// The text of a header such as `299 - "unknown field \"spec.a\""`.
fn warning(header: &str) -> Option<String> {
    let quoted = header.splitn(3, ' ').nth(2)?.strip_prefix('"')?;
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_read_out_of_their_quotes() {
        let table = [
            (r#"299 - "unknown field \"spec.a\"""#, Some(r#"unknown field "spec.a""#)),
            (r#"299 - "a b" "Wed, 21 Oct 2026 07:28:00 GMT""#, Some("a b")),
            ("299 - unquoted", None),
            (r#"299 - "open"#, None),
            ("", None),
        ];
        for (header, expected) in table {
            assert_eq!(warning(header).as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn an_answer_in_no_known_form_is_an_error_all_the_same() {
        let answer = |code: u16, body: &'static str| Answer {
            code: StatusCode::from_u16(code).expect("a code"),
            body: Bytes::from_static(body.as_bytes()),
            warnings: Vec::new(),
        };
        let about = crate::client::nothing();
        let error = answer(502, "<html>Bad gateway</html>").into_error(&about);
        assert!(
            matches!(&error, ClientError::Unavailable(text) if text.contains("502 Bad Gateway: <html>")),
            "{error}"
        );
        let lie = r#"{"kind":"Status","status":"Success","code":200,"reason":"","message":"fine"}"#;
        assert!(matches!(answer(403, lie).into_error(&about), ClientError::Forbidden(_)));
    }
}
