//! The environment of a process: a pure function of its definition and the machine.
//!
//! Later ones win: what the agent passes on · the definition's `env` · what hooks added · what Orion injects. Only
//! `PORT` is left to the definition where it says one.

use std::collections::BTreeMap;

use orion_types::protocol::Definition;

/// What of the agent's own environment a process gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inherit {
    /// `PATH HOME USER LANG TZ TMPDIR`: an agent of a fleet.
    #[default]
    Basic,
    /// Everything but `ORION_*`: `orion up`.
    All,
}

const BASIC: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"];
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Inherit {
    /// What is passed on of an environment.
    pub fn filter(self, own: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
        let passed = |name: &str| match self {
            Self::Basic => BASIC.contains(&name),
            Self::All => !name.starts_with("ORION_"),
        };
        let mut passed: BTreeMap<_, _> = own.into_iter().filter(|(name, _)| passed(name)).collect();
        passed.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
        passed
    }
}

/// Which replica an environment is for.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The Replica's name.
    pub replica_id: &'a str,
    /// The node's name.
    pub node: &'a str,
}

/// The whole environment of a process.
pub fn environment(
    base: &BTreeMap<String, String>,
    definition: &Definition,
    placed: Placed<'_>,
) -> BTreeMap<String, String> {
    let template = &definition.process.template;
    let mut environment = base.clone();
    environment.extend(template.env.iter().map(|(name, value)| (name.clone(), value.as_str().to_owned())));
    environment.extend(definition.hook_env.clone());
    for (position, port) in template.ports.iter().enumerate() {
        let Some(number) = port.port else { continue };
        if position == 0 {
            environment.entry("PORT".into()).or_insert_with(|| number.to_string());
        }
        if let Some(name) = &port.name {
            environment.insert(format!("ORION_PORT_{}", variable(name)), number.to_string());
        }
    }
    let injected = [
        ("ORION_MANAGED", "true".to_owned()),
        ("ORION_REPLICA_ID", placed.replica_id.to_owned()),
        ("ORION_SERVICE_NAME", definition.name.clone()),
        ("ORION_NODE_NAME", placed.node.to_owned()),
        ("ORION_REPLICA_INDEX", definition.index.to_string()),
        ("ORION_FENCING_TOKEN", definition.fencing_token.to_string()),
    ];
    environment.extend(injected.map(|(name, value)| (name.to_owned(), value)));
    if let Some(release) = &template.release {
        environment.insert("ORION_RELEASE".into(), release.as_str().to_owned());
    }
    environment
}

/// A port's name as part of a variable's: upper case, everything else an underscore.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(json: serde_json::Value) -> Definition {
        serde_json::from_value(json).expect("a definition")
    }

    const PLACED: Placed<'_> = Placed { replica_id: "web-0-abcde", node: "node-1" };

    fn own() -> Vec<(String, String)> {
        [("PATH", "/bin"), ("HOME", "/home/me"), ("SECRET", "x"), ("ORION_TOKEN", "t")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    #[test]
    fn a_fleets_agent_passes_on_six_variables_and_up_all_but_orions_own() {
        let basic = Inherit::Basic.filter(own());
        assert_eq!(basic.keys().collect::<Vec<_>>(), ["HOME", "PATH"]);
        let all = Inherit::All.filter(own());
        assert_eq!(all.keys().collect::<Vec<_>>(), ["HOME", "PATH", "SECRET"]);
        assert_eq!(Inherit::Basic.filter([])["PATH"], DEFAULT_PATH);
    }

    #[test]
    fn what_orion_injects_wins_and_port_does_not() {
        let definition = definition(serde_json::json!({
            "name": "web", "index": 2, "fencingToken": 7, "release": "r1",
            "env": {"ORION_NODE_NAME": "mine", "A": "file", "PORT": "9999"},
            "hookEnv": {"A": "hook"},
            "ports": [{"name": "http-api", "port": 8080}]
        }));
        let environment = environment(&BTreeMap::new(), &definition, PLACED);
        assert_eq!(environment["ORION_NODE_NAME"], "node-1");
        assert_eq!(environment["A"], "hook");
        assert_eq!(environment["PORT"], "9999");
        assert_eq!(environment["ORION_PORT_HTTP_API"], "8080");
        assert_eq!(environment["ORION_REPLICA_INDEX"], "2");
        assert_eq!(environment["ORION_FENCING_TOKEN"], "7");
        assert_eq!(environment["ORION_RELEASE"], "r1");
    }

    #[test]
    fn the_first_port_is_port() {
        let definition = definition(serde_json::json!({"name": "web", "ports": [{"port": 7070}, {"port": 7071}]}));
        assert_eq!(environment(&BTreeMap::new(), &definition, PLACED)["PORT"], "7070");
    }
}
