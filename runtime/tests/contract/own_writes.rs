use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use orion_model::{ClientError, Key, LabelSelector, Object, Resource};
use orion_runtime::{
    Action, Batch, CommitError, Controller, Doing, Informer, ManagerHandle, Reconciler, Result, Run, Runnable, Select,
    Trigger,
};
use tokio::time::Instant;

use crate::world::{Probe, Running, Site, SiteStatus, World, eventually, probe, quiet, site, site_key};

/// Writes a site's `seen` one higher than its view shows, once a run, and notes what it saw.
struct Counting {
    rounds: u64,
    seen: Arc<Mutex<BTreeMap<String, Vec<u64>>>>,
    nowait: bool,
}

impl Reconciler for Counting {
    type Key = Key<Site>;

    async fn reconcile(&self, key: &Key<Site>, run: &Run<Key<Site>>) -> Result<Action> {
        let Some(site) = run.object() else { return Ok(Action::Done) };
        let seen = site.status.seen;
        self.seen.lock().expect("not poisoned").entry(key.name().to_owned()).or_default().push(seen);
        if seen >= self.rounds {
            return Ok(Action::Done);
        }
        let mut batch = Batch::new();
        batch.status(&site, SiteStatus { seen: seen + 1, ..site.status.clone() });
        if self.nowait {
            batch.nowait();
        }
        run.commit(batch).await?;
        Ok(Action::Done)
    }
}

type Seen = Arc<Mutex<BTreeMap<String, Vec<u64>>>>;

fn counting(rounds: u64, nowait: bool) -> (Counting, Seen) {
    let seen = Seen::default();
    (Counting { rounds, seen: seen.clone(), nowait }, seen)
}

fn of(seen: &Seen, name: &str) -> Vec<u64> {
    seen.lock().expect("not poisoned").get(name).cloned().unwrap_or_default()
}

async fn start(world: &World, build: impl FnOnce(&Informer<Site>) -> Runnable) -> Running {
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    manager.add(build(&sites));
    let running = Running::start(manager);
    sites.synced().await;
    running
}

fn doing(handle: &ManagerHandle, name: &str) -> Doing {
    handle.why_of(&site_key(name))[0].state
}

