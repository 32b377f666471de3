//! Between what the server says and what a shim does: pure functions both ways.

use std::collections::BTreeMap;

use orion_model::Timestamp;
use orion_types::{process, protocol::Definition, replica::Exit};

use super::Context;
use crate::{
    environment::{Placed, environment},
    ledger::Record,
    shims::{self, End, KillMode, LaunchError, LogSettings, StartFailure, StartFailureKind, StopPolicy, Stuck},
    signal::Signal,
};

/// The reason of an exit that never was: the process could not be started.
pub(super) const START_ERROR: &str = "StartError";

/// What a shim is to run.
pub(super) fn definition(
    context: &Context,
    record: &Record,
    definition: &Definition,
) -> Result<shims::Definition, StartFailure> {
    let template = &definition.process.template;
    let bad = |message: String| StartFailure { kind: StartFailureKind::BadDefinition, message };
    let argv = template.argv().map_err(|issue| bad(issue.to_string()))?;
    let folder = template.folder().map_err(|issue| bad(issue.to_string()))?;
    let placed = Placed { replica_id: &record.replica_id, node: &context.node };
    let (stop, logs) = settings(context, record, definition);
    Ok(shims::Definition {
        argv,
        env: environment(&context.base_env, definition, placed).into_iter().collect(),
        // Put together from its parts, which leaves out every `.`: people read it in messages.
        cwd: context.workspace_root.join(folder).components().collect(),
        user: template.user.as_ref().map(|user| user.as_str().to_owned()),
        stop,
        logs,
    })
}

/// How it is stopped and how its output is kept.
pub(super) fn settings(context: &Context, record: &Record, definition: &Definition) -> (StopPolicy, LogSettings) {
    let settings = &definition.process.settings;
    let stop = StopPolicy {
        signal: settings.stop.signal.as_str().parse().unwrap_or(Signal::TERM),
        timeout: settings.stop.timeout.get(),
        kill_mode: match settings.stop.kill_mode {
            process::KillMode::Group => KillMode::Group,
            process::KillMode::Process => KillMode::Process,
        },
    };
    let logs = LogSettings {
        dir: context.ledger.log_dir(&record.uid),
        max_files: settings.logs.max_files,
        max_file_size: settings.logs.max_file_size.bytes(),
    };
    (stop, logs)
}

/// The ports that have names and numbers.
pub(super) fn ports(definition: &Definition) -> BTreeMap<String, u16> {
    let ports = definition.process.template.ports.iter().enumerate();
    ports
        .filter_map(|(position, port)| {
            let name = port.name.clone().unwrap_or_else(|| format!("port-{position}"));
            port.port.map(|number| (name, number))
        })
        .collect()
}

/// How an attempt ended, when it had started, and when it ended.
pub(super) fn end(end: End) -> (Exit, Option<Timestamp>, Option<Timestamp>) {
    match end {
        End::Exited(exit) => {
            let at = Timestamp::from_millis(exit.at.as_millisecond());
            let started = exit.started.map(|started| Timestamp::from_millis(started.as_millisecond()));
            (exited(&exit, at), started, Some(at))
        }
        End::NeverStarted(Some(failure)) => {
            (never_started(failure.message.clone(), !failure.kind.is_retryable()), None, None)
        }
        End::NeverStarted(None) => {
            (never_started("the agent ended before the process was started".into(), false), None, None)
        }
        End::Lost(lost) => {
            let mut message = "its shim or its machine went away, and the process with it".to_owned();
            if lost.leftovers_uncertain {
                message.push_str("; something it started may be left that cannot be found");
            }
            let (code, signal) =
                lost.exit.map_or((None, None), |exit| (exit.code, exit.signal.map(|signal| signal.to_string())));
            (Exit { code, signal, reason: "ShimLost".into(), message, at: None, permanent: false }, None, None)
        }
    }
}

fn exited(exit: &shims::Exit, at: Timestamp) -> Exit {
    let reason = match (exit.stopped, exit.code, exit.signal) {
        (true, _, _) => "Stopped",
        (false, Some(0), _) => "Completed",
        (false, Some(_), _) => "Error",
        (false, None, _) => "Signalled",
    };
    Exit {
        code: exit.code,
        signal: exit.signal.map(|signal| signal.to_string()),
        reason: reason.into(),
        message: exit.to_string(),
        at: Some(at),
        permanent: false,
    }
}

fn never_started(message: String, permanent: bool) -> Exit {
    Exit { reason: START_ERROR.into(), message, permanent, ..Exit::default() }
}

/// Why a launch gave no process.
pub(super) fn start_failure(error: &LaunchError) -> Exit {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let text = inner.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = inner.source();
    }
    never_started(message, !error.is_retryable())
}

/// What does not end, in a sentence.
pub(super) fn stuck(stuck: &[Stuck]) -> Option<String> {
    let first = stuck.first()?;
    let others = if stuck.len() > 1 { format!(" and {} more", stuck.len() - 1) } else { String::new() };
    Some(format!("pid {} does not end: {}{others}", first.pid, first.reason))
}
