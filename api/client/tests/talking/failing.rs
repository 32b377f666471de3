use orion_http::{HttpClient, WriteOptions};
use orion_model::ClientError;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{all, key, widget};

/// A server that reads each request and answers with this, whatever it is.
async fn answering(answer: &'static str) -> HttpClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}", listener.local_addr().expect("has an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await;
            if read.is_ok() && stream.write_all(answer.as_bytes()).await.is_ok() {
                // Ends the connection; the answer is whole or it is not.
                drop(stream);
            }
        }
    });
    HttpClient::new(&url, None).expect("a client")
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}", listener.local_addr().expect("has an address"));
    drop(listener);
    let client = HttpClient::new(&url, None).expect("a client");
    let write = client.create(&key(""), &widget("a", 1), WriteOptions::default()).await.map(drop);
    for error in
        [client.get(&key("a")).await.map(drop), client.list(&all()).await.map(drop), client.health().await, write]
    {
        let Err(ClientError::Unavailable(text)) = error else { panic!("{error:?}") };
        assert!(text.contains(&url) && text.to_lowercase().contains("refused"), "{text}");
    }
}

#[tokio::test]
async fn s6_a_write_whose_answer_is_lost_is_unknown_and_a_read_is_unavailable() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
        let client = answering(answer).await;
        let written = client.create(&key(""), &widget("a", 1), WriteOptions::default()).await;
        assert!(matches!(written, Err(ClientError::Unknown { .. })), "{written:?}");
        let read = client.get(&key("a")).await;
        assert!(matches!(read, Err(ClientError::Unavailable(_))), "{read:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_an_error_that_says_so() {
    let client = answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let error = client.get(&key("a")).await.expect_err("is no object");
    assert!(
        matches!(&error, ClientError::BadRequest(text) if text.contains("widgets.example.org default/a")),
        "{error}"
    );
    let client = answering("HTTP/1.1 302 Found\r\nlocation: http://evil.example/\r\ncontent-length: 0\r\n\r\n").await;
    let error = client.get(&key("a")).await.expect_err("is not followed");
    assert!(error.to_string().contains("302 Found"), "{error}");
}

#[test]
fn only_http_urls_are_taken() {
    for url in ["", "localhost:6060", "https://localhost", "ws://localhost/ws", "http://"] {
        assert!(matches!(HttpClient::new(url, None), Err(ClientError::BadRequest(_))), "{url}");
    }
    assert_eq!(HttpClient::new("http://localhost:6060/", None).expect("is one").server(), "http://localhost:6060");
}
