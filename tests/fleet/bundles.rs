//! The small bundles that the fleet brings, made by the real writer.

use bundle::coverage::Outcome;
use bundle::header::{FORMAT, Header, HostIdentity};
use bundle::item::{Kind, Meta, NewItem, Status};
use bundle::sign::SigningKey;
use bundle::time::Clock as _;
use bundle::write::{World, Writer};
use serde_json::json;
use server::process::SystemClock;
use wire::{AgentId, BundleId, IncidentId, Sha256, Tier};

use super::agent::offset_of;

/// A sealed bundle.
pub struct Made {
    pub bytes: Vec<u8>,
    pub items: u64,
    /// Its transport checkpoints: the offset of each, and its line.
    pub lines: Vec<(u64, String)>,
}

/// Processes, and a file.
pub fn make(key: &SigningKey, agent: &AgentId, bundle: BundleId, incident: IncidentId, order_sha256: Sha256) -> Made {
    let now = SystemClock.realtime();
    let header = Header {
        agent: bundle::header::Agent { name: "holdfast-agent".into(), version: "0.1.0".into(), ..Default::default() },
        authority: None,
        belongs_to: None,
        bundle,
        clock: bundle::header::ClockState::default(),
        continues: None,
        encryption: None,
        format: FORMAT.into(),
        hash: "sha256".into(),
        host: HostIdentity { name: agent.to_string(), arch: "x86_64".into(), ..Default::default() },
        incident: Some(incident),
        last_receipt: None,
        limits: wire::profile::Limits::default(),
        order_sha256: Some(order_sha256),
        part: 1,
        profile: bundle::header::ProfileIdentity { name: "fleet".into(), ..Default::default() },
        signature: "sshsig namespace=holdfast-bundle".into(),
        signer: key.public_line(),
        signer_principal: agent.principal(),
        started: now,
        kind: "evidence-bundle".into(),
        v: 1,
        values: wire::profile::Values::default(),
    };
    let random = |buffer: &mut [u8]| getrandom(buffer);
    let world = World { key: key.clone(), clock: Box::new(SystemClock), random: Box::new(random) };
    let mut writer = Writer::start(Vec::new(), Vec::new(), header, world).unwrap();
    writer.begin_step(Tier::Volatile, "processes", now);
    writer.rows(b"{\"comm\":\"init\",\"pid\":1}\n{\"comm\":\"sh\",\"pid\":2}\n").unwrap();
    writer.end_step(Outcome::Completed, None).unwrap();
    writer.tier_end(Tier::Volatile).unwrap();
    writer.begin_step(Tier::Files, "files", now);
    let meta = Meta { mode: "0100644".into(), file_type: "file".into(), size: 9_000, nlink: 1, ..Meta::default() };
    let file = NewItem::new(Kind::File, b"/etc/passwd".as_slice(), "read", Status::Ok, now).with_meta(meta);
    writer.whole(file, b"123456789".repeat(1_000)).unwrap();
    writer.end_step(Outcome::Completed, None).unwrap();
    writer.tier_end(Tier::Files).unwrap();
    let items = writer.items();
    let (_, bytes, lines) = writer.seal(&json!({"v": 1}), b"started\n").unwrap();
    let lines = String::from_utf8(lines).unwrap();
    Made { bytes, items, lines: lines.lines().map(|line| (offset_of(line), line.to_owned())).collect() }
}

fn getrandom(buffer: &mut [u8]) {
    for part in buffer.chunks_mut(16) {
        part.copy_from_slice(&server::app::random::<16>().unwrap()[..part.len()]);
    }
}
