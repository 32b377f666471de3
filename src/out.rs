//! What is said on stdout and stderr. A reader of stdout that is gone (`orion get pods | head -1`) ends a command in
//! order and without a word; one of stderr is not missed.

use std::{
    fmt,
    io::{self, Write},
};

use crate::failure::Failure;

/// Writes to stdout.
///
/// # Errors
/// Its reader is gone, or it takes no more.
pub(crate) fn write(text: fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_fmt(text).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::refused(format!("cannot write to stdout: {error}")),
    })
}

/// Writes a line to stderr.
pub(crate) fn tell(text: fmt::Arguments<'_>) {
    // Where nobody can be told, nobody is.
    let _untold = writeln!(io::stderr().lock(), "{text}");
}

/// Writes a line to stdout, and returns from the function where its reader is gone.
macro_rules! say {
    () => { $crate::out::write(format_args!("\n"))? };
    ($($part:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($($part)*)))? };
}

/// Writes to stdout without an end of line, and returns from the function where its reader is gone.
macro_rules! put {
    ($($part:tt)*) => { $crate::out::write(format_args!($($part)*))? };
}

/// Writes a line to stderr.
macro_rules! note {
    ($($part:tt)*) => { $crate::out::tell(format_args!($($part)*)) };
}

pub(crate) use {note, put, say};
