//! The vectors as files: bundles, transport checkpoints, the list of what to expect, and the key to trust.

use serde_json::{Value, json};

use super::{key, vectors};

/// Name and content of every file in `bundle/vectors/`.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut list = Vec::new();
    for vector in vectors::all() {
        // Vectors of the transport checkpoints share their bundle.
        let same = files.iter().find(|(_, bytes): &&(String, Vec<u8>)| *bytes == vector.bundle);
        let bundle = same.map_or_else(|| format!("{}.evidence.zip", vector.name), |(name, _)| name.clone());
        let is_shared = same.is_some();
        let sidecar = vector.sidecar.as_ref().map(|_| format!("{}.stream.jsonl", vector.name));
        list.push(json!({
            "bundle": bundle, "exit": vector.exit, "findings": vector.findings, "name": vector.name,
            "shows": vector.shows, "state": vector.state, "stream": sidecar,
        }));
        if let (Some(name), Some(bytes)) = (sidecar, vector.sidecar) {
            files.push((name, bytes));
        }
        if !is_shared {
            files.push((bundle, vector.bundle));
        }
    }
    let lines: Vec<String> = list.iter().map(Value::to_string).collect();
    files.push(("vectors.json".to_owned(), format!("[\n{}\n]\n", lines.join(",\n")).into_bytes()));
    let trusted = format!("agent:web-1-abc namespaces=\"holdfast-bundle\" {}\n", key().public_line());
    files.push(("allowed_signers".to_owned(), trusted.into_bytes()));
    files
}
