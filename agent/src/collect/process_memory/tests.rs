use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::host::freezer::tests::Alone;
use crate::run::session::Message;
use crate::run::testing::{assert_keys_sorted, collect, items, rows};

const MARKER: &str = "FX_MARKER_of_the_test";

/// A child that has the marker in its environment, and so on its stack.
fn marked() -> Command {
    let mut command = Command::new("/bin/cat");
    command.env("MARKER", MARKER).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

struct Running(Child);

impl Running {
    fn of(mut command: Command) -> Self {
        let mut running = Self(command.spawn().unwrap());
        running.0.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
        let mut answer = [0; 2];
        running.0.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

fn bound(with: Value) -> ProcessMemory {
    serde_json::from_value(with).unwrap()
}

/// The cores that were handed over, by their entries.
fn cores(messages: &[Message]) -> BTreeMap<String, Vec<u8>> {
    let mut cores = BTreeMap::new();
    let mut current: Option<String> = None;
    for message in messages {
        match message {
            Message::Begin(item) => {
                current = item.entry.clone();
                cores.insert(item.entry.clone().unwrap(), Vec::new());
            }
            Message::Chunk(bytes) => {
                assert!(bytes.len() as u64 <= WHOLE_BYTES_MAX);
                cores.get_mut(current.as_ref().unwrap()).unwrap().extend_from_slice(bytes);
            }
            _ => {}
        }
    }
    cores
}

fn find(core: &[u8], text: &str) -> Option<u64> {
    core.windows(text.len()).position(|window| window == text.as_bytes()).map(|at| at as u64)
}

#[test]
fn the_memory_of_a_child_is_found_at_its_address() {
    let child = Running::of(marked());
    let messages =
        collect(&bound(json!({"pids": [child.0.id()], "select": ["stack", "heap"]})), Arc::new(Host::live()));
    assert_keys_sorted(&messages);
    let cores = cores(&messages);
    let core = &cores[&format!("data/memory/process_memory/{}.core", child.0.id())];
    let at = find(core, &format!("MARKER={MARKER}")).unwrap();
    let rows = rows(&messages);
    let stack = rows.iter().find(|row| row["kind"] == "stack").unwrap();
    let (offset, bytes) = (stack["core_offset"].as_u64().unwrap(), stack["read_bytes"].as_u64().unwrap());
    assert!(offset <= at && at < offset + bytes, "{stack}");
    let content = &core[usize::try_from(offset).unwrap()..usize::try_from(offset + bytes).unwrap()];
    assert_eq!(stack["sha256"], Sha256::of(content).to_string());
    assert_eq!(stack["selected_as"], json!(["stack"]));
    // The program headers lead to the same place.
    let number = |at: usize| u64::from_ne_bytes(core[at..at + 8].try_into().unwrap());
    let count = usize::from(u16::from_ne_bytes(core[56..58].try_into().unwrap()));
    let segment = (0..count).map(|n| 64 + n * 56).find(|header| {
        let (in_file, length) = (number(header + 8), number(header + 32));
        in_file <= at && at < in_file + length
    });
    let address = number(segment.unwrap() + 16) + at - number(segment.unwrap() + 8);
    let mut there = vec![0; 7];
    std::os::unix::fs::FileExt::read_exact_at(
        &std::fs::File::open(format!("/proc/{}/mem", child.0.id())).unwrap(),
        &mut there,
        address,
    )
    .unwrap();
    assert_eq!(there, b"MARKER=");
}

#[test]
fn what_is_suspect_is_found_in_all_processes() {
    let memfd = rustix::fs::memfd_create("payload", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    std::fs::File::from(memfd.try_clone().unwrap()).write_all(&std::fs::read("/bin/cat").unwrap()).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memfd)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = Running::of(command);
    let messages = collect(&ProcessMemory::default(), Arc::new(Host::live()));
    let rows = rows(&messages);
    let own: Vec<_> = rows.iter().filter(|row| row["pid"] == child.0.id()).collect();
    assert!(own.iter().all(|row| row["selected_as"] == json!(["memfd"])), "{own:?}");
    let cores = cores(&messages);
    let core = &cores[own[0]["stored"].as_str().unwrap()];
    assert!(find(&core[1..], "\x7fELF").is_some(), "the image's own header");
    let is_own = |item: &NewItem| item.path == format!("/proc/{}/mem", std::process::id()).into_bytes();
    let left_out = items(&messages).into_iter().find(is_own).unwrap();
    assert_eq!(left_out.status, Status::Skipped);
}

#[test]
fn bounds_are_kept_and_said() {
    let child = Running::of(marked());
    let with = json!({"pids": [child.0.id(), 4_194_305], "process_bytes_max": 20_000, "select": "all"});
    let messages = collect(&bound(with), Arc::new(Host::live()));
    let rows = rows(&messages);
    let read: u64 = rows.iter().map(|row| row["read_bytes"].as_u64().unwrap()).sum();
    assert_eq!(read, 20_000 / page_bytes() * page_bytes());
    assert!(
        messages.iter().any(|message| matches!(message, Message::Limited(rule) if rule.contains("process_bytes_max")))
    );
    let gone = items(&messages).into_iter().find(|item| item.path == b"/proc/4194305/mem").unwrap();
    assert_eq!(gone.status, Status::Vanished);
    assert!(rows.iter().any(|row| row["kind"] == "vvar" && row["not_read"].is_string()), "{rows:?}");
}

#[test]
fn no_processes_are_none_and_wrong_arguments_are_refused() {
    let messages = collect(&bound(json!({"pids": [], "select": "all"})), Arc::new(Host::live()));
    assert!(rows(&messages).is_empty());
    for wrong in [json!({"select": "everything"}), json!({"freeze_ms_max": 5001}), json!({"freeze_ms_max": 0})] {
        assert!(serde_json::from_value::<ProcessMemory>(wrong.clone()).is_err(), "{wrong}");
    }
    assert!(serde_json::from_value::<ProcessMemory>(json!({"freeze": true, "freeze_ms_max": 5000})).is_ok());
}

#[test]
fn a_frozen_process_is_read_thawed_and_told() {
    let Some(alone) = Alone::of(marked()) else { return };
    let pid = alone.child.id();
    let with = json!({"freeze": true, "freeze_ms_max": 5000, "pids": [pid], "select": "stack"});
    let messages = collect(&bound(with), Arc::new(Host::live()));
    assert!(alone.becomes(false));
    let rows = rows(&messages);
    assert_eq!((rows.len(), &rows[0]["frozen"]), (1, &true.into()), "{rows:?}");
    let told: Vec<&String> = messages
        .iter()
        .filter_map(|message| match message {
            Message::Changed(what) => Some(what),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with(&format!("process {pid} was frozen in its control group /")), "{told:?}");
    // One that is not alone is read all the same, and the item says why it ran on.
    let child = Running::of(marked());
    let messages =
        collect(&bound(json!({"freeze": true, "pids": [child.0.id()], "select": "stack"})), Arc::new(Host::live()));
    let item = items(&messages).into_iter().find(|item| item.entry.is_some()).unwrap();
    assert!(item.reason.unwrap().starts_with("not frozen: "));
}
