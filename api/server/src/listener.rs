//! Where connections come from: TCP addresses and the Unix socket.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    net::SocketAddr,
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, net::UnixStream as StdUnixStream},
    },
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, TcpStream, ToSocketAddrs, UnixListener, UnixStream};

use crate::{Peer, guard::sock_diag};

/// A socket that [`serve`](crate::serve()) accepts connections on.
#[derive(Debug)]
pub struct Listener(Inner);

#[derive(Debug)]
enum Inner {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// A connection as it was accepted.
pub(crate) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    /// Listens on an address; port 0 picks a free one.
    ///
    /// # Errors
    /// As `bind(2)`.
    pub async fn tcp(address: impl ToSocketAddrs) -> io::Result<Self> {
        TcpListener::bind(address).await.map(|listener| Self(Inner::Tcp(listener)))
    }

    /// Listens on a Unix socket that only this user may connect to. A socket that nobody listens on any more is
    /// replaced. The file is removed when the listener goes.
    ///
    /// # Errors
    /// As `bind(2)`; `AddrInUse` where another process listens there.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let address = ShortPath::of(path)?;
        let listener = match UnixListener::bind(address.path()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if StdUnixStream::connect(address.path()).is_ok() {
                    return Err(error);
                }
                fs::remove_file(path)?;
                UnixListener::bind(address.path())?
            }
            bound => bound?,
        };
        // Until this line others may connect; they are refused by their uid all the same.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self(Inner::Unix(listener, path.to_owned())))
    }

    /// The TCP address, with the port that was picked; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Inner::Tcp(listener) => listener.local_addr().ok(),
            Inner::Unix(..) => None,
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match &self.0 {
            Inner::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                // Answers, watch events and agents' commands are small and leave at once. One that is gone already
                // refuses the option, and is noticed as gone by whoever reads from it.
                drop(stream.set_nodelay(true));
                Ok(Accepted::Tcp(stream, remote))
            }
            Inner::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

/// Another path to a file, by way of its directory's descriptor: the address of a socket holds 107 bytes, and a data
/// directory may well have a longer path.
struct ShortPath {
    directory: File,
    name: OsString,
}

impl ShortPath {
    fn of(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { directory: File::open(directory)?, name })
    }

    fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.directory.as_raw_fd().to_string()).join(&self.name)
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self(Inner::Tcp(listener))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Inner::Unix(_, path) = &self.0 {
            // Nothing to do where somebody has removed it already.
            let _ = fs::remove_file(path);
        }
    }
}

impl Accepted {
    /// Who is at the other end.
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        match self {
            Self::Unix(stream) => Ok(Peer::Unix { uid: stream.peer_cred()?.uid() }),
            Self::Tcp(stream, remote) => {
                let local = stream.local_addr()?;
                let owner = sock_diag::owner(*remote, local);
                // Two addresses name one connection at a time. This one is still there, so it was this one's other end
                // that the kernel told about, and not that of a later connection from the same port.
                stream.peer_addr()?;
                Ok(Peer::Tcp { remote: *remote, local, owner })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_taken_over_only_when_nobody_listens_and_its_path_may_be_long() {
        let dir = tempfile::tempdir().expect("a directory");
        let long = dir.path().join("x".repeat(120));
        fs::create_dir(&long).expect("is made");
        let path = long.join("orion.sock");
        let first = Listener::unix(&path).expect("binds");
        assert_eq!(Listener::unix(&path).expect_err("is taken").kind(), io::ErrorKind::AddrInUse);
        // What a killed server leaves behind.
        let kept = long.join("kept");
        fs::hard_link(&path, &kept).expect("is kept");
        drop(first);
        fs::rename(&kept, &path).expect("is put back");
        let second = Listener::unix(&path).expect("takes over");
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        drop(second);
        assert!(!path.exists());
    }
}
