//! An agent and a server: what is launched runs, what ends is told, and no stranger, restart or repetition does harm.

use std::{fs, path::PathBuf};

use orion_agent::{
    Agent, AgentError, Options,
    environment::Inherit,
    process::{self, Handle, Stat},
};
use orion_model::Uid;
use orion_types::protocol::{Definition, FromAgent, LogCredit, LogRequest, ToAgent};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    server::{LOOK, Server},
    tests,
    world::{DEADLINE, eventually, is_alive, kill_dash_nine, program},
};

tests![
    what_is_launched_runs_is_reported_and_is_forgotten_after_its_stop,
    a_command_twice_acts_once_and_an_older_one_is_stale,
    a_killed_process_comes_back_as_a_new_attempt,
    an_agent_that_restarts_finds_its_processes_and_knows_how_one_ended_meanwhile,
    a_strangers_wishes_are_ignored_and_everything_runs_on,
    what_the_last_part_of_a_sync_does_not_name_is_stopped,
    after_a_restore_what_the_server_does_not_know_is_held,
    an_attempt_of_a_run_is_never_started_again,
    an_agent_that_ends_with_its_processes_leaves_nothing_and_starts_them_next_time,
    a_start_that_no_retry_can_mend_is_said_to_be_so,
    a_stop_that_overtakes_its_launch_keeps_it_from_starting,
    a_second_agent_on_the_same_directory_is_refused,
    a_superseded_agent_ends_with_an_error,
    a_log_is_sent_as_far_as_there_is_credit,
    what_could_not_be_written_is_not_acknowledged_and_is_done_when_it_is_said_again,
    settings_that_change_while_a_process_starts_reach_its_shim,
    settings_that_an_agent_had_no_time_to_pass_on_reach_the_shim_with_the_next,
    a_process_whose_record_does_not_read_is_left_alone_until_the_server_speaks_of_it,
    an_attempt_of_a_run_whose_record_does_not_read_is_not_made_again,
    what_still_runs_is_not_forgotten,
];

/// The files of one agent, and a reaper for what a failed test leaves.
struct Home {
    dir: tempfile::TempDir,
    name: String,
}

struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("orion-agent-").tempdir().expect("tempdir");
        let name = dir.path().file_name().and_then(|name| name.to_str()).expect("is text").to_owned();
        Self { dir, name }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self, server: &Server) -> Options {
        Options {
            servers: vec![server.url()],
            token: None,
            name: "node-1".into(),
            node_id: "node-1".into(),
            labels: Default::default(),
            data_dir: self.path("data"),
            workspace_root: self.dir.path().to_owned(),
            shim: program(),
            inherit: Inherit::Basic,
            stop_all: false,
            adopt: false,
            version: "test".into(),
        }
    }

    async fn agent(&self, server: &Server) -> Running {
        run(self.options(server)).await
    }

    /// A shell script as a definition; `$DIR` is the home's folder.
    fn script(&self, script: &str) -> Definition {
        serde_json::from_value(json!({
            "name": "web",
            "command": ["sh", "-c", script],
            "env": {"DIR": self.dir.path(), "TEST_HOME": self.name},
            "restart": {"initialDelay": "20ms", "maxDelay": "100ms"}
        }))
        .expect("a definition")
    }

    fn lines(&self, file: &str) -> Vec<String> {
        fs::read_to_string(self.path(file)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// One that does not end when asked: only its timeout ends it.
    fn stubborn(&self, timeout: &str) -> Definition {
        let mut definition = self.script("trap '' TERM; echo started >> $DIR/starts; while :; do sleep 0.02; done");
        definition.process.settings.stop.timeout = serde_json::from_value(json!(timeout)).expect("a duration");
        definition
    }

    fn record(&self, uid: &str) -> PathBuf {
        self.path("data/agent/replicas").join(format!("{uid}.json"))
    }

    fn alive(&self) -> Vec<Stat> {
        let run_dir = self.path("data/agent/run");
        let mut all = process::all().expect("reads /proc");
        all.retain(|stat| {
            let marked =
                process::environment_variable(stat.pid, "TEST_HOME").is_some_and(|home| home == self.name.as_bytes());
            let command = fs::read(format!("/proc/{}/cmdline", stat.pid)).unwrap_or_default();
            let shim = command.split(|byte| *byte == 0).any(|word| word == run_dir.as_os_str().as_encoded_bytes());
            !stat.is_dead() && (marked || shim)
        });
        all
    }

    async fn nothing_is_left(&self) {
        eventually("nothing is left", async || self.alive().is_empty()).await;
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let left = self.alive();
        for stat in &left {
            if let Ok(Some(handle)) = Handle::open(stat.pid) {
                handle.kill().expect("is ours");
            }
        }
        assert!(left.is_empty() || std::thread::panicking(), "left behind: {left:?}");
    }
}

async fn run(options: Options) -> Running {
    let agent = Agent::start(options).await.expect("starts");
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(agent.run(shutdown.clone(), CancellationToken::new()));
    Running { shutdown, task }
}

impl Running {
    /// Ends the agent; its processes do what its options say.
    async fn end(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.task).await.expect("ends in time");
        ended.expect("does not panic").expect("ends well");
    }
}

