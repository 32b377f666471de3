//! `orion agent`: an agent in the foreground.

use std::collections::BTreeMap;

use orion_agent::{Agent, Options, environment::Inherit, host, shims::ShimProgram};
use orion_types::dns_label::{MAX_LABEL, is_dns_label, to_dns_label};

use crate::{
    SHIM_COMMAND,
    cli::{self, Global},
    control_plane::chain,
    endpoint::DEFAULT_URL,
    failure::Failure,
    shutdown,
};

/// Runs until INT, TERM or HUP; processes run on unless `--stop-all`.
pub(crate) async fn run(global: &Global, agent: &cli::Agent) -> Result<(), Failure> {
    let (shutdown, _signals) = shutdown::listen()?;
    let agent = Agent::start(options(global, agent)?).await.map_err(|error| Failure::refused(chain(&error)))?;
    agent.run(shutdown.end, shutdown.now).await.map_err(|error| Failure::refused(chain(&error)))
}

fn options(global: &Global, agent: &cli::Agent) -> Result<Options, Failure> {
    let servers =
        global.server.clone().or_else(|| agent.control_plane_url.clone()).unwrap_or_else(|| DEFAULT_URL.into());
    let name = node_name(agent.name.as_deref())?;
    let beside = std::fs::read_to_string(agent.data_dir.join("admin.token")).ok();
    let token = agent.token.clone().or(beside).map(|token| token.trim().to_owned());
    Ok(Options {
        servers: servers.split(',').map(str::to_owned).collect(),
        token,
        node_id: agent.node_id.clone().unwrap_or_else(|| name.clone()),
        name,
        labels: labels(&agent.labels)?,
        data_dir: agent.data_dir.clone(),
        workspace_root: agent.workspace_root.clone().unwrap_or_else(|| ".".into()),
        shim: ShimProgram::this_binary([SHIM_COMMAND]),
        inherit: Inherit::Basic,
        stop_all: agent.stop_all,
        adopt: agent.adopt,
        version: env!("CARGO_PKG_VERSION").into(),
    })
}

fn node_name(given: Option<&str>) -> Result<String, Failure> {
    let Some(given) = given else { return Ok(host::node_name()) };
    if is_dns_label(given) {
        return Ok(given.to_owned());
    }
    let proposal = to_dns_label(given, MAX_LABEL).map(|label| format!("; {label:?} is")).unwrap_or_default();
    Err(Failure::usage(format!("--name {given:?} is not a DNS label{proposal}")))
}

fn labels(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    given
        .iter()
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| Failure::usage(format!("--labels {pair}: wants NAME=VALUE")))?;
            if name.starts_with("orion/") {
                return Err(Failure::usage(format!("--labels {pair}: labels under orion/ are set by Orion alone")));
            }
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}
