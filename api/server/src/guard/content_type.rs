//! What the body of a request that changes state may be called: nothing that a web page can send unasked.

use axum::http::{HeaderMap, header};

use crate::Failure;

/// The types that are let in, beside every patch type.
const ALLOWED: [&str; 4] = ["application/json", "application/yaml", "application/x-yaml", "text/yaml"];

/// Refuses a content type that a form could have sent. A missing one counts as JSON where no browser sent the request:
/// Kubernetes' clients leave it out.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Failure> {
    let accepted = [ALLOWED[0], ALLOWED[1], "application/merge-patch+json"];
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        let browser = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
        return if browser { Err(Failure::unsupported_media_type("none", &accepted)) } else { Ok(()) };
    };
    let essence = essence(value.to_str().unwrap_or_default());
    if ALLOWED.contains(&essence.as_str()) || is_patch(&essence) {
        Ok(())
    } else {
        Err(Failure::unsupported_media_type(&essence, &accepted))
    }
}

fn is_patch(essence: &str) -> bool {
    let subtype = essence.strip_prefix("application/").unwrap_or_default();
    subtype.ends_with("-patch+json") || subtype.ends_with("-patch+yaml")
}

/// A media type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
