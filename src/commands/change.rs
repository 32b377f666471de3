//! `orion scale` and `orion restart`: one field of a service each.

use orion_http::WriteOptions;
use orion_model::{Clock, Part};
use orion_types::{Service, service::Replicas};
use serde_json::json;

use crate::{
    cli::{self, Global},
    failure::Failure,
    out::say,
    progress,
    remote::{Remote, shown},
    status_line::Channel,
};

/// Changes how many replicas services have.
pub(crate) async fn scale(global: &Global, scale: &cli::Scale) -> Result<(), Failure> {
    let remote = Remote::of(global).await?;
    let keys = remote.objects_of::<Service>(&scale.what)?;
    for key in &keys {
        let service: Service = remote.get(key).await?;
        let before = service.spec.replicas;
        if before == Replicas::Count(scale.replicas) {
            say!("{} has {before} already", shown(key));
            continue;
        }
        let patch = json!({"spec": {"replicas": scale.replicas}});
        remote.client.merge(key, &patch, Part::Main, WriteOptions::default()).await?;
        say!("{} scaled from {before} to {}", shown(key), scale.replicas);
    }
    if scale.wait { progress::wait_for(&remote, &keys, scale.timeout, Channel::Stdout).await } else { Ok(()) }
}

/// Starts the replicas of services anew.
pub(crate) async fn restart(global: &Global, restart: &cli::Restart) -> Result<(), Failure> {
    let remote = Remote::of(global).await?;
    let keys = remote.objects_of::<Service>(&restart.what)?;
    for key in &keys {
        let patch = json!({"spec": {"restartedAt": Clock::system().now()}});
        remote.client.merge(key, &patch, Part::Main, WriteOptions::default()).await?;
        say!("{} restarting", shown(key));
    }
    if restart.wait { progress::wait_for(&remote, &keys, restart.timeout, Channel::Stdout).await } else { Ok(()) }
}
