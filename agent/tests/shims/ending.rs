//! Every way a process and what is below it come to their end.

use std::{
    fs,
    time::{Duration, Instant},
};

use orion_agent::{
    logs::LogStream,
    process::Stat,
    shims::{KillMode, LogSettings, ShimError, State},
    signal::Signal,
};

use crate::{
    tests,
    world::{World, ended, eventually, exited, is_alive, kill_dash_nine, policy, running, stop},
};

tests![
    an_exit_code_and_a_signal_are_told_apart,
    a_process_that_ignores_the_stop_is_killed_after_its_timeout,
    the_whole_group_is_asked_to_stop,
    the_main_process_alone_is_asked_to_stop_where_that_is_wanted,
    what_leaves_its_session_and_its_parent_is_ended_before_the_exit_is_told,
    what_a_process_leaves_behind_when_it_exits_is_ended_the_same_way,
    a_paused_process_hears_the_stop,
    a_kill_asks_nobody,
    a_new_timeout_holds_for_the_running_process,
    a_signal_reaches_the_main_process_and_is_no_stop,
    a_shim_that_is_told_to_terminate_ends_its_process_in_order,
    the_end_of_the_output_is_not_the_end_of_the_process,
    output_held_open_by_a_stranger_delays_the_end_by_a_second_at_most,
    children_are_reaped_while_the_process_runs,
];

async fn an_exit_code_and_a_signal_are_told_apart() {
    let world = World::new();
    let shims = world.shims();
    let coded = shims.launch(world.script("a", "exit 7")).await.expect("starts");
    let signalled = shims.launch(world.script("b", "kill -SEGV $$")).await.expect("starts");
    let (coded, signalled) = (exited(&coded).await, exited(&signalled).await);
    assert_eq!((coded.code, coded.signal, coded.stopped), (Some(7), None, false));
    assert_eq!((signalled.code, signalled.signal.map(Signal::number)), (None, Some(11)));
    assert_eq!(signalled.to_string(), "killed by SIGSEGV (11)");
}

async fn a_process_that_ignores_the_stop_is_killed_after_its_timeout() {
    let world = World::new();
    let shims = world.shims();
    let mut launch = world.script("a", "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    launch.definition.stop = policy(Duration::from_millis(400), KillMode::Group);
    let shim = shims.launch(launch).await.expect("starts");
    world.line("a", "ready").await;
    let asked = Instant::now();
    let exit = stop(&shim).await;
    assert!(asked.elapsed() >= Duration::from_millis(400), "it had its time: {:?}", asked.elapsed());
    assert_eq!((exit.signal, exit.stopped), (Some(Signal::KILL), true));
}

/// A main process that outlives its TERM until `go` is there, and a child in its group that tells of its own TERM.
const MAIN_AND_CHILD: &str = r#"
    sh -c 'trap "echo child asked; exit 0" TERM; echo child ready; while :; do sleep 0.02; done' &
    trap 'echo main asked' TERM
    while ! [ -e "$DIR/go" ]; do sleep 0.02; done
"#;

async fn the_whole_group_is_asked_to_stop() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims.launch(world.script("a", MAIN_AND_CHILD)).await.expect("starts");
    world.line("a", "child ready").await;
    shim.stop().await.expect("takes it");
    world.line("a", "child asked").await;
    world.line("a", "main asked").await;
    assert!(matches!(shim.state(), State::Stopping { .. }));
    world.touch("go");
    assert_eq!(exited(&shim).await.code, Some(0));
}

async fn the_main_process_alone_is_asked_to_stop_where_that_is_wanted() {
    let world = World::new();
    let shims = world.shims();
    let mut launch = world.script("a", MAIN_AND_CHILD);
    launch.definition.stop = policy(Duration::from_secs(50), KillMode::Process);
    let shim = shims.launch(launch).await.expect("starts");
    world.line("a", "child ready").await;
    shim.stop().await.expect("takes it");
    world.line("a", "main asked").await;
    // Asked twice: a signal to the child would have come with the first.
    shim.signal(Signal::TERM).await.expect("takes it");
    eventually("asked twice", async || {
        world.output("a").await.iter().filter(|line| *line == "main asked").count() == 2
    })
    .await;
    assert!(!world.output("a").await.contains(&"child asked".to_owned()));
    world.touch("go");
    assert_eq!(exited(&shim).await.code, Some(0));
    assert!(world.output("a").await.contains(&"child asked".to_owned()), "what is left is asked in either mode");
}

/// A daemon in a session of its own, without a parent, deaf to TERM.
const DAEMON: &str = r#"
    setsid sh -c 'trap "" TERM; (sh -c "trap \"\" TERM; echo \$\$ > $DIR/daemon; exec sleep 1000" &) ; exit' &
    while ! [ -s "$DIR/daemon" ]; do sleep 0.02; done
"#;

async fn what_leaves_its_session_and_its_parent_is_ended_before_the_exit_is_told() {
    let world = World::new();
    let shims = world.shims();
    let mut launch = world.script("a", &format!("{DAEMON} echo ready; exec sleep 1000"));
    launch.definition.stop = policy(Duration::from_millis(300), KillMode::Group);
    let shim = shims.launch(launch).await.expect("starts");
    world.line("a", "ready").await;
    let daemon: i32 = fs::read_to_string(world.path("daemon")).expect("reads").trim().parse().expect("a pid");
    let stat = Stat::read(daemon).expect("lives");
    let main = running(&shim).process.pid;
    assert!(stat.session != main && stat.group != main, "it has left: {stat:?}");
    let exit = stop(&shim).await;
    assert_eq!(exit.signal, Some(Signal::TERM), "the exit is the main process's own");
    assert!(!is_alive(daemon), "told before it was true");
    world.nothing_is_left().await;
}

