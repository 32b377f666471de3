//! The start of the process itself: fork, the few steps between, exec, and an error in words if one of them fails.
//!
//! The child reports by a pipe that closes on exec: its end without a word is the proof that the program runs.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    ffi::{CString, OsStr},
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::stat::{Mode, umask},
    unistd::{
        User, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, getppid, initgroups, pipe2, setresgid, setresuid,
        setsid,
    },
};

use super::{
    sys,
    wire::{Definition, MARKER, StartFailure, StartFailureKind},
};

/// Where programs are looked up if the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A process whose program runs, and the reading ends of its output.
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// The step at which a start failed, as it goes through the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Step {
    FindUser = 1,
    BecomeUser = 2,
    EnterDirectory = 3,
    Execute = 4,
    Prepare = 5,
}

impl Step {
    const ALL: [Self; 5] = [Self::FindUser, Self::BecomeUser, Self::EnterDirectory, Self::Execute, Self::Prepare];
}

/// A definition in the form the kernel takes, made before the fork.
struct Prepared {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    user: Option<String>,
    umask: Mode,
}

/// Starts the process and returns when its program runs.
pub(super) fn start(definition: &Definition, nonce: &str, umask: Mode) -> Result<Started, StartFailure> {
    let prepared = prepare(definition, nonce, umask)
        .map_err(|message| StartFailure { kind: StartFailureKind::BadDefinition, message })?;
    let (stdout, child_stdout) = pipe()?;
    let (stderr, child_stderr) = pipe()?;
    let (report, child_report) = pipe()?;
    let null = File::open("/dev/null").map_err(|error| transient("open /dev/null", &error))?;
    let shim = nix::unistd::getpid();
    let Some(pid) = sys::fork_once().map_err(|error| transient("fork", &error))? else {
        let failed = become_program(&prepared, shim, &null, &child_stdout, &child_stderr);
        report_and_exit(child_report, failed)
    };
    drop((child_stdout, child_stderr, child_report));
    match read_report(report) {
        None => Ok(Started { pid, stdout, stderr }),
        Some((step, errno)) => {
            // Only this function knows of the child, so this is its one reaping.
            let _reaped =
                rustix::process::waitpid(rustix::process::Pid::from_raw(pid), rustix::process::WaitOptions::empty());
            Err(explain(step, errno, definition))
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), StartFailure> {
    pipe2(OFlag::O_CLOEXEC).map_err(|errno| transient("make a pipe", &errno.into()))
}

fn transient(what: &str, error: &std::io::Error) -> StartFailure {
    StartFailure { kind: StartFailureKind::Transient, message: format!("could not {what}: {error}") }
}

fn prepare(definition: &Definition, nonce: &str, umask: Mode) -> Result<Prepared, String> {
    let program = definition.argv.first().filter(|program| !program.is_empty()).ok_or("the command is empty")?;
    let text = |what: &str, text: &[u8]| CString::new(text).map_err(|_| format!("{what} has a NUL in it"));
    let argv = definition.argv.iter().map(|word| text("the command", word.as_bytes())).collect::<Result<_, _>>()?;
    // The last of two values for one name wins; the marker is nobody's to set.
    let mut values: BTreeMap<&str, &str> =
        definition.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    values.insert(MARKER, nonce);
    let mut env = Vec::with_capacity(values.len());
    for (name, value) in &values {
        if name.is_empty() || name.contains('=') {
            return Err(format!("`{name}` cannot name a variable of the environment"));
        }
        env.push(text(&format!("the environment variable {name:?}"), format!("{name}={value}").as_bytes())?);
    }
    let candidates = candidates(program, values.get("PATH").copied())
        .iter()
        .map(|path| text("the command", path.as_bytes()))
        .collect::<Result<_, _>>()?;
    let cwd = text("the working directory", definition.cwd.as_os_str().as_bytes())?;
    Ok(Prepared { candidates, argv, env, cwd, user: definition.user.clone(), umask })
}

/// The files to try for a program, in order.
fn candidates(program: &str, path: Option<&str>) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = path.filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH);
    path.split(':').map(|dir| format!("{}/{program}", if dir.is_empty() { "." } else { dir })).collect()
}

/// Everything between fork and exec. Returns only if a step failed.
fn become_program(
    prepared: &Prepared,
    shim: nix::unistd::Pid,
    null: &File,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
) -> (Step, Errno) {
    match try_become_program(prepared, shim, null, stdout, stderr) {
        Err(failed) => failed,
        Ok(never) => match never {},
    }
}

