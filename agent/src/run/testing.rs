//! Runs one collector in a test, with nothing behind it but a list.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bundle::item::NewItem;

use super::limits::{Limiter, Rates};
use super::session::{Message, Seen, Session};
use crate::collect::Step;
use crate::host::Host;

/// A session without limits that hands over to `messages`.
pub fn session(host: Arc<Host>, messages: mpsc::SyncSender<Message>) -> Session {
    bounded_session(host, messages, u64::MAX)
}

/// The same, with room for `bytes_max` of content.
pub fn bounded_session(host: Arc<Host>, messages: mpsc::SyncSender<Message>, bytes_max: u64) -> Session {
    let limiter = Limiter::new(Rates::default(), bytes_max, Arc::new(AtomicU64::new(0)), u64::MAX);
    let stopped = Arc::new(AtomicBool::new(false));
    Session::new(host, messages, Arc::new(Seen::default()), limiter, stopped, Duration::from_mins(5))
}

/// Everything that `step` hands over on `host`, in order; the last message is how it ended.
pub fn collect(step: &dyn Step, host: Arc<Host>) -> Vec<Message> {
    let (messages, received) = mpsc::sync_channel(64);
    let mut session = session(host, messages);
    std::thread::scope(|scope| {
        let drained = scope.spawn(move || received.iter().collect());
        let outcome = step.collect(&mut session).map_err(|failure| failure.to_string());
        session.done(outcome);
        drained.join().unwrap_or_default()
    })
}

/// The rows among the messages, parsed.
///
/// # Panics
/// When a row is no JSON: the test fails then.
pub fn rows(messages: &[Message]) -> Vec<serde_json::Value> {
    let bytes: Vec<u8> = messages
        .iter()
        .filter_map(|message| match message {
            Message::Rows(rows) => Some(rows.as_slice()),
            _ => None,
        })
        .collect::<Vec<_>>()
        .concat();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The items among the messages, with content or without.
pub fn items(messages: &[Message]) -> Vec<NewItem> {
    messages
        .iter()
        .filter_map(|message| match message {
            Message::Item(item) | Message::Whole(item, _) | Message::Begin(item) | Message::Raw(item, ..) => {
                Some((**item).clone())
            }
            _ => None,
        })
        .collect()
}

/// Fails unless every row has its keys in alphabetical order.
///
/// # Panics
/// When one does not: the test fails then.
pub fn assert_keys_sorted(messages: &[Message]) {
    for message in messages {
        if let Message::Rows(lines) = message {
            for line in str::from_utf8(lines).unwrap().lines() {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(line, value.to_string(), "keys out of order");
            }
        }
    }
}

/// Runs a tool of the host inside a network namespace with `input`; false, with the reason printed, where it cannot.
pub fn inside(namespace: &std::os::fd::OwnedFd, program: &str, args: &[&str], input: &str) -> bool {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let namespace = crate::host::regular::fd_path(namespace).replace("self", &std::process::id().to_string());
    let child = Command::new("nsenter")
        .arg(format!("--net={namespace}"))
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let done = child.and_then(|mut child| {
        child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()))?;
        child.wait()
    });
    let is_done = done.is_ok_and(|status| status.success());
    if !is_done {
        // Not println: the test runner would swallow it with the output of a test that passes.
        let _ = writeln!(std::io::stderr(), "not tested: {program} is not there, or this kernel refuses it");
    }
    is_done
}
