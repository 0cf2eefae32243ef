//! A line of a web server's log: the Common Log Format and what was built on it (Apache's `combined` and
//! `vhost_combined`, nginx's default), and Caddy's JSON.

use bundle::time::Instant;
use jiff::civil;

use super::log_line::{clock, month};
use super::text::decimal;

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub address: Vec<u8>,
    /// Host that was asked, where the log has it.
    pub host: Option<Vec<u8>>,
    /// User who was logged in, as HTTP knows it.
    pub user: Option<Vec<u8>>,
    /// When.
    pub at: Option<Instant>,
    /// Method; absent when what was sent is no request.
    pub method: Option<Vec<u8>>,
    /// What was asked for; all that was sent, when it is no request.
    pub uri: Vec<u8>,
    /// Version of the protocol.
    pub protocol: Option<Vec<u8>>,
    /// Status of the answer.
    pub status: Option<u64>,
    /// Length of the answer.
    pub response_bytes: Option<u64>,
    /// Where the client says that it came from.
    pub referer: Option<Vec<u8>>,
    /// What the client says that it is.
    pub user_agent: Option<Vec<u8>>,
}

impl Request {
    /// The request in a line; `None` for what is none.
    pub fn parse(line: &[u8]) -> Option<Self> {
        if line.starts_with(b"{") { json(line) } else { common(line) }
    }
}

/// `[HOST:PORT ]ADDRESS IDENT USER [TIME] "REQUEST" STATUS BYTES["REFERER" "AGENT"]`.
fn common(line: &[u8]) -> Option<Request> {
    let open = find(line, b" [")?;
    let (head, rest) = (line.get(..open)?, line.get(open + 2..)?);
    let close = find(rest, b"] \"")?;
    let (time, rest) = (rest.get(..close)?, rest.get(close + 3..)?);
    let mut words: Vec<&[u8]> = head.split(|byte| *byte == b' ').collect();
    if words.len() < 3 {
        return None;
    }
    let host = (words.len() > 3).then(|| words.remove(0).to_vec());
    let (request, rest) = quoted(rest)?;
    let mut numbers = rest.trim_ascii_start().splitn(3, |byte| *byte == b' ');
    let status = numbers.next().and_then(decimal);
    let response_bytes = numbers.next().and_then(decimal);
    let rest = numbers.next().unwrap_or_default();
    let (referer, rest) = rest.strip_prefix(b"\"").and_then(quoted).unwrap_or((Vec::new(), b""));
    let (user_agent, _) = rest.trim_ascii_start().strip_prefix(b"\"").and_then(quoted).unwrap_or((Vec::new(), b""));
    let present = |value: Vec<u8>| (!value.is_empty() && value != b"-").then_some(value);
    let (method, uri, protocol) = split_request(&request);
    Some(Request {
        address: words.first()?.to_vec(),
        host,
        user: present(words.get(2..)?.join(&b' ')),
        at: time_of(time),
        method,
        uri,
        protocol,
        status,
        response_bytes,
        referer: present(referer),
        user_agent: present(user_agent),
    })
}

fn split_request(request: &[u8]) -> (Option<Vec<u8>>, Vec<u8>, Option<Vec<u8>>) {
    let method = request.iter().position(|byte| *byte == b' ').map(|at| request.split_at(at));
    let Some((method, rest)) =
        method.filter(|(method, _)| method.iter().all(|b| b.is_ascii_alphabetic() || *b == b'-'))
    else {
        return (None, request.to_vec(), None);
    };
    let rest = rest.trim_ascii_start();
    let protocol = rest.iter().rposition(|byte| *byte == b' ').map(|at| rest.split_at(at));
    match protocol.filter(|(_, protocol)| protocol.starts_with(b" HTTP/")) {
        Some((uri, protocol)) => (Some(method.to_vec()), uri.to_vec(), protocol.get(1..).map(<[u8]>::to_vec)),
        None => (Some(method.to_vec()), rest.to_vec(), None),
    }
}

/// What is before the closing quote, with `\xHH` and `\"` decoded, and what comes after it.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut plain = Vec::new();
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'"' => return Some((plain, text.get(at + 1..)?)),
            b'\\' if text.get(at + 1) == Some(&b'x') => {
                let digits = text.get(at + 2..at + 4).and_then(|digits| super::text::in_base(digits, 16));
                match digits.and_then(|byte| u8::try_from(byte).ok()) {
                    Some(byte) => {
                        plain.push(byte);
                        at += 4;
                    }
                    None => {
                        plain.push(b'\\');
                        at += 1;
                    }
                }
            }
            b'\\' => {
                plain.push(*text.get(at + 1)?);
                at += 2;
            }
            byte => {
                plain.push(byte);
                at += 1;
            }
        }
    }
}

