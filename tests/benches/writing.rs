//! Writing a bundle against its floor: libdeflate at level 1 and SHA-256 of the same content on all cores.
//!
//! The content is a mix of small files of this host, read beforehand. Both sides are run in turn; prints one JSON line
//! with the wall times in nanoseconds. The bundle is more than the floor: order, items, CRC, the digest of the stream.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for cargo xtask bench")]

use std::fs;
use std::io::sink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant as Monotonic;

use bundle::coverage::Outcome;
use bundle::header::{Agent, ClockState, FORMAT, Header, HostIdentity, ProfileIdentity};
use bundle::item::{Kind, NewItem, Status};
use bundle::sign::SigningKey;
use bundle::time::{Clock, Instant};
use bundle::write::{World, Writer};
use libdeflater::{CompressionLvl, Compressor};
use sha2::{Digest as _, Sha256};
use wire::{BundleId, Tier};

const ROUNDS: usize = 5;
const BYTES_MAX: u64 = 300 << 20;
/// Up to this length an entry is compressed as a whole.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Copy)]
struct Still;

impl Clock for Still {
    fn realtime(&self) -> Instant {
        Instant(1_795_283_148_000_000_000)
    }
    fn boottime_ns(&self) -> u64 {
        77_000_000_000
    }
}

fn main() {
    let files = files_of(&["/usr/bin", "/usr/include", "/usr/share", "/usr/lib"]);
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    let (mut baseline, mut subject) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        baseline.push(timed(|| floor(&files)));
        // The agent reads into a buffer that it gives away; here the copies are made before the clock starts.
        let copies = files.clone();
        subject.push(timed(|| write(copies)));
    }
    println!(
        "{}",
        serde_json::json!({"baseline_ns": baseline, "bytes": bytes, "files": files.len(), "subject_ns": subject})
    );
}

fn timed(work: impl FnOnce()) -> u64 {
    let started = Monotonic::now();
    work();
    u64::try_from(started.elapsed().as_nanos()).unwrap()
}

/// Small files in the order of their names, until there are enough.
fn files_of(folders: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut left = BYTES_MAX;
    for folder in folders {
        // A share of each, or one large folder would be all there is.
        let mut share = left.min(BYTES_MAX / folders.len() as u64);
        gather(Path::new(folder), &mut share, &mut left, &mut files);
    }
    files
}

fn gather(folder: &Path, share: &mut u64, left: &mut u64, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            gather(&path, share, left, files);
        } else if meta.is_file() && meta.len() <= FILE_BYTES_MAX.min(*share) {
            let Ok(content) = fs::read(&path) else { continue };
            *share = share.saturating_sub(content.len() as u64);
            *left = left.saturating_sub(content.len() as u64);
            files.push((path, content));
        }
    }
}

/// What no bundle can be faster than.
fn floor(files: &[(PathBuf, Vec<u8>)]) {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut compressor = Compressor::new(CompressionLvl::new(1).unwrap());
                let mut packed = Vec::new();
                while let Some((_, content)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    packed.resize(compressor.deflate_compress_bound(content.len()), 0);
                    std::hint::black_box(compressor.deflate_compress(content, &mut packed).unwrap());
                    std::hint::black_box(Sha256::digest(content));
                }
            });
        }
    });
}

fn write(files: Vec<(PathBuf, Vec<u8>)>) {
    let key = SigningKey::from_seed(&[42; 32]);
    let world = World { key: key.clone(), clock: Box::new(Still), random: Box::new(|buffer| buffer.fill(7)) };
    let mut writer = Writer::start(sink(), sink(), header(&key), world).unwrap();
    writer.begin_step(Tier::Files, "files", Still.realtime());
    for (path, content) in files {
        let path = path.into_os_string().into_encoded_bytes();
        writer.whole(NewItem::new(Kind::File, path, "read", Status::Ok, Still.realtime()), content).unwrap();
    }
    writer.end_step(Outcome::Completed, None).unwrap();
    writer.tier_end(Tier::Files).unwrap();
    writer.seal(&serde_json::json!({"v": 1}), b"").unwrap();
}

fn header(key: &SigningKey) -> Header {
    Header {
        agent: Agent::default(),
        authority: None,
        belongs_to: None,
        bundle: BundleId::new(1_795_283_148_000, [7; 10]),
        clock: ClockState::default(),
        continues: None,
        encryption: None,
        format: FORMAT.into(),
        hash: "sha256".into(),
        host: HostIdentity { name: "bench".into(), ..Default::default() },
        incident: None,
        last_receipt: None,
        limits: wire::profile::Limits::default(),
        order_sha256: None,
        part: 1,
        profile: ProfileIdentity::default(),
        signature: "sshsig namespace=holdfast-bundle".into(),
        signer: key.public_line(),
        signer_principal: "agent:bench".into(),
        started: Still.realtime(),
        kind: "evidence-bundle".into(),
        v: 1,
        values: wire::profile::Values::default(),
    }
}
