//! The few calls that no safe wrapper offers: fork, signals by raw number, dispositions, closing what was inherited.
//!
//! The shim has one thread. That is what makes fork sound here: the child owns all locks and may allocate.

#![expect(unsafe_code, reason = "fork, raw signal numbers and close_range have no safe wrapper")]

use std::{io, os::fd::AsRawFd};

use nix::{
    sys::signal::{SigSet, SigmaskHow, sigprocmask},
    unistd::{ForkResult, fork},
};

use crate::{process::Handle, signal::Signal};

/// How many signals the kernel has, one bit each in its sets.
const KERNEL_SIGNALS: usize = 64;

/// Closes every descriptor from 3 on. To be called before anything has been opened.
pub(super) fn close_inherited() {
    // SAFETY: called first in `main`, when this program owns no descriptor above the three standard ones.
    let closed = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    // Kernels before 5.9 lack it; the agent opens all its files close-on-exec, so this is a second fence only.
    debug_assert!(closed == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS));
}

/// Forks: the child's pid to the parent, none to the child.
pub(super) fn fork_once() -> io::Result<Option<i32>> {
    debug_assert_eq!(threads(), 1, "a shim has one thread");
    // SAFETY: there is no other thread that could hold a lock the child would wait for.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Some(child.as_raw())),
        ForkResult::Child => Ok(None),
    }
}

/// Ends the process at once, running no destructor that would act on what the parent shares.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Every signal to its default, none blocked: programs expect to start so, and an ignored signal survives exec.
pub(super) fn reset_signals() -> io::Result<()> {
    // All zero is the default disposition, without flags and with an empty mask; larger than any machine's layout of it.
    let default = [0_usize; 16];
    for number in 1..=KERNEL_SIGNALS {
        // By the system call, since the C library keeps two numbers to itself and they may have been inherited ignored.
        // SAFETY: the kernel reads the structure during the call only; KILL and STOP are refused, which is as it should be.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                default.as_ptr(),
                std::ptr::null::<usize>(),
                KERNEL_SIGNALS / 8,
            )
        };
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Signals a child that has not been reaped.
pub(super) fn signal_child(unreaped: i32, signal: Signal) -> io::Result<()> {
    // SAFETY: plain system call; the caller has the child unreaped, so the pid is that child's.
    check(unsafe { libc::kill(unreaped, signal.number()) })
}

/// Signals the process group of a child that leads it and has not been reaped.
pub(super) fn signal_group(unreaped_leader: i32, signal: Signal) -> io::Result<()> {
    // SAFETY: plain system call; the unreaped leader keeps the group's number from being given away.
    check(unsafe { libc::killpg(unreaped_leader, signal.number()) })
}

/// Signals the process behind a pidfd.
pub(super) fn signal_handle(handle: &Handle, signal: Signal) -> io::Result<()> {
    let pidfd = std::os::fd::AsFd::as_fd(handle).as_raw_fd();
    // SAFETY: the descriptor is open for the length of the call, and a null siginfo is allowed.
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal.number(), std::ptr::null::<libc::siginfo_t>(), 0)
    };
    check(if sent == 0 { 0 } else { -1 })
}

/// Gives memory that is no longer used back to the kernel: after the definition there is much of it.
pub(super) fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}
