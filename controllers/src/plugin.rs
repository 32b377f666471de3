//! Plugins: the webhooks that must pass before a replica is launched.
//!
//! ```text
//! Replica with gates ──► HookRun, named from (uid, hook) ──► call, with that name as idempotency key
//!                                                              │ allowed: env added, gate removed, HookRun Succeeded
//!                                                              │ refused: replica refused,          HookRun Failed
//!                                                              ▼ no answer: tried again, then as the policy says
//!                                                        one commit
//! ```
//!
//! A call is made at least once: a controller that dies between the call and the commit calls again, with the same key.

mod call;
mod verdict;

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use orion_model::{Key, Object, Timestamp, Whole};
use orion_runtime::{Action, Batch, Change, Reader, Reconciler, Result, Run};
use orion_types::{
    HookRun, Plugin, Replica,
    plugin::{HookPhase, HookPoint, HookRunSpec, HookRunStatus},
    service::{Hook, Hooks},
};

use self::verdict::{Answer, Outcome, judge};
use crate::{labels, listers::Listers, names};

/// Calls that are made at the same time.
pub(crate) const CONCURRENCY: usize = 32;
/// The first delay before a call is repeated; it doubles.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// How long a call may take, whatever its plugin says, so that a run ends.
const LONGEST_CALL: Duration = Duration::from_secs(240);

/// The way to a plugin's webhook. The program that holds the controllers brings it: they know no socket.
pub trait HookCaller: Send + Sync + 'static {
    /// Posts the body to the URL, as `application/cloudevents+json`, with `Idempotency-Key`, and signed where there is a
    /// secret. It gives up after the call's timeout.
    ///
    /// # Cancel safety
    /// May be dropped at any point; the call may have been made then.
    fn call(&self, call: HookCall) -> BoxFuture<'static, Result<HookAnswer, HookError>>;
}

/// One call of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookCall {
    /// Where to.
    pub url: String,
    /// The key of the HMAC-SHA256 over the body, which goes into `X-Orion-Signature`.
    pub secret: Option<String>,
    /// The same for each repetition of one call.
    pub idempotency_key: String,
    /// A CloudEvent, as JSON.
    pub body: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
}

/// What a webhook answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body; the caller bounds it.
    pub body: Vec<u8>,
}

/// A call that got no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct HookError(pub String);

/// The gates of a new replica: its `beforeStart` hooks, in their order. One whose plugin is not there is a gate too: it
/// keeps the replica waiting. Those of command plugins are no gates; the agent is to run them.
pub(crate) fn gates(hooks: &Hooks, namespace: &str, plugins: &Reader<Plugin>) -> Vec<String> {
    let is_command = |hook: &&Hook| {
        let plugin = hook.parts().and_then(|(plugin, _)| plugins.get(&Key::new(namespace, plugin)));
        plugin.is_some_and(|plugin| !plugin.spec.command.is_empty())
    };
    hooks.before_start.iter().filter(|hook| !is_command(hook)).map(|hook| hook.as_str().to_owned()).collect()
}

/// Opens the gates of replicas.
pub(crate) struct PluginReconciler {
    pub(crate) listers: Listers,
    pub(crate) caller: Arc<dyn HookCaller>,
}

impl Reconciler for PluginReconciler {
    type Key = Key<Replica>;

    async fn reconcile(&self, _key: &Key<Replica>, run: &Run<Key<Replica>>) -> Result<Action> {
        let Some(replica) = run.object().filter(|replica| is_gated(replica)) else { return Ok(Action::Done) };
        let Some(gate) = replica.spec.gates.first().map(Hook::new) else { return Ok(Action::Done) };
        let plugin = gate
            .parts()
            .and_then(|(name, _)| run.read(&self.listers.plugins).get(&Key::new(replica.namespace(), name)));
        let Some(plugin) = plugin.filter(|plugin| plugin.spec.webhook.is_some()) else {
            return Ok(Action::waiting(format!("hook {gate} has no webhook plugin of that name")));
        };
        let hook_run = match self.hook_run(&replica, &gate, run) {
            Some(known) => known,
            None => self.begin(&replica, &gate, run).await?,
        };
        if let Some(at) = next_try(&hook_run.status, run.now()) {
            return Ok(Action::At(SystemTime::from(at)));
        }
        let call = call::of(&replica, &gate, &plugin, hook_run.name(), run.now());
        let answer = self.caller.call(call).await;
        let outcome = judge(answer, hook_run.status.attempts + 1, &plugin);
        self.conclude(&gate, &plugin, &hook_run, outcome, run).await
    }
}

impl PluginReconciler {
    fn hook_run(&self, replica: &Replica, gate: &Hook, run: &Run<Key<Replica>>) -> Option<Arc<HookRun>> {
        let name = names::hook_run(replica.uid().as_str(), gate.as_str());
        run.read(&self.listers.hook_runs).get(&Key::new(replica.namespace(), name))
    }

