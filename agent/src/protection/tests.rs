//! On threads of their own, which take it to their end.

use std::fs;
use std::process::Command;

use super::*;
use crate::host::sys::confine;

/// Runs this in a thread that is confined for a tier.
fn confined<T: Send + 'static>(tier: Tier, run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(move || {
        confine_worker(tier);
        run()
    })
    .join()
    .unwrap()
}

fn has(what: &str) -> bool {
    report().get(what).and_then(Value::as_str).is_some_and(|said| !said.starts_with("no: "))
}

fn denied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied)
}

#[test]
fn a_worker_runs_nothing_and_changes_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept");
    fs::write(&path, "evidence").unwrap();
    let inside = path.clone();
    let (ran, removed, moved, read) = confined(Tier::Volatile, move || {
        let ran = Command::new("/bin/true").status();
        let moved = fs::rename(&inside, inside.with_extension("moved"));
        (ran, fs::remove_file(&inside), moved, fs::read(&inside))
    });
    if !has("seccomp") {
        let _ = io::Write::write_all(&mut io::stderr(), b"skipped: this kernel has no seccomp filters\n");
        return;
    }
    assert!(denied(&ran.unwrap_err()) && denied(&removed.unwrap_err()) && denied(&moved.unwrap_err()));
    assert_eq!(read.unwrap(), b"evidence");
    // This thread gave nothing up.
    assert!(Command::new("/bin/true").status().unwrap().success());
    fs::remove_file(path).unwrap();
}

#[test]
fn a_worker_of_files_opens_nothing_for_writing_and_reads_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept");
    fs::write(&path, "evidence").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (inside, at) = (path.clone(), listener.local_addr().unwrap());
    let (made, opened, read, connected) = confined(Tier::Files, move || {
        let made = fs::write(inside.with_extension("new"), "");
        let opened = fs::OpenOptions::new().append(true).open(&inside);
        (made, opened.map(drop), fs::read(&inside), std::net::TcpStream::connect(at).map(drop))
    });
    assert_eq!(read.unwrap(), b"evidence");
    if !has("landlock") {
        let _ = io::Write::write_all(&mut io::stderr(), b"skipped: this kernel has no Landlock\n");
        return;
    }
    assert!(denied(&made.unwrap_err()) && denied(&opened.unwrap_err()));
    if confine::landlock_version().unwrap() >= 4 {
        assert!(denied(&connected.unwrap_err()));
    }
    fs::write(path, "by a thread that gave nothing up").unwrap();
}

#[test]
fn a_relay_still_connects() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (ran, connected) = std::thread::spawn(move || {
        confine_relay();
        (Command::new("/bin/true").status().is_ok(), std::net::TcpStream::connect(at).is_ok())
    })
    .join()
    .unwrap();
    assert!(connected && !(has("seccomp") && ran));
}
