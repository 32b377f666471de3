//! Who owns the other end of a loopback connection, by the kernel's own record of that socket.
//!
//! The kernel is asked over netlink (`sock_diag(7)`) for the one socket whose two addresses are those of the
//! connection, seen from the other side. Nothing but a full match with an owner counts:
//!
//! - a lookup that finds no connection falls back to a listener on that port, so the answer's addresses are compared;
//! - a socket that its process has closed has inode 0 and is reported as uid 0, whoever it was;
//! - the answer must come from the kernel (port 0) and carry the sequence number of the question.
//!
//! The messages are built and read byte by byte, so nothing here is unsafe.

use std::net::{IpAddr, SocketAddr};

use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, netlink,
        netlink::SocketAddrNetlink, recvfrom, send, socket_with,
    },
};

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`, without `NLM_F_DUMP`: one socket, not a list.
const REQUEST: u16 = 1;
const TCP: u8 = 6;
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`.
const QUESTION: usize = 56;
/// `struct inet_diag_msg`.
const ANSWER: usize = 72;
/// `struct inet_diag_sockid` within the question and within the answer.
const QUESTION_ID: usize = HEADER + 8;
const ANSWER_ID: usize = HEADER + 4;
/// Of the socket id the ports and both addresses, without interface and cookie.
const ADDRESSES: usize = 36;
const ANSWER_UID: usize = HEADER + 64;
const ANSWER_INODE: usize = HEADER + 68;

/// The uid that owns the socket at `remote` of the connection between `remote` and `local`, both as accept gave them.
/// `None` where that is not certain, and for addresses outside loopback.
pub(crate) fn owner(remote: SocketAddr, local: SocketAddr) -> Option<u32> {
    let (remote, local) = (canonical(remote), canonical(local));
    if !remote.ip().is_loopback() || !local.ip().is_loopback() || remote.is_ipv4() != local.is_ipv4() {
        return None;
    }
    match ask(remote, local) {
        Ok(owner) => owner,
        Err(error) => {
            tracing::debug!(%error, "the kernel did not say who owns a connection");
            None
        }
    }
}

/// A v4 client of a v6 socket has a v4 socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn ask(remote: SocketAddr, local: SocketAddr) -> Result<Option<u32>, Errno> {
    let sequence = sequence_number()?;
    let question = question(sequence, remote, local);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
    send(&socket, &question, SendFlags::empty())?;
    // The kernel answers within the send, so there is nothing to wait for.
    let mut answer = [0_u8; 1024];
    let (_, length, sender) = recvfrom(&socket, &mut answer[..], RecvFlags::empty())?;
    if !is_kernel(sender) {
        return Ok(None);
    }
    Ok(read(&question, &answer[..length.min(answer.len())]))
}

fn is_kernel(sender: Option<SocketAddrAny>) -> bool {
    sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok()).is_some_and(|sender| sender.pid() == 0)
}

fn sequence_number() -> Result<[u8; 4], Errno> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

/// Asks for the socket whose own address is `remote` and whose peer is `local`.
fn question(sequence: [u8; 4], remote: SocketAddr, local: SocketAddr) -> [u8; HEADER + QUESTION] {
    let mut message = [0_u8; HEADER + QUESTION];
    let length = u32::try_from(message.len()).expect("72 fits");
    message[0..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    message[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    message[8..12].copy_from_slice(&sequence);
    let family = if remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    message[HEADER] = u8::try_from(family.as_raw()).expect("AF_INET and AF_INET6 are small");
    message[HEADER + 1] = TCP;
    // All states: the answer says which one it found by its addresses.
    message[HEADER + 4..HEADER + 8].fill(0xff);
    let id = &mut message[QUESTION_ID..];
    id[0..2].copy_from_slice(&remote.port().to_be_bytes());
    id[2..4].copy_from_slice(&local.port().to_be_bytes());
    put_address(&mut id[4..20], remote.ip());
    put_address(&mut id[20..36], local.ip());
    // No cookie.
    id[40..48].fill(0xff);
    message
}

fn put_address(to: &mut [u8], address: IpAddr) {
    match address {
        IpAddr::V4(address) => to[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => to.copy_from_slice(&address.octets()),
    }
}

/// The owner in an answer to `question`, where the answer is about that very socket and it is open.
fn read(question: &[u8], answer: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    let is_diag = answer.len() >= HEADER + ANSWER && answer[4..6] == BY_FAMILY.to_ne_bytes();
    let answers_this = answer.get(8..12)? == &question[8..12];
    let same_family = answer.get(HEADER)? == &question[HEADER];
    let same_socket = answer.get(ANSWER_ID..ANSWER_ID + ADDRESSES)? == &question[QUESTION_ID..QUESTION_ID + ADDRESSES];
    let open = word(ANSWER_INODE)? != 0;
    (is_diag && answers_this && same_family && same_socket && open).then(|| word(ANSWER_UID)).flatten()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn connection(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(address).expect("binds");
        let client = TcpStream::connect(listener.local_addr().expect("has an address")).expect("connects");
        (client, listener.accept().expect("accepts").0)
    }

    fn owner_of(server: &TcpStream) -> Option<u32> {
        owner(server.peer_addr().expect("is connected"), server.local_addr().expect("has an address"))
    }

    #[test]
    fn the_owner_of_an_open_connection_is_known_on_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (_client, server) = connection(address);
            assert_eq!(owner_of(&server), Some(rustix::process::geteuid().as_raw()), "{address}");
        }
    }

    #[test]
    fn a_closed_end_has_no_owner() {
        let (client, server) = connection("127.0.0.1:0");
        drop(client);
        assert_eq!(owner_of(&server), None);
    }

    #[test]
    fn a_listener_on_the_same_port_is_not_taken_for_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let listening = listener.local_addr().expect("has an address");
        let nobody = "127.0.0.1:1".parse().expect("an address");
        assert_eq!(owner(listening, nobody), None);
    }

    #[test]
    fn an_answer_counts_only_where_every_part_of_it_fits() {
        let remote = "127.0.0.1:40000".parse().expect("an address");
        let local = "127.0.0.1:6060".parse().expect("an address");
        let question = question([1, 2, 3, 4], remote, local);
        let mut good = vec![0_u8; HEADER + ANSWER];
        good[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        good[8..12].copy_from_slice(&[1, 2, 3, 4]);
        good[HEADER] = question[HEADER];
        good[ANSWER_ID..ANSWER_ID + ADDRESSES].copy_from_slice(&question[QUESTION_ID..QUESTION_ID + ADDRESSES]);
        good[ANSWER_UID..ANSWER_UID + 4].copy_from_slice(&1000_u32.to_ne_bytes());
        good[ANSWER_INODE..ANSWER_INODE + 4].copy_from_slice(&7_u32.to_ne_bytes());
        assert_eq!(read(&question, &good), Some(1000));
        for (what, at) in
            [("type", 4), ("sequence", 8), ("family", HEADER), ("port", ANSWER_ID), ("peer", ANSWER_ID + 20)]
        {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(read(&question, &bad), None, "{what}");
        }
        let mut closed = good.clone();
        closed[ANSWER_INODE..ANSWER_INODE + 4].fill(0);
        assert_eq!(read(&question, &closed), None);
        assert_eq!(read(&question, &good[..40]), None);
    }
}
