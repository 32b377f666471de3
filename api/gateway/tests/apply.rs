//! Apply over a real store: what it makes, changes, keeps, leaves and refuses.

use orion_apiserver::Caller;
use orion_gateway::apply::{Apply, ApplyError, ApplyOptions};
use orion_model::{Client, ClientError, Issue, List, Object, Registry, Resource, Selection};
use orion_store::{Store, journal::memory::Memory};
use orion_types::{
    Config, Job, Kinds, Node, Plugin, Service,
    applied::ApplyAnswer,
    config::Format,
    service::{Replicas, ServiceStatus},
};
use serde_json::json;

struct World {
    store: Store<Memory>,
    client: Client,
    apply: Apply,
}

const SHOP: &str = "
metadata: { name: shop }
spec:
  services:
    - { name: web, command: serve, replicas: 3, env: { A: one, B: two }, labels: { tier: front } }
    - { name: db, command: store }
  jobs:
    - { name: migrate, command: migrate }
";

impl World {
    async fn new() -> Self {
        let store = orion_store::memory(Registry::new().with_all::<Kinds>()).await.expect("opens");
        let client = store.client();
        Self { apply: Apply::new(client.clone()), store, client }
    }

    async fn with_shop() -> Self {
        let world = Self::new().await;
        world.applied(SHOP).await;
        world
    }

    async fn try_apply(&self, text: &str, options: ApplyOptions) -> Result<ApplyAnswer, ApplyError> {
        self.apply.apply(&Caller::Token, text, Format::Yaml, options).await
    }

    async fn applied(&self, text: &str) -> ApplyAnswer {
        self.try_apply(text, ApplyOptions::default()).await.expect("applies")
    }

    async fn refused(&self, text: &str, options: ApplyOptions) -> ClientError {
        match self.try_apply(text, options).await {
            Err(ApplyError::Client(error)) => error,
            other => panic!("not refused: {other:?}"),
        }
    }

    async fn service(&self, name: &str) -> Option<Service> {
        self.client.get(&Service::key_of("default", name)).await.expect("reads")
    }

    async fn job(&self, name: &str) -> Option<Job> {
        self.client.get(&Job::key_of("default", name)).await.expect("reads")
    }

    async fn config(&self, name: &str) -> Config {
        self.client.get(&Config::key_of("default", name)).await.expect("reads").expect("is there")
    }

    /// Every object with its version: what must not move when nothing changes.
    async fn everything(&self) -> Vec<String> {
        let kinds = [Config::KIND, Service::KIND, Job::KIND, Plugin::KIND, Node::KIND].map(Selection::all);
        let listed = self.client.list_raw(List::snapshot(kinds.to_vec())).await.expect("lists");
        listed.items.iter().map(|object| format!("{} {}", object.key(), object.version())).collect()
    }

    async fn close(self) {
        self.store.close().await;
    }
}

fn changes(answer: &ApplyAnswer) -> Vec<String> {
    answer
        .changes
        .iter()
        .map(|change| format!("{} {}: {} [{}]", change.name, change.action, change.effect, change.fields.join(", ")))
        .collect()
}

#[tokio::test]
async fn a_file_becomes_one_commit_of_its_config_and_all_that_belongs_to_it() {
    let world = World::new().await;
    let answer = world.applied(SHOP).await;
    assert_eq!(
        changes(&answer),
        ["web created: starts 3 []", "db created: starts 1 []", "migrate created: runs once []"]
    );
    let config = world.config("shop").await;
    assert_eq!(answer.resource_version, config.metadata.resource_version, "the answer names the commit");
    let (web, migrate) = (world.service("web").await.expect("made"), world.job("migrate").await.expect("made"));
    for labels in [&web.metadata.labels, &migrate.metadata.labels] {
        assert_eq!(labels.get("orion/config").map(String::as_str), Some("shop"));
    }
    assert_eq!(web.metadata.labels.get("tier").map(String::as_str), Some("front"));
    let versions = [web.version(), migrate.version(), config.version()].map(orion_model::ResourceVersion::get);
    assert!(
        versions.iter().max().expect("three") - versions.iter().min().expect("three") < 4,
        "one commit: {versions:?}"
    );
    assert_eq!(config.status.applies[0].who, "admin-token");
    world.close().await;
}

