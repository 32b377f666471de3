//! From a definition to a running process, or to an error in words.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use orion_agent::shims::{LaunchError, ShimProgram, Shims, StartFailureKind};

use crate::{
    tests,
    world::{World, exited, is_alive, running, stop},
};

tests![
    a_process_gets_its_environment_directory_arguments_and_nothing_else,
    a_process_starts_with_no_signal_blocked_or_ignored_in_a_session_of_its_own,
    a_start_that_no_retry_can_mend_says_so_in_words,
    a_second_launch_of_a_live_replica_is_refused_by_the_held_lock,
    the_next_attempt_starts_as_soon_as_the_end_of_the_last_is_told,
    fifty_start_at_once_and_each_exit_is_its_own,
    a_program_that_is_no_shim_is_an_error_and_leaves_nothing,
    a_run_directory_of_any_length_will_do,
    a_process_runs_as_the_user_it_is_given,
    a_dropped_launch_leaves_a_shim_that_is_found,
];

async fn a_process_gets_its_environment_directory_arguments_and_nothing_else() {
    let world = World::new();
    let shims = world.shims();
    // `ls` itself has a fourth descriptor open: the folder it lists.
    let script = r#"pwd; echo "$0 $1"; env | sort; cat; echo "input ended"; ls /proc/self/fd | tr '\n' ' '"#;
    let mut launch = world.launch("a", 1, &["sh", "-c", script, "zero", "one"]);
    launch.definition.env.push(("A".into(), "two words".into()));
    let nonce = launch.nonce.clone();
    let shim = shims.launch(launch).await.expect("starts");
    assert_eq!(exited(&shim).await.code, Some(0));
    let output = world.output("a").await;
    let dir = world.path("");
    let dir = dir.to_str().expect("text").trim_end_matches('/');
    assert_eq!(output[..2], [dir.to_owned(), "zero one".to_owned()]);
    let names: BTreeSet<&str> = output.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(names, BTreeSet::from(["A", "DIR", "ORION_SHIM", "PATH", "PWD"]), "PWD is the shell's own");
    assert!(
        output.contains(&"A=two words".to_owned()) && output.contains(&format!("ORION_SHIM={nonce}")),
        "{output:?}"
    );
    assert_eq!(output[output.len() - 2..], ["input ended", "0 1 2 3 "]);
}

async fn a_process_starts_with_no_signal_blocked_or_ignored_in_a_session_of_its_own() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims
        .launch(world.launch("a", 1, &["grep", "-E", "^Sig(Blk|Ign)|^NS(sid|pgid|pid)", "/proc/self/status"]))
        .await
        .expect("starts");
    let pid = running(&shim).process.pid;
    assert_eq!(exited(&shim).await.code, Some(0));
    let output = world.output("a").await;
    let none = "0000000000000000";
    for line in
        [format!("SigBlk:\t{none}"), format!("SigIgn:\t{none}"), format!("NSsid:\t{pid}"), format!("NSpgid:\t{pid}")]
    {
        assert!(output.contains(&line), "{line} is not in {output:?}");
    }
}

async fn a_start_that_no_retry_can_mend_says_so_in_words() {
    let world = World::new();
    let shims = world.shims();
    let file = |name: &str, text: &str, mode: u32| {
        fs::write(world.path(name), text).expect("writes");
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode)).expect("chmod");
        world.path(name).to_str().expect("text").to_owned()
    };
    let missing = world.path("missing").to_str().expect("text").to_owned();
    let plain = file("plain", "#!/bin/sh\n", 0o644);
    let headless = file("headless", "no first line\n", 0o755);
    let orphan = file("orphan", "#!/no/such/interpreter\n", 0o755);
    let here = world.path("").to_str().expect("text").to_owned();
    let cases = [
        (vec![missing.as_str()], &*here, None, StartFailureKind::NoSuchFile, "no such file"),
        (vec!["no-such-program"], &*here, None, StartFailureKind::NoSuchFile, "PATH"),
        (vec![orphan.as_str()], &*here, None, StartFailureKind::NoSuchFile, "interpreter"),
        (vec![plain.as_str()], &*here, None, StartFailureKind::NotExecutable, "plain"),
        (vec![headless.as_str()], &*here, None, StartFailureKind::NotExecutable, "#!"),
        (vec![here.as_str()], &*here, None, StartFailureKind::NotExecutable, "cannot execute"),
        (vec!["true"], missing.as_str(), None, StartFailureKind::NoSuchDirectory, "working directory"),
        (vec!["true"], plain.as_str(), None, StartFailureKind::NoSuchDirectory, "working directory"),
        (vec!["true"], &*here, Some("no-such-user"), StartFailureKind::NoSuchUser, "no-such-user"),
        (vec![], &*here, None, StartFailureKind::BadDefinition, "empty"),
        (vec!["a\0b"], &*here, None, StartFailureKind::BadDefinition, "NUL"),
    ];
    for (argv, cwd, user, kind, words) in cases {
        let mut launch = world.launch("a", 1, &argv);
        launch.definition.cwd = cwd.into();
        launch.definition.user = user.map(str::to_owned);
        match shims.launch(launch).await {
            Err(LaunchError::Start(failure)) => {
                assert_eq!(failure.kind, kind, "{argv:?}: {failure}");
                assert!(failure.message.contains(words), "{argv:?}: {failure}");
                assert!(!LaunchError::Start(failure).is_retryable());
            }
            other => panic!("{argv:?}: {other:?}"),
        }
    }
    world.nothing_is_left().await;
    assert!(fs::read_dir(world.run_dir()).expect("reads").next().is_none(), "a start that failed leaves no file");
}

