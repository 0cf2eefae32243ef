//! Evidence that only the analysts can read whom the host's policy names: the server receives it, receipts it, keeps it,
//! and can neither read it nor let it be changed. Debian's age opens it without any software of ours.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{Lab, Opened, Running, Site, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);
/// What a collected file holds, and nobody may find on the server.
const SECRET: &str = "the quick brown evidence jumps over the lazy server";

/// A program of Debian's.
fn run(program: &str, words: &[&str]) -> harness::Ended {
    Running::start(Command::new(program).args(words)).wait(SOON)
}

/// A key file as age-keygen makes it, and its public half.
fn age_key(path: &Path) -> String {
    run("age-keygen", &["-o", path.to_str().unwrap()]).expect_code(0);
    run("age-keygen", &["-y", path.to_str().unwrap()]).expect_code(0).stdout.trim().to_owned()
}

/// An OpenSSH key, and its public half with a comment.
fn ssh_key(path: &Path, kind: &str) -> String {
    let words = ["-q", "-t", kind, "-N", "", "-C", "ada@example.org", "-f", path.to_str().unwrap()];
    run("ssh-keygen", &words).expect_code(0);
    fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned()
}

/// What Debian's age makes of a file, which may be cut.
fn decrypted(path: &Path, key: &Path) -> Vec<u8> {
    run("age", &["-d", "-i", key.to_str().unwrap(), path.to_str().unwrap()]).stdout_bytes
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn what_the_policy_encrypts_the_server_keeps_and_cannot_read() {
    let site = Site::new();
    let (key, ssh) = (site.path("analyst.key"), site.path("analyst_ed25519"));
    let recipients = [age_key(&key), ssh_key(&ssh, "ed25519")];
    let policy = site.write("policy.toml", format!("[encryption]\nrecipients = {recipients:?}\n"));
    fs::create_dir(site.path("tree")).unwrap();
    site.write("tree/secret.txt", SECRET.repeat(3));
    let profile = format!(
        "name: secret\nsummary: A file.\ncollect:\n  - collect: host_facts\n  - collect: files\n    \
         with: {{ paths: [\"{}/**\"] }}\n",
        site.text("tree")
    );
    let profile = site.write("secret.yaml", profile);
    let host = site.enroll_with("web-1", &["--policy", text(&policy)]);
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    let daemon = host.daemon();
    let order = host.dispatch(&site, &incident, text(&profile));
    let ended = site.await_order(&order, "completed", SOON);
    let id = ended["bundle"].as_str().unwrap().to_owned();
    let view = until("the bundle is verified", SOON, || {
        let view = site.api(&format!("evidence/{id}"));
        (view["state"] == "sealed").then_some(view)
    });
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);
    assert_eq!((&view["encrypted"], &view["trust"]), (&json!(true), &json!("enrolled")), "{view}");
    assert_eq!(view["verified_to"], view["bytes"], "{view}");
    assert_eq!(view["tiers"], json!(["volatile", "files"]), "{view}");
    assert!(view["receipts"].as_array().unwrap().len() >= 3 && view["found"].is_null(), "{view}");
    assert!(view["name"].as_str().unwrap().ends_with(".evidence.zip.age"), "{view}");
    // Nothing that it says of what is inside; and that it says so.
    for path in ["items", "findings", "content?view=bounded"] {
        let answer = site
            .client()
            .get(format!("{}/api/v1/evidence/{id}/{path}", site.url()))
            .bearer_auth(site.responder_token())
            .send()
            .unwrap();
        let status = answer.status();
        let body: Value = serde_json::from_str(&answer.text().unwrap()).unwrap();
        assert_eq!(status, 409, "{path}: {body}");
        assert!(body["message"].as_str().unwrap().contains("is encrypted"), "{path}: {body}");
        assert!(body["hint"].as_str().unwrap().contains("holdfast evidence open"), "{path}: {body}");
    }
    for file in files(&site.data()) {
        let bytes = fs::read(&file).unwrap();
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!has(SECRET.as_bytes()) && !has(b"bag-info.txt"), "{}", file.display());
    }

    let got = site.path("got");
    let said = site.holdfast(&["evidence", "get", &id, "--output", text(&got)]).expect_code(0).said();
    assert!(said.contains("nobody looked inside") && said.contains("held by:     server"), "{said}");
    let file = got.join(view["name"].as_str().unwrap());
    let signers = got.join("allowed_signers");
    opened_by_either_key(&site, &file, &signers, [&key, &ssh]);
    other_bytes_are_found(&site, &file, &signers, &key);
    cut_it_is_partial(&site, &file, &signers, &key);
}