#[tokio::test]
async fn applying_twice_changes_nothing() {
    let world = World::with_shop().await;
    let before = world.everything().await;
    let answer = world.applied(SHOP).await;
    assert!(answer.changes.iter().all(|change| change.action == "unchanged"), "{answer:?}");
    assert_eq!(world.everything().await, before);
    assert_eq!(answer.resource_version, world.config("shop").await.version());
    world.close().await;
}

#[tokio::test]
async fn a_changed_job_runs_once_more_and_only_for_another_template() {
    let world = World::with_shop().await;
    let effect = |answer: &ApplyAnswer| {
        let job = answer.changes.iter().find(|change| change.kind == "Job").expect("is told");
        (job.action.clone(), job.effect.clone())
    };
    let said = |action: &str, effect: &str| (action.to_owned(), effect.to_owned());
    let job = |fields: &str| SHOP.replace("command: migrate", fields);
    let other = world.applied(&job("command: migrate --all")).await;
    assert_eq!(effect(&other), said("changed", "runs once"));
    let patient = world.applied(&job("command: migrate --all, backoffLimit: 9")).await;
    assert_eq!(effect(&patient), said("changed", "none"));
    let stop = world.applied(&job("command: migrate --all, backoffLimit: 9, stop: { timeout: 3s }")).await;
    assert_eq!(effect(&stop), said("changed", "in place"));

    let job = world.job("migrate").await.expect("is there");
    let hash = |job: &Job| orion_types::process::template_hash(&job.spec.process.template);
    let first = Job::new("migrate", serde_json::from_value(serde_json::json!({"command": "migrate"})).expect("a spec"));
    let mut status = job.status.clone();
    status.ran_hashes = vec![hash(&job), hash(&first)];
    world.client.update_status(&job, status).await.expect("is written");
    assert_eq!(effect(&world.applied(SHOP).await), said("changed", "none"), "a template that has run runs no more");
    world.close().await;
}

#[tokio::test]
async fn a_dry_run_answers_the_same_and_changes_nothing() {
    let world = World::with_shop().await;
    let before = world.everything().await;
    let edited = SHOP.replace("command: serve", "command: serve2");
    let dry =
        world.try_apply(&edited, ApplyOptions { dry_run: true, ..ApplyOptions::default() }).await.expect("judged");
    assert_eq!(world.everything().await, before);
    let wet = world.applied(&edited).await;
    assert_eq!(changes(&dry), changes(&wet));
    assert!(dry.dry_run && !wet.dry_run);
    world.close().await;
}

#[tokio::test]
async fn what_the_file_no_longer_says_is_reset_and_what_others_set_is_left() {
    let world = World::with_shop().await;
    let web = world.service("web").await.expect("there");
    let by_hand =
        json!({"metadata": {"labels": {"team": "red"}}, "spec": {"env": {"BY_HAND": "x"}, "singleton": false}});
    world.client.merge(&web.key(), by_hand).await.expect("merges");
    world.applied(&SHOP.replace(", B: two", "").replace(", labels: { tier: front }", "")).await;
    let web = world.service("web").await.expect("there");
    let env: Vec<_> = web.spec.process.template.env.keys().map(String::as_str).collect();
    assert_eq!(env, ["A", "BY_HAND"]);
    let labels: Vec<_> = web.metadata.labels.keys().map(String::as_str).collect();
    assert_eq!(labels, ["orion/config", "team"]);
    assert!(web.spec.labels.is_empty());
    world.close().await;
}

#[tokio::test]
async fn a_scaled_service_keeps_its_replicas_until_the_files_own_value_changes() {
    let world = World::with_shop().await;
    let key = Service::key_of("default", "web");
    world.client.merge(&key, json!({"spec": {"replicas": 5}})).await.expect("scales");
    let answer = world.applied(&SHOP.replace("command: serve", "command: serve2")).await;
    assert!(answer.changes[0].fields.contains(&"replicas: 5 kept (scaled; file: 3)".to_owned()), "{answer:?}");
    assert_eq!(world.service("web").await.expect("there").spec.replicas, Replicas::Count(5));
    world.applied(&SHOP.replace("replicas: 3", "replicas: 4")).await;
    assert_eq!(world.service("web").await.expect("there").spec.replicas, Replicas::Count(4));
    world.applied(&SHOP.replace("replicas: 3, ", "")).await;
    assert_eq!(
        world.service("web").await.expect("there").spec.replicas,
        Replicas::Count(4),
        "kept when no longer named"
    );
    world.close().await;
}

