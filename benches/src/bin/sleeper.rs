//! The process that is started: it tells when its `main` began, and sleeps.
//!
//! `orion-bench-sleeper SOCKET NAME` sends one datagram, `NAME NANOSECONDS`, of the monotonic clock all processes of a
//! machine share. So "it runs" is measured by the process itself, and nobody has to look for it.

use std::{env, io, os::unix::net::UnixDatagram, thread};

use rustix::time::{ClockId, clock_gettime};

fn main() -> io::Result<()> {
    let began = clock_gettime(ClockId::Monotonic);
    let mut arguments = env::args().skip(1);
    let (Some(socket), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: orion-bench-sleeper SOCKET NAME"));
    };
    let nanoseconds = began.tv_sec * 1_000_000_000 + began.tv_nsec;
    UnixDatagram::unbound()?.send_to(format!("{name} {nanoseconds}").as_bytes(), socket)?;
    loop {
        thread::park();
    }
}
