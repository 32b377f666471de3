use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use orion_model::{ClientError, Key, Object, Whole};
use orion_runtime::{
    Action, Batch, CommitError, Controller, Doing, End, Error, Informer, Reconciler, Result, Run, Runnable, Select, Why,
};
use tokio::time::Instant;

use crate::world::{Probe, Region, RegionSpec, Running, Site, World, eventually, probe, quiet, site, site_key};

type Log = Arc<Mutex<Vec<String>>>;

fn lines(log: &Log) -> Vec<String> {
    log.lock().expect("not poisoned").clone()
}

fn say(log: &Log, line: impl Into<String>) {
    log.lock().expect("not poisoned").push(line.into());
}

async fn start(world: &World, build: impl FnOnce(&Informer<Site>) -> Runnable) -> Running {
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    manager.add(build(&sites));
    let running = Running::start(manager);
    sites.synced().await;
    running
}

async fn create(world: &World, name: &str) -> Site {
    world.direct.create(&site(name, &[])).await.expect("it is new")
}

fn why(running: &Running, name: &str) -> Why {
    let mut all = running.handle.why_of(&site_key(name));
    assert_eq!(all.len(), 1, "one controller of sites knows {name}");
    all.remove(0)
}

#[tokio::test(start_paused = true)]
async fn k1_a_panic_is_its_keys_own_affair_and_is_retried() {
    let world = World::new().await;
    create(&world, "calm").await;
    create(&world, "wild").await;
    let (log, times) = (Log::default(), Arc::new(Mutex::new(Vec::new())));
    let (told, at) = (log.clone(), times.clone());
    let running = start(&world, |sites| {
        Controller::new("c", sites).concurrency(1).reconcile(move |run| {
            let wild = run.key().name() == "wild";
            if wild {
                at.lock().expect("not poisoned").push(Instant::now());
            }
            assert!(!wild || at.lock().expect("not poisoned").len() > 3, "wild as ever");
            say(&told, run.key().name());
            Box::pin(async { Ok(Action::Done) })
        })
    })
    .await;
    eventually("both are through", || async { lines(&log).len() == 2 }).await;
    assert_eq!(lines(&log), ["calm", "wild"]);
    let times = times.lock().expect("not poisoned").clone();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(4)), "{times:?}");
    quiet().await;
    assert_eq!(why(&running, "wild").last.expect("it ran").end, End::Done);
}

#[tokio::test(start_paused = true)]
async fn k1_a_panic_is_shown_with_its_message() {
    let world = World::new().await;
    create(&world, "a").await;
    let running = start(&world, |sites| {
        Controller::new("c", sites).reconcile(|run| {
            let name = run.key().name().to_owned();
            Box::pin(async move { panic!("no luck with {name}") })
        })
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let why = why(&running, "a");
    assert_eq!(why.last.expect("it ran").end, End::Panicked("no luck with a".into()));
    assert!(why.failures >= 1);
}

struct Guard(Log);

impl Drop for Guard {
    fn drop(&mut self) {
        say(&self.0, "gone");
    }
}

#[tokio::test(start_paused = true)]
async fn k2_a_timeout_cancels_the_run_and_the_next_starts_when_the_old_future_is_gone() {
    let world = World::new().await;
    create(&world, "a").await;
    let log = Log::default();
    let told = log.clone();
    let running = start(&world, |sites| {
        Controller::new("c", sites).timeout(Duration::from_secs(3)).reconcile(move |run| {
            let told = told.clone();
            let cancelled = run.cancelled().clone();
            Box::pin(async move {
                say(&told, "start");
                let watched = told.clone();
                tokio::spawn(async move {
                    cancelled.cancelled().await;
                    say(&watched, "told");
                });
                let _guard = Guard(told);
                std::future::pending().await
            })
        })
    })
    .await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(lines(&log), ["start", "gone", "told", "start"]);
    assert_eq!(why(&running, "a").last.expect("it ran").end, End::TimedOut(Duration::from_secs(3)));
}

#[tokio::test(start_paused = true)]
async fn k2_an_error_called_cancelled_is_an_error() {
    #[derive(Debug, thiserror::Error)]
    #[error("cancelled")]
    struct Cancelled;
    let world = World::new().await;
    create(&world, "a").await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let _running = start(&world, |sites| {
        Controller::new("c", sites).reconcile(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Err(Cancelled.into()) })
        })
    })
    .await;
    eventually("it is retried", || async { runs.load(Ordering::SeqCst) >= 3 }).await;
}

