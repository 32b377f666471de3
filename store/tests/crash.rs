//! Kills and disk failures: a child process writes to a state file and says what was acknowledged; the parent ends it,
//! opens the file, and holds the store to every word.
//!
//! The child is this test binary, started again with the state file in its environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures::future::join_all;
use orion_model::{
    Client, ClientError, Commit, CommitId, Object, Op, Precondition, ResourceVersion, Whole, Write, client::edit_patch,
};
use orion_store::suite::{Widget, Zone, registry, widget, zone};

const STATE_FILE: &str = "ORION_STORE_TEST_STATE_FILE";
const MODE: &str = "ORION_STORE_TEST_MODE";

/// Rounds of killing in one run.
const ROUNDS: usize = 32;

/// How many commits the child has under way at once.
const WRITERS: usize = 4;

/// What a line of the child says.
#[derive(Debug)]
enum Said {
    /// It is about to commit this.
    Tries(String, CommitId),
    /// It was acknowledged, up to this version.
    Done(String, ResourceVersion),
    /// Its outcome is unknown.
    Unknown(String),
    /// All is as it should be.
    Fine,
}

impl Said {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (word, name, value) = (words.next()?, words.next(), words.next());
        match (word, name, value) {
            ("tries", Some(name), Some(id)) => Some(Self::Tries(name.into(), id.parse().ok()?)),
            ("done", Some(name), Some(version)) => Some(Self::Done(name.into(), version.parse().ok()?)),
            ("unknown", Some(name), None) => Some(Self::Unknown(name.into())),
            ("fine", None, None) => Some(Self::Fine),
            _ => None,
        }
    }
}

fn say(line: &str) {
    // One write a line: what a kill cuts off is no line.
    std::io::stdout().lock().write_all(format!("\n{line}\n").as_bytes()).expect("the parent listens");
}

/// A widget and a zone of one name, in one commit.
fn pair(name: &str, id: CommitId) -> Commit {
    let (widget, zone) = (widget(name), zone(name));
    let bodies = [(widget.object_key(), widget.encode()), (zone.object_key(), zone.encode())];
    let write = |(key, body): (_, Result<_, _>)| Write {
        key,
        op: Op::Create(body.expect("it encodes")),
        precondition: Precondition::NONE,
    };
    Commit { id: Some(id), writes: bodies.map(write).into(), ..Commit::default() }
}

fn fresh_id(client: &Client) -> CommitId {
    CommitId::fresh(client.clock().now(), client.randomness())
}

/// Makes pairs for as long as it may.
async fn write_pairs(client: &Client, writer: usize) -> (String, ClientError) {
    let round = std::process::id();
    for n in 0.. {
        let name = format!("p{round}-{writer}-{n}");
        let id = fresh_id(client);
        say(&format!("tries {name} {id}"));
        match client.commit(pair(&name, id)).await {
            Ok(made) => {
                let versions = made.versions.expect("it made two");
                say(&format!("done {name} {}", versions.last));
            }
            Err(error) => return (name, error),
        }
    }
    unreachable!("the loop has no end")
}

/// The child's whole life; a test like any other where there is nothing for it to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child() {
    let Ok(file) = std::env::var(STATE_FILE) else { return };
    let store = orion_store::sqlite(file, registry()).await.expect("it opens");
    let client = store.client();
    let ends = join_all((0..WRITERS).map(|writer| write_pairs(&client, writer))).await;
    assert_eq!(std::env::var(MODE).as_deref(), Ok("disk"), "only a failing disk ends the writers: {ends:?}");
    for (name, error) in ends {
        match error {
            ClientError::Unknown { .. } => say(&format!("unknown {name}")),
            ClientError::Stopped(_) => {}
            other => panic!("{name}: {other}"),
        }
    }
    let reason = tokio::time::timeout(Duration::from_secs(5), store.stopped()).await.expect("the store says so");
    assert!(reason.contains("state.sqlite"), "{reason}");
    let refused = client.create(&widget("late")).await.expect_err("nothing is written any more");
    assert!(matches!(refused, ClientError::Stopped(_)), "{refused:?}");
    assert!(!client.list::<Widget>().await.expect("reads go on").is_empty());
    say("fine");
}

