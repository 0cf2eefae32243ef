//! A bundle of a small made-up host, with clock, randomness and key fixed.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says that it failed")]
#![allow(dead_code, reason = "each test uses its part of it")]

use bundle::coverage::Outcome;
use bundle::header::{FORMAT, Header, HostIdentity};
use bundle::item::{Kind, Meta, Nanos, NewItem, Status};
use bundle::sign::SigningKey;
use bundle::time::{Clock, Instant};
use bundle::write::{Ended, Sealed, World, Writer};
use wire::{BundleId, Tier};

pub const NOW: Instant = Instant(1_795_283_148_000_000_000);

#[derive(Clone, Copy)]
pub struct Still;

impl Clock for Still {
    fn realtime(&self) -> Instant {
        NOW
    }
    fn boottime_ns(&self) -> u64 {
        77_000_000_000
    }
}

pub fn key() -> SigningKey {
    SigningKey::from_seed(&[42; 32])
}

pub fn header(key: &SigningKey) -> Header {
    Header {
        agent: bundle::header::Agent { name: "holdfast-agent".into(), version: "0.1.0".into(), ..Default::default() },
        authority: None,
        belongs_to: None,
        bundle: BundleId::new(1_795_283_148_000, [7; 10]),
        clock: bundle::header::ClockState::default(),
        continues: None,
        encryption: None,
        format: FORMAT.into(),
        hash: "sha256".into(),
        host: HostIdentity { name: "web-1".into(), arch: "x86_64".into(), ..Default::default() },
        incident: Some("INC-2026-0007".parse().unwrap()),
        last_receipt: None,
        limits: wire::profile::Limits::default(),
        order_sha256: None,
        part: 1,
        profile: bundle::header::ProfileIdentity { name: "test".into(), ..Default::default() },
        signature: "sshsig namespace=holdfast-bundle".into(),
        signer: key.public_line(),
        signer_principal: "agent:web-1-abc".into(),
        started: NOW,
        kind: "evidence-bundle".into(),
        v: 1,
        values: wire::profile::Values::default(),
    }
}

pub fn world(key: SigningKey) -> World {
    let mut count = 0u8;
    let random = move |buffer: &mut [u8]| {
        count = count.wrapping_add(1);
        buffer.fill(count);
    };
    World { key, clock: Box::new(Still), random: Box::new(random) }
}

pub fn file(path: &[u8], mode: &str, size: u64) -> NewItem {
    let meta = Meta {
        mode: mode.into(),
        file_type: if mode.starts_with("012") { "symlink" } else { "file" }.into(),
        mtime_ns: Some(Nanos(1_700_000_000_000_000_001)),
        ctime_ns: Some(Nanos(1_700_000_000_000_000_001)),
        atime_ns: Some(Nanos(1_700_000_001_000_000_001)),
        size,
        nlink: 1,
        dev: "8:1".into(),
        ..Meta::default()
    };
    NewItem::new(Kind::File, path, "read", Status::Ok, NOW).with_meta(meta)
}

/// A sealed bundle: its bytes, its transport checkpoints, its numbers.
pub fn small_bundle() -> (Vec<u8>, Vec<u8>, Sealed) {
    let mut writer = Writer::start(Vec::new(), Vec::new(), header(&key()), world(key())).unwrap();
    writer.begin_step(Tier::Volatile, "processes", NOW);
    writer.rows(b"{\"comm\":\"init\",\"pid\":1}\n{\"comm\":\"sh\",\"pid\":2}\n").unwrap();
    let denied = NewItem::new(Kind::Record, "/proc/2/environ", "procfs", Status::Ok, NOW)
        .failed(&std::io::Error::from_raw_os_error(13));
    writer.note(denied).unwrap();
    writer.end_step(Outcome::Completed, None).unwrap();
    writer.tier_end(Tier::Volatile).unwrap();
    writer.begin_step(Tier::Files, "files", NOW);
    writer.whole(file(b"/etc/passwd", "0100644", 30), b"root:x:0:0:root:/root:/bin/sh\n".to_vec()).unwrap();
    writer.whole(file(b"/tmp/new\nline\xff", "0104755", 1), b"x".to_vec()).unwrap();
    let mut link = file(b"/etc/alias", "0120777", 6);
    link.meta.as_mut().unwrap().target = Some("passwd".into());
    writer.note(link).unwrap();
    let mut first = file(b"/srv/a", "0100600", 3);
    first.inode = Some((1, 9));
    writer.whole(first, b"abc".to_vec()).unwrap();
    let mut second = file(b"/srv/b", "0100600", 3);
    second.inode = Some((1, 9));
    writer.note(second).unwrap();
    writer.begin(file(b"/srv/large", "0100644", 9)).unwrap();
    writer.chunk(b"123456789".repeat(1000)).unwrap();
    writer.chunk(b"987654321".repeat(1000)).unwrap();
    writer.end(Ended::with(Status::Grew)).unwrap();
    writer.end_step(Outcome::Completed, None).unwrap();
    writer.tier_end(Tier::Files).unwrap();
    let (sealed, bytes, sidecar) = writer.seal(&serde_json::json!({"v": 1}), b"started\n").unwrap();
    (bytes, sidecar, sealed)
}