    async fn begin(&self, replica: &Replica, gate: &Hook, run: &Run<Key<Replica>>) -> Result<Arc<HookRun>> {
        let spec = HookRunSpec {
            hook: gate.as_str().to_owned(),
            point: HookPoint::BeforeStart,
            replica: replica.name().to_owned(),
            replica_uid: replica.uid().clone(),
            service_name: replica.spec.service_name.clone().unwrap_or_default(),
        };
        let name = names::hook_run(replica.uid().as_str(), gate.as_str());
        let mut new = HookRun::new(name, spec).in_namespace(replica.namespace());
        new.metadata.labels.extend(
            replica.metadata.labels.get_key_value(labels::SERVICE).map(|(name, value)| (name.clone(), value.clone())),
        );
        let mut batch = Batch::new();
        let slot = batch.create(&new);
        Ok(run.commit(batch).await?.get(&slot)?)
    }

    /// Writes what came of a call. Time has passed, so the replica is looked at anew.
    async fn conclude(
        &self,
        gate: &Hook,
        plugin: &Arc<Plugin>,
        hook_run: &Arc<HookRun>,
        outcome: Outcome,
        run: &Run<Key<Replica>>,
    ) -> Result<Action> {
        let attempts = hook_run.status.attempts + 1;
        let mut status = HookRunStatus { attempts, ..HookRunStatus::default() };
        let mut batch = Batch::new();
        let replica = run.client().get(run.key()).await?.filter(|now| *now.uid() == hook_run.spec.replica_uid);
        let replica = replica.filter(is_gated);
        let next = match outcome {
            Outcome::Passed(Answer { env, message }) => {
                status.phase = HookPhase::Succeeded;
                (status.env, status.message) = (env, message);
                open(&mut batch, replica.as_ref(), gate, &status);
                Action::Done
            }
            Outcome::Ignored(why) => {
                status.phase = HookPhase::Failed;
                status.message = why;
                open(&mut batch, replica.as_ref(), gate, &status);
                Action::Done
            }
            Outcome::Refused(why) => {
                status.phase = HookPhase::Failed;
                status.message.clone_from(&why);
                if let Some(replica) = &replica {
                    let mut refused = replica.status.clone();
                    refused.refused = Some(format!("hook {gate}: {why}"));
                    batch.status(replica, refused);
                }
                Action::Done
            }
            Outcome::Again(why) => {
                status.message = why;
                Action::After(delay(attempts))
            }
        };
        status.finished_at = Some(run.now());
        if status.phase != HookPhase::Succeeded {
            let failure = Some(format!("{gate} for {}: {}", hook_run.spec.replica, status.message));
            run.warning("HookFailed", format!("hook {gate}: {}", status.message));
            batch.status(plugin, orion_types::plugin::PluginStatus { last_failure: failure });
        }
        batch.status(hook_run, status);
        run.commit(batch).await?;
        Ok(next)
    }
}

/// Whether its gates are this controller's to open now: it is bound, as hooks may ask where to.
fn is_gated(replica: &Replica) -> bool {
    !replica.spec.gates.is_empty()
        && replica.spec.node_name.is_some()
        && !replica.is_stop_wished()
        && !replica.status.phase.is_finished()
}

fn open(batch: &mut Batch, replica: Option<&Replica>, gate: &Hook, status: &HookRunStatus) {
    let Some(replica) = replica else { return };
    batch.edit(replica, |replica| {
        if let Some(index) = replica.spec.gates.iter().position(|other| other == gate.as_str()) {
            replica.spec.gates.remove(index);
        }
        replica.spec.env.extend(status.env.clone());
    });
}

/// When a call that got no answer is repeated; `None` where it may be made now.
fn next_try(status: &HookRunStatus, now: Timestamp) -> Option<Timestamp> {
    let at = status.finished_at?.after(delay(status.attempts));
    (status.phase == HookPhase::Pending && at > now).then_some(at)
}

fn delay(attempts: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(LONGEST_DELAY)
}

/// The replicas that wait for a plugin which came or changed.
pub(crate) fn on_plugin(change: &Change<Plugin>, listers: &Listers) -> Vec<Key<Replica>> {
    let plugin = change.either();
    let waits = |replica: &&Arc<Replica>| {
        let names = replica.spec.gates.first().map(Hook::new);
        is_gated(replica) && names.as_ref().and_then(Hook::parts).is_some_and(|(name, _)| name == plugin.name())
    };
    let replicas = listers.replicas.latest();
    replicas.in_namespace(plugin.namespace()).filter(waits).map(|replica| replica.key()).collect()
}
