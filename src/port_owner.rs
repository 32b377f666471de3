//! Who listens on a port of this machine, as far as this user may know.

use std::{fmt, fs, net::SocketAddr, os::unix::fs::MetadataExt};

/// A process that listens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pid: u32,
    name: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// The process that listens on the port of an address; `None` where it cannot be seen.
pub(crate) fn of(address: SocketAddr) -> Option<Owner> {
    let inodes: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, address.port()))
        .collect();
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let held = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let holds = held.filter_map(|fd| fs::metadata(fd.path()).ok()).any(|file| inodes.contains(&file.ino()));
        let name = || fs::read_to_string(entry.path().join("comm")).map_or("?".into(), |name| name.trim().to_owned());
        holds.then(|| Owner { pid, name: name() })
    })
}

/// The inodes of sockets that listen on a port, from a table of /proc/net.
fn listening(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
            (local.ends_with(&suffix) && *state == LISTEN).then(|| inode.parse().ok())?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let owner = of(listener.local_addr().expect("an address")).expect("it is ours");
        assert_eq!(owner.pid, std::process::id());
    }
}
