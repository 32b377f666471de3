use std::sync::{Arc, Mutex};

use orion_model::{Key, Object, Whole};
use orion_runtime::{Action, Batch, CommitError, Controller, End, Lister, Reconciler, Result, Run, Select};

use crate::world::{Probe, Running, Site, World, eventually, probe, quiet, site, site_key};

/// One probe a region, and what went wrong.
struct Probes {
    probes: Lister<Probe>,
    wrong: Arc<Mutex<Vec<String>>>,
}

impl Reconciler for Probes {
    type Key = Key<Site>;

    async fn reconcile(&self, _: &Key<Site>, run: &Run<Key<Site>>) -> Result<Action> {
        let Some(site) = run.object() else { return Ok(Action::Done) };
        let wanted = site.spec.regions.iter().map(|region| {
            let mut wanted = probe(&format!("{}-{region}", site.name()), region).with_label("site", site.name());
            wanted.spec.target.clone_from(&site.spec.url);
            wanted
        });
        let mut batch = Batch::new();
        batch.exactly(run.read(&self.probes).owned_by(&site), wanted);
        match run.commit(batch).await {
            Ok(_) => Ok(Action::Done),
            Err(error @ CommitError::NameHeld { .. }) => {
                self.wrong.lock().expect("not poisoned").push(error.to_string());
                Ok(Action::Done)
            }
            Err(error) => Err(error.into()),
        }
    }
}

async fn start(world: &World) -> (Running, Arc<Mutex<Vec<String>>>) {
    let mut manager = world.manager();
    let sites = manager.informer::<Site>(Select::all());
    let probes = manager.informer::<Probe>(Select::all());
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let reconciler = Probes { probes: probes.lister(), wrong: wrong.clone() };
    manager.add(Controller::new("probes", &sites).owns(&probes).reconciler(reconciler));
    let running = Running::start(manager);
    probes.synced().await;
    quiet().await;
    (running, wrong)
}

async fn probes(world: &World) -> Vec<Probe> {
    world.direct.list().await.expect("the store answers")
}

fn names(probes: &[Probe]) -> Vec<&str> {
    probes.iter().map(|probe| probe.name()).collect()
}

#[tokio::test(start_paused = true)]
async fn k11_the_children_become_exactly_what_is_wanted_and_what_is_right_makes_no_version() {
    let world = World::new().await;
    let (_running, _) = start(&world).await;
    let a = world.direct.create(&site("a", &["eu", "us"])).await.expect("it is new");
    eventually("both are made", || async { probes(&world).await.len() == 2 }).await;
    let before = probes(&world).await;
    assert!(before.iter().all(|probe| probe.metadata.is_owned_by(a.uid()) && probe.spec.target == "https://a"));
    quiet().await;
    let version = world.version().await;
    quiet().await;
    assert_eq!(world.version().await, version, "nothing is written any more");

    let regions = ["as", "us"].map(String::from).into();
    world.direct.edit(&a, |site| site.spec.regions = regions).await.expect("edits");
    eventually("they follow", || async { names(&probes(&world).await) == ["a-as", "a-us"] }).await;
    let after = probes(&world).await;
    assert_eq!(after[1].version(), before[1].version(), "the one that stays is not written");
}

#[tokio::test(start_paused = true)]
async fn k11_content_and_labels_are_put_right_and_what_others_added_stays() {
    let world = World::new().await;
    let (_running, _) = start(&world).await;
    world.direct.create(&site("a", &["eu"])).await.expect("it is new");
    eventually("it is made", || async { probes(&world).await.len() == 1 }).await;
    let made = probes(&world).await.remove(0);
    let meddle = |probe: &mut Probe| {
        probe.spec.target = "https://elsewhere".into();
        probe.metadata.labels.insert("stray".into(), "1".into());
        probe.metadata.annotations.insert("note".into(), "kept".into());
        probe.metadata.finalizers.push("theirs".into());
    };
    world.direct.edit(&made, meddle).await.expect("edits");
    eventually("it is put right", || async { probes(&world).await[0].spec.target == "https://a" }).await;
    let metadata = probes(&world).await.remove(0).metadata;
    assert_eq!(metadata.labels.keys().collect::<Vec<_>>(), ["site"]);
    assert_eq!(
        (metadata.annotations["note"].as_str(), metadata.finalizers.as_slice()),
        ("kept", &["theirs".to_owned()][..])
    );
}

#[tokio::test(start_paused = true)]
async fn k11_a_name_that_another_holds_is_an_error_that_says_whose_and_nothing_is_written() {
    let world = World::new().await;
    let other = world.direct.create(&site("other", &[])).await.expect("it is new");
    world.direct.create(&probe("a-eu", "xx").owned_by(&other)).await.expect("it is new");
    world.direct.create(&probe("b-eu", "xx")).await.expect("it is new");
    let (_running, wrong) = start(&world).await;
    // The other site wants no probe, so its own goes; it comes again, held.
    eventually("its owner takes it away", || async { probes(&world).await.len() == 1 }).await;
    let held = probe("a-eu", "xx").owned_by(&other).with_finalizer("held");
    world.direct.create(&held).await.expect("it is new");
    quiet().await;
    world.direct.create(&site("a", &["eu", "us"])).await.expect("it is new");
    world.direct.create(&site("b", &["eu"])).await.expect("it is new");
    eventually("both fail", || async { wrong.lock().expect("not poisoned").len() >= 2 }).await;
    quiet().await;
    let mut said = wrong.lock().expect("not poisoned").clone();
    said.sort();
    said.dedup();
    let expected = [
        "probes.test.orion default/a-eu is wanted by Site a, but belongs to Site other",
        "probes.test.orion default/b-eu is wanted by Site b, but belongs to nobody",
    ];
    assert_eq!(said, expected);
    assert_eq!(names(&probes(&world).await), ["a-eu", "b-eu"], "not even a-us");
    assert!(probes(&world).await.iter().all(|probe| probe.spec.region == "xx"), "what is not theirs is untouched");
}

#[tokio::test(start_paused = true)]
async fn k11_a_wanted_child_that_is_being_deleted_is_left_to_go_and_made_anew() {
    let world = World::new().await;
    let (running, _) = start(&world).await;
    world.direct.create(&site("a", &["eu"])).await.expect("it is new");
    eventually("it is made", || async { probes(&world).await.len() == 1 }).await;
    let made = probes(&world).await.remove(0);
    let held = world.direct.edit(&made, |probe| probe.metadata.finalizers.push("theirs".into())).await.expect("edits");
    world.direct.delete(&held).await.expect("deletes");
    let site = world.get(&site_key("a")).await.expect("there");
    world.direct.edit(&site, |site| site.spec.url = "https://b".into()).await.expect("edits");
    quiet().await;
    let dying = probes(&world).await.remove(0);
    assert_eq!((dying.uid(), dying.spec.target.as_str()), (made.uid(), "https://a"));
    let last = running.handle.why_of(&site_key("a"))[0].last.clone().expect("it ran");
    assert_eq!(last.end, End::Done, "nothing is wrong with that");
    let off = serde_json::json!({"metadata": {"finalizers": null}});
    world.direct.merge(&dying.key(), off).await.expect("its finalizer comes off");
    eventually("it is made anew", || async { probes(&world).await.first().is_some_and(|p| p.uid() != made.uid()) })
        .await;
    assert_eq!(probes(&world).await[0].spec.target, "https://b");
}
