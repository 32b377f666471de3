use orion_types::{
    plugin::{FailurePolicy, PluginSpec, Retries, Webhook},
    replica::ReplicaSpec,
};
use serde_json::{Value, json};

use super::*;

fn plugin(change: impl FnOnce(&mut Plugin)) -> Plugin {
    let webhook = Webhook { url: "http://127.0.0.1:9/hook".into(), secret: Some("s".into()), retries: Retries(2) };
    let spec = PluginSpec { webhook: Some(webhook), ..PluginSpec::default() };
    let mut plugin = Plugin::new("gate", spec).in_namespace("default");
    change(&mut plugin);
    plugin
}

fn answer(status: u16, body: &str) -> Result<HookAnswer, HookError> {
    Ok(HookAnswer { status, body: body.as_bytes().to_vec() })
}

fn passed(env: &[(&str, &str)]) -> Outcome {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Outcome::Passed(Answer { env, message: String::new() })
}

#[test]
fn an_answer_passes_refuses_or_is_asked_for_again() {
    let refused = |why: &str| Outcome::Refused(why.to_owned());
    let table = [
        (answer(200, ""), 1, passed(&[])),
        (answer(204, " "), 1, passed(&[])),
        (answer(200, r#"{"env": {"TOKEN": "x"}}"#), 1, passed(&[("TOKEN", "x")])),
        (answer(200, r#"{"allowed": true, "extra": 1}"#), 1, passed(&[])),
        (answer(200, r#"{"allowed": false, "reason": "frozen"}"#), 1, refused("frozen")),
        (answer(200, r#"{"allowed": false}"#), 1, refused("refused")),
        (answer(403, "no"), 1, refused("answered 403: no")),
        (answer(302, ""), 1, refused("answered 302")),
        (answer(503, "busy"), 1, Outcome::Again("answered 503".into())),
        (answer(503, "busy"), 2, Outcome::Again("answered 503".into())),
        (answer(503, "busy"), 3, refused("answered 503")),
        (Err(HookError("timed out".into())), 1, Outcome::Again("timed out".into())),
        (Err(HookError("timed out".into())), 3, refused("timed out")),
    ];
    for (answer, attempt, expected) in table {
        assert_eq!(judge(answer.clone(), attempt, &plugin(|_| {})), expected, "{answer:?}, attempt {attempt}");
    }
    for bad in ["{", "[]", r#"{"env": {"A=B": "x"}}"#, r#"{"env": {"A": 1}}"#] {
        assert!(matches!(judge(answer(200, bad), 1, &plugin(|_| {})), Outcome::Refused(_)), "{bad}");
    }
}

#[test]
fn the_policy_ignore_lets_a_failure_pass_but_not_a_refusal() {
    let ignoring = plugin(|plugin| {
        plugin.spec.failure_policy = [(HookPoint::BeforeStart, FailurePolicy::Ignore)].into();
    });
    assert_eq!(judge(answer(500, ""), 3, &ignoring), Outcome::Ignored("answered 500".into()));
    assert_eq!(judge(answer(404, ""), 1, &ignoring), Outcome::Ignored("answered 404".into()));
    assert_eq!(judge(answer(200, r#"{"allowed": false}"#), 1, &ignoring), Outcome::Refused("refused".into()));
}

#[test]
fn the_call_says_what_is_about_to_start_and_where() {
    let mut replica = Replica::new("web-0-abcde", ReplicaSpec::default()).in_namespace("default");
    replica.spec.service_name = Some("web".into());
    replica.spec.node_name = Some("node-1".into());
    let plugin = plugin(|plugin| drop(plugin.spec.config.insert("team".into(), json!("a"))));
    let call = call::of(&replica, &Hook::new("gate:check"), &plugin, "key-1", Timestamp::UNIX_EPOCH);
    assert_eq!((call.url.as_str(), call.secret.as_deref()), ("http://127.0.0.1:9/hook", Some("s")));
    assert_eq!((call.idempotency_key.as_str(), call.timeout), ("key-1", Duration::from_secs(30)));
    let body: Value = serde_json::from_slice(&call.body).expect("JSON");
    assert_eq!((&body["specversion"], &body["id"]), (&json!("1.0"), &json!("key-1")));
    assert_eq!(body["type"], "orion.beforeStart");
    let data = &body["data"];
    assert_eq!(
        (&data["action"], &data["node"], &data["config"]),
        (&json!("check"), &json!("node-1"), &json!({"team": "a"}))
    );
}

#[test]
fn a_call_without_an_answer_is_repeated_ever_later() {
    let after = |attempts| delay(attempts).as_secs();
    assert_eq!([1, 2, 3, 6, 7, 100].map(after), [1, 2, 4, 32, 60, 60]);
    let status = |phase, attempts| HookRunStatus {
        phase,
        attempts,
        finished_at: Some(Timestamp::UNIX_EPOCH),
        ..HookRunStatus::default()
    };
    let at = |secs: i64| Timestamp::from_millis(secs * 1000);
    assert_eq!(next_try(&status(HookPhase::Pending, 2), at(1)), Some(at(2)));
    assert_eq!(next_try(&status(HookPhase::Pending, 2), at(2)), None);
    assert_eq!(next_try(&status(HookPhase::Succeeded, 1), at(0)), None);
    assert_eq!(next_try(&HookRunStatus::default(), at(0)), None);
}
