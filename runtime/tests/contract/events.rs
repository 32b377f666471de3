use std::{sync::atomic::Ordering, time::Duration};

use orion_model::Event;
use orion_runtime::{Action, Controller, Select};

use crate::world::{Running, Site, World, eventually, quiet, site, site_key};

async fn events(world: &World) -> Vec<Event> {
    world.direct.list().await.expect("the store answers")
}

#[tokio::test(start_paused = true)]
async fn the_same_event_of_the_same_object_is_one_object_with_a_series() {
    let world = World::new().await;
    let created = world.direct.create(&site("a", &[])).await.expect("it is new");
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let controller = Controller::new("websites", &sites);
    let trigger = controller.trigger();
    manager.add(controller.reconcile(|run| {
        run.event("Probed", format_args!("{} probes", 2));
        if run.object().is_some_and(|site| site.spec.number == 1) {
            run.warning("Slow", "the region is slow");
        }
        Box::pin(async { Ok(Action::Done) })
    }));
    let running = Running::start(manager);
    for _ in 0..5 {
        quiet().await;
        trigger.poke(site_key("a"));
    }
    world.direct.edit(&created, |site| site.spec.number = 1).await.expect("edits");
    eventually("both are there", || async { events(&world).await.len() == 2 }).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    running.stop().await.expect("it stops");

    let all = events(&world).await;
    let probed = all.iter().find(|event| event.reason == "Probed").expect("said");
    assert_eq!(probed.series.as_ref().expect("repeated").count, 7);
    assert_eq!((probed.note.as_str(), probed.kind.as_str()), ("2 probes", "Normal"));
    assert_eq!(probed.reporting_controller, "websites");
    assert_eq!((probed.regarding.kind.as_str(), probed.regarding.name.as_str()), ("Site", "a"));
    assert_eq!(probed.regarding.uid, created.metadata.uid);
    let slow = all.iter().find(|event| event.reason == "Slow").expect("said");
    assert_eq!((slow.kind.as_str(), &slow.series), ("Warning", &None));

    // A restart goes on counting where it was.
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    manager.add(Controller::new("websites", &sites).reconcile(|run| {
        run.event("Probed", "2 probes");
        Box::pin(async { Ok(Action::Done) })
    }));
    let running = Running::start(manager);
    quiet().await;
    running.stop().await.expect("it stops");
    let all = events(&world).await;
    let probed = all.iter().find(|event| event.reason == "Probed").expect("said");
    assert_eq!((all.len(), probed.series.as_ref().expect("repeated").count), (2, 8));
}

#[tokio::test(start_paused = true)]
async fn saying_something_never_blocks_and_what_is_too_much_is_dropped_and_counted() {
    let world = World::new().await;
    world.direct.create(&site("a", &[])).await.expect("it is new");
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    manager.add(Controller::new("c", &sites).reconcile(|run| {
        for number in 0..5000 {
            run.event("Chatter", number % 10);
        }
        Box::pin(async { Ok(Action::Done) })
    }));
    let running = Running::start(manager);
    sites.synced().await;
    quiet().await;
    let dropped = running.handle.health().dropped_events;
    assert!((3000..5000).contains(&dropped), "{dropped}");
    assert!(world.faults.commits.load(Ordering::SeqCst) <= 20, "ten sayings, few writes");
    running.stop().await.expect("it stops");
    let counted: u32 = events(&world).await.iter().map(|event| event.series.as_ref().map_or(1, |s| s.count)).sum();
    assert_eq!(u64::from(counted) + dropped, 5000);
}
