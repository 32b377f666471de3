//! The first thing a user sees: `orion up -f examples/hello/orion.yaml`.

use std::{fs, path::Path, time::Duration};

use rustix::process::Signal;

use crate::harness::{Api, Request, SOON, Server, World, copy_folder, eventually, free_port};

/// A copy of the example whose greeter has a port of its own, and that port.
fn example(world: &World) -> u16 {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello");
    copy_folder(&example, &world.path("hello"));
    let port = free_port();
    edit(world, "7070", &port.to_string());
    port
}

fn edit(world: &World, old: &str, new: &str) {
    let file = world.path("hello/orion.yaml");
    let text = fs::read_to_string(&file).expect("the example is there");
    assert!(text.contains(old), "{text}");
    fs::write(file, text.replace(old, new)).expect("can be written");
}

fn up(world: &World) -> Server {
    world.up(&["-f", "hello/orion.yaml", "--port", "0", "--data-dir", "data"])
}

fn greeting(port: u16) -> Result<String, String> {
    let answer = Request::new("GET", "/").try_send(([127, 0, 0, 1], port).into())?;
    Ok(answer.text())
}

#[track_caller]
fn eventually_greets(port: u16, word: &str) -> String {
    eventually(&format!("the greeter says {word}"), SOON, || {
        let said = greeting(port)?;
        if said.starts_with(&format!("{word} from greeter-0-")) { Ok(said) } else { Err(said) }
    })
}

#[track_caller]
fn eventually_all_run(api: Api) {
    eventually("everything runs", SOON, || {
        api.is_running("greeter")?;
        api.is_running("visitor")?;
        let runs = api.list("runs");
        let done = runs.len() == 1 && runs[0]["status"]["phase"] == "Succeeded";
        if done { Ok(()) } else { Err(format!("{runs:#?}")) }
    });
}

#[test]
fn the_hello_example_runs_changes_and_ends_without_a_trace() {
    let world = World::new();
    let port = example(&world);
    let mut up = up(&world);
    let said = eventually_greets(port, "Hello");
    eventually_all_run(up.api());
    let greeter = world.counts("greeter", 1).expect("one greeter");
    let visitors = world.counts("visitor", 2).expect("two visitors");
    assert!(said.contains(&format!("pid {}", greeter[0])), "{said}");
    up.daemon.says("what a replica logs, with its name", |line| {
        (line.contains("greeter-0-") && line.contains("greeting on port")).then_some(())
    });

    edit(&world, "GREETING: Hello", "GREETING: Servus");
    let applied = world.orion(&up, &["apply", "-f", "hello/orion.yaml", "--wait"]).ok();
    assert!(applied.contains("service/greeter changed") && applied.contains("restarts 1"), "{applied}");
    assert!(applied.contains("service/visitor unchanged"), "{applied}");
    eventually_greets(port, "Servus");
    assert_ne!(world.counts("greeter", 1).expect("one greeter"), greeter);
    assert_eq!(world.pids_of("visitor"), visitors, "what did not change is left alone");
    assert_eq!(up.api().list("runs").len(), 1, "the job is not run again");

    up.daemon.signal(Signal::INT);
    let status = up.daemon.ends();
    assert!(status.success(), "Ctrl-C is how it ends: {status:?}");
    world.nothing_is_left();

    let again = self::up(&world);
    eventually_greets(port, "Servus");
    eventually_all_run(again.api());
    world.end([again.daemon]);
}

#[test]
fn after_kill_9_the_next_up_takes_over_what_runs() {
    let world = World::new();
    let port = example(&world);
    let mut first = up(&world);
    eventually_greets(port, "Hello");
    eventually_all_run(first.api());
    let before = (world.pids_of("greeter"), world.pids_of("visitor"));
    first.daemon.kill();
    assert_eq!((world.pids_of("greeter"), world.pids_of("visitor")), before, "processes outlive it");

    let second = up(&world);
    eventually_all_run(second.api());
    let nodes = || second.api().get("/api/nodes").json()["items"].clone();
    eventually("its agent is heard", SOON, || {
        let nodes = nodes();
        if nodes[0]["status"] == "ready" { Ok(()) } else { Err(nodes.to_string()) }
    });
    crate::harness::holds_for("nothing is started anew", Duration::from_secs(2), || {
        let now = (world.pids_of("greeter"), world.pids_of("visitor"));
        if now == before { Ok(()) } else { Err(format!("{now:?} instead of {before:?}")) }
    });
    world.end([second.daemon]);
}

#[test]
fn up_in_the_background_is_found_by_the_commands_of_its_folder_and_ended_by_down() {
    let world = World::new();
    let port = example(&world);
    let here = world.path("hello");
    let orion = |arguments: &[&str]| world.run(world.command().current_dir(&here).args(arguments));
    orion(&["up", "-d", "--port", "0"]).ok();
    eventually_greets(port, "Hello");
    let services = orion(&["get", "services", "-o", "name"]).ok();
    assert_eq!(services.lines().collect::<Vec<_>>(), ["service/greeter", "service/visitor"]);
    let again = orion(&["up", "--port", "0"]).fails_with(1);
    assert!(again.contains(".orion"), "says what is in use: {again}");
    orion(&["down"]).ok();
    world.end([]);
}
