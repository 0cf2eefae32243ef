//! The agent holds little memory whatever it collects: the examined host needs its own.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::measure::peak_kib;

const PEAK_KIB_MAX: u64 = 64 << 10;
const LONG_BYTES: u64 = 2 << 30;
const FILES: usize = 100_000;
const FILES_PER_FOLDER: usize = 1_000;

/// Collects a long file, then a wide tree, and holds the peaks against the limit.
///
/// # Errors
/// When a run fails or holds more.
pub fn hold(agent: &Path) -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    let (long, wide) = (place.path().join("long"), place.path().join("wide"));
    make_long(&long)?;
    make_wide(&wide)?;
    for (what, tree) in [("one file of 2 GiB", &long), ("100,000 files", &wide)] {
        let peak = peak_kib(&collect(agent, place.path(), tree)?)?;
        println!("   {what}: at most {} MiB", peak >> 10);
        ensure!(peak <= PEAK_KIB_MAX, "{what} took {peak} KiB of memory, {PEAK_KIB_MAX} are allowed");
        fs::remove_dir_all(tree)?;
    }
    Ok(())
}

fn collect(agent: &Path, place: &Path, tree: &Path) -> anyhow::Result<Command> {
    let profile = place.join("profile.yaml");
    let tree = tree.to_str().context("a temporary folder has a plain name")?;
    fs::write(
        &profile,
        format!(
            "name: memory\ncollect:\n  - collect: files\n    with: {{ paths: [\"{tree}/**\"], file_bytes_max: 4GiB }}\n"
        ),
    )?;
    let out = place.join("out");
    // The bundle before is as long as what it holds.
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let mut collect = Command::new(agent);
    collect.args(["collect", "--quiet", "--profile"]).arg(profile).arg("--output").arg(out);
    collect.env("HOLDFAST_STATE_DIR", place.join("state"));
    Ok(collect)
}

/// Content that compresses badly, so that nothing is small along the way.
fn make_long(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir(folder)?;
    let mut file = File::create(folder.join("file"))?;
    let mut state = 1_u64;
    let mut piece = Vec::with_capacity(1 << 20);
    for _ in 0..LONG_BYTES >> 20 {
        piece.clear();
        while piece.len() < 1 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            piece.extend_from_slice(&state.to_le_bytes());
        }
        file.write_all(&piece)?;
    }
    Ok(())
}

fn make_wide(folder: &Path) -> anyhow::Result<()> {
    for number in 0..FILES / FILES_PER_FOLDER {
        let folder = folder.join(number.to_string());
        fs::create_dir_all(&folder)?;
        for file in 0..FILES_PER_FOLDER {
            fs::write(folder.join(file.to_string()), format!("file {file} of folder {number}\n"))?;
        }
    }
    Ok(())
}
