//! Tampered copies of a bundle, as somebody makes them who has python's zipfile and no key.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Running;
use crate::programs::root;

/// A tampered copy.
#[derive(Debug)]
pub struct Tampered {
    /// What was done to it.
    pub what: &'static str,
    /// The copy.
    pub path: PathBuf,
    /// What a verifier must name: an entry, or the word that it has for the deed.
    pub named: String,
}

/// Makes a copy for each thing that tamper.py does.
#[track_caller]
pub fn tamper(bundle: &Path, folder: &Path) -> Vec<Tampered> {
    std::fs::create_dir_all(folder).unwrap();
    let mut python = Command::new("python3");
    python.arg(root().join("tests/harness/tamper.py")).arg(bundle).arg(folder);
    let victims = Running::start(&mut python).wait(Duration::from_mins(1)).expect_code(0).stdout;
    let victims: Vec<&str> = victims.lines().collect();
    let [victim, items, checkpoint, record] = victims[..] else { panic!("tamper.py names four: {victims:?}") };
    let made = |what: &'static str, named: &str| {
        let path = folder.join(format!("{what}.evidence.zip"));
        assert!(path.is_file(), "tamper.py made no {what}");
        Tampered { what, path, named: named.to_owned() }
    };
    vec![
        made("content-changed", victim),
        made("file-dropped", victim),
        made("metadata-changed", items),
        made("row-dropped", record),
        made("checkpoint-dropped", checkpoint.trim_end_matches('/')),
        made("repacked", "bagit.txt"),
        made("bit-flipped", ""),
        made("header-flipped", "bagit.txt"),
        made("file-added", "[root]/etc/added"),
        made("checkpoint-file-added", "added"),
        made("symlink-added", "[root]/etc/added-link"),
        made("bytes-appended", ""),
    ]
}
