//! The `orion` binary: the only composition root. It reads the environment, starts the top tasks and exits the process.

mod cli;
mod commands;
mod config_files;
mod control_plane;
mod data_dir;
mod endpoint;
mod failure;
mod hooks;
mod issues;
mod local_time;
mod out;
mod port_owner;
mod progress;
mod remote;
mod shutdown;
mod standing;
mod status_line;
mod style;
mod table;
mod up;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, Command, LogFormat},
    failure::Failure,
    out::note,
};

/// The first argument by which this binary is a shim: nobody types it.
const SHIM_COMMAND: &str = "__shim";

fn main() -> ExitCode {
    // A shim is one of thousands and lives as long as its process: it branches before anything else is set up.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == SHIM_COMMAND) {
        return orion_agent::shim::main();
    }
    let cli = Cli::parse();
    log_to_stderr(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note!("orion: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_silent() {
                note!("orion: {failure}");
            }
            failure.exit_code()
        }
    }
}

async fn run(cli: &Cli) -> Result<(), Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Up(up) => up::run(global, up).await,
        Command::Down(down) => commands::down::run(down).await,
        Command::Server(server) => commands::server::run(server).await,
        Command::Agent(agent) => commands::agent::run(global, agent).await,
        Command::Init(init) => commands::init::run(init),
        Command::Validate(validate) => commands::validate::run(global, validate),
        Command::Apply(apply) => commands::apply::run(global, apply).await,
        Command::Get(get) => commands::get::run(global, get).await,
        Command::Why(named) => commands::why::run(global, named).await,
        Command::Delete(delete) => commands::delete::run(global, delete).await,
        Command::Scale(scale) => commands::change::scale(global, scale).await,
        Command::Restart(restart) => commands::change::restart(global, restart).await,
        Command::Logs(logs) => commands::logs::run(global, logs).await,
        Command::Events(events) => commands::events::run(global, events).await,
        Command::Version(version) => commands::version::run(global, version).await,
    }
}

/// Servers and agents say what they do; commands and `up` only what is wrong. `ORION_LOG` says otherwise, in the
/// notation of tracing's `EnvFilter`.
fn log_to_stderr(cli: &Cli) {
    let level = if matches!(cli.command, Command::Server(_) | Command::Agent(_)) { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("ORION_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.global.log_format {
        LogFormat::Json => logger.json().init(),
        LogFormat::Text => {
            use std::io::IsTerminal;
            logger.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
        }
    }
}
