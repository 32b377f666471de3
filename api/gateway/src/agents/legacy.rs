//! The original agents' schema: a definition in their words, or why it cannot be said in them.

use orion_types::{
    Service,
    process::{Allocation, Command, Runtime, WorkloadType},
    protocol::Definition,
};
use serde_json::{Map, Value, json};

/// A definition as the original's `service` object. Fields of the service that are not the process's come from the
/// Service itself, where it is there.
///
/// # Errors
/// What of the definition an original agent cannot do, as a sentence.
pub(super) fn render(definition: &Definition, service: Option<&Service>) -> Result<Value, String> {
    if let Some(what) = misfit(definition, service) {
        return Err(format!("an original agent cannot run it: {what}"));
    }
    let mut fields = service.map(service_fields).unwrap_or_default();
    fields.extend(process_fields(definition)?);
    Ok(Value::Object(fields))
}

/// What there is no word for.
fn misfit(definition: &Definition, service: Option<&Service>) -> Option<&'static str> {
    let template = &definition.process.template;
    let fixed = |allocation| matches!(allocation, Allocation::Static);
    if definition.once {
        Some("it is an attempt of a Run")
    } else if service.is_some_and(|service| service.spec.singleton) {
        Some("it is a singleton")
    } else if definition.process.settings.health.is_some() {
        Some("it has probes")
    } else if !template.ports.iter().all(|port| fixed(port.allocation)) {
        Some("it has a port that is not static")
    } else if template.artifact.is_some() {
        Some("it has an artifact")
    } else if !template.env_from.is_empty() {
        Some("it has environment from elsewhere (envFrom)")
    } else if template.user.is_some() {
        Some("it names a user")
    } else {
        None
    }
}

fn service_fields(service: &Service) -> Map<String, Value> {
    const KEPT: [&str; 7] = ["replicas", "labels", "autoscaling", "serverless", "hooks", "plugins", "dependencies"];
    let Ok(Value::Object(mut spec)) = serde_json::to_value(&service.spec) else { return Map::new() };
    spec.retain(|name, _| KEPT.contains(&name.as_str()));
    spec
}

fn process_fields(definition: &Definition) -> Result<Map<String, Value>, String> {
    let template = &definition.process.template;
    let resources = &definition.process.settings.resources;
    let folder = template.folder().map_err(|issue| issue.to_string())?;
    let mut env: Map<String, Value> =
        template.env.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    env.extend(definition.hook_env.iter().map(|(name, value)| (name.clone(), value.as_str().into())));
    let ports: Vec<Value> = template.ports.iter().map(port).collect();
    let mut fields = Map::from_iter([
        ("name".to_owned(), definition.name.clone().into()),
        ("path".to_owned(), folder.into()),
        ("type".to_owned(), kind(template.kind).into()),
        ("entry".to_owned(), template.entry.clone().into()),
        ("ports".to_owned(), ports.into()),
        ("env".to_owned(), env.into()),
    ]);
    if let Some(runtime) = runtime(template.effective_runtime()) {
        fields.insert("runtime".into(), runtime.into());
    }
    if let Some(command) = command(definition)? {
        fields.insert("command".into(), command.into());
    }
    if resources.cpu.is_some() || resources.memory.is_some() {
        let cpu = resources.cpu.map(|cpu| cpu.cores());
        let memory = resources.memory.map(|memory| memory.bytes() >> 20);
        let said = [("cpu", cpu.map(Value::from)), ("memory", memory.map(Value::from))];
        let said = said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        fields.insert("resources".into(), Value::Object(said.collect()));
    }
    if !definition.labels.is_empty() {
        fields.insert("labels".into(), json!(definition.labels));
    }
    Ok(fields)
}

fn port(port: &orion_types::process::PortSpec) -> Value {
    let mut fields =
        Map::from_iter([("port".to_owned(), json!(port.port)), ("protocol".to_owned(), json!(port.protocol.as_str()))]);
    if let Some(name) = &port.name {
        fields.insert("name".into(), json!(name));
    }
    if let Some(target) = port.target_port {
        fields.insert("targetPort".into(), json!(target));
    }
    Value::Object(fields)
}

/// The command as one line. An original agent has no word for what is run without one of its own runtimes, so that
/// is said as a command too.
fn command(definition: &Definition) -> Result<Option<String>, String> {
    let template = &definition.process.template;
    match &template.command {
        Some(Command::Line(line)) if !template.shell && !line.contains("{release}") => return Ok(Some(line.clone())),
        None if runtime(template.effective_runtime()).is_some() => return Ok(None),
        Some(_) | None => {}
    }
    let words = template.argv().map_err(|issue| issue.to_string())?;
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    Ok(Some(quoted.join(" ")))
}

