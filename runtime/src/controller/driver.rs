//! Running a controller: takes keys from the queue, runs the reconciler on each, and sees to what comes after.
//!
//! A worker's permit is given back when the run ends. The key itself is done only when its own writes have settled and
//! show in the cache; until then it takes no worker (R1).

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures::{FutureExt, future::BoxFuture};
use orion_model::{ObjectKey, Timestamp};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{Controller, Core, Part, Primary, Site};
use crate::{
    Action, ReconcileKey, Reconciler, Result, Run, Why,
    cache::Root,
    finalizer::{self, Step},
    ledger::{Desk, Ledger},
    trigger::Intake,
    why::{Doing, End, LastRun, Records},
    workqueue::{Config, Item, KeyState, Outcome, Shutdown, WorkQueue},
};

/// Own writes that take longer than this to settle and show are reported; the key goes on waiting.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// A controller with its reconciler.
pub(super) struct Driver<R: Reconciler> {
    core: Arc<Core<R::Key>>,
    reconciler: Arc<R>,
    slots: Vec<usize>,
    concurrency: usize,
}

/// How a run ended, for the queue and for people.
struct Verdict {
    outcome: Outcome,
    end: Option<End>,
}

/// What a run came to.
enum Ended {
    Acted(Action),
    /// The finalizer is on; the run proper comes next.
    Protected,
    Failed(crate::Error),
    Panicked(String),
    TimedOut(Duration),
    Cancelled,
}

impl<R: Reconciler> Driver<R> {
    pub(super) fn build(controller: Controller<R::Key>, reconciler: R, site: &Site) -> Result<Arc<dyn Part>, String> {
        let Controller { name, primary, sources, concurrency, timeout, remembers, trigger } = controller;
        if R::FINALIZER.is_some() && primary.is_none() {
            return Err("it has a finalizer, but its keys are not an informer's objects".to_owned());
        }
        if sources.iter().any(|source| !Arc::ptr_eq(&source.feeds, &site.feeds)) {
            return Err("one of its informers is another manager's".to_owned());
        }
        let randomness = site.client.randomness().clone();
        let queue = WorkQueue::new(Config { randomness: randomness.clone(), ..Config::default() });
        let stop = CancellationToken::new();
        let intake = Arc::new(Intake { queue, records: Records::new(), stop: stop.clone() });
        let slots = sources.iter().map(|source| source.slot).collect();
        sources.into_iter().for_each(|source| source.attach(&intake, &name));
        trigger.open(&intake);
        let core = Core {
            name,
            client: site.client.clone(),
            primary,
            desk: Arc::new(Desk::new(site.feeds.clone(), randomness)),
            recorder: site.recorder.clone(),
            intake,
            stop,
            timeout,
            remembers,
            unobserved: AtomicU64::new(0),
        };
        Ok(Arc::new(Self { core: Arc::new(core), reconciler: Arc::new(reconciler), slots, concurrency }))
    }

    async fn drive(self: Arc<Self>, abandon: CancellationToken) {
        let core = &self.core;
        let synced = core.cache().until(|root| self.is_synced(root));
        tokio::select! {
            biased;
            () = core.stop.cancelled() => {}
            () = synced => self.dispatch(&abandon).await,
        }
        core.intake.queue.shut_down(Shutdown::Abort);
        core.desk.abandon.cancel();
        core.desk.commits.close();
        core.desk.commits.wait().await;
    }