async fn a_second_launch_of_a_live_replica_is_refused_by_the_held_lock() {
    let world = World::new();
    let shims = world.shims();
    let shim = shims.launch(world.launch("a", 1, &["sleep", "1000"])).await.expect("starts");
    for other in [&shims, &world.shims()] {
        let refused = other.launch(world.launch("a", 2, &["sleep", "1000"])).await;
        assert!(matches!(refused, Err(LaunchError::Held { .. })), "{refused:?}");
    }
    assert!(is_alive(running(&shim).process.pid));
    stop(&shim).await;
}

async fn the_next_attempt_starts_as_soon_as_the_end_of_the_last_is_told() {
    let world = World::new();
    let shims = world.shims();
    for attempt in 1..=20 {
        let shim = shims.launch(world.launch("a", attempt, &["true"])).await.expect("the record is free");
        assert_eq!(exited(&shim).await.code, Some(0));
    }
    for attempt in 1..=20 {
        shims.forget(&orion_agent::shims::ShimId { uid: "a".into(), attempt }).await.expect("forgets");
    }
    assert!(fs::read_dir(world.run_dir()).expect("reads").next().is_none());
}

async fn fifty_start_at_once_and_each_exit_is_its_own() {
    let world = World::new();
    let shims = world.shims();
    let launches = (0..50).map(|number| {
        let (shims, launch) = (shims.clone(), world.script(&format!("r{number}"), &format!("exit {number}")));
        async move {
            let shim = shims.launch(launch).await.expect("starts");
            (number, exited(&shim).await.code)
        }
    });
    for (number, code) in futures::future::join_all(launches).await {
        assert_eq!(code, Some(number));
    }
    world.nothing_is_left().await;
}

async fn a_program_that_is_no_shim_is_an_error_and_leaves_nothing() {
    let world = World::new();
    for (path, is_spawned) in [("/bin/true", true), ("/no/such/shim", false)] {
        let shims = Shims::new(world.run_dir(), ShimProgram { path: path.into(), args: Vec::new() }).expect("opens");
        let refused = shims.launch(world.launch("a", 1, &["true"])).await;
        match refused {
            Err(LaunchError::Broken { .. }) if is_spawned => {}
            Err(LaunchError::Spawn { .. }) if !is_spawned => {}
            other => panic!("{path}: {other:?}"),
        }
        assert!(fs::read_dir(world.run_dir()).expect("reads").next().is_none(), "{path}");
    }
}

async fn a_run_directory_of_any_length_will_do() {
    let world = World::new();
    let long = world.run_dir().join("x".repeat(120)).join("y".repeat(120));
    let shims = Shims::new(&long, crate::world::program()).expect("opens");
    let shim = shims.launch(world.launch("a", 1, &["sleep", "1000"])).await.expect("starts");
    shims.shutdown().await;
    let shims = Shims::new(&long, crate::world::program()).expect("opens");
    let recovered = shims.recover().await.expect("recovers");
    assert!(matches!(&recovered[..], [orion_agent::shims::Recovered::Live(_)]), "{recovered:?}");
    assert_eq!(crate::recovering::live(recovered)[0].id(), shim.id());
    for shim in crate::recovering::live(shims.recover().await.expect("recovers")) {
        stop(&shim).await;
    }
}

async fn a_process_runs_as_the_user_it_is_given() {
    if !is_root() {
        // Only root can become somebody else; the failure for others is in the table of kinds.
        return;
    }
    let world = World::new();
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).expect("chmod");
    let shims = world.shims();
    let mut launch = world.script("a", "id -un; id -gn; id -Gn; echo ready; exec sleep 1000");
    launch.definition.user = Some("nobody".into());
    let shim = shims.launch(launch).await.expect("starts");
    world.line("a", "ready").await;
    let pid = running(&shim).process.pid;
    // The parent-death signal is cleared by the change of user, so it has to be set after it. Without an agent that
    // would end what is left, only that signal can.
    shims.shutdown().await;
    crate::world::kill_dash_nine(shim.identity().pid);
    crate::world::eventually("dies with its shim", async || !is_alive(pid)).await;
    let output = world.output("a").await;
    assert_eq!(output[0], "nobody");
    assert!(!output.iter().any(|line| line.split(' ').any(|name| name == "root")), "{output:?}");
}

async fn a_dropped_launch_leaves_a_shim_that_is_found() {
    let world = World::new();
    let shims = world.shims();
    let launch = shims.launch(world.launch("a", 1, &["sleep", "1000"]));
    drop(futures::FutureExt::now_or_never(launch));
    let recovering = world.shims();
    let mut found = Vec::new();
    crate::world::eventually("the dropped launch is found", async || {
        !crate::recovering::live(recovering.recover().await.expect("recovers")).is_empty()
    })
    .await;
    found.extend(crate::recovering::live(recovering.recover().await.expect("recovers")));
    assert_eq!(found.len(), 1);
    stop(&found[0]).await;
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
