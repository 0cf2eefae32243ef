//! `verify.py` says of every vector what the verifier says: whoever has none of our software still has an answer.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_script_agrees_on_every_vector() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = root.join("vectors");
    let list: Vec<Value> = serde_json::from_slice(&std::fs::read(dir.join("vectors.json")).unwrap()).unwrap();
    assert!(list.len() > 50);
    let folder = tempfile::tempdir().unwrap();
    for vector in list {
        let text = |field: &str| vector[field].as_str().map(str::to_owned);
        let mut bundle = dir.join(text("bundle").unwrap());
        let made = (vector["cut"].as_u64(), vector["flip"].as_u64());
        if made != (None, None) {
            let mut bytes = std::fs::read(&bundle).unwrap();
            bytes.truncate(made.0.map_or(bytes.len(), |cut| usize::try_from(cut).unwrap()));
            if let Some(at) = made.1 {
                bytes[usize::try_from(at).unwrap()] ^= 1;
            }
            bundle = folder.path().join("made.evidence.zip.age");
            std::fs::write(&bundle, bytes).unwrap();
        }
        let mut command = Command::new("python3");
        command.arg(root.join("verify.py")).arg(bundle);
        command.arg("--json").arg("--signers").arg(dir.join("allowed_signers"));
        if let Some(stream) = text("stream") {
            command.arg("--stream").arg(dir.join(stream));
        }
        let output = command.output().expect("python3 and ssh-keygen are needed: cargo xtask test installs them");
        let name = text("name").unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code().map(i64::from), vector["exit"].as_i64(), "{name}: {errors}");
        if text("state").as_deref() == Some("error") {
            assert!(errors.starts_with("error: "), "{name}: {errors}");
            continue;
        }
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut codes: Vec<&str> =
            report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(
            (&report["state"], serde_json::json!(codes)),
            (&vector["state"], vector["findings"].clone()),
            "{name}"
        );
    }
}

#[test]
fn the_script_agrees_on_every_run_of_parts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = root.join("vectors");
    let list: Vec<Value> = serde_json::from_slice(&std::fs::read(dir.join("parts.json")).unwrap()).unwrap();
    for run in list {
        let mut command = Command::new("python3");
        command.arg(root.join("verify.py")).arg("--json").arg("--signers").arg(dir.join("allowed_signers"));
        command.args(run["bundles"].as_array().unwrap().iter().map(|name| dir.join(name.as_str().unwrap())));
        let output = command.output().expect("python3 and ssh-keygen are needed: cargo xtask test installs them");
        let name = &run["name"];
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code().map(i64::from), run["exit"].as_i64(), "{name}: {text}");
        let verdict: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let mut codes: Vec<&str> =
            verdict["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(serde_json::json!(codes), run["findings"], "{name}");
    }
}
