//! The command line: every command, flag and environment variable (SPEC, sections 1 and 13).

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs services, jobs and plugins as plain processes, on one machine or many.
#[derive(Debug, Parser)]
#[command(name = "orion", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Address of the server [default: the running `orion up` of this folder or one above, else http://127.0.0.1:6060]
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub(crate) server: Option<String>,
    /// Namespace [default: the one a file names, else default]
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub(crate) namespace: Option<String>,
    /// How logs are written to stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, help_heading = "Global options")]
    pub(crate) log_format: LogFormat,
}

impl Global {
    /// The namespace of what a command is about.
    pub(crate) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How a command shows objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// A JSON document.
    Json,
    /// A YAML document.
    Yaml,
    /// `kind/name`, one a line.
    Name,
}

/// What `orion` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start server and agent here, apply the files, and follow what happens; Ctrl-C ends all of it
    Up(Up),
    /// End what `orion up -d` started here
    Down(Down),
    /// Run a control plane
    Server(Server),
    /// Run an agent on this machine for a server
    Agent(Agent),
    /// Write a first orion.yaml
    Init(Init),
    /// Check orion.yaml files without a server
    Validate(Validate),
    /// Make the server run what the files say
    Apply(Apply),
    /// Show objects
    Get(Get),
    /// Say why an object is as it is
    Why(Named),
    /// Delete objects
    Delete(Delete),
    /// Change how many replicas a service has
    Scale(Scale),
    /// Start the replicas of services anew, within their update rules
    Restart(Restart),
    /// Show what processes have written
    Logs(Logs),
    /// Show events
    Events(Events),
    /// Say which version this is, and which the server is
    Version(Version),
}

/// `orion up`
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Files to apply at each start; nothing is pruned [default: orion.yaml]
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Go on in the background; `orion down` ends it
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Port of the server; 0 picks a free one
    #[arg(long, env = "ORION_PORT", default_value_t = 6060)]
    pub(crate) port: u16,
    /// Where state, logs and the token are kept [default: .orion beside the first file]
    #[arg(long, env = "ORION_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Loopback address to listen on [default: 127.0.0.1]
    #[arg(long, env = "ORION_HOST", value_name = "HOST")]
    pub(crate) host: Option<String>,
    #[command(flatten)]
    pub(crate) db: Database,
    #[command(flatten)]
    pub(crate) node: Node,
    /// This is the one in the background, started by the one with -d
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

/// Where the state is.
#[derive(Clone, Debug, Args)]
pub(crate) struct Database {
    /// State: a path or a sqlite:// URL (ORION_STATE_DB too) [default: state.sqlite in the data directory]
    #[arg(long, env = "ORION_DB_PATH", value_name = "URL")]
    pub(crate) db: Option<String>,
}

/// Which node an agent is.
#[derive(Clone, Debug, Args)]
pub(crate) struct Node {
    /// Name of this node [default: the host's name]
    #[arg(long, env = "ORION_NODE_NAME")]
    pub(crate) name: Option<String>,
    /// Id this node calls itself by [default: its name]
    #[arg(long, env = "ORION_NODE_ID", value_name = "ID")]
    pub(crate) node_id: Option<String>,
    /// Folder that the paths of services are relative to [default: the working directory; of `up`, the file's folder]
    #[arg(long, env = "ORION_WORKSPACE_ROOT", value_name = "DIR")]
    pub(crate) workspace_root: Option<PathBuf>,
}

/// `orion down`
#[derive(Debug, Args)]
pub(crate) struct Down {
    /// The data directory of the `orion up` to end [default: the nearest .orion]
    #[arg(long, env = "ORION_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// `orion server`
#[derive(Clone, Debug, Args)]
pub(crate) struct Server {
    /// Address to listen on [default: 127.0.0.1:6060]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Host to listen on, where --listen does not say
    #[arg(long, env = "ORION_HOST", value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Port to listen on, where --listen does not say; 0 picks a free one
    #[arg(long, env = "ORION_PORT", value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Where the token, the socket and, by default, the state are kept
    #[arg(long, env = "ORION_DATA_DIR", value_name = "DIR", default_value = ".orion")]
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) db: Database,
    /// Whether the bundled controllers run in this server
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "true|false")]
    pub(crate) controllers: bool,
    /// Listen on an address other than loopback without TLS and authentication
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Ask every caller for the token, those of this machine too
    #[arg(long)]
    pub(crate) require_token: bool,
    /// Another name by which clients may call this server (repeatable)
    #[arg(long = "host-name", value_name = "NAME")]
    pub(crate) host_names: Vec<String>,
}