/// A word as a shell's word.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn kind(kind: WorkloadType) -> &'static str {
    match kind {
        WorkloadType::Node => "node",
        WorkloadType::Nextjs => "nextjs",
        WorkloadType::Bun => "bun",
        WorkloadType::Deno => "deno",
        WorkloadType::Vite => "vite",
        // The original's word for a program it knows nothing of but its command.
        WorkloadType::Worker | WorkloadType::Exec => "worker",
    }
}

fn runtime(runtime: Runtime) -> Option<&'static str> {
    match runtime {
        Runtime::Node => Some("node"),
        Runtime::Bun => Some("bun"),
        Runtime::Deno => Some("deno"),
        Runtime::Python | Runtime::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(fields: Value) -> Definition {
        let mut whole = json!({ "name": "web" });
        orion_model::patch::merge(&mut whole, &fields);
        serde_json::from_value(whole).expect("a definition")
    }

    #[test]
    fn a_definition_is_said_in_the_originals_fields_only() {
        let service = Service::new("web", serde_json::from_value(json!({ "replicas": 3 })).expect("a spec"));
        let rendered = render(
            &definition(json!({
                "path": "app", "entry": "server.js", "env": {"A": "1", "PORT": 80},
                "ports": [{"name": "http", "port": 8080}], "resources": {"cpu": 0.5, "memory": 256},
                "labels": {"tier": "front"}, "hookEnv": {"TOKEN": "x"}, "stop": {"timeout": "3s"}
            })),
            Some(&service),
        )
        .expect("it fits");
        let known = [
            "name",
            "path",
            "type",
            "entry",
            "command",
            "runtime",
            "replicas",
            "ports",
            "env",
            "resources",
            "schedule",
            "hooks",
            "plugins",
            "autoscaling",
            "serverless",
            "labels",
            "dependencies",
        ];
        for field in rendered.as_object().expect("an object").keys() {
            assert!(known.contains(&field.as_str()), "{field} is not the original's");
        }
        let expected = json!({
            "name": "web", "path": "app", "type": "node", "entry": "server.js", "runtime": "node", "replicas": 3,
            "env": {"A": "1", "PORT": "80", "TOKEN": "x"}, "resources": {"cpu": 0.5, "memory": 256},
            "ports": [{"port": 8080, "protocol": "tcp", "name": "http"}], "labels": {"tier": "front"}
        });
        for (field, value) in expected.as_object().expect("an object") {
            assert_eq!(rendered[field], *value, "{field}");
        }
        assert!(rendered.get("command").is_none());
    }

    #[test]
    fn what_runs_without_a_runtime_of_the_originals_is_a_command() {
        let table = [
            (json!({"type": "exec", "command": "./serve --port 80"}), "./serve --port 80"),
            (json!({"type": "exec", "command": ["./serve", "two words", "it's"]}), r"./serve 'two words' 'it'\''s'"),
            (json!({"command": "a | b", "shell": true}), "/bin/sh -c 'a | b'"),
            (json!({"runtime": "python", "entry": "app.py"}), "python3 app.py"),
            (json!({"command": "run {release}", "release": "7"}), "run 7"),
        ];
        for (fields, expected) in table {
            let rendered = render(&definition(fields.clone()), None).expect("it fits");
            assert_eq!(rendered["command"], expected, "{fields}");
            assert!(rendered.get("shell").is_none(), "the original has no such field");
        }
    }

    #[test]
    fn what_an_original_agent_cannot_do_is_refused_with_the_reason() {
        let table = [
            (json!({"once": true}), "attempt of a Run"),
            (json!({"health": {"http": "/ready"}}), "probes"),
            (json!({"ports": [{"allocation": "dynamic"}]}), "not static"),
            (json!({"artifact": {"url": "https://x/y.tgz"}}), "artifact"),
            (json!({"envFrom": [{"secret": "s"}]}), "envFrom"),
            (json!({"user": "www"}), "user"),
            (json!({"type": "exec"}), "command"),
        ];
        for (fields, says) in table {
            let error = render(&definition(fields.clone()), None).expect_err("it does not fit");
            assert!(error.contains(says), "{fields}: {error}");
        }
        let spec = serde_json::from_value(json!({ "singleton": true })).expect("a spec");
        let error = render(&definition(json!({})), Some(&Service::new("web", spec))).expect_err("it does not fit");
        assert!(error.contains("singleton"), "{error}");
    }
}
