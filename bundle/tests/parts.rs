//! A run in several bundles, as the writer makes it and the verifier sees it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says that it failed")]

mod common;

use std::io::{Cursor, Read as _};

use bundle::coverage::{Coverage, Outcome};
use bundle::header::Header;
use bundle::verify::{Against, Sidecar, State, Verified, check, check_parts};
use bundle::write::{PartLimits, Writer};
use common::{NOW, file, header, key, world};
use serde_json::{Value, json};
use wire::Tier;

const LIMITS: PartLimits = PartLimits { entries_max: 60, bytes_max: None };

type Part = (Vec<u8>, Vec<u8>);

/// A hundred files, and at the end another name for the first of them, in parts of at most this.
fn run(limits: PartLimits) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut writer = Writer::start(Vec::new(), Vec::new(), header(&key()), world(key())).unwrap();
    writer.begin_step(Tier::Files, "files", NOW);
    writer.rows(b"{\"row\":1}\n").unwrap();
    for n in 0..100 {
        let content = format!("{n:05}").repeat(200).into_bytes();
        if writer.is_full(limits, content.len() as u64) {
            let next = writer.next_bundle();
            let (_, bytes, sidecar) =
                writer.next_part(next, (Vec::new(), Vec::new()), &json!({"so_far": n}), b"log\n").unwrap();
            parts.push((bytes, sidecar));
        }
        let mut item = file(format!("/srv/{n:05}").as_bytes(), "0100644", 1_000);
        item.inode = Some((1, n + 1));
        writer.whole(item, content).unwrap();
    }
    let mut again = file(b"/srv/again", "0100644", 1_000);
    again.inode = Some((1, 1));
    writer.note(again).unwrap();
    writer.rows(b"{\"row\":2}\n").unwrap();
    writer.end_step(Outcome::Completed, None).unwrap();
    writer.tier_end(Tier::Files).unwrap();
    let (_, bytes, sidecar) = writer.seal(&json!({"v": 1}), b"log\n").unwrap();
    parts.push((bytes, sidecar));
    parts
}

fn verified((bytes, sidecar): &Part) -> Verified {
    let sidecar = Sidecar::read(&sidecar[..]).unwrap();
    check(&bytes[..], Against { signers: None, sidecar: Some(&sidecar) }).unwrap()
}

