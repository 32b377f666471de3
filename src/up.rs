//! `orion up`: server and agent in one process, the files applied, then everything that happens, as it happens.
//!
//! ```text
//! files ─▶ checked ─▶ control plane ─▶ agent ─▶ apply ─▶ follow logs and changes
//! Ctrl-C: agent ends its processes and tells so ─▶ control plane ends.  A second one: KILL.
//! ```

mod background;
mod follow;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use orion_agent::{Agent, environment::Inherit, host, shims::ShimProgram};
use orion_http::ApplyOptions;
use orion_types::config::{self, OrionConfig};
use tokio_util::sync::CancellationToken;

use crate::{
    SHIM_COMMAND,
    cli::{self, Global},
    commands::{apply, validate::print_issues},
    config_files::{self, Document},
    control_plane::{ControlPlane, Options, chain},
    endpoint::{DATA_DIR, Endpoint},
    failure::Failure,
    remote::Remote,
    shutdown::{self, Shutdown},
    style::{Style, Tone},
};

pub(crate) use self::background::noted;

/// Where everything of one `up` is.
struct Place {
    files: Vec<PathBuf>,
    folder: PathBuf,
    data_dir: PathBuf,
}

/// Runs until INT, TERM or HUP, or in the background.
pub(crate) async fn run(global: &Global, up: &cli::Up) -> Result<(), Failure> {
    let place = place(up)?;
    let document = checked(&place)?;
    if up.detach {
        return background::start(up, &place.files, &place.data_dir).await;
    }
    let (shutdown, _signals) = shutdown::listen()?;
    let control_plane = ControlPlane::start(&server_options(up, &place)).await?;
    let _running = background::Running::note(&place.data_dir)?;
    println!("orion server listening on {}", control_plane.url());
    let endpoint = Endpoint { url: control_plane.url().to_owned(), token: Some(control_plane.token().to_owned()) };
    let agent = start_agent(&endpoint, &place).await;
    let serving = CancellationToken::new();
    let server = tokio::spawn(control_plane.run_until(serving.clone()));
    let result = match agent {
        Ok(agent) => together(global, agent, &endpoint, &document, &shutdown, server_ended(&serving, &server)).await,
        Err(failure) => Err(failure),
    };
    serving.cancel();
    let served = server.await.unwrap_or_else(|error| Err(Failure::refused(format!("the server panicked: {error}"))));
    result.and(served)
}

/// Cancelled when the server ends by itself.
fn server_ended(
    serving: &CancellationToken,
    server: &tokio::task::JoinHandle<Result<(), Failure>>,
) -> CancellationToken {
    let ended = CancellationToken::new();
    let (told, watched, serving) = (ended.clone(), server.abort_handle(), serving.clone());
    tokio::spawn(async move {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(200));
        while !watched.is_finished() && !serving.is_cancelled() {
            look.tick().await;
        }
        told.cancel();
    });
    ended
}

async fn together(
    global: &Global,
    agent: Agent,
    endpoint: &Endpoint,
    document: &Document,
    shutdown: &Shutdown,
    server_ended: CancellationToken,
) -> Result<(), Failure> {
    let end = shutdown.end.child_token();
    let mut agent = tokio::spawn(agent.run(end.clone(), shutdown.now.clone()));
    let remote = Remote::at(endpoint, &global.namespace)?;
    let shown = tokio::select! {
        biased;
        () = end.cancelled() => Ok(()),
        () = server_ended.cancelled() => Err(Failure::refused("the server has ended")),
        ended = &mut agent => return agent_ended(ended),
        shown = apply_and_follow(&remote, document, endpoint) => shown,
    };
    if shutdown.end.is_cancelled() {
        eprintln!("\nstopping; once more to kill");
    }
    end.cancel();
    agent_ended(agent.await).and(shown)
}

fn agent_ended(ended: Result<Result<(), orion_agent::AgentError>, tokio::task::JoinError>) -> Result<(), Failure> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::refused(chain(&error))),
        Err(error) => Err(Failure::refused(format!("the agent panicked: {error}"))),
    }
}

/// A config that the server refuses although it was checked leaves what runs running: it is told, and followed.
async fn apply_and_follow(remote: &Remote, document: &Document, endpoint: &Endpoint) -> Result<(), Failure> {
    let answer = apply::send(remote, document, ApplyOptions::default()).await?;
    apply::print_answer(document, &answer);
    let style = Style::of_stdout();
    println!(
        "{}",
        style.paint(&format!("look: orion get all, orion why NAME; API: {}/api/services", endpoint.url), Tone::Faint)
    );
    println!("{}", style.paint("logs follow; Ctrl-C ends everything", Tone::Faint));
    follow::run(remote).await
}

fn place(up: &cli::Up) -> Result<Place, Failure> {
    let files = config_files::named_or_default(&up.files)?;
    let first = files.first().filter(|file| file.as_os_str() != "-");
    let folder = match first {
        Some(file) => std::path::absolute(file)?.parent().map(Path::to_owned).unwrap_or_default(),
        None => std::env::current_dir()?,
    };
    let data_dir = up.data_dir.clone().unwrap_or_else(|| folder.join(DATA_DIR));
    Ok(Place { files, folder, data_dir })
}

/// The files, checked before anything is started.
fn checked(place: &Place) -> Result<Document, Failure> {
    let files = cli::Files { files: place.files.clone(), set: Vec::new(), strict: false };
    let document = config_files::load(&files)?;
    match OrionConfig::parse(&document.text, config::Format::Auto, &config::Options::default()) {
        Ok(_) => Ok(document),
        Err(issues) => {
            print_issues(&document, &issues, "error", Tone::Bad);
            Err(Failure::refused(format!("{} is not valid; nothing was started", document.source())))
        }
    }
}

fn server_options(up: &cli::Up, place: &Place) -> Options {
    Options {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, up.port)),
        data_dir: place.data_dir.clone(),
        database: place.data_dir.join("state.sqlite"),
        controllers: true,
        require_token: false,
        insecure: false,
        host_names: Vec::new(),
    }
}

async fn start_agent(endpoint: &Endpoint, place: &Place) -> Result<Agent, Failure> {
    let name = host::node_name();
    let options = orion_agent::Options {
        servers: vec![endpoint.url.clone()],
        token: endpoint.token.clone(),
        node_id: name.clone(),
        name,
        labels: Default::default(),
        data_dir: place.data_dir.clone(),
        workspace_root: place.folder.clone(),
        shim: ShimProgram::this_binary([SHIM_COMMAND]),
        inherit: Inherit::All,
        stop_all: true,
        adopt: false,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    Agent::start(options).await.map_err(|error| Failure::refused(chain(&error)))
}
