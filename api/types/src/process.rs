//! What a process is: the [`Template`], a change of which restarts it, and its [`Settings`], which change in place.

mod command;
mod env;
mod port;
mod probe;
mod settings;
mod template;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    command::{Command, Runtime, WorkloadType},
    env::{EnvSource, EnvValue, is_env_name},
    port::{Allocation, PortSpec, Protocol},
    probe::{ExecProbe, Health, HttpProbe, PortRef, Probe, TcpProbe},
    settings::{KillMode, Limits, LogSettings, Resources, RestartPolicy, Settings, Signal, StopPolicy},
    template::{Artifact, Release, Template, User, template_hash},
};

pub(crate) use self::template::fields_of;

/// A process as a service or a job defines it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessSpec {
    /// What restarts the process when it changes.
    #[serde(flatten)]
    pub template: Template,
    /// What changes in place.
    #[serde(flatten)]
    pub settings: Settings,
}