#[tokio::test]
async fn effects_say_what_restarts_and_what_changes_in_place() {
    let world = World::with_shop().await;
    let key = Service::key_of("default", "web");
    let web = world.service("web").await.expect("there");
    let status = orion_types::service::ServiceStatus { desired: 3, ..web.status.clone() };
    world.client.update_status(&web, status).await.expect("writes");
    assert!(world.client.get(&key).await.expect("reads").is_some());
    let restart = world.applied(&SHOP.replace("command: serve", "command: serve2")).await;
    assert_eq!(changes(&restart)[0], "web changed: restarts 3 one at a time [command]");
    let in_place =
        SHOP.replace("command: serve", "command: serve2").replace("replicas: 3", "replicas: 3, stop: { timeout: 3s }");
    assert_eq!(changes(&world.applied(&in_place).await)[0], "web changed: in place [stop]");
    world.close().await;
}

#[tokio::test]
async fn nothing_is_deleted_without_prune_and_only_the_configs_own_with_it() {
    let world = World::with_shop().await;
    world.applied("metadata: { name: other }\nspec: { services: [{ name: other, command: x }] }").await;
    let less = "metadata: { name: shop }\nspec: { services: [{ name: web, command: serve, replicas: 3 }] }";
    for _ in 0..2 {
        let answer = world.applied(less).await;
        assert_eq!(answer.orphaned, ["job/migrate", "service/db"]);
        assert!(world.service("db").await.is_some());
    }
    let prune = ApplyOptions { prune: true, ..ApplyOptions::default() };
    let answer = world.try_apply(less, prune).await.expect("prunes");
    assert_eq!(answer.orphaned, [""; 0]);
    assert!(world.service("db").await.is_none() && world.job("migrate").await.is_none());
    assert!(world.service("other").await.is_some(), "another config's is never touched");
    let refused = world.refused("spec: { services: [{ name: x, command: x }] }", prune).await;
    assert!(matches!(&refused, ClientError::BadRequest(why) if why.contains("default")), "{refused}");
    world.close().await;
}

#[tokio::test]
async fn what_belongs_to_another_config_or_to_none_is_refused_unless_forced() {
    let world = World::with_shop().await;
    let by_hand = Service::new("by-hand", serde_json::from_value(json!({"command": "x"})).expect("a spec"));
    world.client.create(&by_hand.clone()).await.expect("made");
    let force = ApplyOptions { force: true, ..ApplyOptions::default() };
    for (name, whose) in [("web", "belongs to the config \"shop\""), ("by-hand", "was not made by a config")] {
        let text = format!("metadata: {{ name: thief }}\nspec: {{ services: [{{ name: {name}, command: stolen }}] }}");
        let refused = world.refused(&text, ApplyOptions::default()).await;
        assert!(refused.to_string().contains(whose), "{refused}");
        world.try_apply(&text, force).await.expect("taken over");
        let taken = world.service(name).await.expect("there");
        assert_eq!(taken.metadata.labels["orion/config"], "thief");
    }
    world.close().await;
}

#[tokio::test]
async fn a_service_that_gains_a_schedule_becomes_a_job_in_the_same_commit_and_back() {
    let world = World::with_shop().await;
    let scheduled = SHOP.replace("{ name: db, command: store }", "{ name: db, command: store, schedule: '@daily' }");
    world.applied(&scheduled).await;
    assert!(world.service("db").await.is_none());
    assert!(world.job("db").await.expect("became a job").spec.schedule.is_some());
    world.applied(SHOP).await;
    assert!(world.job("db").await.is_none() && world.service("db").await.is_some());
    world.close().await;
}

#[tokio::test]
async fn an_expected_version_that_has_moved_is_a_conflict() {
    let world = World::with_shop().await;
    let seen = world.config("shop").await.version();
    let expecting = ApplyOptions { expect_version: Some(seen), ..ApplyOptions::default() };
    world.try_apply(&SHOP.replace("serve", "serve2"), expecting).await.expect("it has not moved");
    let moved = world.refused(SHOP, expecting).await;
    assert!(matches!(moved, ClientError::Conflict { expected: Some(expected), .. } if expected == seen), "{moved}");
    world.close().await;
}