fn pid(report: &orion_types::protocol::StatusReport) -> i32 {
    i32::try_from(report.pid.expect("has a pid")).expect("fits")
}

const FOREVER: &str = "echo started >> $DIR/starts; exec sleep 1000";

async fn what_is_launched_runs_is_reported_and_is_forgotten_after_its_stop() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.launch("a", 1, home.script(FOREVER)).await;
    session
        .until("the ack", |frame| matches!(frame, FromAgent::Ack(ack) if ack.id == "launch-a-1").then_some(()))
        .await;
    let running = session.status("a", "running").await;
    assert!(is_alive(pid(&running)));
    assert_eq!((running.attempt, running.restarts, running.spec_version.get()), (1, 0, 1));
    let ready = session.status("a", "ready").await;
    assert!(ready.ready && ready.seq > running.seq);
    session.stop("a", 2).await;
    let stopped = session.status("a", "stopped").await;
    assert!(!is_alive(pid(&running)));
    assert_eq!(stopped.exit.expect("it ended").reason, "Stopped");
    session.forget("a").await;
    session.frames_over_heartbeats(1).await;
    drop(session);
    assert_eq!(server.session().await.hello.replicas, [], "a forgotten replica is not told of again");
    agent.end().await;
    home.nothing_is_left().await;
}

async fn a_command_twice_acts_once_and_an_older_one_is_stale() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    for _ in 0..3 {
        session.launch("a", 5, home.script(FOREVER)).await;
    }
    session.status("a", "ready").await;
    assert_eq!(home.lines("starts").len(), 1);
    session.stop("a", 4).await;
    let stale = session.until("the answer", |frame| match frame {
        FromAgent::Stale(stale) => Some(stale),
        _ => None,
    });
    assert_eq!(stale.await.spec_version.get(), 5);
    assert_eq!(home.alive().len(), 2, "shim and process run on");
    for _ in 0..3 {
        session.stop("a", 6).await;
    }
    session.status("a", "stopped").await;
    session.launch("a", 7, home.script(FOREVER)).await;
    session.frames_over_heartbeats(1).await;
    assert_eq!(home.lines("starts").len(), 1, "a stop is final");
    agent.end().await;
    home.nothing_is_left().await;
}

async fn a_killed_process_comes_back_as_a_new_attempt() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.launch("a", 1, home.script(FOREVER)).await;
    let first = session.status("a", "running").await;
    kill_dash_nine(pid(&first));
    let backoff = session.status("a", "backoff").await;
    assert_eq!(backoff.exit.expect("it ended").signal.as_deref(), Some("SIGKILL"));
    let second = session.status("a", "running").await;
    assert_eq!((second.attempt, second.restarts), (2, 1));
    assert_ne!(second.pid, first.pid);
    session.stop("a", 2).await;
    session.status("a", "stopped").await;
    agent.end().await;
    home.nothing_is_left().await;
}

