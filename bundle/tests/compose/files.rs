//! The vectors as files: bundles, transport checkpoints, the list of what to expect, and the key to trust.

use serde_json::{Value, json};

use super::vectors::Age;
use super::{encrypted, key, parts, vectors};

/// Name and content of every file in `bundle/vectors/`.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut list = Vec::new();
    for vector in vectors::all() {
        // Vectors of the transport checkpoints share their bundle; those that are encrypted are made of one.
        let same = files.iter().find(|(_, bytes): &&(String, Vec<u8>)| *bytes == vector.bundle);
        let bundle = match (&vector.age, same) {
            (Some(_), _) => encrypted::FILE.to_owned(),
            (None, Some((name, _))) => name.clone(),
            (None, None) => format!("{}.evidence.zip", vector.name),
        };
        let is_there = files.iter().any(|(name, _)| *name == bundle);
        let sidecar = vector.sidecar.as_ref().map(|_| format!("{}.stream.jsonl", vector.name));
        let mut line = json!({
            "bundle": bundle, "exit": vector.exit, "findings": vector.findings, "name": vector.name,
            "shows": vector.shows, "state": vector.state, "stream": sidecar,
        });
        if let Some(Age { cut, flip, opened }) = vector.age {
            let opened =
                opened.map(|(exit, state, findings)| json!({"exit": exit, "findings": findings, "state": state}));
            let more = [("cut", json!(cut)), ("flip", json!(flip)), ("opened", json!(opened))];
            let object = line.as_object_mut().unwrap();
            object.extend(
                more.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)),
            );
        }
        list.push(line);
        if let (Some(name), Some(bytes)) = (sidecar, vector.sidecar) {
            files.push((name, bytes));
        }
        if !is_there {
            files.push((bundle, vector.bundle));
        }
    }
    let lines: Vec<String> = list.iter().map(Value::to_string).collect();
    files.push(("vectors.json".to_owned(), format!("[\n{}\n]\n", lines.join(",\n")).into_bytes()));
    files.push((encrypted::KEY_FILE.to_owned(), format!("{}\n", encrypted::KEY).into_bytes()));
    files.extend(parts::all().into_iter().map(|(name, bytes)| (parts::file(name), bytes)));
    let runs: Vec<String> = parts::RUNS
        .iter()
        .map(|run| {
            let bundles: Vec<String> = run.parts.iter().map(|part| parts::file(part)).collect();
            let listed = json!({"bundles": bundles, "exit": run.exit, "findings": run.findings, "name": run.name,
                "shows": run.shows});
            listed.to_string()
        })
        .collect();
    files.push(("parts.json".to_owned(), format!("[\n{}\n]\n", runs.join(",\n")).into_bytes()));
    let trusted = format!("agent:web-1-abc namespaces=\"holdfast-bundle\" {}\n", key().public_line());
    files.push(("allowed_signers".to_owned(), trusted.into_bytes()));
    files
}
