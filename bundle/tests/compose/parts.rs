//! A run in three parts, and what can be wrong between them: each part by itself is good.

use std::sync::OnceLock;

use bundle::verify::{Against, check};
use serde_json::{Value, json};
use wire::Sha256;

use super::{Change, compose};

const ONE: &str = "019aa781-d4e0-7707-8707-070707070707";
const TWO: &str = "019aa781-d4e0-7707-8707-070707070702";
const THREE: &str = "019aa781-d4e0-7707-8707-070707070703";

/// Bundles that are given together, and what is to be said of the run.
pub struct Run {
    pub name: &'static str,
    pub shows: &'static str,
    /// Files of `vectors/`.
    pub parts: &'static [&'static str],
    pub exit: u8,
    pub findings: &'static [&'static str],
}

/// All of them.
pub const RUNS: &[Run] = &[
    run("parts-whole", "three parts of one run", &["part-1", "part-2", "part-3"], 0, &[]),
    run("parts-any-order", "the same, in another order", &["part-3", "part-1", "part-2"], 0, &[]),
    run("parts-middle-missing", "the second is not here", &["part-1", "part-3"], 3, &["part_missing"]),
    run("parts-first-missing", "the first is not here", &["part-2", "part-3"], 3, &["part_missing"]),
    run("parts-last-missing", "the second says that the run goes on", &["part-1", "part-2"], 3, &["part_missing"]),
    run(
        "parts-other-checkpoint",
        "one names another final checkpoint",
        &["part-1", "part-2-checkpoint", "part-3"],
        1,
        &["part_chain"],
    ),
    run("parts-other-run", "one is of another incident", &["part-1", "part-2-incident", "part-3"], 1, &["part_chain"]),
    run("parts-swapped", "one takes the place of another", &["part-1", "part-3-as-2"], 1, &["part_chain"]),
    run("parts-twice", "a number is there twice", &["part-1", "part-2", "part-2", "part-3"], 1, &["part_chain"]),
    run(
        "parts-hardlink",
        "a hard link to what holds no content",
        &["part-1", "part-2-link"],
        1,
        &["item_mismatch", "part_missing"],
    ),
];

const fn run(
    name: &'static str,
    shows: &'static str,
    parts: &'static [&'static str],
    exit: u8,
    findings: &'static [&'static str],
) -> Run {
    Run { name, shows, parts, exit, findings }
}

/// The file of a part.
pub fn file(part: &str) -> String {
    format!("{part}.evidence.zip")
}

/// All parts, by name.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut link = two();
    link.push(Change { site: "item 5", change: |_, b| merge(b, json!({"hardlink_of": {"item": 2, "part": 1}})) });
    let mut incident = two();
    incident
        .push(Change { site: "content bundle.json", change: |_, b| merge(b, json!({"incident": "INC-2026-0008"})) });
    let mut checkpoint = two();
    checkpoint.push(Change {
        site: "content bundle.json",
        change: |_, b| merge(b, json!({"continues": {"bundle": ONE, "checkpoint_sha256": "0".repeat(64), "part": 1}})),
    });
    let mut as_two = three();
    as_two.push(Change { site: "content bundle.json", change: |_, b| merge(b, json!({"part": 2})) });
    vec![
        ("part-1", first().0.clone()),
        ("part-2", second().0.clone()),
        ("part-2-checkpoint", compose(false, &checkpoint).0),
        ("part-2-incident", compose(false, &incident).0),
        ("part-2-link", compose(false, &link).0),
        ("part-3", compose(false, &three()).0),
        ("part-3-as-2", compose(false, &as_two).0),
    ]
}

type Part = (Vec<u8>, Sha256);

fn first() -> &'static Part {
    static PART: OnceLock<Part> = OnceLock::new();
    PART.get_or_init(|| with_head(&[Change { site: "custody 2", change: |_, b| goes_on(b, TWO, 2) }]))
}

fn second() -> &'static Part {
    static PART: OnceLock<Part> = OnceLock::new();
    PART.get_or_init(|| with_head(&two()))
}

fn with_head(changes: &[Change]) -> Part {
    let bundle = compose(false, changes).0;
    let head = check(&bundle[..], Against::default()).unwrap().report().checkpoints.last().unwrap().sha256;
    (bundle, head)
}

fn two() -> Vec<Change> {
    vec![
        Change {
            site: "content bundle.json",
            change: |_, b| {
                let continues = json!({"bundle": ONE, "checkpoint_sha256": first().1, "part": 1});
                merge(b, json!({"bundle": TWO, "continues": continues, "part": 2}));
            },
        },
        Change { site: "custody 2", change: |_, b| goes_on(b, THREE, 3) },
        Change { site: "checkpoint 1", change: |_, b| merge(b, json!({"bundle": TWO})) },
        Change { site: "checkpoint 2", change: |_, b| merge(b, json!({"bundle": TWO})) },
        Change { site: "item 5", change: |_, b| merge(b, json!({"hardlink_of": {"item": 3, "part": 1}})) },
    ]
}

fn three() -> Vec<Change> {
    vec![
        Change {
            site: "content bundle.json",
            change: |_, b| {
                let continues = json!({"bundle": TWO, "checkpoint_sha256": second().1, "part": 2});
                merge(b, json!({"bundle": THREE, "continues": continues, "part": 3}));
            },
        },
        Change { site: "checkpoint 1", change: |_, b| merge(b, json!({"bundle": THREE})) },
        Change { site: "checkpoint 2", change: |_, b| merge(b, json!({"bundle": THREE})) },
    ]
}

fn goes_on(bytes: &mut Vec<u8>, next: &str, part: u32) {
    merge(bytes, json!({"event": "part_ended", "next": next, "next_part": part}));
}

/// Sets fields of an object, which keeps its final LF.
fn merge(bytes: &mut Vec<u8>, fields: Value) {
    let has_lf = bytes.ends_with(b"\n");
    let mut object: Value = serde_json::from_slice(bytes).unwrap();
    object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    *bytes = object.to_string().into_bytes();
    if has_lf {
        bytes.push(b'\n');
    }
}