async fn an_agent_that_restarts_finds_its_processes_and_knows_how_one_ended_meanwhile() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.launch("a", 1, home.script(FOREVER)).await;
    // One after the other: two that start together become ready in either order.
    let before = session.status("a", "ready").await;
    let mut once = home.script("while ! [ -e $DIR/go ]; do sleep 0.01; done; exit 7");
    once.once = true;
    session.launch("b", 2, once).await;
    session.status("b", "ready").await;
    agent.end().await;
    fs::write(home.path("go"), "").expect("writes");
    eventually("b has ended", async || home.alive().len() == 2).await;

    let agent = home.agent(&server).await;
    let mut session = server.hello().await;
    session.welcome("c1", 0).await;
    let told = |uid: &str| session.hello.replicas.iter().find(|report| report.uid.as_str() == uid).cloned();
    let (a, b) = (told("a"), told("b"));
    match a {
        Some(a) => assert_eq!((a.pid, a.attempt), (before.pid, 1), "the same process"),
        None => assert_eq!(pid(&session.status("a", "ready").await), pid(&before)),
    }
    let b = match b {
        Some(b) if b.state == "exited" => b,
        _ => session.status("b", "exited").await,
    };
    assert_eq!(b.exit.expect("it ended").code, Some(7));
    session.stop("a", 3).await;
    session.status("a", "stopped").await;
    agent.end().await;
    home.nothing_is_left().await;
}

async fn a_strangers_wishes_are_ignored_and_everything_runs_on() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.launch("a", 1, home.script(FOREVER)).await;
    let running = session.status("a", "ready").await;
    drop(session);
    let mut stranger = server.hello().await;
    stranger.welcome("another", 0).await;
    stranger.sync(&[]).await;
    stranger.stop("a", 9).await;
    stranger.launch("b", 9, home.script(FOREVER)).await;
    let frames = stranger.frames_over_heartbeats(2).await;
    assert_eq!(frames, [], "nothing is answered, accepted or stopped");
    assert!(is_alive(pid(&running)));
    drop(stranger);
    let mut session = server.session().await;
    session.stop("a", 2).await;
    session.status("a", "stopped").await;
    agent.end().await;
    home.nothing_is_left().await;
}

async fn what_the_last_part_of_a_sync_does_not_name_is_stopped() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    for uid in ["a", "b"] {
        session.launch(uid, 1, home.script(FOREVER)).await;
        session.status(uid, "ready").await;
    }
    drop(session);
    let mut session = server.session().await;
    session.sync(&[("a", 1), ("c", 4)]).await;
    let wanted = session.until("what is lacking", |frame| match frame {
        FromAgent::Want(want) => Some(want.uids),
        _ => None,
    });
    assert_eq!(wanted.await, [Uid::new("c")]);
    session.status("b", "stopped").await;
    assert_eq!(home.alive().len(), 2, "a runs on");
    session.stop("a", 2).await;
    session.status("a", "stopped").await;
    agent.end().await;
    home.nothing_is_left().await;
}

async fn after_a_restore_what_the_server_does_not_know_is_held() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.launch("a", 10, home.script(FOREVER)).await;
    let running = session.status("a", "ready").await;
    drop(session);
    for epoch in [5, 5] {
        let mut restored = server.hello().await;
        restored.welcome("c1", epoch).await;
        restored.sync(&[]).await;
        restored.frames_over_heartbeats(1).await;
        assert!(is_alive(pid(&running)), "held at the first sync after a restore and at later ones");
    }
    let mut session = server.hello().await;
    session.welcome("c1", 5).await;
    session.stop("a", 20).await;
    session.status("a", "stopped").await;
    agent.end().await;
    home.nothing_is_left().await;
}

async fn an_attempt_of_a_run_is_never_started_again() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    let mut once = home.script("echo ran >> $DIR/starts; exit 3");
    once.once = true;
    session.launch("r", 1, once.clone()).await;
    let exited = session.status("r", "exited").await;
    assert!(exited.started_at.is_some(), "a report of an end says when its process had started");
    assert_eq!(exited.exit.expect("it ended").code, Some(3));
    agent.end().await;
    drop(session);

    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    let told: Vec<_> =
        session.hello.replicas.iter().map(|report| (report.state.as_str(), report.uid.as_str())).collect();
    assert_eq!(told, [("exited", "r")], "its end is repeated until it is forgotten");
    session.sync(&[("r", 1)]).await;
    session.launch("r", 1, once.clone()).await;
    session.launch("r", 2, once).await;
    session.frames_over_heartbeats(1).await;
    assert_eq!(home.lines("starts"), ["ran"]);
    agent.end().await;
    home.nothing_is_left().await;
}