/// `30/Nov/2025:10:53:20 +0000`.
fn time_of(text: &[u8]) -> Option<Instant> {
    let (time, offset) = text.split_at(text.iter().position(|byte| *byte == b' ')?);
    let mut parts = time.splitn(2, |byte| *byte == b':');
    let mut date = parts.next()?.split(|byte| *byte == b'/');
    let day = i8::try_from(decimal(date.next()?)?).ok()?;
    let month = month(date.next()?)?;
    let year = i16::try_from(decimal(date.next()?)?).ok()?;
    let at = civil::Date::new(year, month, day).ok()?.to_datetime(clock(parts.next()?)?);
    let offset = offset.trim_ascii();
    let minutes = i128::from(decimal(offset.get(1..3)?)?) * 60 + i128::from(decimal(offset.get(3..5)?)?);
    let minutes = if offset.first() == Some(&b'-') { -minutes } else { minutes };
    let utc = jiff::tz::Offset::UTC.to_timestamp(at).ok()?;
    Some(Instant(utc.as_nanosecond() - minutes * 60_000_000_000))
}

fn json(line: &[u8]) -> Option<Request> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    let request = value.get("request")?;
    let text = |value: Option<&serde_json::Value>| Some(value?.as_str()?.as_bytes().to_vec());
    let header = |name: &str| text(request.pointer(&format!("/headers/{name}/0")));
    let seconds = value.get("ts").and_then(serde_json::Value::as_f64).filter(|seconds| (0.0..1e11).contains(seconds));
    #[expect(clippy::cast_possible_truncation, reason = "bounded above; microseconds are all that the number holds")]
    let at = seconds.map(|seconds| Instant((seconds * 1e6) as i128 * 1000));
    Some(Request {
        address: text(request.get("remote_ip")).or_else(|| text(request.get("remote_addr")))?,
        host: text(request.get("host")),
        user: text(value.get("user_id")).filter(|user| !user.is_empty()),
        at,
        method: text(request.get("method")),
        uri: text(request.get("uri")).unwrap_or_default(),
        protocol: text(request.get("proto")),
        status: value.get("status").and_then(serde_json::Value::as_u64),
        response_bytes: value.get("size").and_then(serde_json::Value::as_u64),
        referer: header("Referer"),
        user_agent: header("User-Agent"),
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_are_read() {
        let line = b"192.0.2.7 - bob [30/Nov/2025:10:53:20 +0100] \"POST /up.php?x=\\x22 HTTP/1.1\" 200 512 \"-\" \"curl/8 \\\"x\\\"\"";
        let request = Request::parse(line).unwrap();
        assert_eq!((request.address.as_slice(), request.user.as_deref()), (&b"192.0.2.7"[..], Some(&b"bob"[..])));
        assert_eq!(request.at, Some(Instant(1_764_496_400_000_000_000)));
        assert_eq!((request.method.as_deref(), request.uri.as_slice()), (Some(&b"POST"[..]), &b"/up.php?x=\""[..]));
        assert_eq!((request.status, request.response_bytes, request.referer), (Some(200), Some(512), None));
        assert_eq!(request.user_agent.unwrap(), b"curl/8 \"x\"");
        let vhost = b"www.example:443 ::1 - - [30/Nov/2025:10:53:20 +0000] \"\\x16\\x03\" 400 -";
        let request = Request::parse(vhost).unwrap();
        assert_eq!(
            (request.host.unwrap(), request.method, request.uri),
            (b"www.example:443".to_vec(), None, vec![0x16, 3])
        );
        let caddy = br#"{"ts":1764500000.5,"request":{"remote_ip":"192.0.2.1","method":"GET","host":"h","uri":"/","proto":"HTTP/2.0","headers":{"User-Agent":["x"]}},"status":404,"size":0}"#;
        let request = Request::parse(caddy).unwrap();
        assert_eq!((request.at, request.status), (Some(Instant(1_764_500_000_500_000_000)), Some(404)));
        assert_eq!(request.user_agent.unwrap(), b"x");
    }

    #[test]
    fn what_is_no_request_is_none() {
        for line in [&b""[..], b"a b", b"a - - [x] \"unclosed", b"{", b"{}", b" [] \"\"", b"\xff [] \"\" "] {
            assert_eq!(Request::parse(line), None, "{line:?}");
        }
        let odd = Request::parse(b"a - - [no time] \"\" x y").unwrap();
        assert_eq!((odd.at, odd.status, odd.uri), (None, None, Vec::new()));
    }
}
