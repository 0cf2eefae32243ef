//! What the writer writes, read by others: the `zip` crate here; commodity tools in the end-to-end tests.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says that it failed")]

mod common;

use std::io::{Cursor, Read as _};

use bundle::checkpoint::StreamLine;
use bundle::item::HardLink;
use common::small_bundle;

fn names_of(archive: &zip::ZipArchive<Cursor<&Vec<u8>>>) -> Vec<String> {
    archive.file_names().map(|name| name.unwrap().into_owned()).collect()
}

#[test]
fn the_zip_crate_reads_every_entry() {
    let (bytes, _, sealed) = small_bundle();
    assert_eq!(bytes.len() as u64, sealed.bytes);
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    assert_eq!(archive.len() as u64, sealed.entries);
    for n in 0..archive.len() {
        let mut entry = archive.by_index(n).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content.len() as u64, entry.size());
    }
    let mut passwd = String::new();
    archive.by_name("[root]/etc/passwd").unwrap().read_to_string(&mut passwd).unwrap();
    assert!(passwd.starts_with("root:"));
    // The crate hides the set-user-id bit; the directory holds it, and the verifier compares it with the item.
    assert_eq!(archive.by_name("[root]/tmp/new=0Aline=FF").unwrap().unix_mode(), Some(0o100_755));
    assert!(archive.by_name("[root]/etc/alias").unwrap().is_symlink());
    let mut large = Vec::new();
    archive.by_name("[root]/srv/large").unwrap().read_to_end(&mut large).unwrap();
    assert_eq!(large, [b"123456789".repeat(1000), b"987654321".repeat(1000)].concat());
}

#[test]
fn every_zip_boundary_ends_an_ordinary_zip() {
    let (bytes, sidecar, _) = small_bundle();
    let lines: Vec<StreamLine> =
        sidecar.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    let boundaries: Vec<_> = lines.iter().filter(|line| line.checkpoint.zip_boundary).collect();
    assert_eq!(boundaries.len(), 3, "two tiers and the end");
    for line in boundaries {
        let end = usize::try_from(line.checkpoint.offset).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(&bytes[..end])).unwrap();
        assert!(archive.by_name("bundle.json").is_ok());
        assert_eq!(wire::Sha256::of(&bytes[..end]), line.checkpoint.sha256);
    }
    assert!(lines.last().unwrap().checkpoint.is_final);
}

#[test]
fn the_same_host_gives_the_same_bytes() {
    assert_eq!(small_bundle().0, small_bundle().0);
    assert_eq!(small_bundle().1, small_bundle().1);
}

#[test]
fn keys_are_sorted_wherever_json_is_written() {
    let (bytes, sidecar, _) = small_bundle();
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let names = names_of(&archive);
    let mut lines: Vec<String> = String::from_utf8(sidecar).unwrap().lines().map(str::to_owned).collect();
    for name in names.iter().filter(|name| name.ends_with(".json") || name.ends_with(".jsonl")) {
        let mut text = String::new();
        archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        assert!(text.ends_with('\n'), "{name}");
        lines.extend(text.lines().map(str::to_owned));
    }
    assert!(lines.len() > 20);
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value.to_string(), line);
    }
}

#[test]
fn hard_links_are_stored_once_and_denials_are_items() {
    let (bytes, ..) = small_bundle();
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    assert!(archive.by_name("[root]/srv/b").is_err());
    let mut items = String::new();
    let names = names_of(&archive);
    for name in names.iter().filter(|name| name.starts_with("data/items/")) {
        archive.by_name(name).unwrap().read_to_string(&mut items).unwrap();
    }
    let items: Vec<bundle::item::Item> = items.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by_path = |path: &str| items.iter().find(|item| item.path == path).unwrap();
    assert_eq!(by_path("/srv/b").hardlink_of, Some(HardLink::Item(by_path("/srv/a").id)));
    assert_eq!(by_path("/proc/2/environ").errno, Some(13));
    assert_eq!(by_path("/proc/2/environ").status, bundle::item::Status::Denied);
    assert_eq!(by_path("/srv/large").status, bundle::item::Status::Grew);
    let ids: Vec<u64> = items.iter().map(|item| item.id).collect();
    assert_eq!(ids, (1..=items.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_collector_that_is_named_twice_has_no_name_twice() {
    let mut writer = bundle::write::Writer::start(
        Vec::new(),
        Vec::new(),
        common::header(&common::key()),
        common::world(common::key()),
    )
    .unwrap();
    let memory = |path: &str| {
        bundle::item::NewItem::new(bundle::item::Kind::Memory, path, "procfs", bundle::item::Status::Ok, common::NOW)
    };
    for pid in ["7", "8"] {
        writer.begin_step(wire::Tier::Memory, "process_memory", common::NOW);
        writer.rows(b"{\"pid\":7}\n").unwrap();
        let named = memory("/proc/7/mem").stored_as(format!("data/memory/process_memory/{pid}\n.core"));
        writer.whole(named, b"x".to_vec()).unwrap();
        writer.whole(memory("/proc/7/mem"), b"y".to_vec()).unwrap();
        writer.end_step(bundle::coverage::Outcome::Completed, None).unwrap();
    }
    writer.tier_end(wire::Tier::Memory).unwrap();
    let (_, bytes, _) = writer.seal(&serde_json::json!({}), b"").unwrap();
    bundle::verify::check(&bytes[..], bundle::verify::Against::default()).unwrap();
    let archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let names = names_of(&archive);
    for name in ["7=0A.core", "8=0A.core", "000001.bin", "000002.bin"] {
        assert!(names.contains(&format!("data/memory/process_memory/{name}")), "{name} of {names:?}");
    }
    assert!(names.contains(&"data/memory/process_memory.2.jsonl".to_owned()), "{names:?}");
}

#[test]
fn checkpoints_come_in_the_middle_of_a_long_step() {
    let mut writer = bundle::write::Writer::start(
        Vec::new(),
        Vec::new(),
        common::header(&common::key()),
        common::world(common::key()),
    )
    .unwrap();
    writer.begin_step(wire::Tier::Files, "files", common::NOW);
    for n in 0..12_000 {
        let path = format!("/srv/{n:05}");
        writer.whole(common::file(path.as_bytes(), "0100644", 5), format!("{n:05}").into_bytes()).unwrap();
    }
    writer.end_step(bundle::coverage::Outcome::Completed, None).unwrap();
    writer.tier_end(wire::Tier::Files).unwrap();
    let (sealed, bytes, _) = writer.seal(&serde_json::json!({}), b"").unwrap();
    assert_eq!(sealed.items, 12_000);
    assert_eq!(sealed.checkpoints, 5, "start, two at 5,000 items, the tier's end, the seal");
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    assert!(archive.by_name("[root]/srv/11999").is_ok());
}
