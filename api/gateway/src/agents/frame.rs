//! Frames as they come from an agent: what is refused, and with which words.

use std::borrow::Cow;

use orion_types::protocol::{
    Ack, FromAgent, Heartbeat, Hello, LogChunk, LogEnd, Stale, StatusReport, Synced, ToAgent, Want,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// Why a socket is closed: a code (RFC 6455, or the protocol's own) and a sentence for whoever reads the agent's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

/// RFC 6455: the endpoint is going away.
pub(super) const GOING_AWAY: u16 = 1001;
/// RFC 6455: what was sent breaks the protocol.
pub(super) const PROTOCOL_ERROR: u16 = 1002;
/// RFC 6455: this kind of data is not taken.
pub(super) const UNSUPPORTED_DATA: u16 = 1003;
/// RFC 6455: what was sent breaks a rule.
pub(super) const POLICY: u16 = 1008;
/// RFC 6455: a message is too large.
pub(super) const TOO_LARGE: u16 = 1009;

/// RFC 6455 gives a control frame 125 bytes, two of which are the code.
const REASON_BYTES: usize = 123;

impl Close {
    pub(super) fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(REASON_BYTES));
        Self { code, reason }
    }

    pub(super) fn protocol_error(reason: impl Into<String>) -> Self {
        Self::new(PROTOCOL_ERROR, reason)
    }

    pub(super) fn policy(reason: impl Into<String>) -> Self {
        Self::new(POLICY, reason)
    }
}

/// What a text frame turned out to be.
#[derive(Debug)]
pub(super) enum Frame {
    /// One that this build knows.
    Known(FromAgent),
    /// One of a type that a newer agent may have.
    Unknown(String),
    /// One of a known type whose payload does not read; the words say where.
    Malformed(String),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// Reads a frame.
///
/// # Errors
/// When it is no JSON object or has no type: whoever sends that speaks another language.
pub(super) fn read(text: &str) -> Result<Frame, Close> {
    let not_a_frame =
        |why: String| Close::protocol_error(format!("a frame is not a JSON object of type and payload{why}"));
    if !is_object(text) {
        return Err(not_a_frame(String::new()));
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| not_a_frame(format!(": {error}")))?;
    let Some(kind) = envelope.kind else {
        return Err(Close::protocol_error("a frame has no type"));
    };
    let payload = envelope.payload.map_or("{}", RawValue::get);
    let known = match &*kind {
        "hello" => payload_as::<Hello>(payload).map(|hello| FromAgent::Hello(Box::new(hello))),
        "heartbeat" => payload_as::<Heartbeat>(payload).map(FromAgent::Heartbeat),
        "status" => payload_as::<StatusReport>(payload).map(|report| FromAgent::Status(Box::new(report))),
        "want" => payload_as::<Want>(payload).map(FromAgent::Want),
        "synced" => payload_as::<Synced>(payload).map(FromAgent::Synced),
        "ack" => payload_as::<Ack>(payload).map(FromAgent::Ack),
        "stale" => payload_as::<Stale>(payload).map(FromAgent::Stale),
        "logChunk" => payload_as::<LogChunk>(payload).map(FromAgent::LogChunk),
        "logEnd" => payload_as::<LogEnd>(payload).map(FromAgent::LogEnd),
        _ => return Ok(Frame::Unknown(kind.into_owned())),
    };
    Ok(known.map_or_else(|problem| Frame::Malformed(format!("{kind}: {problem}")), Frame::Known))
}

/// Reads the first frame, which must be a hello.
///
/// # Errors
/// When it is anything else.
pub(super) fn read_hello(text: &str) -> Result<Box<Hello>, Close> {
    match read(text)? {
        Frame::Known(FromAgent::Hello(hello)) => Ok(hello),
        Frame::Known(_) => Err(Close::protocol_error("the first frame must be hello")),
        Frame::Unknown(kind) => Err(Close::protocol_error(format!("the first frame must be hello, not {kind:?}"))),
        Frame::Malformed(problem) => Err(Close::policy(problem)),
    }
}

/// Writes a frame.
pub(super) fn write(frame: &ToAgent) -> String {
    serde_json::to_string(frame).expect("a frame has string keys and finite numbers only")
}

/// Whether a JSON text can only be an object. A struct would also be read from a list of its fields.
fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{')
}

fn payload_as<T: DeserializeOwned>(payload: &str) -> Result<T, String> {
    if !is_object(payload) {
        return Err("payload: is not an object".into());
    }
    let reader = &mut serde_json::Deserializer::from_str(payload);
    serde_path_to_error::deserialize(reader).map_err(|error| match error.path().to_string().as_str() {
        "." => error.inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_frame_is_refused_with_what_is_wrong() {
        let nested = "[".repeat(100_000);
        let table = [
            ("", "not a JSON object"),
            ("hello", "not a JSON object"),
            ("[1]", "not a JSON object"),
            (r#"["hello",{"name":"a"}]"#, "not a JSON object"),
            ("{\"type\":5}", "not a JSON object"),
            ("{}", "no type"),
            ("{\"type\":null,\"payload\":{}}", "no type"),
            (nested.as_str(), "not a JSON object"),
        ];
        for (text, says) in table {
            let close = read(text).expect_err("no frame");
            assert_eq!(close.code, PROTOCOL_ERROR);
            assert!(close.reason.contains(says) && close.reason.len() <= REASON_BYTES, "{}", close.reason);
        }
    }

    #[test]
    fn only_a_hello_comes_first() {
        let table = [
            (r#"{"type":"heartbeat","payload":{"timestamp":1}}"#, PROTOCOL_ERROR, "must be hello"),
            (r#"{"type":"greet","payload":{}}"#, PROTOCOL_ERROR, "\"greet\""),
            (r#"{"type":"hello","payload":{"name":5}}"#, POLICY, "hello: name: "),
            (r#"{"type":"hello","payload":[]}"#, POLICY, "hello: "),
        ];
        for (text, code, says) in table {
            let close = read_hello(text).expect_err("refused");
            assert_eq!(close.code, code, "{text}");
            assert!(close.reason.contains(says), "{}", close.reason);
        }
        let hello =
            read_hello(r#"{"type":"hello","payload":{"nodeId":"n","name":"node-1","more":1}}"#).expect("a hello");
        assert_eq!((hello.name.as_str(), hello.protocol), ("node-1", None));
    }

    #[test]
    fn later_frames_are_known_unknown_or_malformed() {
        assert!(matches!(read(r#"{"type":"ack","payload":{"id":"x"}}"#), Ok(Frame::Known(FromAgent::Ack(_)))));
        assert!(matches!(read(r#"{"type":"later","payload":[1]}"#), Ok(Frame::Unknown(kind)) if kind == "later"));
        let malformed = read(r#"{"type":"status","payload":{"seq":-1}}"#);
        assert!(matches!(malformed, Ok(Frame::Malformed(problem)) if problem.starts_with("status: seq: ")));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let close = Close::policy("é".repeat(100));
        assert_eq!((close.reason.len(), close.reason.chars().count()), (122, 61));
    }
}