#[tokio::test(start_paused = true)]
async fn k3_a_deleted_key_is_reconciled_with_the_last_object_at_hand() {
    let world = World::new().await;
    let created = create(&world, "a").await;
    let log = Log::default();
    let told = log.clone();
    let failed = AtomicUsize::new(0);
    let _running = start(&world, |sites| {
        Controller::new("c", sites).reconcile(move |run| {
            let last = run.last_known().map(|site| site.spec.number);
            say(&told, format!("{:?} {last:?}", run.object().map(|site| site.spec.number)));
            let fails = last.is_some() && failed.fetch_add(1, Ordering::SeqCst) == 0;
            Box::pin(async move { if fails { Err(Error::new("not yet")) } else { Ok(Action::Done) } })
        })
    })
    .await;
    eventually("it ran", || async { lines(&log).len() == 1 }).await;
    let edited = world.direct.edit(&created, |site| site.spec.number = 5).await.expect("edits");
    eventually("it ran again", || async { lines(&log).len() == 2 }).await;
    world.direct.delete(&edited).await.expect("deletes");
    eventually("the deletion was retried", || async { lines(&log).len() == 4 }).await;
    create(&world, "a").await;
    eventually("the new one ran", || async { lines(&log).len() == 5 }).await;
    assert_eq!(lines(&log), ["Some(0) None", "Some(5) None", "None Some(5)", "None Some(5)", "Some(0) None"]);
}

#[tokio::test(start_paused = true)]
async fn k4_a_terminal_error_is_not_retried_until_something_changes() {
    let world = World::new().await;
    let created = create(&world, "a").await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let running = start(&world, |sites| {
        Controller::new("c", sites).reconcile(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Err(Error::terminal("no such region")) })
        })
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let shown = why(&running, "a");
    assert_eq!(
        (shown.state, shown.last.expect("it ran").end),
        (Doing::Terminal, End::Terminal("no such region".into()))
    );
    world.direct.edit(&created, |site| site.spec.number = 1).await.expect("edits");
    eventually("it runs again", || async { runs.load(Ordering::SeqCst) == 2 }).await;
}

#[tokio::test(start_paused = true)]
async fn k4_after_and_at_run_again_then() {
    let world = World::new().await;
    create(&world, "a").await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let at = times.clone();
    let _running = start(&world, |sites| {
        Controller::new("c", sites).reconcile(move |run| {
            let mut times = at.lock().expect("not poisoned");
            times.push(Instant::now());
            let action = match times.len() {
                1 => Action::After(Duration::from_secs(10)),
                2 => Action::At(run.now().after(Duration::from_secs(60)).into()),
                _ => Action::Done,
            };
            Box::pin(async move { Ok(action) })
        })
    })
    .await;
    eventually("all runs were", || async { times.lock().expect("not poisoned").len() == 3 }).await;
    let times = times.lock().expect("not poisoned").clone();
    let gaps: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(gaps, [10, 60]);
}

/// Keeps a site until its cleanup, which fails at first, has succeeded.
struct Keeper {
    log: Log,
    fails: AtomicUsize,
}

impl Reconciler for Keeper {
    type Key = Key<Site>;

    const FINALIZER: Option<&'static str> = Some("test.orion/keeper");

    async fn reconcile(&self, _: &Key<Site>, run: &Run<Key<Site>>) -> Result<Action> {
        match run.object() {
            Some(site) => say(&self.log, format!("reconcile {:?}", site.metadata.finalizers)),
            None => say(&self.log, "reconcile gone"),
        }
        Ok(Action::Done)
    }

