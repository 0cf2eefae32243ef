//! What an operator does with all that a server holds: back it up while it serves, bring it back, read it through.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use harness::{Courier, Ended, Lab, Opened, Parcel, Running, Site, server, until};
use serde_json::{Value, json};

pub const SOON: Duration = Duration::from_mins(2);

fn run(words: &[&str]) -> Ended {
    Running::start(Command::new(server()).args(words)).wait(SOON)
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn an_alert(site: &Site, details: &str) -> String {
    site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": details}))
}

/// A sealed bundle with its transport checkpoints, attached and verified; returns its id.
pub fn a_bundle(site: &Site, incident: &str) -> String {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let words = ["evidence", "add", incident, text(&sealed.path), "--stream", text(&sealed.stream)];
    site.holdfast(&words).expect_code(0);
    let bundle = Opened::at(&sealed.path).json("bundle.json")["bundle"].as_str().unwrap().to_owned();
    until("the bundle is verified", SOON, || {
        (site.api(&format!("evidence/{bundle}"))["state"] == "sealed").then_some(())
    });
    bundle
}

fn scrub(data: &Path) -> Ended {
    run(&["scrub", "--data", text(data)])
}

/// The files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// A bundle as it is downloaded.
pub fn download(site: &Site, bundle: &str, folder: &str) -> Vec<u8> {
    let got = site.path(folder);
    let ended = site.holdfast(&["evidence", "get", bundle, "--output", text(&got)]);
    // 4: nobody here vouches for a host that sealed at its console.
    assert!(matches!(ended.code(), Some(0 | 4)), "{}", ended.said());
    let is_bundle = |file: &PathBuf| text(file).ends_with(".evidence.zip");
    fs::read(files(&got).into_iter().find(is_bundle).unwrap()).unwrap()
}

#[test]
fn a_backup_is_made_while_the_server_serves_and_brought_back() {
    let site = Site::new();
    let incident = an_alert(&site, "the first");
    let sealed = a_bundle(&site, &incident);
    let parcel = Parcel::of(&Lab::new().sealed());
    let mut courier = Courier::to(site.url(), site.responder_token());
    courier.begin(&parcel, &incident).unwrap();
    let half = usize::try_from(parcel.lines[0].0).unwrap();
    assert_eq!(courier.patch(0, parcel.bytes[..half].to_vec()).unwrap().status, 204);

    let backups = site.path("backups");
    let backup = || site.server(&["backup", "--output", text(&backups)]);
    let mut command = Command::new(server());
    command.args(["backup", "--output", text(&backups), "--data", text(&site.data())]);
    let under_way = Running::start(&mut command);
    for n in 0..3 {
        an_alert(&site, &format!("number {n}"));
    }
    under_way.wait(SOON).expect_code(0);
    let name = |ended: &Ended| {
        let line = ended.stdout.lines().find(|line| line.starts_with("backup ")).unwrap();
        PathBuf::from(line.split_whitespace().nth(1).unwrap())
    };
    courier.acknowledged = half as u64;
    courier.bring(&parcel, &incident, SOON);
    // Names of backups are seconds.
    let second = until("another second", SOON, || Some(backup()).filter(|ended| ended.code() == Some(0)));
    let listed = fs::read_to_string(name(&second).join("objects.jsonl")).unwrap().lines().count();
    assert!(!second.stdout.contains(&format!("of which {listed} ")), "what was copied is not again: {}", second.stdout);
    for file in files(&backups.join("snapshots")) {
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap());
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
    let snapshots: BTreeSet<PathBuf> =
        fs::read_dir(backups.join("snapshots")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");

    // The first: the upload was half there.
    let first = snapshots.first().unwrap().file_name().unwrap().to_str().unwrap();
    let back = site.path("back");
    let words = ["restore", "--from", text(&backups), "--snapshot", first, "--data", text(&back)];
    let restored = run(&words).expect_code(0);
    assert!(restored.stdout.contains("found      0 wrong, 0 orphans"), "{}", restored.stdout);
    let told = format!("bundle {} was on its way: user:ada may still hold what comes after byte {half}", parcel.bundle);
    assert!(restored.stderr.contains(&told), "{}", restored.stderr);
    scrub(&back).expect_code(0);
    let again = run(&words);
    assert!(again.code() == Some(65) && again.stderr.contains("is not empty"), "{}", again.said());

    // The last one serves, under the same keys, and has what the first server has.
    let whole = site.path("whole");
    run(&["restore", "--from", text(&backups), "--data", text(&whole)]).expect_code(0);
    let mut site = site;
    let before = site.api(&format!("evidence/{sealed}"));
    site.stop_server().expect_code(0);
    fs::rename(site.data(), site.path("lost")).unwrap();
    fs::rename(&whole, site.data()).unwrap();
    site.start_server();
    assert_eq!(site.api(&format!("evidence/{sealed}"))["sha256"], before["sha256"]);
    assert_eq!(download(&site, &parcel.bundle, "got"), parcel.bytes);
    site.holdfast(&["custody", "verify"]).expect_code(0);
}

#[test]
fn a_damaged_backup_is_not_brought_back() {
    let site = Site::new();
    an_alert(&site, "one");
    let backups = site.path("backups");
    site.server(&["backup", "--output", text(&backups)]).expect_code(0);
    let restore = |name: &str| run(&["restore", "--from", text(&backups), "--data", text(&site.path(name))]);
    let alert = files(&backups.join("objects/alerts")).pop().unwrap();
    let good = fs::read(&alert).unwrap();
    fs::write(&alert, b"{}").unwrap();
    let refused = restore("changed");
    assert_eq!(refused.code(), Some(69), "{}", refused.said());
    assert!(refused.stderr.contains("is not the one that the records name"), "{}", refused.stderr);
    fs::remove_file(&alert).unwrap();
    let refused = restore("missing");
    assert!(refused.code() == Some(69) && refused.stderr.contains("is not there"), "{}", refused.said());
    fs::write(&alert, good).unwrap();
    let snapshot = fs::read_dir(backups.join("snapshots")).unwrap().next().unwrap().unwrap().path();
    let records = snapshot.join("records.db");
    let mut bytes = fs::read(&records).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&records, bytes).unwrap();
    let refused = restore("records");
    assert!(refused.stderr.contains("is not what the backup's manifest says"), "{}", refused.said());
    // And nothing but backups is ever written to.
    let other = site.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("mine"), "").unwrap();
    let refused = site.server(&["backup", "--output", text(&other)]);
    assert_ne!(refused.code(), Some(0), "{}", refused.said());
    assert_eq!(files(&other), [other.join("mine")]);
}

