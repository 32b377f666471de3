//! A descriptor that tokio waits for: a pidfd, an inotify instance.

#![expect(
    unsafe_code,
    reason = "tokio registers a descriptor safely only on the caller's word that it stays the same one"
)]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// An owned descriptor whose readability can be awaited.
#[derive(Debug)]
pub(crate) struct WatchedFd(AsyncFd<OwnedFd>);

impl WatchedFd {
    /// To be called on a runtime with I/O.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open and always the same descriptor, and here nothing can replace it.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        registered.map(Self).map_err(io::Error::from)
    }

    /// Waits until it is readable; it stays so until it is drained.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        // Dropping the guard keeps the readiness.
        self.0.readable().await.map(drop)
    }

    /// Runs a read until it would block, and waits for the next readability after that.
    pub(crate) fn drain(&self, mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>) {
        // The end of what can be read, or an error, both leave nothing to do but to wait again.
        while self.0.try_io(Interest::READABLE, |fd| read(fd.as_fd())).is_ok_and(|count| count > 0) {}
    }
}

impl AsFd for WatchedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
