//! `orion up`: server and agent in one process, the files applied, then everything that happens, as it happens.
//!
//! ```text
//! files ─▶ checked ─▶ control plane ─▶ agent ─▶ apply ─▶ follow logs and changes
//! Ctrl-C: the agent ends its processes, which is followed too ─▶ control plane ends.  A second one: KILL.
//! ```

mod background;
mod follow;
mod narrator;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use orion_agent::{Agent, AgentError, environment::Inherit, host, shims::ShimProgram};
use orion_http::ApplyOptions;
use orion_model::{Resource, Selection};
use orion_types::Replica;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use self::follow::Follow;
use crate::{
    SHIM_COMMAND,
    cli::{self, Global},
    commands::{
        agent::node_name,
        apply,
        server::{database, listen_address},
        validate::{self, Purpose},
    },
    config_files::{self, Item},
    control_plane::{ControlPlane, Options},
    endpoint::{DATA_DIR, DEFAULT_URL, Endpoint},
    failure::Failure,
    out::{self, note, say},
    remote::{Remote, text},
    shutdown::{self, Shutdown},
    style::{Style, Tone},
};

pub(crate) use self::background::noted;

/// Where everything of one `up` is.
struct Place {
    folder: PathBuf,
    data_dir: PathBuf,
}

/// Runs until INT, TERM or HUP, or in the background.
pub(crate) async fn run(global: &Global, up: &cli::Up) -> Result<(), Failure> {
    let files = config_files::named_or_default(&up.files)?;
    let place = place(up, &files)?;
    refuse_second(&place.data_dir)?;
    if up.detach && !up.detached {
        return background::start(&files, &place.data_dir).await;
    }
    let items = checked(global, files)?;
    let (shutdown, _signals) = shutdown::listen()?;
    let options = server_options(up, &place)?;
    let control_plane = tokio::select! {
        biased;
        () = shutdown.end.cancelled() => return Ok(()),
        started = ControlPlane::start(&options) => started?,
    };
    let mut running = background::Running::note(&place.data_dir, up.detached)?;
    let said = out::write(format_args!("orion server listening on {}\n", control_plane.url()));
    let endpoint = Endpoint::own(control_plane.url(), control_plane.token());
    let agent = match said {
        Ok(()) => start_agent(up, &endpoint, &place).await,
        Err(failure) => Err(failure),
    };
    let serving = Serving::spawn(control_plane);
    let result = match agent {
        Ok(agent) => together(global, agent, &endpoint, &items, &shutdown, &serving.ended, &mut running).await,
        Err(failure) => Err(failure),
    };
    result.and(serving.stop().await)
}

/// A control plane in a task of its own.
struct Serving {
    task: JoinHandle<Result<(), Failure>>,
    stop: CancellationToken,
    /// Cancelled when it has ended, by whatever cause.
    ended: CancellationToken,
}

impl Serving {
    fn spawn(control_plane: ControlPlane) -> Self {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (until, told) = (stop.clone(), ended.clone().drop_guard());
        let task = tokio::spawn(async move {
            let _told_at_the_end = told;
            control_plane.run_until(until).await
        });
        Self { task, stop, ended }
    }

    async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        self.task.await.unwrap_or_else(|error| Err(Failure::refused(format!("the server panicked: {error}"))))
    }
}

async fn together(
    global: &Global,
    agent: Agent,
    endpoint: &Endpoint,
    items: &[Item],
    shutdown: &Shutdown,
    server_ended: &CancellationToken,
    running: &mut background::Running,
) -> Result<(), Failure> {
    let end = shutdown.end.child_token();
    let mut agent = tokio::spawn(agent.run(end.clone(), shutdown.now.clone()));
    let remote = match Remote::at(endpoint, global.namespace()).await {
        Ok(remote) => remote,
        Err(failure) => {
            end.cancel();
            return agent_ended(agent.await).and(Err(failure));
        }
    };
    let mut follow = Follow::new(&remote);
    let shown = tokio::select! {
        biased;
        () = end.cancelled() => Ok(()),
        () = server_ended.cancelled() => Err(Failure::refused("the server has ended")),
        ended = &mut agent => return agent_ended(ended),
        shown = apply_and_follow(&remote, items, &mut follow, running) => shown,
    };
    end.cancel();
    shown.and(stopped(&remote, agent, follow, &shutdown.now).await)
}

