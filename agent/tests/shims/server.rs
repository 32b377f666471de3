//! A server that does what a test says: the other end of an agent's socket.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use orion_model::{ResourceVersion, Uid};
use orion_types::protocol::{
    Definition, Forget, FromAgent, Hello, Launch, StatusReport, StopCommand, Sync, SyncEntry, ToAgent, Update, Welcome,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::world::DEADLINE;

pub(crate) struct Server {
    listener: TcpListener,
}

/// One connected agent.
pub(crate) struct Session {
    socket: WebSocketStream<TcpStream>,
    pub(crate) hello: Hello,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a port") }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().expect("an address"))
    }

    /// The next agent that connects, up to its hello.
    pub(crate) async fn hello(&self) -> Session {
        let accepted = async {
            let (stream, _) = self.listener.accept().await.expect("accepts");
            let mut socket = accept_async(stream).await.expect("upgrades");
            let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no hello") };
            match serde_json::from_str(&text).expect("a frame") {
                FromAgent::Hello(hello) => Session { socket, hello: *hello },
                other => panic!("not a hello: {other:?}"),
            }
        };
        tokio::time::timeout(DEADLINE, accepted).await.expect("an agent connects")
    }

    /// The next agent that connects, welcomed by the control plane `c1` and told that nothing is wished.
    pub(crate) async fn session(&self) -> Session {
        let mut session = self.hello().await;
        session.welcome("c1", 0).await;
        session
    }
}

impl Session {
    pub(crate) async fn send(&mut self, frame: ToAgent) {
        let text = serde_json::to_string(&frame).expect("serialises");
        self.socket.send(Message::text(text)).await.expect("sends");
    }

    pub(crate) async fn welcome(&mut self, cluster: &str, store_epoch: u64) {
        let welcome = Welcome {
            protocol: 1,
            session_id: "s".into(),
            cluster_id: cluster.into(),
            store_epoch,
            heartbeat_interval_ms: 1000,
            server_time: 0,
        };
        self.send(ToAgent::Welcome(welcome)).await;
    }

    /// The whole desired set, in one part.
    pub(crate) async fn sync(&mut self, replicas: &[(&str, u64)]) {
        let entry = |(uid, version): &(&str, u64)| SyncEntry {
            uid: Uid::new(*uid),
            replica_id: format!("replica-{uid}"),
            spec_version: ResourceVersion::new(*version),
        };
        let replicas = replicas.iter().map(entry).collect();
        self.send(ToAgent::Sync(Sync { part: 0, last: true, replicas })).await;
    }

    pub(crate) async fn launch(&mut self, uid: &str, version: u64, definition: Definition) {
        let launch = Launch {
            service: definition,
            replica_id: format!("replica-{uid}"),
            id: format!("launch-{uid}-{version}"),
            uid: Uid::new(uid),
            namespace: "default".into(),
            spec_version: ResourceVersion::new(version),
        };
        self.send(ToAgent::Launch(Box::new(launch))).await;
    }

    pub(crate) async fn update(&mut self, uid: &str, version: u64, definition: Definition) {
        let update = Update {
            service_name: "web".into(),
            config: definition,
            replica_id: Some(format!("replica-{uid}")),
            id: format!("update-{uid}-{version}"),
            uid: Uid::new(uid),
            namespace: "default".into(),
            spec_version: ResourceVersion::new(version),
        };
        self.send(ToAgent::Update(Box::new(update))).await;
    }

    pub(crate) async fn ack(&mut self, id: &str) {
        self.until(id, |frame| matches!(frame, FromAgent::Ack(ack) if ack.id == id).then_some(())).await;
    }

    pub(crate) async fn stop(&mut self, uid: &str, version: u64) {
        let stop = StopCommand {
            service_name: "web".into(),
            replica_id: format!("replica-{uid}"),
            id: format!("stop-{uid}-{version}"),
            uid: Uid::new(uid),
            namespace: "default".into(),
            spec_version: ResourceVersion::new(version),
            reason: "Test".into(),
        };
        self.send(ToAgent::Stop(stop)).await;
    }

    pub(crate) async fn forget(&mut self, uid: &str) {
        self.send(ToAgent::Forget(Forget { uid: Uid::new(uid), replica_id: format!("replica-{uid}") })).await;
    }

    pub(crate) async fn close(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        self.socket.close(Some(frame)).await.expect("closes");
    }

    /// The next frame; none when the agent has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<FromAgent> {
        loop {
            let message = tokio::time::timeout(DEADLINE, self.socket.next()).await.expect("the agent says something");
            match message {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("a frame")),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Waits for the frame that `wanted` makes something of.
    pub(crate) async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(FromAgent) -> Option<T>) -> T {
        let found = async {
            loop {
                let frame = self.next().await.unwrap_or_else(|| panic!("closed before: {what}"));
                if let Some(found) = wanted(frame) {
                    return found;
                }
            }
        };
        // Heartbeats go on whatever else does not.
        tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// Waits until a replica stands so.
    pub(crate) async fn status(&mut self, uid: &str, state: &str) -> StatusReport {
        let what = format!("{uid} is {state}");
        self.until(&what, |frame| match frame {
            FromAgent::Status(report) if report.uid.as_str() == uid && report.state == state => Some(*report),
            _ => None,
        })
        .await
    }

    /// Every frame until the agent has been quiet, but for its heartbeats, for so many of them.
    pub(crate) async fn frames_over_heartbeats(&mut self, beats: usize) -> Vec<FromAgent> {
        let (mut frames, mut heard) = (Vec::new(), 0);
        while heard < beats {
            match self.next().await.expect("the agent goes on") {
                FromAgent::Heartbeat(_) => heard += 1,
                frame => frames.push(frame),
            }
        }
        frames
    }
}

/// Between two looks at a file a process writes.
pub(crate) const LOOK: Duration = Duration::from_millis(5);