fn try_become_program(
    prepared: &Prepared,
    shim: nix::unistd::Pid,
    null: &File,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
) -> Result<Infallible, (Step, Errno)> {
    let at = |step| move |errno| (step, errno);
    sys::reset_signals().map_err(|error| (Step::Prepare, errno_of(&error)))?;
    setsid().map_err(at(Step::Prepare))?;
    dup2_stdin(null.as_fd()).map_err(at(Step::Prepare))?;
    dup2_stdout(stdout.as_fd()).map_err(at(Step::Prepare))?;
    dup2_stderr(stderr.as_fd()).map_err(at(Step::Prepare))?;
    if let Some(user) = &prepared.user {
        become_user(user)?;
    }
    // After the change of user, which clears it; and compared, for the shim may have died before it was set.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|errno| (Step::Prepare, Errno::from_raw(errno.raw_os_error())))?;
    if getppid() != shim {
        sys::exit_now(1);
    }
    chdir(prepared.cwd.as_c_str()).map_err(at(Step::EnterDirectory))?;
    umask(prepared.umask);
    Err((Step::Execute, execute(prepared)))
}

fn become_user(name: &str) -> Result<(), (Step, Errno)> {
    let found = match name.parse::<u32>() {
        Ok(number) => User::from_uid(number.into()),
        Err(_) => User::from_name(name),
    };
    // Zero says: looked up without error, and not there.
    let user = found.map_err(|errno| (Step::FindUser, errno))?.ok_or((Step::FindUser, Errno::UnknownErrno))?;
    let login = CString::new(user.name).map_err(|_| (Step::FindUser, Errno::EINVAL))?;
    if nix::unistd::geteuid().is_root() {
        initgroups(&login, user.gid).map_err(|errno| (Step::BecomeUser, errno))?;
    }
    setresgid(user.gid, user.gid, user.gid).map_err(|errno| (Step::BecomeUser, errno))?;
    setresuid(user.uid, user.uid, user.uid).map_err(|errno| (Step::BecomeUser, errno))
}

/// The error of the last candidate, but one that is there and may not be executed is told before those that are not there.
fn execute(prepared: &Prepared) -> Errno {
    let mut told = Errno::ENOENT;
    for candidate in &prepared.candidates {
        let Err(errno) = execve(candidate, &prepared.argv, &prepared.env);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => told = errno,
            other => return other,
        }
    }
    told
}

fn report_and_exit(report: OwnedFd, (step, errno): (Step, Errno)) -> ! {
    let mut bytes = [step as u8, 0, 0, 0, 0];
    bytes[1..].copy_from_slice(&(errno as i32).to_ne_bytes());
    // If the shim is not there to read it, nobody needs to know.
    let _shim_gone = File::from(report).write_all(&bytes);
    sys::exit_now(127)
}

fn read_report(report: OwnedFd) -> Option<(Step, Errno)> {
    let mut bytes = [0; 5];
    File::from(report).read_exact(&mut bytes).ok()?;
    let step = Step::ALL.into_iter().find(|step| *step as u8 == bytes[0]).unwrap_or(Step::Prepare);
    Some((step, Errno::from_raw(i32::from_ne_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]))))
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

fn kind(step: Step, errno: Errno) -> StartFailureKind {
    match (step, errno) {
        (Step::Execute, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG) => {
            StartFailureKind::NoSuchFile
        }
        (
            Step::Execute,
            Errno::EACCES | Errno::EPERM | Errno::ENOEXEC | Errno::EISDIR | Errno::EINVAL | Errno::ELIBBAD,
        ) => StartFailureKind::NotExecutable,
        (Step::Execute, Errno::E2BIG) => StartFailureKind::BadDefinition,
        (Step::EnterDirectory, Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP | Errno::ENAMETOOLONG) => {
            StartFailureKind::NoSuchDirectory
        }
        (Step::FindUser, Errno::UnknownErrno | Errno::EINVAL) | (Step::BecomeUser, Errno::EPERM) => {
            StartFailureKind::NoSuchUser
        }
        (Step::FindUser | Step::BecomeUser | Step::EnterDirectory | Step::Execute | Step::Prepare, _) => {
            StartFailureKind::Transient
        }
    }
}

