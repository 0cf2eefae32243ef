//! Alerts: how many are assessed in a second on one core, and how many are taken in over HTTP and are durable.
//!
//! One JSON object on standard output, times in nanoseconds. Beside each figure stands what it is measured against, in
//! the same run: reading the same bytes as JSON; appending the same bytes to a file, synced one by one and 64 at a time;
//! inserting them into SQLite, one commit each. `intake DIR` assesses the alerts in the files of that folder.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a bench says that it failed")]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant as Monotonic};

use harness::Site;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use triage::{Context, triage_incident};
use wire::Instant;

const ROUNDS: usize = 5;
/// Each pass goes over the alerts so often.
const PASSES: usize = 20;
/// Alerts over HTTP, their senders, and the tokens that these share: below the rate of each.
const SENT: usize = 4000;
const SENDERS: usize = 32;
const TOKENS: usize = 4;
/// As the server puts them into one commit.
const AT_A_TIME: usize = 64;
const DEPTH_MAX: usize = 4;
const NOW: Instant = Instant(1_795_283_148_000_000_000);

fn main() {
    // `cargo bench` and its like give flags of their own.
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut alerts = Vec::new();
    match &folder {
        Some(folder) => read(Path::new(folder), 0, &mut alerts),
        None => alerts = fixtures(),
    }
    let assessed = assess(&alerts);
    println!("{}", json!({"assess": assessed, "http": http()}));
}

/// All files below a folder that are no tables and no texts for people.
fn read(folder: &Path, depth: usize, alerts: &mut Vec<Vec<u8>>) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() && depth < DEPTH_MAX {
            read(&path, depth + 1, alerts);
        } else if path.is_file() && !["csv", "md"].contains(&extension) {
            alerts.push(fs::read(path).unwrap());
        }
    }
}

/// One of each of the first sources.
fn fixtures() -> Vec<Vec<u8>> {
    let falco = alert(1);
    let plain = json!({"event_type": "ransomware", "host": "prod-db-01", "user": "svc_backup",
        "timestamp": "2026-11-21T17:40:00Z", "details": {"ransom_note": "README_DECRYPT.txt"}});
    let guardduty = json!({"schemaVersion": "2.0", "accountId": "111122223333", "region": "eu-west-1",
        "id": "f1d2", "type": "UnauthorizedAccess:EC2/SSHBruteForce", "severity": 5, "title": "SSH brute force",
        "createdAt": "2026-11-21T17:40:00.000Z", "updatedAt": "2026-11-21T17:40:00.000Z",
        "resource": {"resourceType": "Instance", "instanceDetails": {"instanceId": "i-0a1b2c3d4e5f60718"}},
        "service": {"count": 12, "action": {"actionType": "NETWORK_CONNECTION", "networkConnectionAction":
            {"connectionDirection": "INBOUND", "remoteIpDetails": {"ipAddressV4": "198.51.100.7"}}}}});
    let wazuh = json!({"timestamp": "2026-11-21T17:40:00.000+0000", "id": "1795.1", "manager": {"name": "siem"},
        "rule": {"id": "5712", "level": 10, "description": "sshd: brute force", "mitre": {"id": ["T1110"]}},
        "agent": {"id": "007", "name": "web-1"}, "data": {"srcip": "203.0.113.5"}, "location": "/var/log/auth.log"});
    [falco, plain, guardduty, wazuh].iter().map(|alert| alert.to_string().into_bytes()).collect()
}