async fn an_agent_that_ends_with_its_processes_leaves_nothing_and_starts_them_next_time() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = run(Options { stop_all: true, ..home.options(&server) }).await;
    let mut session = server.session().await;
    session.launch("a", 1, home.script(FOREVER)).await;
    session.status("a", "ready").await;
    agent.shutdown.cancel();
    let ended = session.status("a", "starting").await;
    assert!(ended.message.is_some_and(|why| why.contains("agent")), "its end was nobody's wish: it is not `stopped`");
    session.launch("b", 2, home.script(FOREVER)).await;
    session.send(ToAgent::StatusAck(orion_types::protocol::StatusAck { seq: ended.seq })).await;
    tokio::time::timeout(DEADLINE, agent.task).await.expect("ends in time").expect("no panic").expect("ends well");
    home.nothing_is_left().await;
    drop(session);

    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.sync(&[("a", 1)]).await;
    session.status("a", "ready").await;
    assert_eq!(home.lines("starts").len(), 2, "the wish that it runs has outlived the agent, which started no other");
    session.stop("a", 2).await;
    session.status("a", "stopped").await;
    agent.end().await;
    home.nothing_is_left().await;
}

async fn a_start_that_no_retry_can_mend_is_said_to_be_so() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    let mut missing = home.script("");
    missing.process.template.command = serde_json::from_value(json!(["./not-there"])).expect("a command");
    session.launch("a", 1, missing).await;
    let report = session.status("a", "backoff").await;
    let exit = report.exit.expect("it says why");
    assert!(exit.permanent && exit.reason == "StartError", "{exit:?}");
    assert!(exit.message.contains("not-there"), "{}", exit.message);
    session.stop("a", 2).await;
    session.status("a", "stopped").await;
    agent.end().await;
    home.nothing_is_left().await;
}

async fn a_stop_that_overtakes_its_launch_keeps_it_from_starting() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.stop("a", 6).await;
    session.status("a", "stopped").await;
    session.launch("a", 5, home.script(FOREVER)).await;
    session.until("it is stale", |frame| matches!(frame, FromAgent::Stale(_)).then_some(())).await;
    assert_eq!(home.lines("starts").len(), 0);
    agent.end().await;
    home.nothing_is_left().await;
}

async fn a_second_agent_on_the_same_directory_is_refused() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let second = Agent::start(home.options(&server)).await;
    assert!(matches!(second.err(), Some(AgentError::InUse { .. })));
    agent.end().await;
}

async fn a_superseded_agent_ends_with_an_error() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    server.session().await.close(4409, "a newer start is connected").await;
    let ended = tokio::time::timeout(DEADLINE, agent.task).await.expect("ends by itself").expect("no panic");
    assert!(matches!(ended, Err(AgentError::Superseded(reason)) if reason.contains("newer start")));
}

async fn a_log_is_sent_as_far_as_there_is_credit() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    let mut once = home.script("for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; touch $DIR/done");
    once.once = true;
    session.launch("a", 1, once).await;
    session.status("a", "exited").await;
    while !home.path("done").exists() {
        tokio::time::sleep(LOOK).await;
    }
    let request =
        LogRequest { id: "l".into(), uid: Uid::new("a"), replica_id: "replica-a".into(), ..LogRequest::default() };
    session.send(ToAgent::Logs(request)).await;
    let frames = session.frames_over_heartbeats(2).await;
    assert!(!frames.iter().any(|frame| matches!(frame, FromAgent::LogChunk(_))), "nothing without credit");
    session.send(ToAgent::LogCredit(LogCredit { id: "l".into(), bytes: 1 << 16 })).await;
    let mut data = String::new();
    session
        .until("the end of the log", |frame| match frame {
            FromAgent::LogChunk(chunk) => {
                data.push_str(&chunk.data);
                None
            }
            FromAgent::LogEnd(end) => Some(end),
            _ => None,
        })
        .await;
    let texts: Vec<_> = data.lines().filter_map(|line| line.splitn(3, ' ').nth(2)).collect();
    assert_eq!(texts, (1..=9).map(|i| format!("line {i}")).collect::<Vec<_>>());
    agent.end().await;
    home.nothing_is_left().await;
}