fn explain(step: Step, errno: Errno, definition: &Definition) -> StartFailure {
    let kind = kind(step, errno);
    let program = definition.argv.first().map_or("", String::as_str);
    let user = definition.user.as_deref().unwrap_or_default();
    let cwd = definition.cwd.display();
    let why = errno.desc();
    let message = match (step, kind) {
        (Step::Execute, StartFailureKind::NoSuchFile) => missing_program(program, definition),
        (Step::Execute, StartFailureKind::NotExecutable) if errno == Errno::ENOEXEC => {
            format!("cannot execute `{program}`: it has no `#!` line and is no program of this machine")
        }
        (Step::Execute, StartFailureKind::BadDefinition) => {
            format!("cannot execute `{program}`: its arguments and environment are too large for this system")
        }
        (Step::Execute, _) => format!("cannot execute `{program}`: {why}"),
        (Step::EnterDirectory, _) => format!("cannot enter the working directory `{cwd}`: {why}"),
        (Step::FindUser, StartFailureKind::NoSuchUser) => format!("there is no user `{user}` on this machine"),
        (Step::FindUser, _) => format!("could not look up the user `{user}`: {why}"),
        (Step::BecomeUser, _) => format!("the agent may not start processes as user `{user}`: {why}"),
        (Step::Prepare, _) => format!("could not prepare the process: {why}"),
    };
    StartFailure { kind, message }
}

fn missing_program(program: &str, definition: &Definition) -> String {
    if !program.contains('/') {
        let path = definition.env.iter().rev().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, path)| path);
        return format!("no program `{program}` in any folder of PATH ({path})");
    }
    // Without the `.` of `./program`: people read it in messages.
    let path: PathBuf = definition.cwd.join(OsStr::from_bytes(program.as_bytes())).components().collect();
    if path.exists() {
        format!("cannot execute `{program}`: it is there, but the interpreter it names is not")
    } else {
        format!("no such file: `{}`", path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::wire::{LogSettings, StopPolicy};

    fn definition(argv: &[&str], env: &[(&str, &str)]) -> Definition {
        Definition {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            cwd: "/".into(),
            user: None,
            stop: StopPolicy::default(),
            logs: LogSettings { dir: "/nowhere".into(), max_files: 1, max_file_size: 1024 },
        }
    }

    #[test]
    fn a_definition_that_no_kernel_takes_is_refused_in_words() {
        for (argv, env, word) in [
            (&[][..], &[][..], "empty"),
            (&[""][..], &[][..], "empty"),
            (&["a\0b"][..], &[][..], "NUL"),
            (&["a"][..], &[("A=B", "c")][..], "A=B"),
            (&["a"][..], &[("", "c")][..], "``"),
            (&["a"][..], &[("A", "c\0")][..], "\"A\""),
        ] {
            let message = prepare(&definition(argv, env), "n", Mode::empty()).err().unwrap_or_default();
            assert!(message.contains(word), "{argv:?} {env:?}: {message:?}");
        }
    }

    #[test]
    fn the_marker_is_the_shims_whatever_the_definition_says() {
        let prepared =
            prepare(&definition(&["a"], &[(MARKER, "forged"), ("A", "1"), ("A", "2")]), "nonce", Mode::empty())
                .unwrap_or_else(|message| panic!("{message}"));
        let env: Vec<&str> = prepared.env.iter().filter_map(|entry| entry.to_str().ok()).collect();
        assert_eq!(env, ["A=2", "ORION_SHIM=nonce"]);
    }

    #[test]
    fn a_program_without_a_slash_is_looked_up_in_its_own_path() {
        assert_eq!(candidates("node", Some("/a::/b")), ["/a/node", "./node", "/b/node"]);
        assert_eq!(candidates("./node", Some("/a")), ["./node"]);
        assert_eq!(candidates("node", None).last().map(String::as_str), Some("/bin/node"));
    }

    #[test]
    fn what_a_retry_cannot_mend_is_told_from_what_it_may() {
        for (step, errno, expected) in [
            (Step::Execute, Errno::ENOENT, StartFailureKind::NoSuchFile),
            (Step::Execute, Errno::EACCES, StartFailureKind::NotExecutable),
            (Step::Execute, Errno::ENOEXEC, StartFailureKind::NotExecutable),
            (Step::Execute, Errno::E2BIG, StartFailureKind::BadDefinition),
            (Step::Execute, Errno::ETXTBSY, StartFailureKind::Transient),
            (Step::Execute, Errno::ENOMEM, StartFailureKind::Transient),
            (Step::EnterDirectory, Errno::ENOENT, StartFailureKind::NoSuchDirectory),
            (Step::EnterDirectory, Errno::EIO, StartFailureKind::Transient),
            (Step::BecomeUser, Errno::EPERM, StartFailureKind::NoSuchUser),
            (Step::BecomeUser, Errno::EAGAIN, StartFailureKind::Transient),
            (Step::FindUser, Errno::EIO, StartFailureKind::Transient),
        ] {
            assert_eq!(kind(step, errno), expected, "{step:?} {errno}");
        }
    }
}