/// Follows the processes to their ends, and says what is left of them. Whoever reads that may be gone; the end is
/// waited for all the same.
async fn stopped(
    remote: &Remote,
    mut agent: JoinHandle<Result<(), AgentError>>,
    mut follow: Follow,
    now: &CancellationToken,
) -> Result<(), Failure> {
    let style = Style::of_stdout();
    let said = |text: &str| out::write(format_args!("{}\n", style.paint(text, Tone::Faint)));
    follow.ending();
    let mut told = said(&match follow.live() {
        0 => "stopping".to_owned(),
        1 => "stopping 1 process; Ctrl-C again kills it".to_owned(),
        live => format!("stopping {live} processes; Ctrl-C again kills them"),
    });
    let (mut followed, mut patient) = (true, true);
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut agent => break ended,
            () = now.cancelled(), if patient => {
                patient = false;
                told = told.and(said("killing what is left"));
            }
            // A server that has ended tells nothing more; the agent goes on to its end.
            _unfollowed = follow.run(remote), if followed => followed = false,
        }
    };
    agent_ended(ended)?;
    follow.run_out(remote).await;
    told.and(said("stopped; nothing is left running"))
}

fn agent_ended(ended: Result<Result<(), AgentError>, JoinError>) -> Result<(), Failure> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::of(&error)),
        Err(error) => Err(Failure::refused(format!("the agent panicked: {error}"))),
    }
}

/// What the server refuses, although it was checked, ends an `up` that has nothing else to look after. Processes that
/// were taken over from an earlier one are not to end for it: they are followed, and what was refused is told.
async fn apply_and_follow(
    remote: &Remote,
    items: &[Item],
    follow: &mut Follow,
    running: &mut background::Running,
) -> Result<(), Failure> {
    if let Err(refused) = apply::apply_all(remote, items, ApplyOptions::default()).await {
        if !something_runs(remote).await? {
            return Err(refused);
        }
        note!("orion: {refused}\nnothing was changed; what ran before runs on");
    }
    let end = if running.in_background() { "orion down" } else { "Ctrl-C" };
    let hint = format!("look: orion get all, orion why NAME, orion logs NAME; {end} ends all");
    say!("{}", Style::of_stdout().paint(&hint, Tone::Faint));
    running.applied()?;
    follow.run(remote).await
}

async fn something_runs(remote: &Remote) -> Result<bool, Failure> {
    let replicas = remote.client.list(&Selection::all(Replica::KIND)).await?.items;
    Ok(replicas.iter().any(|replica| !text(replica, "/status/observed/pid").is_empty()))
}

fn place(up: &cli::Up, files: &[PathBuf]) -> Result<Place, Failure> {
    let folder = config_files::folder(files)?;
    let data_dir = up.data_dir.clone().unwrap_or_else(|| folder.join(DATA_DIR));
    Ok(Place { folder, data_dir })
}

fn refuse_second(data_dir: &Path) -> Result<(), Failure> {
    match noted(data_dir) {
        None => Ok(()),
        Some(running) => Err(Failure::refused(format!(
            "`orion up` runs with {} already (pid {}); `orion apply` changes what it runs, `orion down` ends it",
            data_dir.display(),
            running.pid
        ))),
    }
}

/// The files, checked before anything is started.
fn checked(global: &Global, files: Vec<PathBuf>) -> Result<Vec<Item>, Failure> {
    let files = cli::Files { files, set: Vec::new(), strict: false };
    let items = config_files::load(&files, global.namespace.as_deref())?;
    match validate::errors_of(&items, false, Purpose::Apply) {
        0 => Ok(items),
        errors => Err(Failure::refused(format!("{}; nothing was started", crate::issues::counted(errors)))),
    }
}

fn server_options(up: &cli::Up, place: &Place) -> Result<Options, Failure> {
    Ok(Options {
        listen: SocketAddr::new(listen_address(up.host.as_deref())?, up.port),
        data_dir: place.data_dir.clone(),
        database: database(up.db.db.as_deref(), &place.data_dir)?,
        controllers: true,
        require_token: false,
        insecure: false,
        host_names: Vec::new(),
    })
}

async fn start_agent(up: &cli::Up, endpoint: &Endpoint, place: &Place) -> Result<Agent, Failure> {
    let mut options = own_agent(&place.data_dir);
    if let Some(name) = &up.node.name {
        options.name = node_name(name)?;
    }
    options.node_id = up.node.node_id.clone().unwrap_or_else(|| options.name.clone());
    options.workspace_root = up.node.workspace_root.clone().unwrap_or_else(|| place.folder.clone());
    options.servers = vec![endpoint.url.clone()];
    options.token.clone_from(&endpoint.token);
    Agent::start(options).await.map_err(|error| Failure::of(&error))
}

/// The agent of the `up` of a data directory, as far as the directory says it.
pub(crate) fn own_agent(data_dir: &Path) -> orion_agent::Options {
    let name = host::node_name();
    orion_agent::Options {
        servers: vec![DEFAULT_URL.into()],
        token: None,
        node_id: name.clone(),
        name,
        labels: Default::default(),
        data_dir: data_dir.to_owned(),
        workspace_root: data_dir.to_owned(),
        shim: ShimProgram::this_binary([SHIM_COMMAND]),
        inherit: Inherit::All,
        stop_all: true,
        adopt: false,
        version: env!("CARGO_PKG_VERSION").into(),
    }
}
