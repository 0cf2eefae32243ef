//! A run of one collector for tests: the session is real, the bundle is a list of messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bundle::item::NewItem;

use super::limits::{Limiter, Rates};
use super::session::{Message, Seen, Session};
use crate::collect::Step;
use crate::host::Host;

/// Everything that a collector hands over, in order; the last message says how it ended.
pub fn collect(step: &dyn Step, host: Arc<Host>) -> Vec<Message> {
    let (sender, receiver) = sync_channel(16);
    let limiter = Limiter::new(Rates::default(), u64::MAX, Arc::new(AtomicU64::new(0)), u64::MAX);
    let stop = Arc::new(AtomicBool::new(false));
    let mut session = Session::new(
        host,
        sender,
        Arc::new(Seen::default()),
        limiter,
        stop,
        Duration::from_mins(1),
    );
    std::thread::scope(|scope| {
        let drain = scope.spawn(move || receiver.into_iter().collect());
        let outcome = step.collect(&mut session).map_err(|failure| failure.to_string());
        session.done(outcome);
        drain.join().unwrap()
    })
}

/// The rows among them.
pub fn rows(messages: &[Message]) -> Vec<serde_json::Value> {
    let mut rows = Vec::new();
    for message in messages {
        if let Message::Rows(lines) = message {
            for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                rows.push(serde_json::from_slice(line).unwrap());
            }
        }
    }
    rows
}

/// The items among them, with content or without.
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

/// Every row as it stands has its keys in alphabetical order.
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
