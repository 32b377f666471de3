//! `kill -9` of the server while files stream in: all of a file or nothing of it, and nothing acknowledged is lost.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Api, SOON, Server, World, eventually};

/// Services in each file.
const SERVICES: usize = 50;

/// The latest moment of a round at which the server is killed.
const KILLED_WITHIN_MILLIS: u64 = 400;

/// The numbers of the files that were sent and acknowledged, each as large as they got.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    sent: u64,
    acknowledged: u64,
}

fn rounds() -> u64 {
    std::env::var("ORION_WHOLE_ROUNDS").ok().map_or(10, |rounds| rounds.parse().expect("a number"))
}

fn file(number: u64) -> String {
    let services = (0..SERVICES).map(|i| {
        // A few are wanted, so that controllers write meanwhile.
        let replicas = usize::from(i < 3);
        format!(
            "    - {{ name: s{i}, type: exec, command: sleep 1, replicas: {replicas}, env: {{ FILE: {number} }} }}\n"
        )
    });
    format!("metadata: {{ name: stream }}\nspec:\n  services:\n{}", services.collect::<String>())
}

/// Sends one file after another until told to stop.
fn send(api: Api, stream: &Mutex<Stream>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let number = {
            let mut stream = stream.lock().expect("nobody panics with it");
            stream.sent += 1;
            stream.sent
        };
        match api.try_apply("", &file(number)) {
            Ok(answer) => {
                assert_eq!(answer.status, 202, "{}", answer.text());
                stream.lock().expect("nobody panics with it").acknowledged = number;
            }
            // The server has been killed; whether this file was applied, the next look tells.
            Err(_) => return,
        }
    }
}

/// The number of the file that all services are of.
fn present(api: Api) -> u64 {
    let listed = api.get("/api/services").json();
    let services = listed["items"].as_array().expect("a list");
    let files: BTreeSet<_> = services.iter().map(|service| service["env"]["FILE"].as_str().unwrap_or("none")).collect();
    let [file] = files.iter().collect::<Vec<_>>()[..] else { panic!("services of several files: {files:?}") };
    assert_eq!(services.len(), SERVICES);
    file.parse().expect("a number")
}

#[test]
fn kill_9_of_the_server_loses_no_acknowledged_apply_and_tears_none() {
    let world = World::new();
    let mut server = world.server();
    let address = server.address;
    let api = server.api();
    let stream = Mutex::new(Stream { sent: 1, acknowledged: 1 });
    api.applied(&file(1));
    let mut torn_from_the_wire = 0;
    for round in 0..rounds() {
        let stop = AtomicBool::new(false);
        // Any moment will do, but the same ones each time.
        let moment = Duration::from_millis(round.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KILLED_WITHIN_MILLIS);
        thread::scope(|scope| {
            scope.spawn(|| send(api, &stream, &stop));
            let start = Instant::now();
            eventually("the moment comes", SOON, || {
                if start.elapsed() >= moment { Ok(()) } else { Err("not yet".to_owned()) }
            });
            server.daemon.kill();
            stop.store(true, Ordering::Relaxed);
        });
        let told = *stream.lock().expect("nobody panics with it");
        torn_from_the_wire += u64::from(told.sent > told.acknowledged);
        server = world.server_at(address, "server");
        let there = present(api);
        let possible = told.acknowledged..=told.sent;
        assert!(possible.contains(&there), "round {round}: file {there} is there, of {told:?}");
        let config = api.object("configs", "stream");
        let said: BTreeSet<_> = config["spec"]["services"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|service| service["env"]["FILE"].to_string().trim_matches('"').to_owned())
            .collect();
        assert_eq!(said, BTreeSet::from([there.to_string()]), "the Config is of the same file");
        stream.lock().expect("nobody panics with it").acknowledged = there;
    }
    assert!(torn_from_the_wire > 0, "no kill met an apply under way: {stream:?}");
    let Server { daemon, .. } = server;
    world.end([daemon]);
}