/// `orion agent`
#[derive(Clone, Debug, Args)]
pub(crate) struct Agent {
    /// Address of the control plane, where --server does not say; may be a ws://…/ws URL; several with commas
    #[arg(long, env = "ORION_CONTROL_PLANE_URL", value_name = "URL[,URL]")]
    pub(crate) control_plane_url: Option<String>,
    #[command(flatten)]
    pub(crate) node: Node,
    /// Where records and logs of processes are kept
    #[arg(long, env = "ORION_DATA_DIR", value_name = "DIR", default_value = ".orion")]
    pub(crate) data_dir: PathBuf,
    /// Labels of this node
    #[arg(long, value_name = "K=V,…", value_delimiter = ',')]
    pub(crate) labels: Vec<String>,
    /// Ports that may be chosen for services (no effect yet)
    #[arg(long, value_name = "A-B")]
    pub(crate) port_range: Option<String>,
    /// The server's token [default: admin.token in the data directory, where it is]
    #[arg(long, env = "ORION_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// On TERM and INT, stop all processes instead of leaving them running
    #[arg(long)]
    pub(crate) stop_all: bool,
    /// Obey a control plane other than the one obeyed so far
    #[arg(long)]
    pub(crate) adopt: bool,
}

/// `orion init`
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// File to write
    #[arg(short, long = "file", value_name = "FILE", default_value = "orion.yaml")]
    pub(crate) file: PathBuf,
    /// Overwrite it if it is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Files and what is done to them before they are sent.
#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// Files; several are merged in order, `-` is stdin [default: orion.yaml]
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Set a value: `--set spec.services.api.replicas=3`, `--set release=2026-11-24.1` (repeatable)
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Make warnings errors
    #[arg(long)]
    pub(crate) strict: bool,
}

/// `orion validate`
#[derive(Debug, Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    pub(crate) files: Files,
    /// List the fields that are accepted but have no effect yet
    #[arg(long)]
    pub(crate) unsupported: bool,
}

/// `orion apply`
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Wait until everything applied is available, and end non-zero if it fails
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait, how many seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) timeout: u64,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete what the config held and no longer names
    #[arg(long)]
    pub(crate) prune: bool,
    /// Take over objects that belong to another config, or to none
    #[arg(long)]
    pub(crate) force: bool,
    /// Refuse if the config is no longer at this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) expect_version: Option<String>,
    /// How the answer is shown
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `orion get`
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// What: `services`, `svc/api`, `service api`, several kinds with commas, or `all`
    #[arg(required = true, value_name = "KIND[/NAME]")]
    pub(crate) what: Vec<String>,
    /// How objects are shown
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Only objects with these labels: `app=web,tier!=test`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// Only objects with these fields: `spec.nodeName=node-1`
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) field_selector: Option<String>,
    /// Go on with what changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// All namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
}

/// A command about one object.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Which: `service/api`, `service api`, or `api` where only one kind has it
    #[arg(required = true, value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,
    /// How the answer is shown
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `orion delete`
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Which: `service/api`, `service api`
    #[arg(value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,
    /// Every object of the kind that has these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// Return at once instead of waiting until it is gone
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How many seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u64,
}

/// `orion scale`
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// Which: `service/api`, `api`
    #[arg(required = true, value_name = "SERVICE")]
    pub(crate) what: Vec<String>,
    /// How many
    #[arg(long)]
    pub(crate) replicas: u32,
    /// Wait until they are available
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait, how many seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) timeout: u64,
}

/// `orion restart`
#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Which: `service/api`, `api`
    #[arg(required = true, value_name = "SERVICE")]
    pub(crate) what: Vec<String>,
    /// Wait until the new replicas are available
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait, how many seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) timeout: u64,
}

/// `orion logs`
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Whose: a service, a job, a run or a replica (`replica/NAME`); of everything where it is absent
    #[arg(value_name = "[KIND/]NAME")]
    pub(crate) what: Vec<String>,
    /// Go on with new lines
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only so many of the last lines of each replica
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// Only lines from this long ago on (`10m`), or from a time (RFC 3339) on
    #[arg(long, value_name = "AGO|TIME")]
    pub(crate) since: Option<String>,
    /// Show each line's time
    #[arg(short, long)]
    pub(crate) timestamps: bool,
}

/// `orion events`
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only those about this object: `service/api`
    #[arg(value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,
    /// Go on with new ones
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How they are shown
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `orion version`
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_fits_together() {
        Cli::command().debug_assert();
    }
}
