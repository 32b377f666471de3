//! What lives through the death of an agent, and what is left by the death of a shim.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use orion_agent::{
    process::Stat,
    shims::{End, Recovered, Shim, ShimId, Shims},
};

use crate::{
    tests,
    world::{self, World, ended, eventually, exited, is_alive, kill_dash_nine, running, stop},
};

tests![
    a_process_and_its_logs_go_on_without_an_agent_and_its_exit_is_known_later,
    an_agent_killed_by_the_kernel_finds_its_processes_again,
    an_agent_killed_at_any_moment_of_a_launch_leaves_nothing_unowned,
    a_killed_shim_takes_its_process_with_it_and_leftovers_are_ended,
    a_shim_killed_without_an_agent_is_found_lost_and_its_leftovers_are_ended,
    an_exit_before_the_death_of_the_shim_is_not_forgotten,
    a_frozen_shim_is_attached_once_it_answers,
    forgetting_twice_or_a_live_attempt_does_nothing,
];

/// The live ones of what was recovered.
pub(crate) fn live(recovered: Vec<Recovered>) -> Vec<Shim> {
    let is_live = |one| match one {
        Recovered::Live(shim) => Some(shim),
        Recovered::Ended { .. } => None,
    };
    recovered.into_iter().filter_map(is_live).collect()
}

async fn only_live(shims: &Shims) -> Shim {
    let mut recovered = live(shims.recover().await.expect("recovers"));
    assert_eq!(recovered.len(), 1);
    recovered.remove(0)
}

async fn only_end(shims: &Shims) -> (ShimId, End) {
    match &shims.recover().await.expect("recovers")[..] {
        [Recovered::Ended { id, end }] => (id.clone(), end.clone()),
        other => panic!("not one end: {other:?}"),
    }
}

async fn a_process_and_its_logs_go_on_without_an_agent_and_its_exit_is_known_later() {
    let world = World::new();
    let shims = world.shims();
    let script =
        r#"while ! [ -e "$DIR/go" ]; do [ -e "$DIR/more" ] && echo more && rm "$DIR/more"; sleep 0.02; done; exit 5"#;
    let shim = shims.launch(world.script("a", script)).await.expect("starts");
    let before = running(&shim);
    shims.shutdown().await;
    assert_eq!(shim.ended().await, None, "the agent's end is not the process's");

    world.touch("more");
    world.line("a", "more").await;
    let shims = world.shims();
    let shim = only_live(&shims).await;
    assert_eq!(running(&shim), before, "the same process");
    shims.shutdown().await;

    let shim_pid = shim.identity().pid;
    world.touch("go");
    eventually("ends unseen", async || !is_alive(shim_pid)).await;
    let shims = world.shims();
    let (id, end) = only_end(&shims).await;
    let End::Exited(exit) = end else { panic!("{end:?}") };
    assert_eq!((id.clone(), exit.code), (ShimId { uid: "a".into(), attempt: 1 }, Some(5)));
    assert_eq!(only_end(&shims).await.1, End::Exited(exit), "kept until it is forgotten");
    shims.forget(&id).await.expect("forgets");
    assert!(shims.recover().await.expect("recovers").is_empty());
    assert!(fs::read_dir(world.run_dir()).expect("reads").next().is_none());
}

