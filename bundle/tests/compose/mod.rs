//! Writes bundles that break one rule on demand, and sign what they then are: the writer itself cannot.
//!
//! A bundle is composed always in the same way; at each named *site* a change can be made to the bytes that are about
//! to be written. What follows (digests, offsets, signatures) is computed from the changed bytes, so that exactly the
//! rule that stands at the site is broken.

#![allow(dead_code, missing_docs, clippy::pedantic, clippy::unwrap_used, reason = "each test uses its part of it")]

pub mod encrypted;
pub mod files;
pub mod parts;
pub mod vectors;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::checkpoint::{NAMESPACE, to_sorted_json};
use bundle::merkle::Tree;
use bundle::sign::SigningKey;
use bundle::zip::{End, Entry, EntryPlace, Method, Stamp, central, descriptor, end, local};
use serde_json::{Value, json};
use wire::Sha256;

/// `{"pid":1}` and LF, twenty times, deflated once and for all: no compressor's version changes the vectors.
const DEFLATED: &[u8] = &[171, 86, 42, 200, 76, 81, 178, 50, 172, 229, 170, 30, 210, 44, 0];
const TIME: &str = "2026-11-21T17:45:48.000000000Z";
const BUNDLE: &str = "019aa781-d4e0-7707-8707-070707070707";

/// The key that signs the vectors. It is public: trust it for nothing.
pub fn key() -> SigningKey {
    SigningKey::from_seed(&[42; 32])
}

/// Another key.
pub fn other_key() -> SigningKey {
    SigningKey::from_seed(&[43; 32])
}

/// A change at a site: `local NAME`, `content NAME`, `data NAME`, `central NAME`, `end`, `item N`, `custody N`,
/// `checkpoint N`, `signature NAME`, `sidecar N`, `after NAME`, `skip NAME`.
#[derive(Clone, Copy)]
pub struct Change {
    pub site: &'static str,
    pub change: fn(&mut Composer, &mut Vec<u8>),
}

/// A bundle under way.
pub struct Composer {
    pub out: Vec<u8>,
    pub sidecar: Vec<u8>,
    pub key: SigningKey,
    with_index: bool,
    /// To whom the bundle says that it is encrypted: it then has a `pad`.
    recipient: Option<String>,
    /// Where the ZIP that ends with the index ends.
    pub boundary: usize,
    changes: Vec<Change>,
    entries: Vec<(Entry, EntryPlace, Sha256)>,
    since: usize,
    set: (Vec<u8>, Vec<u8>),
    items_in_set: u64,
    tree: Tree,
    custody: (u64, Sha256),
    seq: u64,
    prev: Option<Sha256>,
    sidecar_seq: u64,
}

/// The bundle with these changes, and its transport checkpoints.
///
/// Without an index the bundle is smaller, and has one transport checkpoint only.
pub fn compose(with_index: bool, changes: &[Change]) -> (Vec<u8>, Vec<u8>) {
    let composer = composed(with_index, None, changes);
    (composer.out, composer.sidecar)
}

/// The same, as one who has composed it.
pub fn composed(with_index: bool, recipient: Option<String>, changes: &[Change]) -> Composer {
    let mut composer = Composer {
        out: Vec::new(),
        sidecar: Vec::new(),
        key: key(),
        with_index,
        recipient,
        boundary: 0,
        changes: changes.to_vec(),
        entries: Vec::new(),
        since: 0,
        set: (Vec::new(), Vec::new()),
        items_in_set: 0,
        tree: Tree::default(),
        custody: (0, Sha256([0; 32])),
        seq: 0,
        prev: None,
        sidecar_seq: 0,
    };
    composer.whole_bundle();
    composer
}

