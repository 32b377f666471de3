//! Runs the program on a file, kills it in the middle of its work, runs it again, and looks at what the file holds.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use orion_sdk::{
    model::{List, Selection},
    prelude::*,
};

#[path = "../src/main.rs"]
#[expect(dead_code, reason = "the program's kinds are read here; its `main` runs as a process of its own")]
mod website;

use website::{Kinds, Probe, Website};

const SITES: usize = 300;

struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_website"));
        command.arg(SITES.to_string()).current_dir(folder).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = child.stdout.take().expect("its output is piped");
        Self { child, lines: BufReader::new(output).lines() }
    }

    /// The site that is said to be ready next.
    fn next_ready(&mut self) -> String {
        let line = self.lines.next().expect("the program goes on").expect("a line");
        line.split(' ').next().expect("it begins with a name").to_owned()
    }

    fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it has ended");
    }
}

/// What the file holds, at one version. Its runtime ends with it, so that the file is free again.
fn content(folder: &Path) -> (Vec<Website>, Vec<Probe>) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(read(folder))
}

async fn read(folder: &Path) -> (Vec<Website>, Vec<Probe>) {
    let url = format!("sqlite:{}", folder.join("websites.db").display());
    let client = orion_sdk::connect::<Kinds>(&url).await.expect("the file opens after a kill");
    let all = List::snapshot(vec![Selection::all(Website::KIND), Selection::all(Probe::KIND)]);
    let listed = client.list_raw(all).await.expect("it reads").items;
    let (sites, probes): (Vec<_>, Vec<_>) = listed.iter().partition(|object| object.kind() == &Website::KIND);
    let sites = sites.iter().map(|site| Website::decode(site).expect("a site")).collect();
    (sites, probes.iter().map(|probe| Probe::decode(probe).expect("a probe")).collect())
}

fn is_ready(site: &Website) -> bool {
    site.status.conditions.is_true("Ready")
}

/// The regions in which a site is probed; each probe stands for one.
fn probed<'a>(site: &Website, probes: &'a [Probe]) -> Vec<&'a str> {
    let own = probes.iter().filter(|probe| probe.metadata.is_owned_by(site.uid()));
    own.map(|probe| probe.spec.region.as_str()).collect()
}

#[test]
fn killed_in_the_middle_of_its_work_it_converges_when_it_runs_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = Program::start(folder.path());
    for _ in 0..10 {
        program.next_ready();
    }
    program.kill();

    let (sites, probes) = content(folder.path());
    let ready = sites.iter().filter(|site| is_ready(site)).count();
    assert!((10..SITES).contains(&ready), "it was killed in the middle: {ready} of {SITES} are ready");
    for site in &sites {
        let expected = if is_ready(site) { vec!["eu", "us"] } else { vec![] };
        assert_eq!(probed(site, &probes), expected, "{}: probes and status are one commit", site.name());
    }

    let all: BTreeSet<_> = (1..=SITES).map(|number| format!("site-{number}")).collect();
    let ready: BTreeSet<_> = sites.iter().filter(|site| is_ready(site)).map(|site| site.name().to_owned()).collect();
    let mut program = Program::start(folder.path());
    let mut done = BTreeSet::new();
    while done.len() < SITES - ready.len() {
        done.insert(program.next_ready());
    }
    assert_eq!(done, all.difference(&ready).cloned().collect(), "what was done is not done again");
    program.kill();
    let (sites, probes) = content(folder.path());
    assert_eq!((sites.len(), probes.len()), (SITES, 2 * SITES));
    for site in &sites {
        assert!(is_ready(site), "{}", site.name());
        assert_eq!(probed(site, &probes), ["eu", "us"], "{}", site.name());
    }
}
