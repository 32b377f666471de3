//! What an answer of a webhook means: pure.
//!
//! Any 2xx passes, unless the body says `{"allowed": false, "reason": …}`; `{"env": {…}}` in it is added to the
//! replica's environment. A 4xx is an answer too, and not asked for again. What is no answer, a 5xx included, is asked
//! for again, as often as the plugin says.

use std::collections::BTreeMap;

use orion_types::{
    Plugin,
    plugin::{FailurePolicy, HookPoint},
    process::is_env_name,
};
use serde::Deserialize;

use super::{HookAnswer, HookError};

/// How much of an answer's text is kept.
const KEPT_TEXT: usize = 500;

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed(Answer),
    /// It may not start.
    Refused(String),
    /// It failed, and the policy says to go on.
    Ignored(String),
    /// There was no answer; it is called again.
    Again(String),
}

/// What a hook that passed says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) env: BTreeMap<String, String>,
    pub(super) message: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    allowed: Option<bool>,
    reason: String,
    env: BTreeMap<String, String>,
}

/// Judges the answer to the call of this number, from 1.
pub(super) fn judge(answer: Result<HookAnswer, HookError>, attempt: u32, plugin: &Plugin) -> Outcome {
    let answer = match answer {
        Ok(answer) if answer.status < 500 => answer,
        Ok(answer) => return unanswered(format!("answered {}", answer.status), attempt, plugin),
        Err(error) => return unanswered(error.to_string(), attempt, plugin),
    };
    if !(200..300).contains(&answer.status) {
        return failed(format!("answered {}{}", answer.status, said(&answer.body)), plugin);
    }
    let body = match read(&answer.body) {
        Ok(body) => body,
        Err(why) => return failed(why, plugin),
    };
    match body.allowed {
        Some(false) if body.reason.is_empty() => Outcome::Refused("refused".to_owned()),
        Some(false) => Outcome::Refused(cut(&body.reason)),
        Some(true) | None => Outcome::Passed(Answer { env: body.env, message: cut(&body.reason) }),
    }
}

fn unanswered(why: String, attempt: u32, plugin: &Plugin) -> Outcome {
    let retries = plugin.spec.webhook.as_ref().map_or(0, |webhook| webhook.retries.0);
    if attempt > retries { failed(why, plugin) } else { Outcome::Again(why) }
}

fn failed(why: String, plugin: &Plugin) -> Outcome {
    match plugin.spec.policy(HookPoint::BeforeStart) {
        FailurePolicy::Fail => Outcome::Refused(why),
        FailurePolicy::Ignore => Outcome::Ignored(why),
    }
}

fn read(body: &[u8]) -> Result<Body, String> {
    if body.trim_ascii().is_empty() {
        return Ok(Body::default());
    }
    let no_answer = |error: serde_json::Error| format!("answered what is no answer: {error}");
    // By way of a map, since a struct would be read from a list too.
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).map_err(no_answer)?;
    let body: Body = serde_json::from_value(fields.into()).map_err(no_answer)?;
    match body.env.keys().find(|name| !is_env_name(name)) {
        Some(name) => Err(format!("answered the environment variable {name:?}, which cannot be one")),
        None => Ok(body),
    }
}

fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if text.trim().is_empty() { String::new() } else { format!(": {}", cut(text.trim())) }
}

fn cut(text: &str) -> String {
    text.chars().take(KEPT_TEXT).collect()
}