/// Runs SQL on the records behind the server's back.
fn sql(site: &Site, statements: &str) {
    let script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.executescript(sys.argv[2]); db.commit()";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(site.data().join("holdfast.db")).arg(statements);
    Running::start(&mut python).wait(SOON).expect_code(0);
}

#[track_caller]
fn wrong(site: &Site, what: &str, says: &str) {
    let said = site.server(&["scrub"]).expect_code(1).stdout;
    let named = said.lines().any(|line| line.starts_with("WRONG") && line.contains(what) && line.contains(says));
    assert!(named, "{what}: {says}: {said}");
}

#[test]
fn scrub_names_what_is_wrong() {
    let mut site = Site::new();
    let incident = an_alert(&site, "one");
    let bundle = a_bundle(&site, &incident);
    // The head is written down when the server ends.
    site.stop_server().expect_code(0);
    site.start_server();
    let clean = site.server(&["scrub"]).expect_code(0).stdout;
    assert!(clean.contains("1 bundles in ") && clean.contains("found      0 wrong, 0 orphans"), "{clean}");
    let report = site.server(&["scrub", "--json"]).expect_code(0).stdout;
    let checked = serde_json::from_str::<Value>(&report).unwrap()["checked"].clone();
    for what in ["alerts", "bundles", "heads", "leaves", "receipts", "segments"] {
        assert!(checked[what].as_u64().unwrap() > 0, "{what}: {checked}");
    }
    let bytes = checked["bytes"].as_u64().unwrap();
    let slow = site.server(&["scrub", "--read-bytes-per-sec", &(bytes / 2).to_string()]).expect_code(0);
    assert!(slow.took >= Duration::from_secs(2), "{:?}", slow.took);

    let objects = site.data().join("objects");
    let in_objects = |path: &Path| text(path.strip_prefix(&objects).unwrap()).to_owned();
    let segment = files(&objects.join("evidence").join(&bundle)).remove(0);
    let good = fs::read(&segment).unwrap();
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    fs::write(&segment, changed).unwrap();
    wrong(&site, &in_objects(&segment), "its bytes were changed");
    fs::write(&segment, &good[1..]).unwrap();
    wrong(&site, &in_objects(&segment), "were acknowledged");
    fs::remove_file(&segment).unwrap();
    wrong(&site, &in_objects(&segment), "it is missing");
    fs::write(&segment, [&good[..], b"more"].concat()).unwrap();
    wrong(&site, &in_objects(&segment), "were acknowledged");
    fs::write(&segment, good).unwrap();
    let alert = files(&objects.join("alerts")).remove(0);
    let good = fs::read(&alert).unwrap();
    fs::write(&alert, b"{}").unwrap();
    wrong(&site, &in_objects(&alert), "its digest is another");
    fs::write(&alert, good).unwrap();

    // An object that nobody was told of is no loss, and is not judged before its time.
    let orphan = objects.join("alerts/01ARZ3NDEKTSV4RRFFQ69G5FAV");
    fs::write(&orphan, b"{}").unwrap();
    site.server(&["scrub"]).expect_code(0);
    let yesterday = SystemTime::now() - Duration::from_hours(24);
    fs::File::open(&orphan).unwrap().set_modified(yesterday).unwrap();
    let said = site.server(&["scrub"]).expect_code(3).stdout;
    assert!(said.contains("orphan   alerts/01ARZ3NDEKTSV4RRFFQ69G5FAV: no record names it"), "{said}");
    fs::remove_file(&orphan).unwrap();

    // A segment's record, a receipt, a leaf.
    site.stop_server().expect_code(0);
    // All of it in one file.
    sql(&site, "PRAGMA wal_checkpoint(TRUNCATE)");
    let copy = fs::read(site.data().join("holdfast.db")).unwrap();
    let put_back = || {
        for file in ["holdfast.db-wal", "holdfast.db-shm"] {
            let _ = fs::remove_file(site.data().join(file));
        }
        fs::write(site.data().join("holdfast.db"), &copy).unwrap();
    };
    sql(&site, "UPDATE checkpoints SET receipt = replace(receipt, '\"seq\":1', '\"seq\":9')");
    wrong(&site, &format!("of bundle {bundle}"), "what was signed is not what the records say");
    put_back();
    sql(&site, "UPDATE evidence SET byte_offset = byte_offset + 1, byte_length = NULL");
    wrong(&site, &bundle, "bytes were acknowledged, and its segments hold");
    put_back();
    let triggers = "DROP TRIGGER leaves_are_never_changed;";
    sql(&site, &format!("{triggers} UPDATE leaves SET text = replace(text, '\"v\":1', '\"v\":2') WHERE seq = 2"));
    wrong(&site, "custody leaf 2:", "not the one whose hash was written down");
    wrong(&site, "custody head 2 in", "not those over which it was signed");
    wrong(&site, "custody log:", "do not have the root that the records go on from");
    put_back();
    site.server(&["scrub"]).expect_code(0);
}
