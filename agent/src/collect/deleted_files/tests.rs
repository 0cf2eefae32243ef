use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::Value;
use sha2::Digest as _;

use super::*;
use crate::run::session::Message;
use crate::run::testing::{assert_keys_sorted, collect, items, rows};

/// A child that runs until its input ends.
struct Running(Child);

impl Running {
    fn of(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    /// Waits until the child has become a copy of cat, which copies its input to its output.
    fn has_begun(&mut self) -> &mut Self {
        let mut answer = [0; 2];
        self.0.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
        self.0.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
        self
    }

    fn is_in(&self, row: &Value) -> bool {
        row["pids"].as_array().unwrap().contains(&Value::from(self.0.id()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Digest and length of what was handed over as the entry `name`.
fn stored(messages: &[Message], name: &str) -> (Sha256, u64) {
    let is_it = |item: &NewItem| item.entry.as_deref() == Some(name);
    let start = messages
        .iter()
        .position(|message| matches!(message, Message::Whole(item, _) | Message::Begin(item) if is_it(item)))
        .unwrap();
    let (mut hasher, mut length) = (sha2::Sha256::new(), 0);
    if let Message::Whole(_, content) = &messages[start] {
        return (Sha256::of(content), content.len() as u64);
    }
    for message in &messages[start + 1..] {
        match message {
            Message::Chunk(bytes) => {
                hasher.update(bytes);
                length += bytes.len() as u64;
            }
            _ => break,
        }
    }
    (Sha256::so_far(&hasher), length)
}

fn live() -> Vec<Message> {
    let messages = collect(&DeletedFiles {}, Arc::new(Host::live()));
    assert_keys_sorted(&messages);
    messages
}

#[test]
fn images_descriptors_and_memfds_are_kept_each_content_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sleeper\u{1b}");
    let staged = folder.path().join("staged.dat");
    std::fs::copy("/bin/cat", &path).unwrap();
    std::fs::write(&staged, "what was staged").unwrap();
    let memfds = [memfd_create("a", MemfdFlags::CLOEXEC).unwrap(), memfd_create("b", MemfdFlags::CLOEXEC).unwrap()];
    for memfd in &memfds {
        std::fs::File::from(memfd.try_clone().unwrap()).write_all(b"the same payload").unwrap();
    }
    let [first, second] = memfds;
    let child = Running::of(Command::new(&path).arg("-").stdout(std::fs::File::open(&staged).unwrap()).stderr(first));
    let other = Running::of(Command::new("/bin/cat").stdout(second));
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(&staged).unwrap();
    let messages = live();
    let rows = rows(&messages);
    let of = |child: &Running, name: &str| {
        let found = rows.iter().find(|row| child.is_in(row) && row["path"].as_str().unwrap().ends_with(name));
        found.unwrap_or_else(|| panic!("{name} of {rows:?}"))
    };
    let image = of(&child, "sleeper\u{1b}");
    let cat = std::fs::read("/bin/cat").unwrap();
    assert_eq!(image["sha256"], Sha256::of(&cat).to_string());
    assert_eq!((&image["nlink"], &image["memfd"], &image["status"]), (&0.into(), &false.into(), &"ok".into()));
    let held: Vec<&str> = image["held_by"].as_array().unwrap().iter().map(|how| how.as_str().unwrap()).collect();
    assert_eq!(held, ["exe", "map"]);
    let file = of(&child, "staged.dat");
    assert_eq!(file["fds"], serde_json::json!([{"fd": 1, "pid": child.0.id()}]));
    assert_eq!(file["sha256"], Sha256::of(b"what was staged").to_string());
    assert_eq!(stored(&messages, file["stored"].as_str().unwrap()).0, Sha256::of(b"what was staged"));
    let (a, b) = (of(&child, "/memfd:a"), of(&other, "/memfd:b"));
    assert_eq!((&a["memfd"], &a["sha256"]), (&true.into(), &Sha256::of(b"the same payload").to_string().into()));
    assert_eq!((&a["stored"], &a["sha256"]), (&b["stored"], &b["sha256"]));
    assert_ne!(a["inode"], b["inode"]);
    let texts = items(&messages).into_iter().filter_map(|item| item.reason).collect::<Vec<_>>().join("\n");
    assert!(texts.contains("the same content is stored as"), "{texts}");
}

#[test]
fn a_library_that_was_removed_is_found_in_the_maps_alone() {
    let folder = tempfile::tempdir().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let Some(library) =
        maps.lines().find_map(|line| line.find('/').map(|at| &line[at..]).filter(|p| p.contains("/libc.so")))
    else {
        eprintln!("left out: this test is linked statically, so there is no library to preload");
        return;
    };
    let path = folder.path().join("libpayload.so");
    std::fs::copy(library, &path).unwrap();
    let mut child =
        Running::of(Command::new("/bin/cat").env("LD_PRELOAD", &path).stdout(Stdio::piped()).stderr(Stdio::null()));
    child.has_begun();
    std::fs::remove_file(&path).unwrap();
    let messages = live();
    let rows = rows(&messages);
    let row = rows.iter().find(|row| child.is_in(row) && row["path"] == path.to_str().unwrap()).unwrap();
    assert_eq!(row["held_by"], serde_json::json!(["map"]));
    let content = std::fs::read(library).unwrap();
    if row.get("sha256").is_none() {
        assert!(row["not_read"].as_str().unwrap().contains("map_files is refused"), "{row}");
        eprintln!("map_files is refused here: read from memory");
        return;
    }
    assert_eq!(row["sha256"], Sha256::of(&content).to_string());
    assert_eq!(stored(&messages, row["stored"].as_str().unwrap()).1, content.len() as u64);
}

/// A long image that lies on a file system which only its own mount namespace shows, and has no name there either.
#[test]
fn a_long_image_in_another_mount_namespace_is_exact() {
    const PADDING_BYTES: usize = 200 << 20;
    let folder = tempfile::tempdir().unwrap();
    let (source, point) = (folder.path().join("source"), folder.path().join("point"));
    std::fs::create_dir(&point).unwrap();
    let mut content = std::fs::read("/bin/cat").unwrap();
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    content.reserve_exact(PADDING_BYTES);
    for _ in 0..PADDING_BYTES / 8 {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        content.extend_from_slice(&word.to_le_bytes());
    }
    std::fs::write(&source, &content).unwrap();
    let digest = Sha256::of(&content);
    drop(content);
    let script = "mount -t tmpfs hidden \"$2\" && cp \"$1\" \"$2/image\" && chmod 755 \"$2/image\" && \
                  exec 3<\"$2/image\" && rm \"$2/image\" && exec /proc/self/fd/3 -";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).args([&source, &point]).stdout(Stdio::piped());
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: a mount namespace needs root");
        return;
    }
    let mut child = Running::of(&mut command);
    child.has_begun();
    let messages = live();
    let rows = rows(&messages);
    let row = rows.iter().find(|row| child.is_in(row) && row["size"].as_u64() > Some(PADDING_BYTES as u64)).unwrap();
    assert_eq!(row["sha256"], digest.to_string());
    let (kept, length) = stored(&messages, row["stored"].as_str().unwrap());
    assert_eq!((kept, Some(length)), (digest, row["size"].as_u64()));
}

#[test]
fn what_is_written_to_while_it_is_read_is_said() {
    let (messages, received) = std::sync::mpsc::sync_channel(64);
    let mut session = crate::run::testing::session(Arc::new(Host::live()), messages);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"before").unwrap();
    let opened = OwnedFd::from(file.try_clone().unwrap());
    let stat = crate::host::views::stat(opened.as_fd(), c"").unwrap();
    file.write_all(b" and after").unwrap();
    let item = session.item(Kind::Deleted, "/tmp/x (deleted)", "procfs", Status::Ok);
    let outcome = keep(&mut session, &opened, &stat, u64::MAX, (item, "data/memory/x.bin")).unwrap();
    assert_eq!((outcome.status, outcome.sha256), (Status::Grew, Some(Sha256::of(b"before and after"))));
    drop(session);
    let messages: Vec<Message> = received.iter().collect();
    assert_eq!(stored(&messages, "data/memory/x.bin").1, 16);
}

#[test]
fn a_tree_that_stands_for_a_host_has_maps_and_nothing_behind_them() {
    let tree = tempfile::tempdir().unwrap();
    let dir = tree.path().join("proc/7");
    std::fs::create_dir_all(dir.join("fd")).unwrap();
    std::fs::write(dir.join("stat"), "7 (x) S 1").unwrap();
    let maps = "1000-3000 r-xp 00001000 fd:01 9                          /tmp/x\\012 (deleted)\nnonsense (deleted)\n";
    std::fs::write(dir.join("maps"), maps).unwrap();
    std::fs::write(dir.join("mem"), vec![7; 0x3000]).unwrap();
    let host = Host::at(tree.path(), crate::host::FixedClock(bundle::time::Instant(0)));
    let messages = collect(&DeletedFiles {}, Arc::new(host));
    let rows = rows(&messages);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["dev"], &rows[0]["inode"]), (&"253:1".into(), &9.into()));
    assert_eq!(rows[0]["ranges"], serde_json::json!([[0x1000, 0x2000]]));
    assert_eq!(stored(&messages, rows[0]["stored"].as_str().unwrap()), (Sha256::of(&[7; 0x2000]), 0x2000));
}
