//! The other sides of the server's pages: a listener for HTTP and one for mail, which answer as they are told and keep
//! what they got.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a peer answers; when nothing is left, that all is well.
#[derive(Clone)]
pub enum Reply {
    /// A status and a body, or an SMTP code.
    Says(u16, &'static str),
    /// 302 to there.
    Elsewhere(String),
    /// Nothing, and the connection stays open.
    Nothing,
}

/// What a peer got: the headers in lower case, and the body, or a mail.
#[derive(Clone, Debug)]
pub struct Got {
    pub body: String,
    pub headers: HashMap<String, String>,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Clone)]
pub struct Peer {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl Peer {
    pub async fn http() -> Self {
        let (peer, listener) = Self::new().await;
        let listens = peer.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(listens.clone().answer_http(stream));
            }
        });
        peer
    }

    pub async fn smtp() -> Self {
        let (peer, listener) = Self::new().await;
        let listens = peer.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(listens.clone().answer_smtp(stream));
            }
        });
        peer
    }

    async fn new() -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self { address, got: Arc::default(), replies: Arc::default() }, listener)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it answers next.
    pub fn answers(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().unwrap().extend(replies);
    }

    /// All that it got since this was asked last.
    pub fn got(&self) -> Vec<Got> {
        std::mem::take(&mut self.got.lock().unwrap())
    }

    fn take(&self, got: Got) -> Option<Reply> {
        self.got.lock().unwrap().push(got);
        self.replies.lock().unwrap().pop_front()
    }

    async fn answer_http(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            let (name, value) = line.trim_end().split_once(": ").unwrap_or(("request", line.trim_end()));
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        let body = String::from_utf8(body).unwrap();
        let (status, more, body) = match self.take(Got { body, headers }) {
            None => (200, String::new(), "ok"),
            Some(Reply::Says(status, body)) => (status, String::new(), body),
            Some(Reply::Elsewhere(url)) => (302, format!("location: {url}\r\n"), ""),
            Some(Reply::Nothing) => return std::future::pending().await,
        };
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
        // Who asked may have gone.
        let _ = stream.write_all(answer.as_bytes()).await;
    }

    /// Enough of RFC 5321 for one mail. What it is told to answer, it answers to the recipient.
    async fn answer_smtp(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 peer\r\n").await.unwrap();
        let (mut headers, mut is_mail, mut mail) = (HashMap::new(), false, String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let answer = if is_mail && line != ".\r\n" {
                mail.push_str(&line);
                continue;
            } else if is_mail {
                is_mail = false;
                self.got.lock().unwrap().push(Got { body: std::mem::take(&mut mail), headers: headers.clone() });
                "250 ok".to_owned()
            } else {
                let (verb, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
                headers.insert(verb.to_lowercase(), rest.to_owned());
                is_mail = verb == "DATA";
                let reply = if verb == "RCPT" { self.replies.lock().unwrap().pop_front() } else { None };
                match (verb, reply) {
                    ("DATA", _) => "354 go on".to_owned(),
                    (_, Some(Reply::Says(code, text))) => format!("{code} {text}"),
                    (_, Some(_)) => return std::future::pending().await,
                    _ => "250 ok".to_owned(),
                }
            };
            if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Waits until it is so.
pub async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let patience = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < patience, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
