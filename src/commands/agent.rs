//! `orion agent`: an agent in the foreground.

use std::collections::BTreeMap;

use orion_agent::{Agent, AgentError, Options, environment::Inherit, host, shims::ShimProgram};
use orion_types::dns_label::{MAX_LABEL, is_dns_label, to_dns_label};

use crate::{
    SHIM_COMMAND,
    cli::{self, Global},
    endpoint::DEFAULT_URL,
    failure::Failure,
    out::note,
    shutdown,
};

/// Runs until INT, TERM or HUP; processes run on unless `--stop-all`.
pub(crate) async fn run(global: &Global, agent: &cli::Agent) -> Result<(), Failure> {
    let (shutdown, _signals) = shutdown::listen()?;
    let agent = Agent::start(options(global, agent)?).await.map_err(|error| match error {
        AgentError::Address(_) | AgentError::NoServer => Failure::usage(error.to_string()),
        error => Failure::of(&error),
    })?;
    agent.run(shutdown.end, shutdown.now).await.map_err(|error| Failure::of(&error))
}

fn options(global: &Global, agent: &cli::Agent) -> Result<Options, Failure> {
    let servers =
        global.server.clone().or_else(|| agent.control_plane_url.clone()).unwrap_or_else(|| DEFAULT_URL.into());
    let name = match &agent.node.name {
        Some(name) => node_name(name)?,
        None => host::node_name(),
    };
    if let Some(range) = &agent.port_range {
        port_range(range)?;
        note!("orion: --port-range has no effect yet: ports that are chosen by the agent are not built");
    }
    let beside = std::fs::read_to_string(agent.data_dir.join("admin.token")).ok();
    let token = agent.token.clone().or(beside).map(|token| token.trim().to_owned());
    Ok(Options {
        servers: servers.split(',').map(|server| server.trim().to_owned()).collect(),
        token,
        node_id: agent.node.node_id.clone().unwrap_or_else(|| name.clone()),
        name,
        labels: labels(&agent.labels)?,
        data_dir: agent.data_dir.clone(),
        workspace_root: agent.node.workspace_root.clone().unwrap_or_else(|| ".".into()),
        shim: ShimProgram::this_binary([SHIM_COMMAND]),
        inherit: Inherit::Basic,
        stop_all: agent.stop_all,
        adopt: agent.adopt,
        version: env!("CARGO_PKG_VERSION").into(),
    })
}

/// A node's name as it was given, if it can be one.
pub(crate) fn node_name(given: &str) -> Result<String, Failure> {
    if is_dns_label(given) {
        return Ok(given.to_owned());
    }
    let proposal = to_dns_label(given, MAX_LABEL).map(|label| format!("; {label:?} is")).unwrap_or_default();
    Err(Failure::usage(format!("--name {given:?} is not a DNS label{proposal}")))
}

/// The first and the last port of `A-B`.
fn port_range(given: &str) -> Result<(u16, u16), Failure> {
    let range = given.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    range
        .filter(|(first, last)| (1..=*last).contains(first))
        .ok_or_else(|| Failure::usage(format!("--port-range {given:?}: wants two ports, such as 20000-29999")))
}

fn labels(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    given
        .iter()
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| Failure::usage(format!("--labels {pair}: wants NAME=VALUE")))?;
            if name.is_empty() {
                return Err(Failure::usage(format!("--labels {pair}: wants NAME=VALUE")));
            }
            if name.starts_with("orion/") {
                return Err(Failure::usage(format!("--labels {pair}: labels under orion/ are set by Orion alone")));
            }
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_range_has_two_ports_in_order() {
        assert_eq!(port_range("20000-29999").expect("a range"), (20000, 29999));
        assert_eq!(port_range("80-80").expect("a range"), (80, 80));
        for refused in ["", "80", "0-9", "90-80", "1-70000", "a-b", "1-2-3"] {
            assert!(port_range(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn labels_are_pairs_and_those_of_orion_are_its_own() {
        let read = |given: &[&str]| labels(&given.iter().map(|pair| (*pair).to_owned()).collect::<Vec<_>>());
        let read_well = read(&["zone=eu", "", "gpu="]).expect("pairs");
        assert_eq!(read_well, BTreeMap::from([("zone".into(), "eu".into()), ("gpu".into(), String::new())]));
        assert!(read(&["zone"]).is_err() && read(&["=eu"]).is_err() && read(&["orion/node=x"]).is_err());
    }

    #[test]
    fn a_name_that_is_no_label_is_refused_with_one_that_is() {
        assert_eq!(node_name("node-1").expect("a label"), "node-1");
        let refused = node_name("Node 1").expect_err("no label").to_string();
        assert!(refused.contains("\"node-1\" is"), "{refused}");
    }
}
