use std::sync::Arc;

use bundle::time::Instant;

use super::*;
use crate::host::FixedClock;
use crate::host::sys::bpf::testing::filter;
use crate::run::session::Message;
use crate::run::testing::{assert_keys_sorted, collect, items, rows};

#[test]
fn a_loaded_program_is_found_with_its_holder_and_its_instructions() {
    // Only root, and only where the sandbox lets bpf(2) through.
    let _held = match filter(b"hf_test_filter") {
        Ok(held) => held,
        Err(error) => return println!("no program could be loaded here: {error}"),
    };
    let messages = collect(&Bpf {}, Arc::new(Host::live()));
    assert_keys_sorted(&messages);
    assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    let rows = rows(&messages);
    let program = rows.iter().find(|row| row["record"] == "program" && row["name"] == "hf_test_filter").unwrap();
    assert_eq!((&program["type"], &program["gpl_compatible"]), (&"socket_filter".into(), &true.into()));
    assert!(program["held_by"].as_array().unwrap().contains(&std::process::id().into()), "{program}");
    assert_eq!(program["tag"].as_str().unwrap().len(), 16);
    assert_eq!(program["translated_bytes"], 16);
    let name = format!("translated/{}.bin", program["translated_sha256"].as_str().unwrap());
    let code = messages.iter().find_map(|message| match message {
        Message::Raw(_, raw, bytes) if *raw == name => Some(bytes),
        _ => None,
    });
    assert_eq!(code.unwrap().len(), 16);
}

#[test]
fn a_tree_has_no_programs() {
    let tree = tempfile::tempdir().unwrap();
    let messages = collect(&Bpf {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
    assert_eq!(items(&messages)[0].status, Status::Skipped);
}

#[test]
fn links_say_where_they_hook() {
    let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_ne_bytes()).collect() };
    let row = |info: &[u32], name: &[u8]| serde_json::to_value(link_row(9, &words(info), name)).unwrap();
    // type, id, prog_id, padding, then what the type says.
    let cgroup = row(&[3, 9, 7, 0, 77, 1, 6, 0], b"");
    assert_eq!((&cgroup["type"], &cgroup["attach_type"]), (&"cgroup".into(), &"cgroup_device".into()));
    assert_eq!((&cgroup["cgroup_id"], &cgroup["prog_id"]), (&((1_u64 << 32) + 77).into(), &7.into()));
    let kprobe = row(&[7, 9, 7, 0, 3, 0, 0, 0, 0, 16, 0x8100_0000, 0xffff_ffff, 0, 0], b"do_exit");
    assert_eq!((&kprobe["probe"], &kprobe["target"]), (&"kprobe".into(), &"do_exit".into()));
    assert_eq!((&kprobe["offset"], &kprobe["address_hex"]), (&16.into(), &"ffffffff81000000".into()));
    let traced = row(&[2, 9, 7, 0, 24, 1, 4711], b"");
    assert_eq!((&traced["attach_type"], &traced["target_btf_id"]), (&"trace_fentry".into(), &4711.into()));
    let short = row(&[12], b"\xff");
    assert_eq!((&short["type"], &short["target_b64"]), (&"uprobe_multi".into(), &"/w==".into()));
}

#[test]
fn fdinfo_names_the_object() {
    assert_eq!(holders::object_in(b"pos:\t0\nprog_type:\t1\nprog_id:\t28\n"), Some((Kind::Program, 28)));
    assert_eq!(holders::object_in(b"link_type:\tcgroup\nlink_id:\t3\nprog_id:\t28\n"), Some((Kind::Link, 3)));
    assert_eq!(holders::object_in(b"map_type:\t2\nmap_id:\t99999999999\n"), None);
    assert_eq!(holders::object_in(b""), None);
}