fn text(part: &Part, name: &str) -> String {
    let mut text = String::new();
    let mut archive = zip::ZipArchive::new(Cursor::new(&part.0)).unwrap();
    archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn each_part_is_sealed_and_names_the_one_before() {
    let parts = run(LIMITS);
    assert!(parts.len() > 2, "{}", parts.len());
    let all: Vec<Verified> = parts.iter().map(verified).collect();
    assert!(check_parts(&all.iter().collect::<Vec<_>>()).is_empty());
    for (n, part) in all.iter().enumerate() {
        assert_eq!((part.state(), part.header().part as usize), (State::Sealed, n + 1));
        assert_eq!(part.report().next_part, all.get(n + 1).map(|next| next.header().bundle));
        let header: Header = serde_json::from_str(&text(&parts[n], "bundle.json")).unwrap();
        assert_eq!(header.continues.is_some(), n > 0);
    }
    let files: usize = all.iter().map(|part| part.entries().iter().filter(|entry| entry.is_root_file()).count()).sum();
    assert_eq!(files, 100, "each is in one part");
    // The other name's content is in the first part, and says so.
    let links = &all.last().unwrap().report().links;
    assert_eq!((links.len(), links[0].part), (1, 1));
    let without: Vec<&Verified> = all.iter().skip(1).collect();
    assert!(check_parts(&without).has("part_missing"));
}

#[test]
fn the_coverage_of_the_last_part_is_that_of_the_run() {
    let parts = run(LIMITS);
    let of = |part: &Part| serde_json::from_str::<Coverage>(&text(part, "data/coverage.json")).unwrap().collectors;
    let (first, last) = (of(&parts[0]), of(parts.last().unwrap()));
    assert_eq!((first.len(), first[0].outcome), (1, Outcome::Continues));
    assert_eq!((last.len(), last[0].outcome, last[0].rows, last[0].asked), (1, Outcome::Completed, 2, 103));
    assert!(text(&parts[0], "data/custody/000002.jsonl").contains("\"event\":\"part_ended\""));
    assert!(text(&parts[1], "data/custody/000001.jsonl").starts_with("{\"actor\":\"agent:web-1-abc\",\"bundle\":"));
    // Rows are told apart over the parts by the number of their segment.
    assert_eq!(text(&parts[0], "data/files/files.jsonl"), "{\"row\":1}\n");
    assert_eq!(text(parts.last().unwrap(), "data/files/files.2.jsonl"), "{\"row\":2}\n");
}

#[test]
fn a_part_does_not_pass_the_size_that_was_set() {
    let limits = PartLimits { bytes_max: Some(300 << 10), ..PartLimits::default() };
    let parts = run(limits);
    assert!(parts.len() > 1);
    assert!(parts.iter().all(|(bytes, _)| bytes.len() <= 300 << 10));
    // One that is too small for anything holds one thing: nothing is split, and the run goes on.
    assert_eq!(run(PartLimits { bytes_max: Some(1), ..limits }).len(), 100);
}

#[test]
fn the_same_run_gives_the_same_parts() {
    assert_eq!(run(LIMITS), run(LIMITS));
}

#[test]
fn a_part_of_another_run_and_one_that_was_changed_do_not_fit() {
    let parts = run(LIMITS);
    let mut all: Vec<Verified> = parts.iter().map(verified).collect();
    // The same files in larger parts: the first part is another one.
    all[0] = verified(&run(PartLimits { entries_max: 80, bytes_max: None })[0]);
    assert!(check_parts(&all.iter().collect::<Vec<_>>()).has("part_chain"));
}

/// Nodes of the graph: what has a type and an id.
fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(nodes).sum(),
        Value::Object(fields) => {
            usize::from(fields.contains_key("@type") && fields.contains_key("@id"))
                + fields.values().map(nodes).sum::<usize>()
        }
        _ => 0,
    }
}

#[test]
fn the_graph_names_bundle_host_and_checkpoints_in_at_most_a_hundred_nodes() {
    let parts = run(PartLimits { entries_max: 100_000, bytes_max: None });
    let graph: Value = serde_json::from_str(&text(&parts[0], "data/case.jsonld")).unwrap();
    let types: Vec<&str> =
        graph["@graph"].as_array().unwrap().iter().map(|node| node["@type"].as_str().unwrap()).collect();
    for wanted in [
        "uco-observable:Device",
        "uco-tool:Tool",
        "case-investigation:InvestigativeAction",
        "case-investigation:Investigation",
    ] {
        assert!(types.contains(&wanted), "{wanted} of {types:?}");
    }
    assert_eq!(types.iter().filter(|name| **name == "uco-observable:File").count(), 3, "the bundle, two checkpoints");
    assert!(nodes(&graph) <= 100);
    // With more checkpoints than it has room for, the last ones.
    let mut writer = Writer::start(Vec::new(), Vec::new(), header(&key()), world(key())).unwrap();
    writer.begin_step(Tier::Volatile, "processes", NOW);
    for _ in 0..60 {
        writer.group_end(Tier::Volatile).unwrap();
    }
    writer.end_step(Outcome::Completed, None).unwrap();
    let (_, bytes, sidecar) = writer.seal(&json!({}), b"").unwrap();
    let many = text(&(bytes, sidecar), "data/case.jsonld");
    assert!(nodes(&serde_json::from_str(&many).unwrap()) <= 100);
    assert!(many.contains("checkpoints/000061/") && !many.contains("checkpoints/000002/"));
}