fn opened_by_either_key(site: &Site, file: &Path, signers: &Path, keys: [&Path; 2]) {
    for (number, key) in keys.into_iter().enumerate() {
        let zip = site.path(&format!("opened-{number}.evidence.zip"));
        let words = ["evidence", "open", text(file), "--identity", text(key), "--signers", text(signers), "--output"];
        let words = [&words[..], &[text(&zip)]].concat();
        let said = site.holdfast(&words).expect_code(0).stdout;
        assert!(said.contains("state:       sealed") && said.contains("to 2 recipients"), "{said}");
        assert!(said.contains("held by:     server"), "the receipts are for the file as it is: {said}");
        assert_eq!(fs::read(&zip).unwrap(), decrypted(file, key), "age decrypts the same");
        site.holdfast(&words).expect_code(64);
        let mut opened = Opened::at(&zip);
        let name = opened.names().iter().find(|name| name.ends_with("/secret.txt")).unwrap().clone();
        assert_eq!(opened.read(&name), SECRET.repeat(3).as_bytes());
        let header = opened.json("bundle.json");
        assert_eq!(header["encryption"]["scheme"], "age-v1");
        assert_eq!(header["encryption"]["recipients"].as_array().unwrap().len(), 2);
        // Decrypted, it is a bundle like any other.
        site.holdfast(&["verify", text(&zip), "--signers", text(signers)]).expect_code(0);
    }
    let extracted = site.path("extracted");
    let words = ["verify", text(file), "--identity", text(keys[0]), "--signers", text(signers), "--extract"];
    site.holdfast(&[&words[..], &[text(&extracted)]].concat()).expect_code(0);
    assert!(files(&extracted).iter().any(|path| path.ends_with("secret.txt")));
    let stranger = site.path("stranger.key");
    age_key(&stranger);
    let refused = site.holdfast(&["evidence", "open", text(file), "--identity", text(&stranger)]).expect_code(65);
    assert!(refused.stderr.contains("none of the keys opens it"), "{}", refused.said());
    let python = |code| {
        let lab = Lab::new();
        lab.verify_py(file).signers(signers).run().expect_code(code)
    };
    assert!(python(0).stdout.contains("age -d -i KEY"));
}

/// A copy of the file with its sidecar and without receipts.
fn copy(site: &Site, name: &str, file: &Path, bytes: &[u8]) -> PathBuf {
    let path = site.write(&format!("{name}.evidence.zip.age"), bytes);
    fs::copy(beside(file, ".stream.jsonl"), beside(&path, ".stream.jsonl")).unwrap();
    path
}

fn other_bytes_are_found(site: &Site, file: &Path, signers: &Path, key: &Path) {
    let bytes = fs::read(file).unwrap();
    let begins = bytes.windows(5).position(|window| window == b"\n--- ").unwrap();
    // In the line of a recipient, in a block, in the last block.
    for (number, at) in [begins - 20, bytes.len() / 2, bytes.len() - 1].into_iter().enumerate() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let path = copy(site, &format!("changed-{number}"), file, &changed);
        let trusting = ["--signers", text(signers), "--json"];
        for words in [vec!["verify", text(&path)], vec!["evidence", "open", text(&path), "--identity", text(key)]] {
            let ended = site.holdfast(&[&words[..], &trusting].concat()).expect_code(1);
            let said: Value = serde_json::from_str(&ended.stdout).unwrap();
            assert_eq!(said["state"], "tampered", "byte {at}: {said}");
        }
        Lab::new().verify_py(&path).signers(signers).run().expect_code(1);
    }
}

/// Without what the signer said afterwards, as if the host had been wiped then.
fn cut_it_is_partial(site: &Site, file: &Path, signers: &Path, key: &Path) {
    let (bytes, lines) = (fs::read(file).unwrap(), fs::read_to_string(beside(file, ".stream.jsonl")).unwrap());
    let lines: Vec<(Value, &str)> = lines.lines().map(|line| (serde_json::from_str(line).unwrap(), line)).collect();
    let tier =
        lines.iter().position(|(line, _)| line["phase"] == "volatile" && line["phase_complete"] == true).unwrap();
    let end = usize::try_from(lines[tier].0["offset"].as_u64().unwrap()).unwrap();
    let zip_end = lines[tier].0["zip_offset"].as_u64().unwrap();
    for more in [0, 40_000.min(bytes.len() - end - 1)] {
        let path = copy(site, &format!("cut-{more}"), file, &bytes[..end + more]);
        let said: String = lines[..=tier].iter().flat_map(|(_, line)| [*line, "\n"]).collect();
        let told = site.holdfast(&["verify", text(&path), "--signers", text(signers)]).expect_code(1).stdout;
        assert!(told.contains("truncated"), "the signer had come further: {told}");
        fs::write(beside(&path, ".stream.jsonl"), said).unwrap();
        site.holdfast(&["verify", text(&path), "--signers", text(signers)]).expect_code(3);
        let zip = site.path(&format!("cut-{more}.evidence.zip"));
        let words = ["evidence", "open", text(&path), "--identity", text(key), "--signers", text(signers), "--output"];
        let ended = site.holdfast(&[&words[..], &[text(&zip), "--json"]].concat()).expect_code(3);
        let said: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!((&said["state"], &said["boundary"]), (&json!("partial"), &json!(zip_end)), "{said}");
        // What is kept of it is an ordinary ZIP file, and age gives as much.
        Opened::at(&zip);
        let kept = fs::read(&zip).unwrap();
        assert_eq!(kept.len() as u64, zip_end);
        assert!(decrypted(&path, key).starts_with(&kept), "everything up to the tier's end has left age");
    }
}