impl Composer {
    fn whole_bundle(&mut self) {
        self.file("bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n");
        self.file("uac.log", b"holdfast-bundle/1 vector\n");
        let header = json!({
            "bundle": BUNDLE, "continues": null,
            "encryption": self.recipient.as_ref().map(|line| json!({"recipients": [line], "scheme": "age-v1"})), "format": "holdfast-bundle/1",
            "host": {"name": "web-1"}, "incident": "INC-2026-0007", "part": 1, "profile": {"name": "test"},
            "signer": key().public_line(), "signer_principal": "agent:web-1-abc", "started": TIME,
            "type": "evidence-bundle", "v": 1,
        });
        self.file("bundle.json", (header.to_string() + "\n").as_bytes());
        for folder in ["[root]/", "[root]/etc/", "[root]/run/", "[root]/var/", "data/", "data/custody/"] {
            self.folder(folder);
        }
        self.custody("collection_started");
        self.folder("checkpoints/");
        self.folder("data/volatile/");
        let content = b"{\"pid\":1}\n".repeat(20);
        self.known("data/volatile/processes.jsonl", Method::Deflate, DEFLATED, &content, None);
        self.item(
            json!({"kind": "record", "path": "data/volatile/processes.jsonl"}),
            Some("data/volatile/processes.jsonl"),
        );
        self.item(
            json!({"errno": 13, "error": "Permission denied", "path": "/proc/2/environ", "status": "denied"}),
            None,
        );
        self.folder("data/items/");
        self.custody("tier_completed");
        let with_index = self.with_index;
        self.checkpoint("volatile", with_index);
        self.root("[root]/etc/passwd", "0100644", "file", b"root:x:0:0:root:/root:/bin/sh\n");
        self.root("[root]/etc/alias", "0120777", "symlink", b"passwd");
        self.item(json!({"hardlink_of": 3, "path": "/etc/passwd-"}), None);
        self.streamed("[root]/etc/su", "0104755", b"streamed content\n");
        self.custody("sealing");
        self.file("data/agent.log", b"sealing\n");
        self.write_set();
        self.file("bag-info.txt", b"External-Identifier: vector\n");
        let payload = self.manifest(0, |name, _| name.starts_with("data/"));
        self.file("manifest-sha256.txt", payload.as_bytes());
        self.checkpoint("final", false);
        let tags = self.manifest(0, |name, mode| !name.starts_with("data/") && mode != 0o120_777);
        self.file("tagmanifest-sha256.txt", tags.as_bytes());
        let tags = self.content_of_last();
        self.signature("tagmanifest-sha256.txt.sig", &tags);
        let mut ending = Vec::new();
        self.directory(self.out.len(), &mut ending);
        self.at("directory", &mut ending);
        self.out.extend(ending);
        self.vouch(true);
        let mut nothing = Vec::new();
        self.at("after the end", &mut nothing);
        self.out.extend(nothing);
    }

    /// Makes the changes that stand at this site. True when there is one.
    fn at(&mut self, site: &str, bytes: &mut Vec<u8>) -> bool {
        let changes: Vec<Change> = self.changes.iter().copied().filter(|change| change.site == site).collect();
        for change in &changes {
            (change.change)(self, bytes);
        }
        !changes.is_empty()
    }

    pub fn folder(&mut self, name: &str) {
        self.known(name, Method::Stored, b"", b"", None);
    }

    pub fn file(&mut self, name: &str, content: &[u8]) {
        let mut content = content.to_vec();
        self.at(&format!("content {name}"), &mut content);
        self.known(name, Method::Stored, &content, &content, None);
    }

    fn known(&mut self, name: &str, method: Method, data: &[u8], content: &[u8], stamp: Option<(Stamp, u32)>) {
        if self.at(&format!("skip {name}"), &mut Vec::new()) {
            return;
        }
        self.at(&format!("before {name}"), &mut Vec::new());
        let mode = stamp.map_or(if name.ends_with('/') { 0o040_755 } else { 0o100_644 }, |(_, mode)| mode);
        let entry = Entry { name: name.to_owned(), method, streamed: false, stamp: stamp.map(|(stamp, _)| stamp) };
        let (compressed, size) = (data.len() as u64, content.len() as u64);
        let place =
            EntryPlace { offset: self.out.len() as u64, crc32: crc32fast::hash(content), compressed, size, mode };
        let mut bytes = Vec::new();
        local(&mut bytes, &entry, place.crc32, compressed, size);
        self.at(&format!("local {name}"), &mut bytes);
        let mut data = data.to_vec();
        self.at(&format!("data {name}"), &mut data);
        self.out.extend(bytes);
        self.out.extend(data);
        self.entries.push((entry, place, Sha256::of(content)));
    }

