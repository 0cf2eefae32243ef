//! What `cargo xtask bench` asks of the server: how fast evidence comes in through the whole door against writing and
//! hashing the same bytes, what 200 uploads at once take of memory, and what an agent that waits for orders costs.
//!
//! One JSON object on standard output: times in nanoseconds, memory in KiB.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a bench says that it failed")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Courier, Parcel, Random, Setup, Site, until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wire::BundleId;

const ROUNDS: usize = 5;
/// A bundle of this length, in pieces as the agent cuts them.
const BUNDLE_BYTES: usize = 256 << 20;
const PIECE_BYTES: usize = 8 << 20;
/// Uploads at once, each by somebody else, each of one piece: what a server holds in memory is bodies.
const UPLOADS: usize = 200;
/// Agents, each with as many questions open as it may have.
const AGENTS: usize = 500;
const POLLS_OF_AGENT: usize = 4;
const SOON: Duration = Duration::from_mins(3);
/// Idle means that nothing is asked for so long.
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    // The bench is all of its clients, and they have one address.
    let serve = ["--connections-of-address-max", "4096"].map(str::to_owned).to_vec();
    let site = Site::with(Setup { serve, ..Setup::default() });
    let incident = site.alert("bench", &json!({"event_type": "malware", "host": "bench", "details": "a bench"}));
    let ingest = ingest(&site, &incident);
    let uploads = uploads(&site, &incident);
    let polls = polls(&site);
    println!("{}", json!({"ingest": ingest, "polls": polls, "uploads": uploads}));
}

/// Bytes that nobody verifies before all of them are there, and then only as far as their beginning.
fn parcel(number: u64, bytes: Vec<u8>) -> Parcel {
    let id = BundleId::new(number, number.to_le_bytes().repeat(2)[..10].try_into().unwrap());
    let signer = bundle::sign::SigningKey::from_seed(&[7; 32]).public_line();
    Parcel { bundle: id.to_string(), signer, name: format!("{number}.evidence.zip"), bytes, lines: Vec::new() }
}

fn ingest(site: &Site, incident: &str) -> Value {
    let bytes = Random::seeded().bytes(BUNDLE_BYTES);
    let (mut baseline, mut subject) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        baseline.push(write_and_hash(&site.path("baseline"), &bytes));
        let parcel = parcel(1 + round as u64, bytes.clone());
        let mut courier = Courier::to(site.url(), site.responder_token());
        courier.begin(&parcel, incident).unwrap();
        // What the sender hashes is the sender's work, which on this machine would be the server's time.
        let pieces: Vec<(Vec<u8>, String)> =
            bytes.chunks(PIECE_BYTES).map(|piece| (piece.to_vec(), Courier::checksum(piece))).collect();
        let started = Instant::now();
        let mut offset = 0;
        for (piece, checksum) in pieces {
            let length = piece.len() as u64;
            let answered = courier.patch_with(offset, piece, &checksum).unwrap();
            offset += length;
            assert_eq!((answered.status, answered.offset), (204, Some(offset)), "{}", answered.body);
        }
        subject.push(nanoseconds(started.elapsed()));
        // The verification that follows is no part of it, and must not run into the next round.
        until("the bundle was looked at", SOON, || {
            let evidence = site.api(&format!("evidence/{}", parcel.bundle));
            (evidence["state"] != "receiving").then_some(())
        });
    }
    json!({"baseline_ns": baseline, "bytes": BUNDLE_BYTES, "subject_ns": subject})
}

/// `cat > file; sync`, and the digest of the same bytes.
fn write_and_hash(path: &Path, bytes: &[u8]) -> u64 {
    let started = Instant::now();
    let mut file = File::create(path).unwrap();
    for piece in bytes.chunks(128 << 10) {
        file.write_all(piece).unwrap();
    }
    file.sync_all().unwrap();
    std::hint::black_box(Sha256::digest(bytes));
    let elapsed = nanoseconds(started.elapsed());
    fs::remove_file(path).unwrap();
    elapsed
}

fn uploads(site: &Site, incident: &str) -> Value {
    // Somebody else each: one owner's bodies are taken two at a time.
    let tokens: Vec<String> = (0..UPLOADS).map(|n| site.token(&format!("sender-{n}"), "responder")).collect();
    let bytes = Random::seeded().bytes(PIECE_BYTES);
    let server = Process::of_server(site);
    let before = server.kib("VmRSS:");
    server.forget_peak();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for (n, token) in tokens.iter().enumerate() {
            let (url, bytes) = (site.url(), bytes.clone());
            scope.spawn(move || {
                let parcel = parcel(1_000 + n as u64, bytes);
                Courier::to(url, token.clone()).bring(&parcel, incident, SOON);
            });
        }
    });
    let elapsed = nanoseconds(started.elapsed());
    json!({
        "before_kib": before, "bytes": PIECE_BYTES, "peak_kib": server.kib("VmHWM:"), "took_ns": elapsed,
        "uploads": UPLOADS,
    })
}

fn polls(site: &Site) -> Value {
    let server = Process::of_server(site);
    let identities: Vec<Vec<u8>> =
        (0..AGENTS).map(|n| fs::read(site.enroll(&format!("waits-{n}")).state().join("tls.pem")).unwrap()).collect();
    let (memory, files) = (server.kib("VmRSS:"), server.files());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("{}/agent/v1/orders?wait_secs=55", site.url());
    runtime.block_on(async {
        let mut waiting = Vec::new();
        for identity in identities {
            let identity = reqwest::Identity::from_pem(&identity).unwrap();
            let client = reqwest::Client::builder().identity(identity).http1_only();
            let client = client.tls_danger_accept_invalid_certs(true).build().unwrap();
            for _ in 0..POLLS_OF_AGENT {
                let question = client.get(&url).send();
                waiting.push(tokio::spawn(async move { question.await.unwrap().status() }));
            }
        }
        let polls = waiting.len();
        let wanted = files + polls;
        while server.files() < wanted {
            assert!(waiting.iter().all(|question| !question.is_finished()), "a question was answered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ticks = server.cpu_ticks();
        // What is measured is a time in which nothing happens.
        tokio::time::sleep(IDLE).await;
        let told = json!({
            "cpu_ticks": server.cpu_ticks() - ticks, "files": server.files() - files, "idle_secs": IDLE.as_secs(),
            "memory_kib": server.kib("VmRSS:").saturating_sub(memory), "polls": polls,
        });
        for question in waiting {
            assert_eq!(question.await.unwrap(), 200);
        }
        told
    })
}

/// What proc(5) tells of the server.
struct Process(String);

impl Process {
    fn of_server(site: &Site) -> Self {
        Self(format!("/proc/{}", site.server_process().unwrap().pid().as_raw_nonzero()))
    }

    fn kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// From here on `VmHWM` counts anew.
    fn forget_peak(&self) {
        fs::write(format!("{}/clear_refs", self.0), "5").unwrap();
    }

    fn files(&self) -> usize {
        fs::read_dir(format!("{}/fd", self.0)).unwrap().count()
    }

    /// `utime` and `stime` of proc_pid_stat(5).
    fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("{}/stat", self.0)).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

fn nanoseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap()
}
