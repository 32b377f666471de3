//! Plugins' gates, and the deletion of Configs.

use orion_controllers::HookError;
use orion_model::{Key, Whole};
use orion_types::{
    Config, HookRun, Job, Node, Plugin, Replica, Service,
    applied::{CONFIG_FINALIZER, CONFIG_LABEL, ConfigSpec},
    plugin::{HookPhase, PluginSpec},
    replica::Phase,
    service::ServiceSpec,
};
use serde_json::{Value, json};

use crate::world::{World, eventually, pass};

async fn plugin(world: &World, name: &str) {
    let spec: PluginSpec =
        serde_json::from_value(json!({"webhook": {"url": "http://127.0.0.1:9/hook", "retries": 2}})).expect("a spec");
    world.client.create(&Plugin::new(name, spec).in_namespace("default")).await.expect("a new plugin");
}

fn hooked() -> Value {
    json!({"hooks": {"beforeStart": ["gate:check"]}})
}

#[tokio::test(start_paused = true)]
async fn a_hook_opens_the_gate_and_adds_environment() {
    let world = World::new(1).await;
    plugin(&world, "gate").await;
    world.hooks.will_answer(200, json!({"env": {"TOKEN": "x"}}));
    world.serve("web", "good", hooked()).await;
    world.settled("web", 1).await;
    let replica = world.unfinished().await.remove(0);
    assert!(replica.spec.gates.is_empty());
    assert_eq!(replica.spec.env, [("TOKEN".to_owned(), "x".to_owned())].into());
    let runs: Vec<HookRun> = world.client.list().await.expect("the store answers");
    assert_eq!((runs.len(), runs[0].status.phase, runs[0].status.attempts), (1, HookPhase::Succeeded, 1));
    assert_eq!(world.hooks.keys(), [runs[0].metadata.name.clone()]);
    pass(600).await;
    assert_eq!(world.hooks.keys().len(), 1, "once a placement");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_repeated_with_the_same_key() {
    let world = World::new(1).await;
    plugin(&world, "gate").await;
    world.hooks.answers.lock().expect("not poisoned").push_back(Err(HookError("connection refused".into())));
    world.hooks.will_answer(503, json!({}));
    world.serve("web", "good", hooked()).await;
    world.settled("web", 1).await;
    let keys = world.hooks.keys();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let plugin = world.get::<Plugin>("default", "gate").await.expect("it is there");
    assert!(plugin.status.last_failure.expect("said").contains("503"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_keeps_the_replica_from_running_and_fails_the_rollout() {
    let world = World::new(1).await;
    plugin(&world, "gate").await;
    world.serve("web", "good", hooked()).await;
    world.settled("web", 1).await;
    for _ in 0..3 {
        world.hooks.will_answer(200, json!({"allowed": false, "reason": "frozen"}));
    }
    world.deploy("web", "good-2").await;
    eventually("it fails", || async { world.service("web").await.status.failed.is_some() }).await;
    world.settled("web", 1).await;
    assert_eq!(world.fleet().started.len(), 1, "nothing of it ever ran");
    let refused: Vec<Replica> =
        world.replicas().await.into_iter().filter(|replica| replica.status.phase == Phase::Failed).collect();
    assert!(!refused.is_empty() && refused.iter().all(|one| one.metadata.finalizers.is_empty()));
    let said = world.service("web").await.status.conditions.get("Degraded").expect("said").message.clone();
    assert!(said.contains("hook gate:check: frozen"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_hook_whose_plugin_is_not_there_waits_until_it_is() {
    let world = World::new(1).await;
    world.serve("web", "good", hooked()).await;
    pass(60).await;
    assert_eq!(world.replicas().await[0].status.phase, Phase::Gated);
    let said = world.service("web").await.status.conditions.get("Degraded").expect("said").message.clone();
    assert!(said.contains("waits for hook gate:check"), "{said}");
    plugin(&world, "gate").await;
    world.settled("web", 1).await;
}

fn belonging<K: Whole>(object: K) -> K {
    object.in_namespace("default").with_label(CONFIG_LABEL, "shop")
}

#[tokio::test(start_paused = true)]
async fn a_deleted_config_takes_all_it_holds_with_it_dependents_first() {
    let world = World::new(1).await;
    let nodes = json!([{"name": "node-1", "labels": {"zone": "eu"}}]);
    let spec = ConfigSpec { nodes: serde_json::from_value(nodes).expect("nodes"), ..ConfigSpec::default() };
    let config = belonging(Config::new("shop", spec)).with_finalizer(CONFIG_FINALIZER);
    world.client.create(&config).await.expect("a new config");
    let service = |spec: Value| serde_json::from_value::<ServiceSpec>(spec).expect("a spec");
    for (name, spec) in
        [("db", json!({"command": "good"})), ("web", json!({"command": "good", "dependencies": ["db"]}))]
    {
        world.client.create(&belonging(Service::new(name, service(spec)))).await.expect("a new service");
    }
    world.client.create(&belonging(Plugin::new("gate", PluginSpec::default()))).await.expect("a new plugin");
    world
        .edit::<Node>("", "node-1", |node| {
            node.spec.labels = [("zone".to_owned(), "eu".to_owned()), ("rack".to_owned(), "1".to_owned())].into();
            node.metadata.labels.insert(CONFIG_LABEL.into(), "shop".into());
        })
        .await;
    world.serve("other", "good", json!({})).await;
    world.settled("web", 1).await;
    world.settled("other", 1).await;

    world.client.delete_any::<Config>(&Key::new("default", "shop")).await.expect("asked for");
    eventually("the dependent is gone", || async {
        let has = |name: &'static str| world.get::<Service>("default", name);
        let (web, db) = (has("web").await.is_some(), has("db").await.is_some());
        assert!(db || world.ready_processes("web") == 0, "db goes after web has ended");
        !web && !db
    })
    .await;
    eventually("the config is gone", || async { world.get::<Config>("default", "shop").await.is_none() }).await;
    eventually("its processes have ended", || async { world.processes() == 1 }).await;
    assert!(world.get::<Plugin>("default", "gate").await.is_none());
    assert!(world.get::<Job>("default", "migrate").await.is_none());
    assert!(world.get::<Service>("default", "other").await.is_some());
    let node = world.get::<Node>("", "node-1").await.expect("a live node stays");
    assert_eq!(node.spec.labels, [("rack".to_owned(), "1".to_owned())].into());
    assert!(!node.metadata.labels.contains_key(CONFIG_LABEL));
}