    async fn dispatch(self: &Arc<Self>, abandon: &CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.concurrency));
        let runs = TaskTracker::new();
        let watchdog = runs.spawn(watch_over(self.core.clone()));
        // The semaphore is never closed, and `get` ends when the queue is shut down.
        while let Ok(permit) = permits.clone().acquire_owned().await {
            let Some(item) = self.core.intake.queue.get().await else { break };
            runs.spawn(self.clone().work(item, permit, abandon.clone()));
        }
        watchdog.abort();
        runs.close();
        runs.wait().await;
    }

    /// One run of one key, to the moment when its next may start.
    async fn work(self: Arc<Self>, item: Item<R::Key>, permit: OwnedSemaphorePermit, abandon: CancellationToken) {
        let core = &self.core;
        let key = item.key().clone();
        let last_known = core.intake.records.start(&key);
        let started = Instant::now();
        let span = tracing::debug_span!("reconcile", controller = %core.name, ?key, causes = tracing::field::Empty);
        if !span.is_disabled() {
            span.record("causes", core.intake.records.causes(&key));
        }
        let run = Run::new(key.clone(), core.clone(), last_known);
        let ended = self.attempt(&key, &run, &abandon).instrument(span.clone()).await;
        let ledger = run.ledger();
        drop(run);
        drop(permit);
        if let Some(ledger) = ledger {
            settle(core, &key, &ledger, &abandon).await;
        }
        let verdict = span.in_scope(|| judge(ended, core.client.clock().now()));
        let last = verdict.end.map(|end| LastRun { at: core.client.clock().now(), took: started.elapsed(), end });
        core.intake.records.finish(&key, last, verdict.outcome != Outcome::Forget || self.remembers(&key));
        item.done(verdict.outcome);
    }

    /// Runs the reconciler, contained: a panic, a timeout or a shutdown ends this run and nothing else.
    async fn attempt(&self, key: &R::Key, run: &Run<R::Key>, abandon: &CancellationToken) -> Ended {
        let limit = self.core.timeout;
        let contained = AssertUnwindSafe(self.step(key, run)).catch_unwind();
        tokio::select! {
            biased;
            () = abandon.cancelled() => Ended::Cancelled,
            ended = timeout(limit, contained) => match ended {
                Err(_) => Ended::TimedOut(limit),
                Ok(Err(panic)) => Ended::Panicked(message(panic.as_ref())),
                Ok(Ok(Err(error))) => Ended::Failed(error),
                Ok(Ok(Ok(ended))) => ended,
            },
        }
    }

    async fn step(&self, key: &R::Key, run: &Run<R::Key>) -> Result<Ended> {
        match finalizer::step(R::FINALIZER, run.metadata()) {
            Step::Reconcile => Ok(Ended::Acted(self.reconciler.reconcile(key, run).await?)),
            Step::Protect(finalizer) => {
                finalizer::add(run, finalizer).await?;
                Ok(Ended::Protected)
            }
            Step::Cleanup(finalizer) => {
                let action = self.reconciler.cleanup(key, run).await?;
                if action == Action::Done {
                    finalizer::remove(run, finalizer).await?;
                }
                Ok(Ended::Acted(action))
            }
            Step::Leave => Ok(Ended::Acted(Action::Done)),
        }
    }

    /// Whether a key that has nothing more to do is worth remembering.
    fn remembers(&self, key: &R::Key) -> bool {
        let core = &self.core;
        let there = |primary: &Primary<R::Key>| primary.metadata(&core.cache().view(), key).is_some();
        core.remembers || core.primary.as_ref().is_some_and(there)
    }
}

impl<R: Reconciler> Part for Driver<R> {
    fn name(&self) -> &Arc<str> {
        &self.core.name
    }

    fn is_synced(&self, root: &Root) -> bool {
        self.slots.iter().all(|slot| root.is_synced(*slot))
    }

    fn run(self: Arc<Self>, abandon: CancellationToken) -> BoxFuture<'static, ()> {
        self.drive(abandon).boxed()
    }

    fn stop(&self) {
        self.core.stop.cancel();
        self.core.intake.queue.shut_down(Shutdown::FinishRunning);
    }

    fn why(&self, key: &ObjectKey) -> Option<Why> {
        let primary = self.core.primary.as_ref().filter(|primary| primary.kind == key.kind)?;
        let own = (primary.from)(key);
        let records = &self.core.intake.records;
        let mut why = records.why(&own, &self.core.name)?;
        if let Some(inspection) = self.core.intake.queue.inspect(&own) {
            why.failures = inspection.failures;
            why.state = doing(why.state, &inspection.state);
        }
        Some(why)
    }

    fn troubles(&self) -> Vec<String> {
        let overdue = self.core.intake.records.overdue();
        let waiting = format!("{overdue} keys wait for their own writes to show in the cache");
        (overdue > 0).then_some(waiting).into_iter().collect()
    }

    fn unobserved(&self) -> u64 {
        self.core.unobserved.load(Ordering::Relaxed)
    }
}

/// Waits until a run's writes have settled and the cache shows them; it never gives up (R1). A shutdown, after which
/// there is no next run, waits for the outcome only.
async fn settle<K: ReconcileKey>(core: &Core<K>, key: &K, ledger: &Ledger, abandon: &CancellationToken) {
    let mut shown = pin!(async {
        ledger.settled().await;
        core.cache().passed(ledger.awaited()).await;
    });
    if shown.as_mut().now_or_never().is_some() {
        return;
    }
    core.intake.records.settling(key, false);
    tokio::select! {
        biased;
        () = &mut shown => return,
        () = core.stop.cancelled() => {}
        () = sleep(SETTLED_WITHIN) => {
            tracing::warn!(controller = %core.name, ?key, "own writes do not show in the cache; the key goes on waiting");
            core.intake.records.settling(key, true);
            tokio::select! {
                biased;
                () = &mut shown => return,
                () = core.stop.cancelled() => {}
            }
        }
    }
    tokio::select! {
        biased;
        () = ledger.settled() => return,
        () = abandon.cancelled() => core.desk.abandon.cancel(),
    }
    ledger.settled().await;
}

