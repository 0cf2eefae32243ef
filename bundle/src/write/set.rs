//! The set of lines that goes out with each checkpoint: items, bodyfile, timeline, custody.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use wire::Sha256;

use crate::item::Item;
use crate::merkle::Tree;
use crate::time::Instant;
use crate::timeline::{Event, EventLine, bodyfile_line, times_of};

/// The longest item line; a reader may refuse a longer one.
const LINE_BYTES_MAX: usize = 64 << 10;

/// See the module.
pub(super) struct Set {
    hostname: String,
    pub(super) items: String,
    /// Item lines in `items`.
    pub(super) items_held: u64,
    pub(super) bodyfile: String,
    pub(super) timeline: String,
    pub(super) custody: String,
    pub(super) tree: Tree,
    custody_seq: u64,
    custody_head: Sha256,
}

impl Set {
    pub(super) fn new(hostname: String) -> Self {
        Self {
            hostname,
            items: String::new(),
            items_held: 0,
            bodyfile: String::new(),
            timeline: String::new(),
            custody: String::new(),
            tree: Tree::default(),
            custody_seq: 0,
            custody_head: Sha256([0; 32]),
        }
    }

    /// Bytes of the lines that wait.
    pub(super) fn held_bytes(&self) -> usize {
        self.items.len() + self.bodyfile.len() + self.timeline.len() + self.custody.len()
    }

    /// The id that the next item gets.
    pub(super) fn next_id(&self) -> u64 {
        self.tree.size() + 1
    }

    /// Adds the line of an item, and its lines in timeline and bodyfile.
    pub(super) fn item(&mut self, item: &Item, path: &[u8], with_times: bool) {
        let line = bounded_line(item);
        self.tree.push(line.as_bytes());
        self.items.push_str(&line);
        self.items.push('\n');
        self.items_held += 1;
        if let Some(meta) = item.meta.as_deref().filter(|_| with_times) {
            bodyfile_line(&mut self.bodyfile, path, meta);
            for (at, desc) in times_of(meta) {
                let line = EventLine::new(at, &desc, &item.path, "fs:stat", &self.hostname, Some(item.id));
                push_line(&mut self.timeline, &line);
            }
        }
    }

    /// Adds something that happened.
    pub(super) fn event(&mut self, event: &Event) {
        let line = EventLine::new(event.at, event.desc, &event.message, event.data_type, &self.hostname, None);
        push_line(&mut self.timeline, &line);
    }

    /// Adds a custody line: hash-chained over the line before, its LF included.
    pub(super) fn custody(&mut self, time: Instant, event: &str, actor: &str, details: Map<String, Value>) {
        self.custody_seq += 1;
        let mut line = details;
        line.insert("actor".into(), json!(actor));
        line.insert("event".into(), json!(event));
        line.insert("prev_sha256".into(), json!(self.custody_head));
        line.insert("seq".into(), json!(self.custody_seq));
        line.insert("time".into(), json!(time));
        line.insert("v".into(), json!(1));
        let line = Value::Object(line).to_string() + "\n";
        self.custody_head = Sha256::of(line.as_bytes());
        self.custody.push_str(&line);
    }

    /// Digest of the last custody line.
    pub(super) fn custody_head(&self) -> Sha256 {
        self.custody_head
    }

    /// The lines that wait, each with the folder and extension of its entry; what is returned is held no more.
    pub(super) fn take(&mut self) -> [(&'static str, &'static str, String); 4] {
        self.items_held = 0;
        [
            ("items", "jsonl", std::mem::take(&mut self.items)),
            ("bodyfile", "txt", std::mem::take(&mut self.bodyfile)),
            ("timeline", "jsonl", std::mem::take(&mut self.timeline)),
            ("custody", "jsonl", std::mem::take(&mut self.custody)),
        ]
    }
}

/// The line of an item, held to [`LINE_BYTES_MAX`]: what a hostile file system can make long is left out, and said.
fn bounded_line(item: &Item) -> String {
    let line = serde_json::to_string(item).unwrap_or_default();
    if line.len() <= LINE_BYTES_MAX {
        return line;
    }
    let mut item = item.clone();
    for meta in [&mut item.meta, &mut item.meta_after].into_iter().flatten() {
        meta.xattrs_b64.clear();
        meta.extents = None;
    }
    item.error_ranges.clear();
    let said = item.reason.take().map_or_else(String::new, |reason| format!("{reason}; "));
    item.reason = Some(format!(
        "{said}extended attributes, extents and ranges are left out: the record had {} bytes",
        line.len()
    ));
    serde_json::to_string(&item).unwrap_or_default()
}

fn push_line(out: &mut String, line: &impl serde::Serialize) {
    out.push_str(&serde_json::to_string(line).unwrap_or_default());
    out.push('\n');
}

/// One line of a manifest, as sha256sum(1) writes it.
pub(super) fn manifest_line(out: &mut String, digest: Sha256, name: &str) {
    let _ = writeln!(out, "{digest}  {name}");
}