fn assess(alerts: &[Vec<u8>]) -> Value {
    let context = Context::shipped().unwrap();
    let count: usize = alerts.iter().map(|raw| triage_incident(raw, NOW, &context).map_or(0, |all| all.len())).sum();
    let pass = |one: &dyn Fn(&[u8])| {
        let started = Monotonic::now();
        for _ in 0..PASSES {
            for raw in alerts {
                one(raw);
            }
        }
        nanoseconds(started.elapsed())
    };
    let (mut baseline, mut subject) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // What is no JSON as a whole is read as far as it goes.
        baseline.push(pass(&|raw| drop(black_box(serde_json::from_slice::<Value>(raw)))));
        subject.push(pass(&|raw| drop(black_box(triage_incident(raw, NOW, &context)))));
    }
    let bytes: usize = alerts.iter().map(Vec::len).sum();
    json!({"alerts": count * PASSES, "baseline_ns": baseline, "bytes": bytes * PASSES, "subject_ns": subject})
}

/// A shell in a container of one of 200 hosts; no two are the same.
fn alert(n: usize) -> Value {
    let (host, minute, second) = (n % 200, n / 60 % 60, n % 60);
    json!({
        "uuid": format!("00000000-0000-4000-8000-{n:012}"), "output": "A shell was spawned in a container",
        "priority": "Notice", "rule": "Terminal shell in container", "source": "syscall",
        "time": format!("2026-11-21T17:{minute:02}:{second:02}.{n:09}Z"), "hostname": format!("web-{host}"),
        "output_fields": {"proc.name": "bash", "user.name": "www-data", "container.id": format!("{n:012x}")},
        "tags": ["container", "shell", "mitre_execution", "T1059"],
    })
}

fn http() -> Value {
    let site = Site::new();
    let tokens: Vec<String> = (0..TOKENS).map(|n| site.token(&format!("source-{n}"), "source")).collect();
    let bodies: Vec<Vec<u8>> = (0..SENT).map(|n| alert(n).to_string().into_bytes()).collect();
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let url = format!("{}/api/v1/alerts", site.url());
    // Each token is hashed once, before the clock runs.
    for token in &tokens {
        send(&site.client(), &url, token, b"[]");
    }
    let started = Monotonic::now();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (client, url, token) = (site.client(), &url, &tokens[sender % TOKENS]);
            let (bodies, next, refused) = (&bodies, &next, &refused);
            scope.spawn(move || {
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    while !send(&client, url, token, body) {
                        refused.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            });
        }
    });
    let subject = nanoseconds(started.elapsed());
    json!({
        "alerts": SENT, "append_64_ns": append(&site.path("append-64"), &bodies, AT_A_TIME),
        "append_ns": append(&site.path("append"), &bodies, 1), "insert_ns": insert(&site.path("insert.db"), &bodies),
        "refused": refused.into_inner(), "senders": SENDERS, "subject_ns": subject,
    })
}

/// False when the server asks to come again.
fn send(client: &reqwest::blocking::Client, url: &str, token: &str, body: &[u8]) -> bool {
    let answer = client.post(url).bearer_auth(token).body(body.to_vec()).send().unwrap();
    match answer.status().as_u16() {
        200 => answer.bytes().is_ok(),
        429 | 503 => false,
        _ => answer.error_for_status().is_ok(),
    }
}

/// Appends, of which so many at a time are made durable.
fn append(path: &Path, bodies: &[Vec<u8>], at_a_time: usize) -> u64 {
    let mut file = File::create(path).unwrap();
    let started = Monotonic::now();
    for some in bodies.chunks(at_a_time) {
        file.write_all(&some.concat()).unwrap();
        file.sync_data().unwrap();
    }
    nanoseconds(started.elapsed())
}

/// Rows, each in a commit of its own, as durable as the server's.
fn insert(path: &Path, bodies: &[Vec<u8>]) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let mut connection = options.connect().await.unwrap();
        connection.execute("CREATE TABLE alerts (raw BLOB NOT NULL) STRICT").await.unwrap();
        let started = Monotonic::now();
        for body in bodies {
            sqlx::query("INSERT INTO alerts (raw) VALUES ($1)").bind(body).execute(&mut connection).await.unwrap();
        }
        let elapsed = nanoseconds(started.elapsed());
        connection.close().await.unwrap();
        elapsed
    })
}

fn nanoseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap()
}
