//! "Everything that comes from a host is hostile": a tree that makes careless collectors hang, loop or blow up.

use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::{Lab, Opened, Random, until};
use rustix::fs::{FileType, Mode, OFlags};
use serde_json::Value;

const TEBIBYTE: u64 = 1 << 40;
/// Forty names of 200 characters: a path about twice as long as PATH_MAX.
const DEPTH: usize = 40;

/// A thread that goes on changing the tree until it is dropped.
struct Meddler(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Meddler {
    fn start(mut meddle: impl FnMut(u64) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for turn in 0.. {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                meddle(turn);
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(JoinHandle::join);
    }
}

/// A leaf at a path that no system call takes as a whole.
fn plant_deep(under: &Path) {
    let name = "d".repeat(200);
    let open = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let mut folder: OwnedFd = rustix::fs::open(under, open, Mode::empty()).unwrap();
    for _ in 0..DEPTH {
        rustix::fs::mkdirat(&folder, name.as_str(), Mode::RWXU).unwrap();
        folder = rustix::fs::openat(&folder, name.as_str(), open, Mode::empty()).unwrap();
    }
    let create = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let leaf = rustix::fs::openat(&folder, "leaf", create, Mode::RUSR).unwrap();
    File::from(leaf).write_all(b"deep").unwrap();
}

const ODD_NAMES: [&[u8]; 6] =
    [b"new\nline", b"esc\x1b[31mred", b"bad\xffutf8", b"-rf", b" trailing ", b"percent%0Aescape"];

fn plant(tree: &Path) {
    let at = |name: &[u8]| tree.join(OsStr::from_bytes(name));
    for name in ODD_NAMES {
        fs::write(at(name), name).unwrap();
    }
    let fifo = CString::new(at(b"fifo").as_os_str().as_bytes()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    drop(UnixListener::bind(at(b"socket")).unwrap());
    let mut sparse = File::create(at(b"sparse")).unwrap();
    sparse.write_all(b"head").unwrap();
    sparse.set_len(TEBIBYTE).unwrap();
    std::os::unix::fs::symlink(".", at(b"loop")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", at(b"dangling")).unwrap();
    std::os::unix::fs::symlink("/proc/self/fd/0", at(b"into-proc")).unwrap();
    fs::write(at(b"first-name"), "one inode").unwrap();
    fs::hard_link(at(b"first-name"), at(b"second-name")).unwrap();
    fs::write(at(b"empty"), "").unwrap();
    plant_deep(tree);
    fs::create_dir(at(b"churn")).unwrap();
}

/// The exact path of an item.
fn path_of(item: &Value) -> Vec<u8> {
    match item["path_b64"].as_str() {
        None => item["path"].as_str().unwrap().as_bytes().to_vec(),
        Some(exact) => from_base64(exact),
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |byte: u8| alphabet.iter().position(|known| *known == byte).unwrap();
    let text = text.trim_end_matches('=').as_bytes();
    let (mut bits, mut held, mut bytes) = (0_usize, 0_u32, Vec::new());
    for byte in text {
        bits = (bits << 6 | value(*byte)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes
}

#[test]
fn it_ends_quickly_and_everything_is_in_the_items() {
    let lab = Lab::new();
    let tree = lab.tree();
    plant(&tree);
    let mut growing = OpenOptions::new().append(true).create(true).open(tree.join("growing.log")).unwrap();
    // Longer than one read, so that it can be seen to grow while it is read.
    growing.write_all(&Random::seeded().bytes(2 << 20)).unwrap();
    let appender = Meddler::start(move |_| growing.write_all(b"it grows\n").unwrap());
    let churn = tree.join("churn");
    let churner = Meddler::start(move |turn| {
        let path = churn.join((turn % 50).to_string());
        fs::write(&path, "short-lived").unwrap();
        if turn >= 25 {
            let _ = fs::remove_file(churn.join(((turn - 25) % 50).to_string()));
        }
    });
    let _ = until("the churn has begun", Duration::from_secs(10), || fs::read_dir(tree.join("churn")).unwrap().nth(10));
    let sealed = lab.collect(lab.tree_profile("")).within(Duration::from_mins(1)).sealed();
    drop((appender, churner));
    lab.verify(&sealed.path).signers(&sealed.signers).run().expect_code(0);
    lab.verify_py(&sealed.path).signers(&sealed.signers).run().expect_code(0);
    let mut bundle = Opened::at(&sealed.path);
    let items = bundle.items();
    let item = |name: &[u8]| {
        let path = [tree.as_os_str().as_bytes(), b"/", name].concat();
        let found: Vec<&Value> = items.iter().filter(|item| path_of(item) == path).collect();
        assert_eq!(found.len(), 1, "{}: {found:?}", String::from_utf8_lossy(name));
        found[0].clone()
    };
    let mut content = |item: &Value| bundle.read(item["stored"].as_str().unwrap());
    for name in ODD_NAMES {
        let item = item(name);
        assert_eq!(item["status"], "ok", "{item}");
        assert_eq!(content(&item), name, "{item}");
    }
    for (name, file_type) in [("fifo", "fifo"), ("socket", "socket"), ("churn", "dir")] {
        let item = item(name.as_bytes());
        assert_eq!((&item["status"], &item["meta"]["type"]), (&"meta_only".into(), &file_type.into()), "{item}");
    }
    for (name, target) in [("loop", "."), ("dangling", "/nonexistent"), ("into-proc", "/proc/self/fd/0")] {
        let item = item(name.as_bytes());
        assert_eq!((&item["status"], &item["meta"]["target"]), (&"ok".into(), &target.into()), "{item}");
        assert_eq!(content(&item), target.as_bytes());
    }
    let sparse = item(b"sparse");
    assert_eq!(sparse["meta"]["size"], TEBIBYTE, "{sparse}");
    assert_eq!(sparse["status"], "ok", "{sparse}");
    assert!(sparse["size"].as_u64().unwrap() < 1 << 20, "{sparse}");
    assert!(content(&sparse).starts_with(b"head"));
    let (first, second) = (item(b"first-name"), item(b"second-name"));
    let (kept, linked) = if first["stored"].is_string() { (first, second) } else { (second, first) };
    assert_eq!(linked["hardlink_of"], kept["id"], "{linked}");
    assert_eq!(linked.get("stored"), None, "{linked}");
    assert_eq!(content(&kept), b"one inode");
    assert_eq!(content(&item(b"empty")), b"");
    let deep = [vec!["d".repeat(200); DEPTH].join("/").as_bytes(), b"/leaf"].concat();
    let deep = item(&deep);
    assert_eq!(deep["status"], "ok", "{}", deep["status"]);
    assert_eq!(content(&deep), b"deep");
    let log = item(b"growing.log");
    assert!(["ok", "grew"].contains(&log["status"].as_str().unwrap()), "{log}");
    assert_eq!(content(&log).len() as u64, log["size"].as_u64().unwrap());
    let churned: Vec<&Value> = items.iter().filter(|item| item["path"].as_str().unwrap().contains("/churn/")).collect();
    assert!(!churned.is_empty());
    for item in churned {
        let status = item["status"].as_str().unwrap();
        assert!(["ok", "grew", "shrank", "changed", "vanished"].contains(&status), "{item}");
    }
}
