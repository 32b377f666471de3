//! What an agent finds in its run directory when it starts.

use std::{io, time::Duration};

use super::{
    End, Lost, Shim, Shims, State, blocking, leftovers,
    worker::{Attached, Worker},
};
use crate::{
    process::Handle,
    shim::{
        record::{Files, Record},
        wire::ShimId,
    },
};

/// How long a shim that is just starting or just ending may leave it open which of the two it is.
const UNDECIDED: Duration = Duration::from_secs(5);

/// Between two looks at such a shim.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long recovery waits for the live shims to answer; one that does not stays `Attaching` and is asked on.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// One attempt that an earlier agent started.
#[derive(Clone, Debug)]
pub enum Recovered {
    /// Its shim lives and is attached.
    Live(Shim),
    /// It has ended; kept until it is forgotten.
    Ended {
        /// Which.
        id: ShimId,
        /// How.
        end: End,
    },
}

/// What one look at a replica's files found.
enum Found {
    Live(Box<(Record, Handle)>),
    Ended(Vec<(ShimId, End)>),
    /// Locked, and not yet, or no longer, a shim that can be attached.
    Undecided,
}

pub(super) async fn recover(shims: &Shims) -> io::Result<Vec<Recovered>> {
    let dir = shims.inner.dir.clone();
    let listed = blocking(move || Files::list(&dir)).await?;
    let mut recovered = Vec::new();
    for (uid, attempts) in listed {
        let files = shims.files(&uid);
        match decided(&files, &uid, &attempts).await? {
            Found::Live(live) => {
                let (record, process) = *live;
                recovered.extend(
                    earlier(&files, &uid, &attempts, record.id.attempt)?
                        .into_iter()
                        .map(|(id, end)| Recovered::Ended { id, end }),
                );
                let shim = record.shim.clone().expect("a live shim is found by its identity");
                let attached = Attached { files, record, process, shim, connection: None, main: None };
                recovered.push(Recovered::Live(Worker::start(shims, attached)));
            }
            Found::Ended(ends) => recovered.extend(ends.into_iter().map(|(id, end)| Recovered::Ended { id, end })),
            Found::Undecided => tracing::warn!(uid, "its record is locked by something that is no shim; left alone"),
        }
    }
    let answers = recovered.iter().filter_map(|one| match one {
        Recovered::Live(shim) => Some(answered(shim)),
        Recovered::Ended { .. } => None,
    });
    // Late ones are watched on by their workers: nothing is lost by not waiting longer.
    let _late = tokio::time::timeout(ANSWER_WITHIN, futures::future::join_all(answers)).await;
    Ok(recovered)
}

async fn answered(shim: &Shim) {
    let mut state = shim.watch();
    // The error says that the shims shut down meanwhile, and then nobody waits for the answer.
    let _shut_down = state.wait_for(|state| !matches!(state, State::Attaching)).await;
}

async fn decided(files: &Files, uid: &str, attempts: &[u32]) -> io::Result<Found> {
    let deadline = tokio::time::Instant::now() + UNDECIDED;
    loop {
        let (files, uid, attempts) = (files.clone(), uid.to_owned(), attempts.to_owned());
        match blocking(move || look(&files, &uid, &attempts)).await? {
            Found::Undecided if tokio::time::Instant::now() < deadline => tokio::time::sleep(LOOK_AGAIN).await,
            found => return Ok(found),
        }
    }
}

fn look(files: &Files, uid: &str, attempts: &[u32]) -> io::Result<Found> {
    let Some(locked) = files.lock_or_create()? else {
        let Some(record) = files.read_record()? else { return Ok(Found::Undecided) };
        let Some(process) = record.shim.as_ref().map(crate::process::Identity::open).transpose()?.flatten() else {
            return Ok(Found::Undecided);
        };
        return Ok(if process.has_ended() { Found::Undecided } else { Found::Live(Box::new((record, process))) });
    };
    let Some(record) = &locked.record else {
        // Not even the launch was written: there was no shim yet.
        files.remove_record(&locked)?;
        return Ok(Found::Ended(earlier(files, uid, attempts, 0)?));
    };
    let mut ends = earlier(files, uid, attempts, record.id.attempt)?;
    ends.push((record.id.clone(), how_it_ended(files, record, false)?));
    Ok(Found::Ended(ends))
}

/// Attempts before the one the record speaks of whose exits have not been forgotten.
fn earlier(files: &Files, uid: &str, attempts: &[u32], current: u32) -> io::Result<Vec<(ShimId, End)>> {
    let mut ends = Vec::new();
    for attempt in attempts.iter().copied().filter(|attempt| *attempt != current) {
        match files.read_exit(attempt)? {
            Some(exit) => ends.push((ShimId { uid: uid.to_owned(), attempt }, End::Exited(exit))),
            // Its shim died and another attempt has begun since: settled then.
            None => files.remove_exit(attempt)?,
        }
    }
    Ok(ends)
}

/// The end of an attempt whose shim is dead; what it left is ended first. `inherited`: its orphans came to this process.
pub(super) fn how_it_ended(files: &Files, record: &Record, inherited: bool) -> io::Result<End> {
    if let Some(exit) = files.read_exit(record.id.attempt)? {
        return Ok(End::Exited(exit));
    }
    if record.shim.is_none() || record.failure.is_some() {
        return Ok(End::NeverStarted(record.failure.clone()));
    }
    let of_this_boot = record.shim.as_ref().is_some_and(crate::process::Identity::is_of_this_boot);
    let stuck = leftovers::end(record)?;
    Ok(End::Lost(Lost { exit: record.main_exit.clone(), stuck, leftovers_uncertain: of_this_boot && !inherited }))
}
