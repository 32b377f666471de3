//! A WebSocket as an agent opens it, in whatever words a test likes.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

/// How long one read waits before it looks at the clock.
const PATIENCE: Duration = Duration::from_millis(50);

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Received {
    /// A frame.
    Frame(Value),
    /// The server has closed, with a code and a reason.
    Closed(u16, String),
    /// Nothing in time.
    Nothing,
}

/// An agents' socket.
pub(crate) struct Socket(WebSocket<TcpStream>);

impl Socket {
    #[track_caller]
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("the server listens");
        let (socket, _) = client(format!("ws://{to}/ws"), stream).expect("the server upgrades");
        socket.get_ref().set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
        Self(socket)
    }

    pub(crate) fn say(&mut self, frame: &Value) {
        self.say_text(frame.to_string());
    }

    /// Sends a text; that the server has stopped listening is found out when reading.
    pub(crate) fn say_text(&mut self, text: impl Into<String>) {
        drop(self.0.send(Message::text(text.into())));
    }

    /// What comes next.
    #[track_caller]
    pub(crate) fn hear(&mut self, within: Duration) -> Received {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            match self.0.read() {
                Ok(Message::Text(text)) => {
                    return Received::Frame(serde_json::from_str(&text).expect("frames are JSON"));
                }
                Ok(Message::Close(Some(close))) => {
                    return Received::Closed(close.code.into(), close.reason.to_string());
                }
                Ok(Message::Binary(bytes)) => panic!("frames are text, not {bytes:?}"),
                Ok(_) => {}
                Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Received::Closed(0, error.to_string()),
            }
        }
        Received::Nothing
    }
}