    async fn cleanup(&self, _: &Key<Site>, run: &Run<Key<Site>>) -> Result<Action> {
        let site = run.object().expect("it is kept");
        say(&self.log, "cleanup");
        if self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Error::new("the other side is busy"));
        }
        // Its own write makes the view it runs on old; the finalizer comes off all the same.
        let mut batch = Batch::new();
        batch.status(&site, crate::world::SiteStatus { seen: 1, ..site.status.clone() });
        run.commit(batch).await?;
        Ok(Action::Done)
    }
}

#[tokio::test(start_paused = true)]
async fn k5_an_object_does_not_vanish_before_cleanup_has_succeeded() {
    let world = World::new().await;
    let log = Log::default();
    let keeper = Keeper { log: log.clone(), fails: AtomicUsize::new(2) };
    let _running = start(&world, |sites| Controller::new("c", sites).reconciler(keeper)).await;
    create(&world, "a").await;
    eventually("it is reconciled", || async { !lines(&log).is_empty() }).await;
    quiet().await;
    assert_eq!(lines(&log)[0], r#"reconcile ["test.orion/keeper"]"#, "the finalizer is on before the first reconcile");
    log.lock().expect("not poisoned").clear();

    world.direct.delete_any(&site_key("a")).await.expect("deletes");
    eventually("it is gone", || async { world.get(&site_key("a")).await.is_none() }).await;
    quiet().await;
    let lines = lines(&log);
    let cleanups = lines.iter().filter(|line| *line == "cleanup").count();
    assert!(cleanups >= 3, "two failed, one worked: {lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("reconcile [")).count(), 0, "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("reconcile gone"));
}

#[tokio::test(start_paused = true)]
async fn k5_an_object_that_was_dying_before_it_was_begun_is_left_alone() {
    let world = World::new().await;
    let held = world.direct.create(&site("a", &[]).with_finalizer("theirs")).await.expect("it is new");
    world.direct.delete(&held).await.expect("deletes");
    let log = Log::default();
    let keeper = Keeper { log: log.clone(), fails: AtomicUsize::new(0) };
    let _running = start(&world, |sites| Controller::new("c", sites).reconciler(keeper)).await;
    quiet().await;
    assert!(lines(&log).is_empty(), "{:?}", lines(&log));
    assert_eq!(world.get(&site_key("a")).await.expect("kept by another").metadata.finalizers, ["theirs"]);
}

#[tokio::test(start_paused = true)]
async fn k5_a_person_may_take_the_finalizer_off() {
    let world = World::new().await;
    let log = Log::default();
    let keeper = Keeper { log: log.clone(), fails: AtomicUsize::new(usize::MAX) };
    let _running = start(&world, |sites| Controller::new("c", sites).reconciler(keeper)).await;
    create(&world, "a").await;
    eventually("it is reconciled", || async { !lines(&log).is_empty() }).await;
    world.direct.delete_any(&site_key("a")).await.expect("deletes");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.get(&site_key("a")).await.is_some(), "cleanup fails, so it stays");
    let off = serde_json::json!({"metadata": {"finalizers": null}});
    world.direct.merge(&site_key("a"), off).await.expect("a person may");
    eventually("it is gone", || async { world.get(&site_key("a")).await.is_none() }).await;
}

#[tokio::test(start_paused = true)]
async fn k6_why_says_what_triggered_a_run_and_how_often() {
    let world = World::new().await;
    let owner = create(&world, "a").await;
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let probes = manager.informer::<Probe>(Select::all());
    let controller = Controller::new("c", &sites).owns(&probes);
    let trigger = controller.trigger();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let open = gate.clone();
    manager.add(controller.reconcile(move |_| {
        let open = open.clone();
        Box::pin(async move {
            open.acquire().await.expect("never closed").forget();
            Ok(Action::Done)
        })
    }));
    let running = Running::start(manager);
    probes.synced().await;
    eventually("it runs", || async { matches!(why(&running, "a").state, Doing::Running { .. }) }).await;
    for name in ["p", "q"] {
        world.direct.create(&probe(name, "eu").owned_by(&owner)).await.expect("it is new");
    }
    trigger.poke(site_key("a"));
    quiet().await;
    let causes: Vec<_> = why(&running, "a").causes.iter().map(|cause| (cause.what.to_string(), cause.count)).collect();
    assert_eq!(causes, [("Probe changed".to_owned(), 2), ("poked".to_owned(), 1)]);
    gate.add_permits(2);
    eventually("it is through", || async { why(&running, "a").state == Doing::Idle }).await;
}

#[tokio::test(start_paused = true)]
async fn k9_waiting_is_a_success_without_a_timer_and_shows_its_reason() {
    let world = World::new().await;
    let created = create(&world, "a").await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let running = start(&world, |sites| {
        Controller::new("c", sites).reconcile(move |run| {
            let number = run.object().expect("there").spec.number;
            let action = if number == 0 { Action::waiting("waits for a node") } else { Action::Done };
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { Ok(action) })
        })
    })
    .await;
    tokio::time::sleep(Duration::from_secs(7200)).await;
    let shown = why(&running, "a");
    assert_eq!((shown.failures, runs.load(Ordering::SeqCst)), (0, 1));
    assert_eq!(shown.last.expect("it ran").end, End::Waiting("waits for a node".into()));
    world.direct.edit(&created, |site| site.spec.number = 1).await.expect("edits");
    eventually("it runs again", || async { runs.load(Ordering::SeqCst) == 2 }).await;
    quiet().await;
    assert_eq!(why(&running, "a").last.expect("it ran").end, End::Done);
}

