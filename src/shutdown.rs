//! INT, TERM and HUP: the first asks to end, a second one to end now.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::failure::Failure;

/// What signals ask for.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown {
    /// To end.
    pub(crate) end: CancellationToken,
    /// To end now.
    pub(crate) now: CancellationToken,
}

/// Listens for signals until the returned handle is dropped.
pub(crate) fn listen() -> Result<(Shutdown, AbortOnDropHandle<()>), Failure> {
    let shutdown = Shutdown { end: CancellationToken::new(), now: CancellationToken::new() };
    let (mut interrupt, mut terminate, mut hangup) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let told = shutdown.clone();
    let task = tokio::spawn(async move {
        for token in [&told.end, &told.now] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            token.cancel();
        }
    });
    Ok((shutdown, AbortOnDropHandle::new(task)))
}