async fn what_a_process_leaves_behind_when_it_exits_is_ended_the_same_way() {
    let world = World::new();
    let shims = world.shims();
    let mut launch = world.script("a", &format!("{DAEMON} exit 3"));
    launch.definition.stop = policy(Duration::from_millis(300), KillMode::Group);
    let shim = shims.launch(launch).await.expect("starts");
    let exit = exited(&shim).await;
    assert_eq!((exit.code, exit.stopped), (Some(3), false));
    let daemon: i32 = fs::read_to_string(world.path("daemon")).expect("reads").trim().parse().expect("a pid");
    assert!(!is_alive(daemon), "told before it was true");
    let remarks: Vec<String> =
        world.log("a").await.into_iter().filter(|line| line.stream == LogStream::Orion).map(|line| line.text).collect();
    assert!(remarks.len() == 1 && remarks[0].contains("background"), "{remarks:?}");
}

async fn a_paused_process_hears_the_stop() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims.launch(world.launch("a", 1, &["sleep", "1000"])).await.expect("starts");
    let pid = running(&shim).process.pid;
    shim.signal("SIGSTOP".parse().expect("a signal")).await.expect("takes it");
    eventually("paused", async || Stat::read(pid).is_ok_and(|stat| stat.state == 'T')).await;
    assert_eq!(stop(&shim).await.signal, Some(Signal::TERM));
}

async fn a_kill_asks_nobody() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims
        .launch(world.script("a", "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done"))
        .await
        .expect("starts");
    world.line("a", "ready").await;
    shim.kill().await.expect("takes it");
    let exit = exited(&shim).await;
    assert_eq!((exit.signal, exit.stopped), (Some(Signal::KILL), true));
    assert_eq!(world.output("a").await, ["ready"]);
}

async fn a_new_timeout_holds_for_the_running_process() {
    let world = World::new();
    let shims = world.shims();
    let mut launch = world.script("a", "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    launch.definition.stop = policy(Duration::from_secs(3600), KillMode::Group);
    let logs = launch.definition.logs.clone();
    let shim = shims.launch(launch).await.expect("starts");
    world.line("a", "ready").await;
    let before = running(&shim);
    shim.update_settings(policy(Duration::from_millis(100), KillMode::Group), LogSettings { max_files: 1, ..logs })
        .await
        .expect("takes it");
    assert_eq!(running(&shim), before, "changed in place");
    assert_eq!(stop(&shim).await.signal, Some(Signal::KILL));
    let late = shim.stop().await;
    assert!(matches!(late, Err(ShimError::Ended(_))), "{late:?}");
}

async fn a_signal_reaches_the_main_process_and_is_no_stop() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims
        .launch(world.script("a", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.02; done"))
        .await
        .expect("starts");
    world.line("a", "ready").await;
    shim.signal("HUP".parse().expect("a signal")).await.expect("takes it");
    world.line("a", "hup").await;
    running(&shim);
    stop(&shim).await;
}

async fn a_shim_that_is_told_to_terminate_ends_its_process_in_order() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims
        .launch(world.script("a", "trap 'echo asked; exit 4' TERM; echo ready; while :; do sleep 0.02; done"))
        .await
        .expect("starts");
    world.line("a", "ready").await;
    let pid = shim.identity().pid.to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("runs").success());
    assert_eq!(exited(&shim).await.code, Some(4));
    assert!(world.output("a").await.contains(&"asked".to_owned()));
}

async fn the_end_of_the_output_is_not_the_end_of_the_process() {
    let world = World::new();
    let shims = world.shims();
    let script = r#"echo last; exec >/dev/null 2>&1; touch "$DIR/closed"; while ! [ -e "$DIR/go" ]; do sleep 0.02; done; exit 5"#;
    let shim = shims.launch(world.script("a", script)).await.expect("starts");
    eventually("closed", async || world.path("closed").exists()).await;
    shim.signal(Signal::CONT).await.expect("the shim still answers");
    running(&shim);
    world.touch("go");
    assert_eq!(exited(&shim).await.code, Some(5));
    assert_eq!(world.output("a").await, ["last"]);
}

async fn output_held_open_by_a_stranger_delays_the_end_by_a_second_at_most() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims
        .launch(world.script("a", r#"echo begun; while ! [ -e "$DIR/go" ]; do sleep 0.02; done"#))
        .await
        .expect("starts");
    let pid = running(&shim).process.pid;
    // This test's own process is no descendant of the shim's.
    let held = fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/fd/1")).expect("opens");
    world.touch("go");
    let exit = exited(&shim).await;
    let waited = jiff::Timestamp::now().duration_since(exit.at);
    assert_eq!(exit.code, Some(0));
    assert!(waited.as_secs() < 10, "the end was held up: {waited:?}");
    drop(held);
}

async fn children_are_reaped_while_the_process_runs() {
    let world = World::new();
    let shims = world.shims();
    // The orphans come to the shim, the subreaper, and become zombies there unless it reaps them.
    let shim = shims
        .launch(world.script("a", "for i in 1 2 3 4 5; do (sh -c 'exit 0' &); done; echo ready; exec sleep 1000"))
        .await
        .expect("starts");
    world.line("a", "ready").await;
    let own = shim.identity().pid;
    eventually("no zombie is left", async || {
        let children = orion_agent::process::descendants(own).expect("reads");
        children.iter().filter(|stat| stat.parent == own).map(|stat| stat.pid).collect::<Vec<_>>()
            == [running(&shim).process.pid]
    })
    .await;
    kill_dash_nine(own);
    ended(&shim).await;
}
