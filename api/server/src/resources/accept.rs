//! How a client wants its answer.

use axum::http::{HeaderMap, header};

use crate::Failure;

/// The forms in which objects are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accept {
    /// As they are.
    Objects,
    /// As a `meta.k8s.io/v1` Table.
    Table,
}

/// One media range of an Accept header.
pub(super) struct MediaRange<'a> {
    essence: &'a str,
    parameters: &'a str,
}

impl<'a> MediaRange<'a> {
    /// The ranges of all Accept headers in the order the client wrote them, which is the order Kubernetes' clients mean.
    pub(super) fn all(headers: &'a HeaderMap) -> impl Iterator<Item = Self> {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|range| {
            let (essence, parameters) = range.split_once(';').unwrap_or((range, ""));
            MediaRange { essence: essence.trim(), parameters }
        })
    }

    /// Whether JSON is in this range.
    pub(super) fn takes_json(&self) -> bool {
        ["application/json", "application/*", "*/*"].iter().any(|json| self.essence.eq_ignore_ascii_case(json))
    }

    /// A parameter, such as `as` in `application/json;as=Table`.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut parameters = self.parameters.split(';').filter_map(|parameter| parameter.split_once('='));
        parameters.find(|(known, _)| known.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Accept {
    /// The first form in which both sides can speak. Forms this server does not have (a partial object) are answered
    /// with whole objects, which those who ask for them read as well.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        if !headers.contains_key(header::ACCEPT) {
            return Ok(Self::Objects);
        }
        let mut forms = MediaRange::all(headers).filter(MediaRange::takes_json).filter_map(|range| {
            match (range.parameter("as"), range.parameter("g"), range.parameter("v")) {
                (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Some(Self::Table),
                (Some("Table"), ..) => None,
                _ => Some(Self::Objects),
            }
        });
        let message = "only the following media types are accepted: application/json";
        forms.next().ok_or_else(|| Failure::new(406, "NotAcceptable", message))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_form_that_both_speak_is_answered() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let table = [
            (None, Ok(Accept::Objects)),
            (Some(kubectl), Ok(Accept::Table)),
            (Some("application/json"), Ok(Accept::Objects)),
            (Some("application/json, */*"), Ok(Accept::Objects)),
            (Some("application/vnd.kubernetes.protobuf,application/json"), Ok(Accept::Objects)),
            (Some("application/json;as=Table;v=v1beta1;g=meta.k8s.io"), Err(406)),
            (Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), Ok(Accept::Objects)),
            (Some("text/html"), Err(406)),
        ];
        for (text, expected) in table {
            let mut headers = HeaderMap::new();
            if let Some(text) = text {
                headers.insert(header::ACCEPT, HeaderValue::from_static(text));
            }
            assert_eq!(Accept::of(&headers).map_err(|failure| failure.status().code), expected, "{text:?}");
        }
    }
}