#[test]
fn the_console_adds_to_the_policy_and_names_say_what_is_encrypted() {
    let lab = Lab::new();
    lab.plant("notes.txt", SECRET);
    let profile = lab.tree_profile("");
    let (key, ssh) = (lab.path("pinned.key"), lab.path("added"));
    let pinned = age_key(&key);
    let added = ssh_key(&ssh, "ed25519");
    fs::DirBuilder::new().mode(0o700).create(lab.path("state")).unwrap();
    fs::write(lab.path("state/policy.toml"), format!("[encryption]\nrecipients = [{pinned:?}]\n")).unwrap();
    fs::write(lab.path("team.txt"), format!("# the team\n{added}\n{pinned}\n")).unwrap();
    let sealed = lab.collect(&profile).arg("--recipients-file").arg(lab.path("team.txt")).sealed();
    assert!(text(&sealed.path).ends_with(".evidence.zip.age"), "{}", sealed.told);
    assert_eq!(sealed.told["recipients"].as_array().unwrap().len(), 2, "each once: {}", sealed.told);
    for key in [&key, &ssh] {
        lab.verify(&sealed.path).signers(&sealed.signers).arg("--identity").arg(key).run().expect_code(0);
    }
    lab.verify(&sealed.path).run().expect_code(4);
    let plain = lab.collect(&profile).output(lab.path("plain.evidence.zip")).run().expect_code(64);
    assert!(plain.stderr.contains(".evidence.zip.age"), "{}", plain.said());
    let named = lab.path("named.evidence.zip.age");
    lab.collect(&profile).output(&named).run().expect_code(0);
    assert!(fs::read(&named).unwrap().starts_with(b"age-encryption.org/v1"));

    let rsa = ssh_key(&lab.path("old"), "rsa");
    let refused = lab.collect(&profile).arg("--recipient").arg(rsa).run().expect_code(64);
    assert!(refused.stderr.contains("`ssh-rsa` key"), "{}", refused.said());
    let secret = fs::read_to_string(&key).unwrap();
    let secret = secret.lines().last().unwrap();
    let refused = lab.collect(&profile).arg("--recipient").arg(secret).run().expect_code(64);
    assert!(refused.stderr.contains("private key") && !refused.said().contains(secret), "{}", refused.said());
    // A policy that cannot be read may have asked for encryption.
    fs::write(lab.path("state/policy.toml"), "[encryption]\nrecipients = [\"nobody\"]\n").unwrap();
    lab.collect(&profile).run().expect_code(65);
    fs::remove_file(lab.path("state/policy.toml")).unwrap();
    lab.collect(&profile).output(lab.path("other.evidence.zip.age")).run().expect_code(64);
}

#[test]
fn an_encrypted_bundle_is_brought_on_a_stick() {
    let site = Site::new();
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-3", "details": "one"}));
    let lab = Lab::new();
    lab.plant("notes.txt", SECRET);
    let recipient = age_key(&lab.path("key"));
    let sealed = lab.collect(lab.tree_profile("")).arg("--recipient").arg(recipient).sealed();
    site.holdfast(&["evidence", "add", &incident, text(&sealed.path)]).expect_code(0);
    let view = site.api(&format!("evidence/{}", sealed.told["bundle"].as_str().unwrap()));
    assert_eq!(
        (&view["state"], &view["encrypted"], &view["trust"]),
        (&json!("sealed"), &json!(true), &json!("unknown")),
        "{view}"
    );
    let alone = lab.path("alone.evidence.zip.age");
    fs::copy(&sealed.path, &alone).unwrap();
    let refused = site.holdfast(&["evidence", "add", &incident, text(&alone)]).expect_code(65);
    assert!(refused.stderr.contains("give --stream"), "{}", refused.said());
    lab.verify(&alone).run().expect_code(65);
}
