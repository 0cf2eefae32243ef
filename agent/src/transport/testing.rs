//! A small server of the tus protocol and of receipts, for tests: real HTTP on loopback, and faults on demand.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::checkpoint::StreamLine;
use bundle::sign::SigningKey;
use wire::agent_api::{Delivery, OrderReport, OrdersReply};
use wire::custody::HeadPoint;
use wire::receipt::{RECEIPT_TYPE, Receipt};
use wire::signed::namespace;
use wire::{Instant, OrderId, Sha256};

/// What happens to the next PATCH with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is cut after so many bytes of the body; they are kept.
    CutBody(usize),
    /// The connection is cut when all of the body is kept, before the answer.
    CutAnswer,
    /// It arrives damaged.
    Checksum,
    /// 503.
    Busy,
    /// What was acknowledged is gone.
    Forget,
    /// It is answered as if it went well, and nothing of it is kept.
    KeepNothing,
    /// It goes well.
    None,
}

/// What the server saw.
#[derive(Default)]
pub(crate) struct Seen {
    /// The bundle.
    pub content: Vec<u8>,
    /// `Upload-Metadata` of each creation.
    pub created: Vec<String>,
    /// Faults to come.
    pub faults: VecDeque<Fault>,
    /// Lengths of the bodies of PATCH, as announced.
    pub patches: Vec<usize>,
    /// `Upload-Length`.
    pub length: Option<u64>,
    /// Requests that broke the protocol, and bytes that were sent again.
    pub complaints: Vec<String>,
    /// Transport checkpoints.
    pub lines: Vec<StreamLine>,
    /// Bytes that were acknowledged to the client.
    acknowledged: u64,
    /// After so many PATCHes it is away: each request is answered with 503.
    pub away_after: Option<usize>,
    /// Opens what comes from a spool.
    pub spool_key: Option<age::x25519::Identity>,
    /// Offsets of what came from a spool.
    pub spooled: Vec<u64>,
    /// Orders that wait, and are delivered until something was told of them.
    pub orders: Vec<Delivery>,
    /// What was told of orders.
    pub told: Vec<(OrderId, OrderReport)>,
}

/// A server that lives as long as the process.
pub(crate) struct TestServer {
    /// `http://127.0.0.1:port`
    pub address: String,
    /// What it saw.
    pub seen: Arc<Mutex<Seen>>,
}

impl TestServer {
    /// Listens; receipts are signed with `key`.
    pub(crate) fn start(key: SigningKey, faults: &[Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen { faults: faults.iter().copied().collect(), ..Seen::default() }));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, key) = (Arc::clone(&shared), key.clone());
                std::thread::spawn(move || while let Ok(true) = answer(&stream, &seen, &key) {});
            }
        });
        Self { address, seen }
    }

    /// What it saw so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

