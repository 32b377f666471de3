//! `orion why`: what runs, what waits and for what, what was refused where, what ended last and how, and which apply
//! caused it; read from the objects and their events, for any kind.

mod told;

use orion_model::{Event, LabelSelector, ObjectKey, Resource};
use orion_types::{Config, Job, JobRun, Replica, Service, applied::CONFIG_LABEL};
use serde_json::{Value, json};

use crate::{
    cli::{self, Global, Output},
    commands::{
        events::{about, last_seen},
        get::print_document,
    },
    failure::Failure,
    out::say,
    remote::{Remote, decoded},
    style::Style,
};

/// Events that are shown.
const LAST_EVENTS: usize = 8;

/// Everything an answer is made of.
struct Facts {
    key: ObjectKey,
    object: Value,
    replicas: Vec<Replica>,
    runs: Vec<JobRun>,
    config: Option<Config>,
    events: Vec<Event>,
}

/// Answers for one object.
pub(crate) async fn run(global: &Global, named: &cli::Named) -> Result<(), Failure> {
    let remote = Remote::of(global).await?;
    let key =
        remote.find(&named.what, &["services", "jobs", "runs", "replicas", "nodes", "configs", "plugins"]).await?;
    let facts = gather(&remote, key).await?;
    if matches!(named.output, Output::Json | Output::Yaml) {
        let Facts { object, replicas, runs, config, events, .. } = facts;
        let document =
            json!({"object": object, "replicas": replicas, "runs": runs, "config": config, "events": events});
        return print_document(&document, named.output);
    }
    for line in told::lines(Style::of_stdout(), &facts)? {
        say!("{line}");
    }
    Ok(())
}

async fn gather(remote: &Remote, key: ObjectKey) -> Result<Facts, Failure> {
    let object = remote.client.get(&key).await?;
    let labelled = |label: &str| LabelSelector::equals(label, &*key.name);
    let (replicas, runs) = if key.kind == Service::KIND {
        (remote.list(labelled("orion/service")).await?, Vec::new())
    } else if key.kind == Job::KIND {
        // What an attempt that is over came to, its run says.
        let mut replicas: Vec<Replica> = remote.list(labelled("orion/job")).await?;
        replicas.retain(|replica| !replica.status.phase.is_finished());
        (replicas, remote.list(labelled("orion/job")).await?)
    } else if key.kind == JobRun::KIND {
        (remote.list(labelled("orion/run")).await?, Vec::new())
    } else if key.kind == Replica::KIND {
        (vec![decoded(object.clone())?], Vec::new())
    } else {
        (Vec::new(), Vec::new())
    };
    let events = remote.selection(&Event::KIND).with_fields(about(key.kind.name(), &key.name));
    let events = remote.client.list(&events).await?.items.into_iter().map(decoded);
    let mut events = events.collect::<Result<Vec<Event>, _>>()?;
    events.sort_by_key(last_seen);
    let events = events.split_off(events.len().saturating_sub(LAST_EVENTS));
    let config = match object["metadata"]["labels"][CONFIG_LABEL].as_str() {
        // One that is gone, or may not be read, is left out of the answer.
        Some(name) => remote.get(&remote.key(&Config::KIND, name)).await.ok(),
        None => None,
    };
    Ok(Facts { key, object, replicas, runs, config, events })
}