#[tokio::test(start_paused = true)]
async fn r1_a_run_starts_only_when_the_cache_shows_what_the_last_one_wrote() {
    let world = World::new().await;
    let (reconciler, seen) = counting(20, true);
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let trigger = Arc::new(Mutex::new(None::<Trigger<Key<Site>>>));
    let kept = trigger.clone();
    let _running = start(&world, |sites| {
        let controller = Controller::new("c", sites);
        *kept.lock().expect("not poisoned") = Some(controller.trigger());
        controller.reconciler(reconciler)
    })
    .await;
    for round in 0..400 {
        world.faults.flow(round % 7 == 0);
        trigger.lock().expect("not poisoned").as_ref().expect("set").poke(site_key("a"));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.faults.flow(true);
    eventually("it is through", || async { of(&seen, "a").last() == Some(&20) }).await;
    let mut numbers = of(&seen, "a");
    numbers.dedup();
    assert_eq!(numbers, (0..=20).collect::<Vec<_>>(), "no run saw an old number after writing the next");
    let conflicts = world.get(&site_key("a")).await.expect("there").status.seen;
    assert_eq!(conflicts, 20);
}

#[tokio::test(start_paused = true)]
async fn r1_a_waiting_key_takes_no_worker_never_fails_open_and_is_shown() {
    let world = World::new().await;
    let (reconciler, seen) = counting(1, true);
    world.direct.create(&site("a", &[])).await.expect("it is new");
    world.direct.create(&site("b", &[])).await.expect("it is new");
    let trigger = Arc::new(Mutex::new(None));
    let kept = trigger.clone();
    world.faults.flow(false);
    let running = start(&world, |sites| {
        let controller = Controller::new("c", sites).concurrency(1);
        *kept.lock().expect("not poisoned") = Some(controller.trigger());
        controller.reconciler(reconciler)
    })
    .await;
    eventually("both ran", || async { of(&seen, "a").len() == 1 && of(&seen, "b").len() == 1 }).await;
    trigger.lock().expect("not poisoned").as_ref().expect("set").poke(site_key("a"));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(of(&seen, "a"), [0], "it goes on waiting");
    assert!(matches!(doing(&running.handle, "a"), Doing::Settling { overdue: true, .. }));
    let problems = running.handle.health().problems();
    assert_eq!(problems, ["controller c: 2 keys wait for their own writes to show in the cache"]);

    world.faults.flow(true);
    eventually("it runs again", || async { of(&seen, "a") == [0, 1] }).await;
    quiet().await;
    assert!(running.handle.health().is_ready());
    assert_eq!(doing(&running.handle, "a"), Doing::Idle);
}

/// The first run of a key commits and is cut off while the commit is under way.
struct CutOff {
    runs: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<u64>>>,
}

impl Reconciler for CutOff {
    type Key = Key<Site>;

    async fn reconcile(&self, _: &Key<Site>, run: &Run<Key<Site>>) -> Result<Action> {
        let Some(site) = run.object() else { return Ok(Action::Done) };
        self.seen.lock().expect("not poisoned").push(site.status.seen);
        if self.runs.fetch_add(1, Ordering::SeqCst) == 0 {
            run.client().update_status(&*site, SiteStatus { seen: 1, ..site.status.clone() }).await?;
        }
        Ok(Action::Done)
    }
}

#[tokio::test(start_paused = true)]
async fn r1_the_commit_of_a_run_that_timed_out_settles_before_the_next() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let (runs, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let reconciler = CutOff { runs: runs.clone(), seen: seen.clone() };
    let running = start(&world, |sites| {
        world.faults.commit(false);
        Controller::new("c", sites).timeout(Duration::from_secs(1)).reconciler(reconciler)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1, "its commit is still under way");
    assert!(matches!(doing(&running.handle, "a"), Doing::Settling { .. }));
    world.faults.commit(true);
    eventually("it runs again", || async { runs.load(Ordering::SeqCst) >= 2 }).await;
    assert_eq!(*seen.lock().expect("not poisoned"), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn r1_a_commit_whose_outcome_nobody_knows_is_repeated_until_it_is_known() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    world.faults.unknown.store(3, Ordering::SeqCst);
    let (runs, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let reconciler = CutOff { runs: runs.clone(), seen: seen.clone() };
    let _running = start(&world, |sites| Controller::new("c", sites).reconciler(reconciler)).await;
    eventually("it runs again", || async { runs.load(Ordering::SeqCst) >= 2 }).await;
    assert_eq!(world.faults.commits.load(Ordering::SeqCst), 4, "the same commit, four times");
    assert_eq!(seen.lock().expect("not poisoned")[1], 1, "it took effect, and the next run sees it");
}

#[tokio::test(start_paused = true)]
async fn r1_kinds_without_an_informer_and_objects_no_informer_selects_hold_nothing_up() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let mut manager = world.manager();
    let nothing = Select::all().labels(LabelSelector::equals("no", "such"));
    let sites = manager.informer::<Site>(Select::all());
    let _none = manager.informer::<Probe>(nothing);
    let controller = Controller::new("c", &sites);
    let trigger = controller.trigger();
    manager.add(controller.reconcile(move |run| {
        let counted = counted.clone();
        Box::pin(async move {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            run.client().create(&probe(&format!("p{number}"), "eu")).await?;
            let lease = orion_model::Lease::new(format!("l{number}"), orion_model::LeaseSpec::default());
            run.client().create(&lease).await?;
            Ok(Action::Done)
        })
    }));
    let _running = Running::start(manager);
    eventually("it ran", || async { runs.load(Ordering::SeqCst) == 1 }).await;
    let before = Instant::now();
    trigger.poke(site_key("a"));
    eventually("it runs again", || async { runs.load(Ordering::SeqCst) == 2 }).await;
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn r2_a_commit_returns_when_the_cache_shows_it() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let shown = Arc::new(Mutex::new(Vec::new()));
    let noted = shown.clone();
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let (lister, tried) = (sites.lister(), AtomicBool::new(false));
    manager.add(Controller::new("c", &sites).reconcile(move |run| {
        let (lister, noted, again) = (lister.clone(), noted.clone(), tried.swap(true, Ordering::SeqCst));
        Box::pin(async move {
            let site = run.object().filter(|_| !again);
            let Some(site) = site else { return Ok(Action::Done) };
            let mut batch = Batch::new();
            let slot = batch.status(&site, SiteStatus { seen: 7, ..site.status.clone() });
            let committed = run.commit(batch).await?;
            let written = committed.get(&slot)?;
            let newest = lister.latest().get(run.key()).expect("there");
            let pinned = run.object().expect("there");
            let entry = (committed.is_unobserved(), written.status.seen, newest.status.seen, pinned.status.seen);
            noted.lock().expect("not poisoned").push(entry);
            Ok(Action::Done)
        })
    }));
    let _running = Running::start(manager);
    eventually("it wrote", || async { !shown.lock().expect("not poisoned").is_empty() }).await;
    assert_eq!(
        *shown.lock().expect("not poisoned"),
        [(false, 7, 7, 0)],
        "the cache shows it; the run's view stands still"
    );
}

#[tokio::test(start_paused = true)]
async fn r2_a_commit_that_does_not_show_in_time_succeeds_marked_unobserved() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let marked = Arc::new(Mutex::new(Vec::new()));
    let noted = marked.clone();
    let running = start(&world, |sites| {
        world.faults.flow(false);
        Controller::new("c", sites).reconcile(move |run| {
            let noted = noted.clone();
            Box::pin(async move {
                let Some(site) = run.object().filter(|site| site.status.seen == 0) else { return Ok(Action::Done) };
                let mut batch = Batch::new();
                batch.status(&site, SiteStatus { seen: 1, ..site.status.clone() });
                let unobserved = run.commit(batch).await?.is_unobserved();
                noted.lock().expect("not poisoned").push(unobserved);
                Ok(Action::Done)
            })
        })
    })
    .await;
    eventually("it returned", || async { !marked.lock().expect("not poisoned").is_empty() }).await;
    assert_eq!(*marked.lock().expect("not poisoned"), [true]);
    assert_eq!(running.handle.health().controllers[0].unobserved, 1);
}

#[tokio::test(start_paused = true)]
async fn r3_delete_recreate_and_writes_that_change_nothing_do_not_wedge_the_barrier() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let probes = manager.informer::<Probe>(Select::all());
    let controller = Controller::new("c", &sites).owns(&probes);
    let trigger = controller.trigger();
    manager.add(controller.reconcile(move |run| {
        let counted = counted.clone();
        Box::pin(async move {
            counted.fetch_add(1, Ordering::SeqCst);
            let client = run.client();
            let made = client.create(&probe("p", "eu")).await?;
            client.edit(&made, |_| ()).await?;
            client.delete(&made).await?;
            let again = client.create(&probe("p", "us")).await?;
            client.delete(&again).await?;
            Ok(Action::Done)
        })
    }));
    let _running = Running::start(manager);
    for round in 1..=10 {
        eventually("it ran", || async { runs.load(Ordering::SeqCst) == round }).await;
        quiet().await;
        trigger.poke(site_key("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn r5_a_stale_version_is_a_conflict_and_a_blind_write_is_not() {
    let world = World::new().await;
    let stale = world.direct.create(&site("a", &[])).await.expect("it is new");
    world.direct.edit(&stale, |site| site.spec.number = 1).await.expect("edits");
    let outcome = Arc::new(Mutex::new(Vec::new()));
    let (noted, old) = (outcome.clone(), stale.clone());
    let tried = AtomicBool::new(false);
    let _running = start(&world, |sites| {
        Controller::new("c", sites).reconcile(move |run| {
            let (noted, old, again) = (noted.clone(), old.clone(), tried.swap(true, Ordering::SeqCst));
            Box::pin(async move {
                if again {
                    return Ok(Action::Done);
                }
                let mut batch = Batch::new();
                batch.edit(&old, |site| site.spec.number = 2);
                let refused = run.commit(batch).await;
                let conflict = matches!(refused, Err(CommitError::Client(ClientError::Conflict { .. })));
                let mut batch = Batch::new();
                batch.overwrite(&old);
                run.commit(batch).await?;
                noted.lock().expect("not poisoned").push(conflict);
                Ok(Action::Done)
            })
        })
    })
    .await;
    eventually("it ran", || async { !outcome.lock().expect("not poisoned").is_empty() }).await;
    assert_eq!(*outcome.lock().expect("not poisoned"), [true]);
    assert_eq!(world.get(&stale.key()).await.expect("there").spec.number, 0, "overwritten with the old state");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_kept_beyond_its_run_writes_no_more() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    let _running = start(&world, |sites| {
        Controller::new("c", sites).reconcile(move |run| {
            *keep.lock().expect("not poisoned") = Some(run.client().clone());
            Box::pin(async { Ok(Action::Done) })
        })
    })
    .await;
    quiet().await;
    let client = kept.lock().expect("not poisoned").clone().expect("it ran");
    let refused = client.create(&site("b", &[])).await.expect_err("the run is over");
    assert!(refused.to_string().contains("run of this client has ended"), "{refused}");
    assert!(client.get(&Site::key_of("default", "a")).await.expect("reads go on").is_some());
}

#[tokio::test(start_paused = true)]
async fn k7_a_batch_that_changes_nothing_is_not_even_sent() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let done = Arc::new(Mutex::new(None));
    let noted = done.clone();
    let _running = start(&world, |sites| {
        Controller::new("c", sites).reconcile(move |run| {
            let noted = noted.clone();
            Box::pin(async move {
                let site = run.object().expect("there");
                let mut batch = Batch::new();
                let slot = batch.status(&site, site.status.clone());
                batch.edit(&site, |_| ());
                let committed = run.commit(batch).await?;
                let same = Arc::ptr_eq(&committed.get(&slot)?, &site);
                *noted.lock().expect("not poisoned") = Some((same, committed.version()));
                Ok(Action::Done)
            })
        })
    })
    .await;
    eventually("it ran", || async { done.lock().expect("not poisoned").is_some() }).await;
    assert_eq!(*done.lock().expect("not poisoned"), Some((true, None)));
    assert_eq!(world.faults.commits.load(Ordering::SeqCst), 0);
}