#[tokio::test(start_paused = true)]
async fn k12_a_run_does_not_change_content_or_labels_of_a_dying_object_unless_it_says_so() {
    let world = World::new().await;
    let held = world.direct.create(&site("a", &[]).with_finalizer("theirs")).await.expect("it is new");
    world.direct.delete(&held).await.expect("deletes");
    let log = Log::default();
    let told = log.clone();
    let _running = start(&world, |sites| {
        Controller::new("c", sites).reconcile(move |run| {
            let told = told.clone();
            Box::pin(async move {
                if lines(&told).is_empty() {
                    try_all(run, &told).await?;
                }
                Ok(Action::Done)
            })
        })
    })
    .await;
    eventually("all were tried", || async { lines(&log).len() >= 8 }).await;
    let expected = [
        "spec: refused a change of its content",
        "labels: refused a change of its labels",
        "finalizer: refused a new finalizer",
        "whole: refused a change of its content",
        "blind: refused a change of its content",
        "status: done",
        "annotation: done",
        "said so: done",
    ];
    assert_eq!(lines(&log), expected);
}

async fn try_all(run: &Run<Key<Site>>, log: &Log) -> Result<()> {
    let site = run.object().expect("there");
    let mut changed = Site::clone(&site);
    changed.spec.number = 9;
    let (mut spec, mut labels, mut finalizer, mut whole) = (Batch::new(), Batch::new(), Batch::new(), Batch::new());
    spec.edit(&site, |site| site.spec.number = 9);
    labels.edit(&site, |site| drop(site.metadata.labels.insert("l".into(), "1".into())));
    finalizer.edit(&site, |site| site.metadata.finalizers.push("mine".into()));
    whole.update(&changed);
    let attempts = [("spec", spec), ("labels", labels), ("finalizer", finalizer), ("whole", whole)];
    for (name, batch) in attempts {
        note(log, name, run.commit(batch).await.map(drop).map_err(client_error));
    }
    let patch = serde_json::json!({"spec": {"number": 9}});
    note(log, "blind", run.client().merge(run.key(), patch).await.map(drop));

    let mut batch = Batch::new();
    batch.status(&site, crate::world::SiteStatus { seen: 1, ..site.status.clone() });
    note(log, "status", run.commit(batch).await.map(drop).map_err(client_error));
    let annotation = serde_json::json!({"metadata": {"annotations": {"a": "b"}}});
    note(log, "annotation", run.client().merge(run.key(), annotation).await.map(drop));
    let now = run.client().get(run.key()).await?.expect("there");
    let mut batch = Batch::new();
    batch.edit(&now, |site| site.spec.number = 9);
    batch.even_if_being_deleted();
    note(log, "said so", run.commit(batch).await.map(drop).map_err(client_error));
    Ok(())
}

