//! `holdfast verify` as people type it: exit codes and the three lines that it always ends with.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bundle::sign::SigningKey;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundle/vectors")
}

fn verify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .arg("verify")
        .args(arguments)
        .current_dir(vectors())
        .env("HOLDFAST_CONFIG_DIR", "/nowhere")
        .output()
        .unwrap()
}

#[test]
fn exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let full = dir.path().to_str().unwrap();
    std::fs::write(dir.path().join("x"), "x").unwrap();
    for (arguments, code) in [
        (&["good.evidence.zip", "--signers", "allowed_signers"][..], 0),
        (&["good.evidence.zip", "--signers", "allowed_signers", "--stream", "good.stream.jsonl"], 0),
        (&["good.evidence.zip"], 4),
        (&["cut-at-boundary.evidence.zip", "--signers", "allowed_signers"], 3),
        (&["cut-at-boundary.evidence.zip"], 4),
        (&["content-changed.evidence.zip", "--signers", "allowed_signers"], 1),
        (&["cut-at-boundary.evidence.zip", "--stream", "good.stream.jsonl"], 1),
        (&["cut-before-first-checkpoint.evidence.zip"], 65),
        (&["not-a-bundle.evidence.zip"], 65),
        (&["encrypted.evidence.zip"], 65),
        (&["good.evidence.zip", "--signers", "vectors.json"], 65),
        (&["nowhere.zip"], 74),
        (&["good.evidence.zip", "--wrong"], 64),
        (&["good.evidence.zip", "--extract", full], 64),
        (&["-", "--extract", "nowhere"], 64),
    ] {
        let output = verify(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        if code >= 64 && output.stdout.is_empty() {
            assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: "), "{arguments:?}");
        }
    }
}

#[test]
fn what_is_not_proven_is_always_said() {
    for bundle in ["good.evidence.zip", "cut-mid-entry.evidence.zip", "content-changed.evidence.zip"] {
        let text = String::from_utf8(verify(&[bundle]).stdout).unwrap();
        let last: Vec<&str> = text.lines().rev().take(3).collect();
        assert!(last[2].starts_with("sealed by:   "), "{text}");
        assert!(last[1].starts_with("held by:     ") && last[1].ends_with("no receipt given"), "{text}");
        assert_eq!(last[0], "not proven:  that the kernel told the truth");
    }
}

#[test]
fn standard_input_is_as_good_as_a_file() {
    let file = std::fs::File::open(vectors().join("good.evidence.zip")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["verify", "-", "--json"])
        .stdin(Stdio::from(file))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["state"], &report["trusted"]), (&"sealed".into(), &false.into()));
}

#[test]
fn links_are_extracted_as_text_and_nothing_runs() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new");
    let output = verify(&["good.evidence.zip", "--extract", target.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let alias = target.join("[root]/etc/alias");
    assert!(alias.symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read(alias).unwrap(), b"passwd");
    let su = std::fs::metadata(target.join("[root]/etc/su")).unwrap();
    assert_eq!(su.permissions().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_hostile_bundle_extracts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for bundle in ["name-traversal", "name-control-character", "duplicate-name", "file-and-folder", "name-at-the-top"] {
        let target = dir.path().join(bundle);
        let output = verify(&[&format!("{bundle}.evidence.zip"), "--extract", target.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(!target.exists());
        assert!(!output.stdout.contains(&0x1b), "a terminal would obey it");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn receipts_tell_a_cut_copy_from_a_partial_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let receipts = dir.path().join("r");
    let server = SigningKey::from_seed(&[5; 32]);
    let bytes = std::fs::read(vectors().join("good.evidence.zip")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&verify(&["good.evidence.zip", "--json"]).stdout).unwrap();
    let receipt = serde_json::json!({
        "agent_certificate_serial": null, "bundle": report["bundle"], "custody": {"root": "0".repeat(64), "size": 1},
        "offset": bytes.len(), "phase": "final", "phase_complete": true, "received_at": "2026-11-21T17:00:02Z",
        "seq": 1, "sha256": wire::Sha256::of(&bytes), "type": "holdfast-receipt", "v": 1,
    });
    let signed = server.envelope("server", "holdfast-receipt", receipt.to_string().as_bytes()).unwrap();
    std::fs::write(&receipts, serde_json::to_string(&signed).unwrap() + "\n").unwrap();
    let with = |bundle: &str, key: &str| {
        let receipts = receipts.to_str().unwrap();
        let given = ["--receipts", receipts, "--server-key", key, "--signers", "allowed_signers"];
        verify(&[&[bundle][..], &given].concat())
    };
    let key = server.public_line();
    let good = with("good.evidence.zip", &key);
    let text = String::from_utf8(good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0), "{text}");
    let held = format!("all {} bytes since 2026-11-21T17:00:02.000000000Z", bytes.len());
    assert!(text.lines().rev().nth(1).unwrap().ends_with(&held), "{text}");
    // Without the receipt this is a partial bundle, as a host leaves one that was wiped.
    let cut = with("cut-at-boundary.evidence.zip", &key);
    let text = String::from_utf8(cut.stdout).unwrap();
    assert_eq!(cut.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("the signer reached offset {} (receipt ", bytes.len())), "{text}");
    assert_eq!(with("good.evidence.zip", &SigningKey::from_seed(&[6; 32]).public_line()).status.code(), Some(65));
    let without_key = verify(&["good.evidence.zip", "--receipts", receipts.to_str().unwrap()]);
    assert_eq!(without_key.status.code(), Some(64));
}
