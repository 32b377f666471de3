//! Starting a shim so that at no instant anything runs that no record and no lock speaks of.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    Launch, LaunchError, Shim, Shims, blocking, leftovers,
    worker::{Attached, Connection, Worker},
};
use crate::{
    process::{Handle, Identity},
    shim::{
        record::{Files, Record, is_file_name},
        wire::{MAX_FRAME, Main, Reply, Request, ShimId, StartFailure, StartFailureKind, encode},
    },
};

/// From the spawn of the shim to its word that the process runs. Generous: fifty may start at once on two cores.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A shim that has been spawned and has no process yet.
struct Begun {
    stream: UnixStream,
    process: Handle,
    record: Record,
}

pub(super) async fn launch(shims: Shims, launch: Launch) -> Result<Shim, LaunchError> {
    let Launch { id, nonce, definition } = launch;
    let request = Request::Run { definition: Box::new(definition) };
    check(&id, &nonce, &request)?;
    let begun = {
        let (shims, id) = (shims.clone(), id.clone());
        tokio::task::spawn_blocking(move || begin(&shims, &id, nonce))
            .await
            .map_err(|_| LaunchError::ShuttingDown)??
    };
    let Begun { stream, process, record } = begun;
    let files = shims.files(&id.uid);
    match tokio::time::timeout(START_WITHIN, handshake(stream, &request)).await {
        Ok(Ok((connection, shim, main))) => Ok(Worker::start(
            &shims,
            Attached { files, record, process, shim, connection: Some(connection), main: Some(main) },
        )),
        Ok(Err(trouble)) => Err(abandon(files, process, record, trouble).await),
        Err(_elapsed) => Err(abandon(files, process, record, Trouble::Shim("did not start the process in time")).await),
    }
}

/// What can be refused without trying.
fn check(id: &ShimId, nonce: &str, request: &Request) -> Result<(), StartFailure> {
    let bad = |message: String| Err(StartFailure { kind: StartFailureKind::BadDefinition, message });
    if !is_file_name(&id.uid) {
        return bad(format!("the uid {:?} is not 1 to 64 letters, digits, `-` and `_`", id.uid));
    }
    if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        return bad("the nonce is empty or not printable".to_owned());
    }
    let length = encode(request).len();
    if length > MAX_FRAME {
        return bad(format!("the definition takes {length} bytes of at most {MAX_FRAME}"));
    }
    Ok(())
}

/// Lock, record, spawn. When it returns, the lock is the shim's alone.
fn begin(shims: &Shims, id: &ShimId, nonce: String) -> Result<Begun, LaunchError> {
    let record_error = |source| LaunchError::Record { id: id.clone(), source };
    let files = shims.files(&id.uid);
    let mut locked =
        files.lock_settled(true).map_err(record_error)?.ok_or_else(|| LaunchError::Held { id: id.clone() })?;
    if let Some(earlier) = &locked.record {
        // Its end may not have been settled: nothing of it may run beside the new one.
        leftovers::end(earlier).map_err(record_error)?;
    }
    locked.begin(id.clone(), nonce).map_err(record_error)?;
    let record = locked.record.clone().expect("begin has just set it");
    match spawn(shims, id, locked.share().map_err(record_error)?) {
        Ok((stream, process)) => Ok(Begun { stream, process, record }),
        Err(source) => {
            files.remove_record(&locked).map_err(record_error)?;
            Err(LaunchError::Spawn { program: shims.inner.program.path.clone(), source })
        }
    }
}

/// Everything here keeps to what the standard library does by posix_spawn: a `pre_exec`, a uid or a group would make
/// it fork, which takes a large agent 68 ms instead of 0.2. The shim sets its session itself.
fn spawn(shims: &Shims, id: &ShimId, record: OwnedFd) -> io::Result<(UnixStream, Handle)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let program = &shims.inner.program;
    let child = Command::new(&program.path)
        .arg0("orion")
        .args(&program.args)
        .arg(&shims.inner.dir)
        .args([&id.uid, &id.attempt.to_string()])
        .env_clear()
        .stdin(Stdio::from(record))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::null())
        .spawn()?;
    // Not reaped before its worker does it, so the pid is its own still.
    let process = Handle::open(child.id().cast_signed())?
        .ok_or_else(|| io::Error::other("the shim was reaped by another part of this process"))?;
    Ok((ours, process))
}

enum Trouble {
    Start(StartFailure),
    Shim(&'static str),
}

/// The definition is sent at once, so that the shim finds it when it is bound and waits for nobody: it reads it only
/// then, and from then on it is found whatever becomes of this agent.
async fn handshake(stream: UnixStream, request: &Request) -> Result<(Connection, Identity, Main), Trouble> {
    let stream = tokio::net::UnixStream::from_std(stream).map_err(|_| Trouble::Shim("could not be listened to"))?;
    let mut connection = Connection::new(stream);
    // A shim that has ended has no ears, and what it said before says more than that.
    let sent = connection.put(request).await;
    let shim = loop {
        match connection.next().await {
            Some(Reply::Bound { shim, .. }) => break shim,
            Some(Reply::Failed { failure }) => return Err(Trouble::Start(failure)),
            Some(_) => {}
            None => return Err(Trouble::Shim("ended before it was ready; is its program an Orion shim?")),
        }
    };
    sent.map_err(|_| Trouble::Shim("did not take the definition"))?;
    loop {
        match connection.next().await {
            Some(Reply::Started { main }) => return Ok((connection, shim, main)),
            Some(Reply::Failed { failure }) => return Err(Trouble::Start(failure)),
            Some(_) => {}
            None => return Err(Trouble::Shim("ended before it had started the process")),
        }
    }
}

/// Leaves nothing of a launch that came to nothing.
async fn abandon(files: Files, process: Handle, record: Record, trouble: Trouble) -> LaunchError {
    let id = record.id.clone();
    let cleaned = blocking(move || {
        process.kill()?;
        leftovers::wait_for_end(&process)?;
        let adopted = files.read_record()?.unwrap_or(record);
        leftovers::end(&adopted)?;
        files.remove_exit(adopted.id.attempt)?;
        match files.lock_settled(false)? {
            Some(locked) => files.remove_record(&locked),
            None => Ok(()),
        }
    });
    match (cleaned.await, trouble) {
        (_, Trouble::Start(failure)) => LaunchError::Start(failure),
        (Ok(()), Trouble::Shim(problem)) => LaunchError::Broken { id, problem },
        (Err(source), Trouble::Shim(_)) => LaunchError::Record { id, source },
    }
}
