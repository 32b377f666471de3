use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use orion_model::{Key, Object};
use orion_runtime::{Action, Controller, Manager, Reconciler, Result, Run, RunError, Select};
use tokio::time::Instant;

use crate::world::{Probe, Running, Site, SiteStatus, World, eventually, quiet, site, site_key};

#[tokio::test(start_paused = true)]
async fn c6_an_informer_that_does_not_sync_in_time_fails_the_start_by_name() {
    let world = World::new().await;
    world.faults.read(false);
    let mut manager = world.manager();
    let _sites = manager.informer::<Site>(Select::all());
    let _probes = manager.informer::<Probe>(Select::all());
    manager.synced_within(Duration::from_secs(10));
    let error = Running::start(manager).ended().await.expect_err("it cannot sync");
    assert!(matches!(error, RunError::NotSynced { .. }));
    let said = error.to_string();
    assert_eq!(said, "informers of Site.test.orion, Probe.test.orion did not sync within 10s: the network is down");
}

#[tokio::test(start_paused = true)]
async fn l1_a_run_under_way_finishes_and_nothing_new_starts() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        world.direct.create(&site(name, &[])).await.expect("it is new");
    }
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let (started, finished) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (starts, ends) = (started.clone(), finished.clone());
    manager.add(Controller::new("c", &sites).concurrency(1).reconcile(move |run| {
        starts.fetch_add(1, Ordering::SeqCst);
        let (ends, hurry) = (ends.clone(), run.cancelled().clone());
        let (site, client) = (run.object().expect("there"), run.client().clone());
        Box::pin(async move {
            hurry.cancelled().await;
            client.update_status(&*site, SiteStatus { seen: 1, ..site.status.clone() }).await?;
            ends.fetch_add(1, Ordering::SeqCst);
            Ok(Action::Done)
        })
    }));
    let running = Running::start(manager);
    eventually("one runs", || async { started.load(Ordering::SeqCst) == 1 }).await;
    running.stop().await.expect("it stops");
    assert_eq!((started.load(Ordering::SeqCst), finished.load(Ordering::SeqCst)), (1, 1));
    let seen: u64 = world.direct.list::<Site>().await.expect("lists").iter().map(|site| site.status.seen).sum();
    assert_eq!(seen, 1, "its commit was made");
}

#[tokio::test(start_paused = true)]
async fn l1_a_run_that_goes_on_beyond_the_grace_is_cancelled() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let ran = Arc::new(AtomicBool::new(false));
    let runs = ran.clone();
    manager.grace(Duration::from_secs(7)).add(Controller::new("c", &sites).reconcile(move |_| {
        runs.store(true, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }));
    let running = Running::start(manager);
    eventually("it runs", || async { ran.load(Ordering::SeqCst) }).await;
    let before = Instant::now();
    running.stop().await.expect("it stops");
    assert_eq!(before.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn l1_what_does_not_stop_is_named() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let ran = Arc::new(AtomicBool::new(false));
    let runs = ran.clone();
    world.faults.commit(false);
    manager.grace(Duration::from_secs(1)).add(Controller::new("stuck", &sites).reconcile(move |run| {
        let (site, client) = (run.object().expect("there"), run.client().clone());
        runs.store(true, Ordering::SeqCst);
        Box::pin(async move {
            client.update_status(&*site, SiteStatus { seen: 1, ..site.status.clone() }).await?;
            Ok(Action::Done)
        })
    }));
    let running = Running::start(manager);
    eventually("it runs", || async { ran.load(Ordering::SeqCst) }).await;
    let error = running.stop().await.expect_err("its commit never settles");
    assert_eq!(error.to_string(), "controller stuck did not stop in time");
}

#[tokio::test(start_paused = true)]
async fn l1_a_part_that_fails_ends_the_manager_and_is_named() {
    let world = World::new().await;
    let manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    // The author's index runs where the cache is kept.
    let _index = sites.index(|site| -> Option<String> { panic!("cannot index {}", site.name()) });
    let running = Running::start(manager);
    sites.synced().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let error = running.ended().await.expect_err("it failed");
    let RunError::Failed { part, reason } = error else { panic!("{error}") };
    assert_eq!(part, "the informers' stream");
    assert!(reason.contains("cannot index a"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn l3_health_says_which_informer_is_not_synced_and_why() {
    let world = World::new().await;
    world.faults.read(false);
    let manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let running = Running::start(manager);
    quiet().await;
    let expected = ["informer Site.test.orion is not synced: the network is down"];
    assert_eq!(running.handle.health().problems(), expected);
    world.faults.read(true);
    sites.synced().await;
    assert!(running.handle.health().is_ready());
    running.stop().await.expect("it stops");
}

struct Misfit;

impl Reconciler for Misfit {
    type Key = u32;

    const FINALIZER: Option<&'static str> = Some("test.orion/misfit");

    async fn reconcile(&self, _: &u32, _: &Run<u32>) -> Result<Action> {
        Ok(Action::Done)
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_does_not_fit_together_fails_the_start_by_name() {
    let world = World::new().await;
    let mut manager = world.manager();
    manager.add(Controller::<u32>::keyed("numbers").reconciler(Misfit));
    let error = Running::start(manager).ended().await.expect_err("it has no objects");
    assert!(error.to_string().starts_with("controller numbers cannot run: it has a finalizer"), "{error}");

    let mut manager = world.manager();
    let other = Manager::new(world.client.clone());
    let foreign = other.informer::<Site>(Select::all());
    manager.add(Controller::new("c", &foreign).reconcile(|_| Box::pin(async { Ok(Action::Done) })));
    let error = Running::start(manager).ended().await.expect_err("its informer is another's");
    assert_eq!(error.to_string(), "controller c cannot run: one of its informers is another manager's");
}

#[tokio::test(start_paused = true)]
async fn controllers_are_added_and_removed_while_running() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let running = Running::start(manager);
    sites.synced().await;
    let ran = Arc::new(Mutex::new(Vec::<Key<Site>>::new()));
    let runs = ran.clone();
    let controller = Controller::new("late", &sites);
    let trigger = controller.trigger();
    running.handle.add(controller.reconcile(move |run| {
        runs.lock().expect("not poisoned").push(run.key().clone());
        Box::pin(async { Ok(Action::Done) })
    }));
    eventually("it runs for what is there", || async { ran.lock().expect("not poisoned").len() == 1 }).await;
    assert_eq!(running.handle.health().controllers.len(), 1);
    assert!(running.handle.remove("late"));
    eventually("it ended", || async { running.handle.health().controllers.is_empty() }).await;
    trigger.poke(site_key("a"));
    world.direct.create(&site("b", &[])).await.expect("it is new");
    quiet().await;
    assert_eq!(ran.lock().expect("not poisoned").len(), 1);
    assert!(!running.handle.remove("late"));
    running.stop().await.expect("the manager runs on, and stops");
}