struct Request {
    line: String,
    headers: Vec<(String, String)>,
    length: usize,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn head(reader: &mut impl io::BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim_end().split_once(": ") {
            Some((key, value)) => headers.push((key.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let request = Request { line: line.trim_end().to_owned(), headers, length: 0 };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    Ok(Some(Request { length, ..request }))
}

fn reply(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> io::Result<bool> {
    // HEAD names no length: the client would not read it.
    write!(stream, "HTTP/1.1 {status}\r\nTus-Resumable: 1.0.0\r\n{headers}Content-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)?;
    Ok(true)
}

/// Answers one request; false when the connection is over.
fn answer(stream: &TcpStream, seen: &Mutex<Seen>, key: &SigningKey) -> io::Result<bool> {
    let mut reader = BufReader::new(stream);
    let Some(request) = head(&mut reader)? else { return Ok(false) };
    let mut words = request.line.split(' ');
    if seen.lock().unwrap().is_away() {
        io::copy(&mut reader.take(request.length as u64), &mut io::sink())?;
        return reply(stream, "503 Service Unavailable", "", b"");
    }
    match (words.next().unwrap(), words.next().unwrap()) {
        ("PATCH", "/api/v1/uploads/1") => patch(stream, &mut reader, &request, seen),
        (method, path) => {
            let mut body = vec![0; request.length];
            reader.read_exact(&mut body)?;
            let mut seen = seen.lock().unwrap();
            match (method, path) {
                ("POST", "/api/v1/uploads") => {
                    seen.created.push(request.header("upload-metadata").unwrap_or_default().to_owned());
                    reply(stream, "201 Created", "Location: /api/v1/uploads/1\r\n", b"")
                }
                ("HEAD", "/api/v1/uploads/1") => {
                    seen.acknowledged = seen.content.len() as u64;
                    let length = seen.length.map(|length| format!("Upload-Length: {length}\r\n")).unwrap_or_default();
                    let headers = format!("Upload-Offset: {}\r\n{length}", seen.content.len());
                    reply(stream, "200 OK", &headers, b"")
                }
                ("POST", "/api/v1/uploads/1/checkpoints") => {
                    let receipts = seen.take_lines(&body, key);
                    reply(stream, "200 OK", "", &serde_json::to_vec(&receipts).unwrap())
                }
                ("PATCH", "/api/v1/uploads/1/spooled") => {
                    let offset: u64 = request.header("upload-offset").unwrap().parse().unwrap();
                    seen.take_spooled(offset, &body);
                    reply(stream, "204 No Content", &format!("Upload-Offset: {}\r\n", seen.content.len()), b"")
                }
                ("PUT", "/agent/v1/host") => reply(stream, "204 No Content", "", b""),
                ("GET", path) if path.starts_with("/agent/v1/orders?") => {
                    let server_time = bundle::time::Clock::realtime(&crate::host::SystemClock);
                    let orders = seen.orders.clone();
                    let answer =
                        OrdersReply { cas: Vec::new(), nonce: None, orders, server_time, spool_recipient: None };
                    reply(stream, "200 OK", "", &serde_json::to_vec(&answer).unwrap())
                }
                ("POST", path) if path.starts_with("/agent/v1/orders/") => {
                    let order: OrderId = path.split('/').nth(4).unwrap().parse().unwrap();
                    seen.orders.retain(|waits| waits.order != order);
                    seen.told.push((order, serde_json::from_slice(&body).unwrap()));
                    reply(stream, "204 No Content", "", b"")
                }
                _ => reply(stream, "404 Not Found", "", b""),
            }
        }
    }
}

fn patch(stream: &TcpStream, reader: &mut impl Read, request: &Request, seen: &Mutex<Seen>) -> io::Result<bool> {
    let fault = {
        let mut seen = seen.lock().unwrap();
        let offset: u64 = request.header("upload-offset").unwrap().parse().unwrap();
        seen.patches.push(request.length);
        if offset < seen.acknowledged {
            let complaint = format!("{} acknowledged bytes were sent again", seen.acknowledged - offset);
            seen.complaints.push(complaint);
        }
        if offset != seen.content.len() as u64 {
            drop(seen);
            io::copy(&mut reader.take(request.length as u64), &mut io::sink())?;
            return reply(stream, "409 Conflict", "", b"");
        }
        if let Some(length) = request.header("upload-length") {
            seen.length = Some(length.parse().unwrap());
        }
        if request.length == 0 { Fault::None } else { seen.faults.pop_front().unwrap_or(Fault::None) }
    };
    let wanted = if let Fault::CutBody(after) = fault { after.min(request.length) } else { request.length };
    let mut body = vec![0; wanted];
    reader.read_exact(&mut body)?;
    let mut seen = seen.lock().unwrap();
    if request.length > 0 && !matches!(fault, Fault::CutBody(_)) {
        let sum = format!("sha256 {}", BASE64_STANDARD.encode(Sha256::of(&body).0));
        if request.header("upload-checksum") != Some(&sum) {
            seen.complaints.push("a checksum does not fit".to_owned());
        }
    }
    match fault {
        Fault::Checksum => return reply(stream, "460 Checksum Mismatch", "", b""),
        Fault::Busy => return reply(stream, "503 Service Unavailable", "", b""),
        Fault::Forget => {
            seen.content.clear();
            return reply(stream, "503 Service Unavailable", "", b"");
        }
        Fault::KeepNothing => {}
        Fault::CutBody(_) | Fault::CutAnswer | Fault::None => seen.content.extend_from_slice(&body),
    }
    if matches!(fault, Fault::CutBody(_) | Fault::CutAnswer) {
        stream.shutdown(std::net::Shutdown::Both)?;
        return Ok(false);
    }
    seen.acknowledged = seen.content.len() as u64;
    let headers = format!("Upload-Offset: {}\r\n", seen.content.len());
    reply(stream, "204 No Content", &headers, b"")
}

impl Seen {
    fn is_away(&self) -> bool {
        self.away_after.is_some_and(|patches| self.patches.len() >= patches)
    }

    fn take_spooled(&mut self, offset: u64, file: &[u8]) {
        let content = age::decrypt(self.spool_key.as_ref().unwrap(), file).unwrap();
        let there = self.content.len() as u64 - offset;
        if there > 0 {
            self.complaints.push(format!("{there} bytes from the spool were there"));
        }
        self.content.extend_from_slice(content.get(usize::try_from(there).unwrap()..).unwrap_or_default());
        self.acknowledged = self.content.len() as u64;
        self.spooled.push(offset);
    }

    fn take_lines(&mut self, body: &[u8], key: &SigningKey) -> wire::agent_api::CheckpointsReply {
        let mut receipts = Vec::new();
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            let line: StreamLine = serde_json::from_slice(line).unwrap();
            let checkpoint = line.checkpoint.clone();
            if checkpoint.offset != self.acknowledged {
                let (offset, acknowledged) = (checkpoint.offset, self.acknowledged);
                self.complaints.push(format!("a checkpoint at {offset}, and {acknowledged} bytes were acknowledged"));
            }
            let receipt = Receipt {
                agent_certificate_serial: None,
                bundle: checkpoint.bundle,
                custody: HeadPoint { root: Sha256::of(b""), size: 0 },
                offset: checkpoint.offset,
                phase: checkpoint.phase,
                phase_complete: checkpoint.phase_complete,
                received_at: Instant(0),
                seq: checkpoint.seq,
                sha256: Sha256::of(&self.content),
                kind: RECEIPT_TYPE.into(),
                v: 1,
            };
            let message = serde_json::to_vec(&receipt).unwrap();
            receipts.push(key.envelope("server", namespace::RECEIPT, &message).unwrap());
            self.lines.push(line);
        }
        wire::agent_api::CheckpointsReply { receipts }
    }
}