fn start(file: &Path, shell: &str, mode: &str) -> Child {
    let exe = std::env::current_exe().expect("this test");
    Command::new("sh")
        .args(["-c", &format!(r#"{shell} exec "$0" --exact the_child --nocapture"#)])
        .arg(exe)
        .env(STATE_FILE, file)
        .env(MODE, mode)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts")
}

/// What a child said and what it was told.
#[derive(Default)]
struct Account {
    tried: BTreeMap<String, CommitId>,
    done: BTreeMap<String, ResourceVersion>,
    unknown: BTreeSet<String>,
    fine: bool,
}

impl Account {
    fn note(&mut self, said: Said) {
        match said {
            Said::Tries(name, id) => drop(self.tried.insert(name, id)),
            Said::Done(name, version) => drop(self.done.insert(name, version)),
            Said::Unknown(name) => drop(self.unknown.insert(name)),
            Said::Fine => self.fine = true,
        }
    }

    /// Reads what there is to read; `kill_after` acknowledgements the child is killed.
    fn of(mut child: Child, kill_after: Option<usize>) -> Self {
        let mut account = Self::default();
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        for line in lines.map_while(Result::ok) {
            Said::parse(&line).into_iter().for_each(|said| account.note(said));
            if kill_after.is_some_and(|count| account.done.len() >= count) {
                child.kill().expect("it runs");
            }
        }
        child.wait().expect("it has ended");
        account
    }

    /// Commits that were sent, and of which nothing more is known.
    fn unsettled(&self) -> impl Iterator<Item = (&String, &CommitId)> {
        self.tried.iter().filter(|(name, _)| !self.done.contains_key(*name))
    }
}

/// Both kinds, by name.
async fn pairs(client: &Client) -> (BTreeMap<String, ResourceVersion>, BTreeMap<String, ResourceVersion>) {
    let widgets = client.list::<Widget>().await.expect("it lists");
    let zones = client.list::<Zone>().await.expect("it lists");
    let widgets = widgets.iter().map(|one| (one.name().to_owned(), one.version())).collect();
    (widgets, zones.iter().map(|one| (one.name().to_owned(), one.version())).collect())
}

/// Holds a reopened store to what was acknowledged, and settles the rest by the commits' ids.
async fn check(client: &Client, account: &Account, so_far: &mut BTreeMap<String, ResourceVersion>) {
    so_far.extend(account.done.clone());
    let (widgets, zones) = pairs(client).await;
    assert!(widgets.keys().eq(zones.keys()), "s2: no pair is torn");
    for (name, version) in so_far.iter() {
        assert_eq!(zones.get(name), Some(version), "s1: {name} was acknowledged");
    }
    let newest = so_far.values().max().copied().unwrap_or_default();
    for (name, id) in account.unsettled() {
        let was_there = widgets.contains_key(name);
        let settled = client.commit(pair(name, id.clone())).await.expect("s6: made once, then or now");
        let last = settled.versions.expect("it made two").last;
        assert_eq!(was_there, zones.get(name) == Some(&last), "s6: {name} was told as it is");
        assert!(was_there || last > newest, "s3: a new version is newer than any acknowledged one");
        so_far.insert(name.clone(), last);
    }
    let distinct: BTreeSet<_> = so_far.values().collect();
    assert_eq!(distinct.len(), so_far.len(), "s3: no version is given twice");
}

#[tokio::test]
async fn s1_nothing_acknowledged_is_lost_and_nothing_is_torn_by_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state.sqlite");
    let mut so_far = BTreeMap::new();
    let mut unsettled = 0;
    for _ in 0..ROUNDS {
        let child = start(&file, "", "kill");
        let kill_after = 1 + fastrand::usize(..60);
        let account =
            tokio::task::spawn_blocking(move || Account::of(child, Some(kill_after))).await.expect("it reads");
        assert!(account.done.len() >= kill_after, "it was at work");
        unsettled += account.unsettled().count();
        let store = orion_store::sqlite(&file, registry()).await.expect("it opens after a kill");
        check(&store.client(), &account, &mut so_far).await;
        store.close().await;
    }
    assert!(unsettled > ROUNDS / 2, "kills came in the middle of commits: {unsettled}");
}

#[tokio::test]
async fn s8_a_failing_disk_stops_the_store_and_leaves_pending_commits_unknown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state.sqlite");
    // Files may not grow beyond some 500 KB; writing more fails as a broken disk does, not as a full one.
    let child = start(&file, "trap '' XFSZ; ulimit -f 1000;", "disk");
    let account = tokio::task::spawn_blocking(move || Account::of(child, None)).await.expect("it reads");
    assert!(account.fine, "the child has found all as it should be");
    assert!(!account.unknown.is_empty() && !account.done.is_empty());
    let store = orion_store::sqlite(&file, registry()).await.expect("the restart recovers the log");
    check(&store.client(), &account, &mut BTreeMap::new()).await;
    let (widgets, _) = pairs(&store.client()).await;
    assert!(account.unknown.iter().all(|name| widgets.contains_key(name)), "each was settled by its id");
    let name = account.unknown.first().expect("there is one");
    let settled = store.client().get(&widget(name).key()).await.expect("it answers").expect("it is there");
    let patch = edit_patch(&settled, |widget| widget.spec.note = "after".into()).expect("it encodes");
    store.client().merge(&settled.key(), patch).await.expect("and the store goes on");
    store.close().await;
}