fn client_error(error: CommitError) -> ClientError {
    match error {
        CommitError::Client(error) => error,
        other => panic!("not the backend's answer: {other}"),
    }
}

fn note(log: &Log, what: &str, result: Result<(), ClientError>) {
    match result {
        Ok(()) => say(log, format!("{what}: done")),
        Err(ClientError::BeingDeleted { refused, .. }) => say(log, format!("{what}: refused {refused}")),
        Err(other) => say(log, format!("{what}: {other}")),
    }
}

#[tokio::test(start_paused = true)]
async fn owners_run_when_their_children_change_hands() {
    let world = World::new().await;
    let (a, b) = (create(&world, "a").await, create(&world, "b").await);
    let child = world.direct.create(&probe("p", "eu").owned_by(&a)).await.expect("it is new");
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let probes = manager.informer::<Probe>(Select::all());
    let log = Log::default();
    let told = log.clone();
    manager.add(Controller::new("c", &sites).owns(&probes).reconcile(move |run| {
        say(&told, run.key().name());
        Box::pin(async { Ok(Action::Done) })
    }));
    let _running = Running::start(manager);
    quiet().await;
    log.lock().expect("not poisoned").clear();
    let theirs = probe("p", "eu").owned_by(&b).metadata.owner_references;
    world.direct.edit(&child, |probe| probe.metadata.owner_references = theirs).await.expect("edits");
    quiet().await;
    let mut ran = lines(&log);
    ran.sort();
    assert_eq!(ran, ["a", "b"], "the old owner and the new one");
}

#[tokio::test(start_paused = true)]
async fn watched_objects_run_the_keys_they_map_to_and_a_mapper_may_panic() {
    let world = World::new().await;
    world.direct.create(&site("a", &["eu"])).await.expect("it is new");
    world.direct.create(&site("b", &["us"])).await.expect("it is new");
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let regions = manager.informer::<Region>(Select::all());
    let by_region = sites.index(|site| site.spec.regions.clone());
    let log = Log::default();
    let told = log.clone();
    let mapper = move |change: &orion_runtime::Change<Region>| {
        assert_ne!(change.either().name(), "wild", "a mapper that fails");
        by_region.keys(change.either().name())
    };
    manager.add(Controller::new("c", &sites).watches(&regions, mapper).reconcile(move |run| {
        say(&told, run.key().name());
        Box::pin(async { Ok(Action::Done) })
    }));
    let _running = Running::start(manager);
    quiet().await;
    log.lock().expect("not poisoned").clear();
    for name in ["wild", "us"] {
        world.direct.create(&Region::new(name, RegionSpec { open: true })).await.expect("it is new");
    }
    quiet().await;
    assert_eq!(lines(&log), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_single_controller_runs_at_the_start_and_at_each_change() {
    let world = World::new().await;
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let (log, lister) = (Log::default(), sites.lister());
    let told = log.clone();
    manager.add(Controller::single("zone").watches(&sites, |_| [()]).reconcile(move |run| {
        say(&told, run.read(&lister).len().to_string());
        Box::pin(async { Ok(Action::Done) })
    }));
    let _running = Running::start(manager);
    quiet().await;
    create(&world, "a").await;
    quiet().await;
    assert_eq!(lines(&log), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn pokes_before_the_start_and_after_run_their_keys() {
    let world = World::new().await;
    let mut manager = world.manager();
    let controller = Controller::<u32>::keyed("numbers");
    let (trigger, log) = (controller.trigger(), Log::default());
    let told = log.clone();
    trigger.poke(2);
    trigger.poke(1);
    manager.add(controller.concurrency(1).reconcile(move |run| {
        say(&told, run.key().to_string());
        Box::pin(async { Ok(Action::Done) })
    }));
    let _running = Running::start(manager);
    quiet().await;
    trigger.poke(3);
    quiet().await;
    assert_eq!(lines(&log), ["1", "2", "3"]);
}