/// An agent in a process of its own: launches, says the pid of the process, and waits to be killed.
pub(crate) fn agent() -> ExitCode {
    let [run_dir, dir, nonce] = [2, 3, 4].map(|index| env::args().nth(index).expect("three arguments"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("builds");
    runtime.block_on(async {
        let shims = Shims::new(run_dir, world::program()).expect("opens");
        let shim =
            shims.launch(world::launch(&PathBuf::from(dir), nonce, "a", 1, &["sleep", "1000"])).await.expect("starts");
        println!("{}", running(&shim).process.pid);
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

fn spawn_agent(world: &World, nonce: &str) -> Child {
    Command::new("/proc/self/exe")
        .arg("agent")
        .arg(world.run_dir())
        .arg(world.path(""))
        .arg(nonce)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts")
}

async fn an_agent_killed_by_the_kernel_finds_its_processes_again() {
    let world = World::new();
    let mut agent = spawn_agent(&world, &format!("{}-x", world.name()));
    let mut said = String::new();
    BufReader::new(agent.stdout.take().expect("piped")).read_line(&mut said).expect("reads");
    let pid: i32 = said.trim().parse().expect("a pid");
    agent.kill().expect("kills");
    agent.wait().expect("reaps");
    let shims = world.shims();
    let shim = only_live(&shims).await;
    assert_eq!(running(&shim).process.pid, pid);
    assert!(is_alive(pid));
    assert!(stop(&shim).await.stopped);
    world.nothing_is_left().await;
}

async fn an_agent_killed_at_any_moment_of_a_launch_leaves_nothing_unowned() {
    let (mut never, mut lives) = (0, 0);
    for round in 0..40 {
        let world = World::new();
        let mut agent = spawn_agent(&world, &format!("{}-x", world.name()));
        tokio::time::sleep(Duration::from_micros(round * 500)).await;
        agent.kill().expect("kills");
        agent.wait().expect("reaps");
        let shims = world.shims();
        let recovered = shims.recover().await.expect("recovers");
        let is_lost = |one: &Recovered| matches!(one, Recovered::Ended { end: End::Lost(_) | End::Exited(_), .. });
        assert!(!recovered.iter().any(is_lost), "round {round}: nothing had been started: {recovered:?}");
        let owned: Vec<i32> = live(recovered.clone()).iter().map(|shim| shim.identity().pid).collect();
        for stat in world.alive() {
            let is_owned = owned.contains(&stat.pid) || owned.contains(&stat.parent);
            assert!(is_owned, "round {round}: nobody owns {stat:?}; recovered {recovered:?}");
        }
        lives += owned.len();
        never += usize::from(owned.is_empty());
        for shim in live(recovered) {
            // One whose agent died before the definition came ends by itself.
            match shim.stop().await {
                Ok(()) | Err(orion_agent::shims::ShimError::Ended(_) | orion_agent::shims::ShimError::NoAnswer(_)) => {
                    drop(ended(&shim).await)
                }
                Err(error) => panic!("{error}"),
            }
        }
        world.nothing_is_left().await;
    }
    assert!(never > 0, "no round was early enough to bite");
    assert!(lives > 0, "no round was late enough to bite");
}

/// A process in a session of its own, below the main process.
const WITH_LEFTOVER: &str = r#"setsid sh -c 'echo $$ > $DIR/left; trap "" TERM; while :; do sleep 0.05; done' & while ! [ -s "$DIR/left" ]; do sleep 0.02; done; echo ready; exec sleep 1000"#;

fn leftover(world: &World) -> i32 {
    fs::read_to_string(world.path("left")).expect("reads").trim().parse().expect("a pid")
}

async fn a_killed_shim_takes_its_process_with_it_and_leftovers_are_ended() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims.launch(world.script("a", WITH_LEFTOVER)).await.expect("starts");
    world.line("a", "ready").await;
    let (main, left) = (running(&shim).process.pid, leftover(&world));
    kill_dash_nine(shim.identity().pid);
    let End::Lost(lost) = ended(&shim).await else { panic!("a killed shim told of an exit") };
    assert!(!is_alive(main) && !is_alive(left), "told before it was true");
    assert_eq!((lost.stuck, lost.leftovers_uncertain), (Vec::new(), false), "its orphans came to this process");
    for pid in [main, left, shim.identity().pid] {
        assert!(Stat::read(pid).is_err(), "{pid} is left as a zombie of this process");
    }
    let again = shims.launch(world.launch("a", 2, &["true"])).await.expect("the record is free");
    assert_eq!(exited(&again).await.code, Some(0));
}

async fn a_shim_killed_without_an_agent_is_found_lost_and_its_leftovers_are_ended() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims.launch(world.script("a", WITH_LEFTOVER)).await.expect("starts");
    world.line("a", "ready").await;
    let (main, left) = (running(&shim).process.pid, leftover(&world));
    shims.shutdown().await;
    kill_dash_nine(shim.identity().pid);
    eventually("the main process dies with its shim", async || !is_alive(main)).await;
    assert!(is_alive(left), "nothing ends it but the recovery");
    let (id, end) = only_end(&world.shims()).await;
    let End::Lost(lost) = end else { panic!("{end:?}") };
    assert!(!is_alive(left), "told before it was true");
    assert!(lost.leftovers_uncertain, "what cleared its environment could not have been found");
    let shims = world.shims();
    shims.forget(&id).await.expect("forgets");
    assert!(shims.recover().await.expect("recovers").is_empty());
}

async fn an_exit_before_the_death_of_the_shim_is_not_forgotten() {
    let world = World::new();
    let shims = world.shims();
    let script = WITH_LEFTOVER.replace("exec sleep 1000", "exit 6");
    let mut launch = world.script("a", &script);
    launch.definition.stop = world::policy(Duration::from_secs(3600), orion_agent::shims::KillMode::Group);
    let shim = shims.launch(launch).await.expect("starts");
    eventually("the rest is being ended", async || matches!(shim.state(), orion_agent::shims::State::Stopping { .. }))
        .await;
    let main_exit_is_noted =
        || fs::read_to_string(world.run_dir().join("a.record")).is_ok_and(|record| record.contains("mainEnded"));
    eventually("the exit is noted", async || main_exit_is_noted()).await;
    kill_dash_nine(shim.identity().pid);
    let End::Lost(lost) = ended(&shim).await else { panic!("the rest had not ended") };
    assert_eq!(lost.exit.expect("was noted").code, Some(6));
    world.nothing_is_left().await;
}

async fn a_frozen_shim_is_attached_once_it_answers() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims.launch(world.launch("a", 1, &["sleep", "1000"])).await.expect("starts");
    let main = running(&shim);
    shims.shutdown().await;
    let pid = shim.identity().pid.to_string();
    assert!(Command::new("kill").args(["-STOP", &pid]).status().expect("runs").success());
    let shims = world.shims();
    let shim = only_live(&shims).await;
    assert_eq!(shim.state(), orion_agent::shims::State::Attaching, "it lives and has not answered");
    assert!(is_alive(main.process.pid), "silence is no reason to end anything");
    assert!(Command::new("kill").args(["-CONT", &pid]).status().expect("runs").success());
    eventually("attached", async || matches!(shim.state(), orion_agent::shims::State::Running { .. })).await;
    assert_eq!(running(&shim), main);
    stop(&shim).await;
}

async fn forgetting_twice_or_a_live_attempt_does_nothing() {
    let world = World::new();
    let shims = world.shims();
    let first = shims.launch(world.launch("a", 1, &["true"])).await.expect("starts");
    exited(&first).await;
    let second = shims.launch(world.launch("a", 2, &["sleep", "1000"])).await.expect("starts");
    let ends: Vec<Recovered> = world.shims().recover().await.expect("recovers");
    assert_eq!(ends.len(), 2, "the first end is kept beside the live second attempt: {ends:?}");
    for _ in 0..2 {
        shims.forget(first.id()).await.expect("forgets");
        shims.forget(second.id()).await.expect("does nothing to a live one");
    }
    assert_eq!(live(world.shims().recover().await.expect("recovers")).len(), 1);
    stop(&second).await;
}