    fn streamed(&mut self, name: &str, mode: &str, content: &[u8]) {
        // One stored block: a deflate stream that needs no compressor.
        let length = u16::try_from(content.len()).unwrap();
        let mut data = vec![1];
        data.extend(length.to_le_bytes());
        data.extend((!length).to_le_bytes());
        data.extend(content);
        let (stamp, mode_bits) = (Stamp::new(1_700_000_000, 0, 0), u32::from_str_radix(mode, 8).unwrap());
        let entry = Entry { name: name.to_owned(), method: Method::Deflate, streamed: true, stamp: Some(stamp) };
        let (compressed, size) = (data.len() as u64, content.len() as u64);
        let crc32 = crc32fast::hash(content);
        let place = EntryPlace { offset: self.out.len() as u64, crc32, compressed, size, mode: mode_bits };
        let mut bytes = Vec::new();
        local(&mut bytes, &entry, 0, 0, 0);
        self.out.extend(bytes);
        self.out.extend(data);
        let mut bytes = Vec::new();
        descriptor(&mut bytes, crc32, compressed, size);
        self.at(&format!("descriptor {name}"), &mut bytes);
        self.out.extend(bytes);
        self.entries.push((entry, place, Sha256::of(content)));
        self.item_of_root(name, mode, "file");
    }

    pub fn root(&mut self, name: &str, mode: &str, file_type: &str, content: &[u8]) {
        let stamp = (Stamp::new(1_700_000_000, 0, 0), u32::from_str_radix(mode, 8).unwrap());
        self.known(name, Method::Stored, content, content, Some(stamp));
        self.item_of_root(name, mode, file_type);
    }

    fn item_of_root(&mut self, name: &str, mode: &str, file_type: &str) {
        let meta = json!({"mode": mode, "mtime_ns": "1700000000000000001", "type": file_type});
        let path = name.strip_prefix("[root]").unwrap();
        self.item(json!({"kind": "file", "meta": meta, "path": path}), Some(name));
    }

    /// An item record with these fields, naming the entry `stored`.
    pub fn item(&mut self, fields: Value, stored: Option<&str>) {
        let mut item = json!({"collected": TIME, "collected_end": TIME, "collector": "test", "id": self.tree.size() + 1,
            "kind": "record", "method": "read", "salt": "0".repeat(32), "status": "ok", "tier": "volatile", "v": 1});
        let object = item.as_object_mut().unwrap();
        object.extend(fields.as_object().unwrap().clone());
        if let Some(stored) = stored {
            let found = self.entries.iter().rev().find(|(entry, ..)| entry.name == stored);
            let (size, sha256) = found.map_or((0, Sha256([0; 32])), |(_, place, sha256)| (place.size, *sha256));
            object.extend([
                ("stored".to_owned(), json!(stored)),
                ("size".to_owned(), json!(size)),
                ("sha256".to_owned(), json!(sha256)),
            ]);
        }
        let mut line = item.to_string().into_bytes();
        self.at(&format!("item {}", self.tree.size() + 1), &mut line);
        self.tree.push(&line);
        self.set.0.extend(line);
        self.set.0.push(b'\n');
        self.items_in_set += 1;
    }

    fn custody(&mut self, event: &str) {
        self.custody.0 += 1;
        let line = json!({"actor": "agent:web-1-abc", "event": event, "prev_sha256": self.custody.1, "seq": self.custody.0,
            "time": TIME, "v": 1});
        let mut line = (line.to_string() + "\n").into_bytes();
        self.at(&format!("custody {}", self.custody.0), &mut line);
        self.custody.1 = Sha256::of(&line);
        self.set.1.extend(line);
    }

    fn write_set(&mut self) {
        let (items, custody) = std::mem::take(&mut self.set);
        let seq = self.seq + 1;
        if !items.is_empty() {
            self.file(&format!("data/items/{seq:06}.jsonl"), &items);
        }
        if !custody.is_empty() {
            self.file(&format!("data/custody/{seq:06}.jsonl"), &custody);
        }
    }

    fn manifest(&self, first: usize, wanted: fn(&str, u32) -> bool) -> String {
        let listed = self.entries[first..]
            .iter()
            .filter(|(entry, place, _)| !entry.name.ends_with('/') && wanted(&entry.name, place.mode));
        listed.map(|(entry, _, sha256)| format!("{sha256}  {}\n", entry.name)).collect()
    }

