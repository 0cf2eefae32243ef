//! Whether the limits of a profile hold over a run: bytes read per second, and the share of the processors.
//!
//! Both are told as times: what the limit allows for the work that was done, and what the run took. A ratio of one is a
//! limit that holds and wastes nothing.

use std::fs;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::{Bench, Row};
use crate::shell::output;

/// What is collected: eight files that do not shrink.
const FILES: usize = 8;
const FILE_BYTES: usize = 24 << 20;
const READ_BYTES_PER_SEC: u64 = 32 << 20;
const CPU_PERCENT: u64 = 20;

/// See the module.
pub(super) fn compare(bench: &Bench) -> anyhow::Result<[Row; 2]> {
    let tree = bench.folder.path().join("limits");
    fs::create_dir_all(&tree)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for number in 0..FILES {
        let mut content = Vec::with_capacity(FILE_BYTES);
        while content.len() < FILE_BYTES {
            // xorshift64: nothing that deflate could shorten.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.extend_from_slice(&state.to_le_bytes());
        }
        fs::write(tree.join(number.to_string()), content)?;
    }
    let footprint = |limit: &str| -> anyhow::Result<Value> {
        let profile = bench.folder.path().join("limits.yaml");
        let tree = tree.display();
        let yaml = format!(
            "name: limits\nsummary: Held back.\nlimits: {{ {limit} }}\ncollect:\n  - collect: files\n    with: {{ paths: [\"{tree}/**\"] }}\n"
        );
        fs::write(&profile, yaml)?;
        let profile = profile.to_str().context("a temporary folder has a plain name")?;
        let told: Value = serde_json::from_str(&output(&mut bench.collect(profile, "limits-out"))?)?;
        let bundle = told["path"].as_str().context("the agent says where the bundle lies")?;
        let text = output(Command::new("unzip").args(["-p", bundle, "data/footprint.json"]))?;
        fs::remove_file(bundle)?;
        Ok(serde_json::from_str(&text)?)
    };
    let ms = |footprint: &Value, key: &str| footprint[key].as_u64().with_context(|| format!("the footprint has {key}"));
    let read = footprint(&format!("read_bytes_per_sec_max: {READ_BYTES_PER_SEC}"))?;
    let allowed_ns = (FILES * FILE_BYTES) as u64 * 1_000_000_000 / READ_BYTES_PER_SEC;
    let held = footprint(&format!("cpu_percent_max: {CPU_PERCENT}"))?;
    let cores = std::thread::available_parallelism()?.get() as u64;
    let allowed_ms = ms(&held, "cpu_ms")? * 100 / (CPU_PERCENT * cores);
    let aim = "0.90 to 1.10";
    Ok([
        Row {
            what: "read_bytes_per_sec_max 32MiB : time that it allows",
            baseline: allowed_ns,
            subject: ms(&read, "wall_ms")? * 1_000_000,
            aim,
        },
        Row {
            what: "cpu_percent_max 20 : time that it allows",
            baseline: allowed_ms * 1_000_000,
            subject: ms(&held, "wall_ms")? * 1_000_000,
            aim,
        },
    ])
}