async fn what_could_not_be_written_is_not_acknowledged_and_is_done_when_it_is_said_again() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    let (records, away) = (home.path("data/agent/replicas"), home.path("away"));
    let is_ack = |frame: &FromAgent| matches!(frame, FromAgent::Ack(_));

    fs::rename(&records, &away).expect("moved away");
    session.launch("a", 1, home.stubborn("10m")).await;
    assert!(!session.frames_over_heartbeats(2).await.iter().any(is_ack), "the launch is not on the disk");
    fs::rename(&away, &records).expect("moved back");
    session.sync(&[("a", 1)]).await;
    session.until("it is asked for", |frame| matches!(frame, FromAgent::Want(_)).then_some(())).await;
    session.launch("a", 1, home.stubborn("10m")).await;
    session.ack("launch-a-1").await;
    assert!(home.record("a").exists());
    let ready = session.status("a", "ready").await;

    fs::rename(&records, &away).expect("moved away");
    session.stop("a", 2).await;
    assert!(!session.frames_over_heartbeats(2).await.iter().any(is_ack), "the stop is not on the disk");
    fs::rename(&away, &records).expect("moved back");
    session.stop("a", 2).await;
    session.ack("stop-a-2").await;
    let record = fs::read_to_string(home.record("a")).expect("is there");
    assert!(record.contains(r#""stop":"Test""#), "{record}");
    kill_dash_nine(pid(&ready));
    session.status("a", "stopped").await;
    agent.end().await;
    home.nothing_is_left().await;
}

async fn settings_that_change_while_a_process_starts_reach_its_shim() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.launch("a", 1, home.stubborn("10m")).await;
    session.update("a", 2, home.stubborn("200ms")).await;
    session.ack("update-a-2").await;
    session.status("a", "ready").await;
    session.stop("a", 3).await;
    session.status("a", "stopped").await;
    agent.end().await;
    home.nothing_is_left().await;
}

async fn settings_that_an_agent_had_no_time_to_pass_on_reach_the_shim_with_the_next() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.launch("a", 1, home.stubborn("10m")).await;
    session.status("a", "ready").await;
    agent.end().await;
    drop(session);
    let mut record: serde_json::Value =
        serde_json::from_slice(&fs::read(home.record("a")).expect("is there")).expect("reads");
    record["definition"] = serde_json::to_value(home.stubborn("200ms")).expect("serialises");
    fs::write(home.record("a"), record.to_string()).expect("writes");

    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.stop("a", 2).await;
    session.status("a", "stopped").await;
    assert_eq!(home.lines("starts").len(), 1);
    agent.end().await;
    home.nothing_is_left().await;
}

async fn a_process_whose_record_does_not_read_is_left_alone_until_the_server_speaks_of_it() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.launch("a", 1, home.script(FOREVER)).await;
    let before = session.status("a", "ready").await;
    agent.end().await;
    drop(session);
    fs::write(home.record("a"), "{\"uid\":").expect("writes");

    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.sync(&[]).await;
    session.frames_over_heartbeats(1).await;
    assert!(is_alive(pid(&before)), "nobody has asked for its end");
    session.sync(&[("a", 1)]).await;
    session.until("it is asked for", |frame| matches!(frame, FromAgent::Want(_)).then_some(())).await;
    session.launch("a", 1, home.script(FOREVER)).await;
    let ready = session.status("a", "ready").await;
    assert_eq!((ready.pid, ready.attempt), (before.pid, 1), "it is taken up, and none started beside it");
    session.stop("a", 2).await;
    session.status("a", "stopped").await;
    assert_eq!(home.lines("starts").len(), 1);
    assert!(!is_alive(pid(&before)));
    agent.end().await;
    home.nothing_is_left().await;
}

async fn an_attempt_of_a_run_whose_record_does_not_read_is_not_made_again() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    let mut once = home.script("echo ran >> $DIR/starts; exit 3");
    once.once = true;
    session.launch("r", 1, once.clone()).await;
    session.status("r", "exited").await;
    agent.end().await;
    drop(session);
    fs::write(home.record("r"), "").expect("writes");

    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.launch("r", 1, once).await;
    let exited = session.status("r", "exited").await;
    assert_eq!(exited.exit.expect("it ended").reason, "ShimLost", "what is not known is not made up");
    assert_eq!(home.lines("starts"), ["ran"]);
    agent.end().await;
    home.nothing_is_left().await;
}

async fn what_still_runs_is_not_forgotten() {
    let (home, server) = (Home::new(), Server::start().await);
    let agent = home.agent(&server).await;
    let mut session = server.session().await;
    session.launch("a", 1, home.script(FOREVER)).await;
    let ready = session.status("a", "ready").await;
    session.forget("a").await;
    session.frames_over_heartbeats(1).await;
    session.stop("a", 2).await;
    session.status("a", "stopped").await;
    assert!(!is_alive(pid(&ready)), "it was still the agent's to stop");
    agent.end().await;
    home.nothing_is_left().await;
}