/// Reports runs that go on past their timeout: they do not yield, so nothing can cancel them (K2).
async fn watch_over<K: ReconcileKey>(core: Arc<Core<K>>) {
    loop {
        sleep(core.timeout).await;
        let Some(since) = Instant::now().checked_sub(core.timeout.saturating_mul(2)) else { continue };
        for key in core.intake.records.running_since(since) {
            tracing::error!(controller = %core.name, ?key, "a run does not yield and holds its key past its timeout");
        }
    }
}

/// What becomes of a key whose run has ended, said where it is decided.
fn judge(ended: Ended, now: Timestamp) -> Verdict {
    let verdict = verdict(ended, now);
    match &verdict.end {
        None => tracing::debug!("finalizer added"),
        Some(End::Done) => tracing::debug!("done"),
        Some(End::After(delay)) => tracing::debug!(?delay, "done; again later"),
        Some(End::Waiting(reason)) => tracing::debug!(%reason, "waiting"),
        Some(End::Failed(error)) => tracing::warn!(%error, "reconcile failed; it is tried again"),
        Some(End::Terminal(error)) => tracing::warn!(%error, "reconcile failed for good, until something changes"),
        Some(End::Panicked(message)) => tracing::error!(%message, "reconcile panicked; it is tried again"),
        Some(End::TimedOut(limit)) => tracing::warn!(?limit, "reconcile timed out; it is tried again"),
        Some(End::Cancelled) => tracing::warn!("reconcile was cancelled by the shutdown"),
    }
    verdict
}

fn verdict(ended: Ended, now: Timestamp) -> Verdict {
    let (outcome, end) = match ended {
        Ended::Protected => return Verdict { outcome: Outcome::Again, end: None },
        Ended::Acted(Action::Done) => (Outcome::Forget, End::Done),
        Ended::Acted(Action::After(delay)) => (Outcome::After(delay), End::After(delay)),
        Ended::Acted(Action::At(time)) => {
            let delay = time.duration_since(SystemTime::from(now)).unwrap_or_default();
            (Outcome::After(delay), End::After(delay))
        }
        Ended::Acted(Action::Waiting(reason)) => (Outcome::Forget, End::Waiting(reason.to_string())),
        Ended::Failed(error) if error.is_terminal() => (Outcome::Terminal, End::Terminal(error.to_string())),
        Ended::Failed(error) => (Outcome::Retry, End::Failed(error.to_string())),
        Ended::Panicked(message) => (Outcome::Retry, End::Panicked(message)),
        Ended::TimedOut(limit) => (Outcome::Retry, End::TimedOut(limit)),
        Ended::Cancelled => (Outcome::Retry, End::Cancelled),
    };
    Verdict { outcome, end: Some(end) }
}

fn doing(record: Doing, queue: &KeyState) -> Doing {
    match queue {
        KeyState::Delayed { due, .. } => Doing::Delayed { wait: due.saturating_duration_since(Instant::now()) },
        KeyState::Ready { since } => Doing::Queued { since: since.elapsed() },
        // Whether it still runs or its writes settle, the records know.
        KeyState::Running { .. } => record,
        KeyState::Terminal => Doing::Terminal,
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn k4_each_end_of_a_run_has_one_outcome_for_the_queue() {
        let now = Timestamp::from_millis(1_000_000);
        let later = SystemTime::from(now.after(Duration::from_secs(5)));
        let five = Duration::from_secs(5);
        let table = [
            (Ended::Acted(Action::Done), Outcome::Forget),
            (Ended::Acted(Action::After(five)), Outcome::After(five)),
            (Ended::Acted(Action::At(later)), Outcome::After(five)),
            (Ended::Acted(Action::At(SystemTime::UNIX_EPOCH)), Outcome::After(Duration::ZERO)),
            (Ended::Acted(Action::waiting("a node")), Outcome::Forget),
            (Ended::Failed(Error::new("x")), Outcome::Retry),
            (Ended::Failed(Error::terminal("x")), Outcome::Terminal),
            (Ended::Panicked("x".into()), Outcome::Retry),
            (Ended::TimedOut(five), Outcome::Retry),
            (Ended::Protected, Outcome::Again),
        ];
        for (ended, outcome) in table {
            assert_eq!(verdict(ended, now).outcome, outcome);
        }
    }
}
