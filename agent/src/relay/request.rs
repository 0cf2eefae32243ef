//! A CONNECT request (RFC 9110, 9.3.6) and what it is answered with; and the request of our own to a proxy further on.

use std::io;

use reqwest::header::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Target;

/// Read at a time.
const PIECE_BYTES: usize = 1 << 10;
const END: &[u8] = b"\r\n\r\n";

/// Why somebody is not let through.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The server, or this host's own proxy.
    #[error("{target} cannot be reached: {why}")]
    Away {
        /// Where.
        target: String,
        /// Why.
        why: String,
    },
    /// It asked for something that is not a server of this host's.
    #[error("it asked for {0}, which is no server that this host is enrolled at")]
    Elsewhere(String),
    /// There are as many connections as there may be.
    #[error("there are too many connections")]
    Full,
    /// No request.
    #[error("it sent what is no request")]
    Malformed,
    /// Another request than CONNECT.
    #[error("it sent another request than CONNECT")]
    Method,
    /// The connection broke before there was a request.
    #[error("its connection ended before its request did")]
    Gone,
    /// The request is too long.
    #[error("its request is too long")]
    Long,
    /// The request did not come in time.
    #[error("its request did not come in time")]
    Slow,
    /// This address has as many connections as it may have.
    #[error("it has too many connections")]
    TooMany,
}

impl Refused {
    /// For the peer, which learns no more than it needs.
    pub(super) fn answer(&self) -> String {
        let status = match self {
            Self::Away { .. } => "502 Bad Gateway",
            Self::Elsewhere(_) => "403 Forbidden",
            Self::Full => "503 Service Unavailable",
            Self::Malformed | Self::Gone => "400 Bad Request",
            Self::Method => "405 Method Not Allowed\r\nAllow: CONNECT",
            Self::Long => "431 Request Header Fields Too Large",
            Self::Slow => "408 Request Timeout",
            Self::TooMany => "429 Too Many Requests",
        };
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    }
}

/// A request to be let through.
pub(super) struct Request {
    /// `host:port`, as it was sent.
    pub(super) authority: String,
    /// What came behind the request already, for the server.
    pub(super) early: Vec<u8>,
}

impl Request {
    /// Reads one. Its header fields are read over: none of them changes anything.
    pub(super) async fn read(stream: &mut TcpStream, bytes_max: usize) -> Result<Self, Refused> {
        let (head, early) = read_head(stream, bytes_max).await?;
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| Refused::Malformed)?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["CONNECT", authority, "HTTP/1.1" | "HTTP/1.0"] => Ok(Self { authority: authority.to_owned(), early }),
            [_, _, version] if version.starts_with("HTTP/") => Err(Refused::Method),
            _ => Err(Refused::Malformed),
        }
    }
}

/// Everything up to the empty line, and what came behind it.
async fn read_head(stream: &mut TcpStream, bytes_max: usize) -> Result<(Vec<u8>, Vec<u8>), Refused> {
    let mut head = Vec::new();
    let mut piece = [0; PIECE_BYTES];
    loop {
        let length = stream.read(&mut piece).await.map_err(|_| Refused::Gone)?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { return Err(Refused::Gone) };
        head.extend_from_slice(read);
        if let Some(end) = head.windows(END.len()).position(|window| window == END) {
            let early = head.split_off(end + END.len());
            return if head.len() > bytes_max { Err(Refused::Long) } else { Ok((head, early)) };
        }
        if head.len() >= bytes_max {
            return Err(Refused::Long);
        }
    }
}

/// The address in a request, as addresses are compared; `None` for what is none.
pub(super) fn target(authority: &str) -> Option<Target> {
    let (_, port) = authority.rsplit_once(':')?;
    let is_plain = !authority.contains(['/', '?', '#', '@', '\\']) && port.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain || port.is_empty() {
        return None;
    }
    Target::of(&format!("https://{authority}").parse().ok()?)
}

/// Has a proxy further on let us through to `target`.
pub(super) async fn connect(
    stream: &mut TcpStream,
    target: &Target,
    authorization: Option<&HeaderValue>,
    bytes_max: usize,
) -> io::Result<()> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(value) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await?;
    let (head, early) = read_head(stream, bytes_max).await.map_err(|error| io::Error::other(error.to_string()))?;
    let status = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    match status {
        // In TLS the client speaks first: what came early is not the server's.
        b"200" if early.is_empty() => Ok(()),
        b"407" => Err(io::Error::other("this host's own proxy wants credentials, or others")),
        _ => Err(io::Error::other("this host's own proxy does not let through")),
    }
}