    pub fn checkpoint(&mut self, phase: &str, index: bool) {
        self.write_set();
        let seq = self.seq + 1;
        if self.at(&format!("skip checkpoint {seq}"), &mut Vec::new()) {
            self.seq = seq;
            return;
        }
        let folder = format!("checkpoints/{seq:06}/");
        let path = format!("{folder}manifest-sha256.txt");
        let text = self.manifest(self.since, |name, mode| !name.starts_with("checkpoints/") && mode != 0o120_777);
        self.folder(&folder);
        self.file(&path, text.as_bytes());
        let manifest = self.content_of_last();
        let checkpoint = json!({
            "boottime_ns": "77000000000", "bundle": BUNDLE, "custody_sha256": self.custody.1, "final": phase == "final",
            "host": "web-1", "items": self.items_in_set,
            "manifest": {"lines": manifest.iter().filter(|byte| **byte == b'\n').count(), "path": path,
                "sha256": Sha256::of(&manifest)},
            "merkle": {"alg": "rfc6962-sha256", "root": self.tree.root(), "size": self.tree.size()},
            "phase": phase, "prev_sha256": self.prev, "seq": seq,
            "stream": {"offset": self.out.len(), "sha256": Sha256::of(&self.out)},
            "time": TIME, "type": "evidence-checkpoint", "v": 1,
        });
        let mut text = (checkpoint.to_string() + "\n").into_bytes();
        self.at(&format!("checkpoint {seq}"), &mut text);
        self.file(&format!("{folder}checkpoint.json"), &text);
        self.signature(&format!("{folder}checkpoint.json.sig"), &text);
        self.prev = Some(Sha256::of(&text));
        self.seq = seq;
        self.since = self.entries.len();
        self.items_in_set = 0;
        if index {
            let name = format!("{folder}index.zipdir");
            let mut bytes = Vec::new();
            self.directory(self.out.len() + 30 + name.len(), &mut bytes);
            self.file(&name, &bytes);
            self.vouch(false);
            self.boundary = self.out.len();
            if self.recipient.is_some() {
                let name = format!("{folder}pad");
                let zeros = (65_536 + 1) - (self.out.len() + 30 + name.len());
                self.file(&name, &vec![0; zeros]);
            }
        }
    }

    /// Signs with the composer's key: SSHSIG with Ed25519 is deterministic.
    fn signature(&mut self, name: &str, signed: &[u8]) {
        let mut text = self.key.sign(NAMESPACE, signed).unwrap().into_bytes();
        self.at(&format!("signature {name}"), &mut text);
        self.file(name, &text);
    }

    fn content_of_last(&self) -> Vec<u8> {
        let place = self.entries.last().unwrap().1;
        self.out[self.out.len() - usize::try_from(place.compressed).unwrap()..].to_vec()
    }

    fn directory(&mut self, offset: usize, out: &mut Vec<u8>) {
        for (entry, place, _) in self.entries.clone() {
            let mut bytes = Vec::new();
            central(&mut bytes, &entry, &place);
            self.at(&format!("central {}", entry.name), &mut bytes);
            out.extend(bytes);
        }
        let place = End { entries: self.entries.len() as u64, bytes: out.len() as u64, offset: offset as u64 };
        end(out, place);
    }

    pub fn vouch(&mut self, is_final: bool) {
        self.sidecar_seq += 1;
        let checkpoint = json!({"bundle": BUNDLE, "final": is_final, "layer": "zip", "offset": self.out.len(),
            "phase": if is_final { "final" } else { "volatile" }, "phase_complete": true, "seq": self.sidecar_seq,
            "sha256": Sha256::of(&self.out), "time": TIME, "type": "evidence-stream-checkpoint", "v": 1,
            "zip_boundary": true});
        let mut signed = checkpoint.to_string().into_bytes();
        self.at(&format!("sidecar {}", self.sidecar_seq), &mut signed);
        self.sidecar.extend(line_of(&self.key, &signed));
    }
}

/// A signed line of the transport checkpoints.
pub fn line_of(key: &SigningKey, signed: &[u8]) -> Vec<u8> {
    let signature = key.sign(NAMESPACE, signed).unwrap();
    let mut line: Value = serde_json::from_slice(signed).unwrap();
    line["sig_ssh"] = json!(signature);
    line["signed_b64"] = json!(BASE64_STANDARD.encode(signed));
    (to_sorted_json(&line) + "\n").into_bytes()
}