#[tokio::test]
async fn nodes_keep_what_the_config_does_not_name_and_live_ones_are_never_pruned() {
    let world = World::new().await;
    let mut seen =
        Node::new("n1", serde_json::from_value(json!({"cordoned": true, "labels": {"by": "hand"}})).expect("a spec"));
    seen = world.client.create(&seen).await.expect("made");
    let status = serde_json::from_value(json!({"observed": {"nodeId": "n1"}})).expect("a status");
    world.client.update_status(&seen, status).await.expect("seen");
    let text = "metadata: { name: fleet }\nspec: { nodes: [{ name: n1, labels: { zone: eu } }, { name: n2 }] }";
    world.applied(text).await;
    let node = |name: &str| Node::key_of("", name);
    let n1: Node = world.client.get(&node("n1")).await.expect("reads").expect("there");
    assert!(n1.spec.cordoned);
    assert_eq!(n1.spec.labels.keys().map(String::as_str).collect::<Vec<_>>(), ["by", "zone"]);
    assert!(world.client.get(&node("n2")).await.expect("reads").is_some(), "declared before it was ever seen");
    let prune = ApplyOptions { prune: true, ..ApplyOptions::default() };
    world.try_apply("metadata: { name: fleet }\nspec: {}", prune).await.expect("prunes");
    let n1: Node = world.client.get(&node("n1")).await.expect("reads").expect("a live node stays");
    assert_eq!(n1.spec.labels.keys().map(String::as_str).collect::<Vec<_>>(), ["by"]);
    assert!(world.client.get(&node("n2")).await.expect("reads").is_none());
    world.close().await;
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_all_its_errors_are_told() {
    let world = World::with_shop().await;
    let before = world.everything().await;
    let wrong =
        "metadata: { name: shop }\nspec:\n  services:\n    - { name: Web, replicas: -1 }\n    - { command: x }\n";
    let Err(ApplyError::Invalid(issues)) = world.try_apply(wrong, ApplyOptions::default()).await else {
        panic!("accepted")
    };
    let paths: Vec<_> = issues.iter().map(|issue: &Issue| issue.path.as_str()).collect();
    for path in ["spec.services[0].name", "spec.services[0].replicas", "spec.services[1].name"] {
        assert!(paths.iter().any(|found| found.starts_with(path)), "{path} in {paths:?}");
    }
    assert!(issues.iter().all(|issue| issue.place.is_some()), "{issues:?}");
    assert_eq!(world.everything().await, before);
    world.close().await;
}

#[tokio::test]
async fn a_revision_that_was_refused_is_named_when_the_same_file_comes_again() {
    let world = World::with_shop().await;
    let web = world.service("web").await.expect("there");
    let status = serde_json::from_value(json!({
        "current": "web-b", "failed": "web-b", "stable": "web-a",
        "conditions": [{"type": "Progressing", "status": "False", "reason": "StartError", "message": "no such file",
            "lastTransitionTime": "2026-11-24T10:00:00Z"}]
    }));
    let status: ServiceStatus = status.expect("a status");
    let web = world.client.update_status(&web, status.clone()).await.expect("writes");
    let told = |answer: ApplyAnswer, says: &str| {
        let of_web = |warning: &&Issue| warning.path == "service/web" && warning.message.contains("no such file");
        let found = answer.warnings.iter().find(of_web).expect("is told");
        assert!(found.message.contains(says), "{}", found.message);
    };
    told(world.applied(SHOP).await, "not tried again until its definition changes");
    let first = ServiceStatus { stable: None, ..status };
    world.client.update_status(&web, first).await.expect("writes");
    told(world.applied(SHOP).await, "goes on being tried");
    world.close().await;
}

#[tokio::test]
async fn concurrent_applies_of_one_config_all_end_and_the_last_one_stands_whole() {
    let world = World::with_shop().await;
    let one = |n: usize| {
        let text = SHOP.replace("A: one", &format!("A: v{n}")).replace("command: store", &format!("command: store{n}"));
        let apply = world.apply.clone();
        async move { apply.apply(&Caller::Token, &text, Format::Yaml, ApplyOptions::default()).await }
    };
    for result in futures::future::join_all((0..8).map(one)).await {
        result.expect("each is applied in its turn");
    }
    let (web, db) = (world.service("web").await.expect("there"), world.service("db").await.expect("there"));
    let n = web.spec.process.template.env["A"].as_str().trim_start_matches('v').to_owned();
    let command = serde_json::to_value(&db.spec.process.template.command).expect("serialises");
    assert_eq!(command, json!(format!("store{n}")), "no mixture of two files");
    world.close().await;
}
