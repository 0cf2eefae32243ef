use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::host::FixedClock;
use crate::run::session::Message;
use crate::run::testing;

const STATUS: &str = "Name:\tsshd\nState:\tS (sleeping)\nUid:\t0\t0\t0\t0\nNoNewPrivs:\t0\n";

fn stat(pid: u32, comm: &str, state: char, flags: u64, threads: u32) -> String {
    format!(
        "{pid} ({comm}) {state} 1 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 {threads} 0 200 1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 17\n"
    )
}

/// A process with all that a kernel without audit and without a security module shows.
fn process(proc: &Path, pid: u32, comm: &str, threads: &[u32]) {
    let dir = proc.join(pid.to_string());
    std::fs::create_dir_all(dir.join("ns")).unwrap();
    let count = u32::try_from(threads.len()).unwrap();
    for tid in threads {
        let task = dir.join("task").join(tid.to_string());
        std::fs::create_dir_all(&task).unwrap();
        std::fs::write(task.join("stat"), stat(*tid, "worker", 'R', 0, count)).unwrap();
        std::fs::write(task.join("children"), if *tid == pid { "9 12 " } else { "" }).unwrap();
    }
    let line = stat(pid, comm, 'S', 0, count);
    let files: [(&str, &[u8]); 9] = [
        ("stat", line.as_bytes()),
        ("status", STATUS.as_bytes()),
        ("statm", b"7 6 5 4 0 2 0\n"),
        ("cmdline", b"/usr/sbin/sshd\0-D\0\xff\0"),
        ("environ", b"PATH=/bin\0LD_PRELOAD=/tmp/x.so\0"),
        ("cgroup", b"0::/system.slice/ssh.service\n"),
        ("wchan", b"do_select"),
        ("oom_score_adj", b"-1000\n"),
        ("io", b"rchar: 5\nwchar: 6\n"),
    ];
    for (name, content) in files {
        std::fs::write(dir.join(name), content).unwrap();
    }
    symlink("/", dir.join("cwd")).unwrap();
    symlink("/", dir.join("root")).unwrap();
    symlink("/tmp/x (deleted)", dir.join("exe")).unwrap();
    symlink("net:[4026531840]", dir.join("ns/net")).unwrap();
}

#[test]
fn a_tree_of_processes() {
    let tree = tempfile::tempdir().unwrap();
    let proc = tree.path().join("proc");
    process(&proc, 7, "a) R 1 (b\n", &[7, 8]);
    process(&proc, 30, "sshd", &[30]);
    std::fs::write(proc.join("30/stat"), stat(31, "sshd", 'S', 0, 1)).unwrap();
    std::fs::create_dir(proc.join("66")).unwrap();
    std::fs::create_dir(proc.join("2")).unwrap();
    std::fs::write(proc.join("2/stat"), stat(2, "kthreadd", 'S', 0x0020_0000, 1)).unwrap();

    let clock = FixedClock(Instant(1_000_000_000_000_000_000));
    let messages = testing::collect(&Processes {}, Arc::new(Host::at(tree.path(), clock)));
    let rows = testing::rows(&messages);
    assert_eq!(rows.iter().map(|row| row["pid"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 7, 30]);
    assert_eq!(rows[0]["kernel_thread"], true);

    let row = &rows[1];
    assert_eq!(row["comm"], "a) R 1 (b\n");
    assert_eq!(row["cmdline"], serde_json::json!(["/usr/sbin/sshd", "-D", "\u{fffd}"]));
    assert_eq!(row["cmdline_b64"], "L3Vzci9zYmluL3NzaGQALUQA/wA=");
    assert_eq!(row["environ"][1], "LD_PRELOAD=/tmp/x.so");
    assert_eq!(row["exe"], serde_json::json!({"deleted": true, "path": "/tmp/x"}));
    assert_eq!(row["ns"], serde_json::json!({"net": 4_026_531_840_u64}));
    assert_eq!(row["oom_score_adj"], -1000);
    assert_eq!(row["start"], "2001-09-09T01:46:41.000000000Z", "boot one second ago, and 200 ticks after that");
    assert_eq!(row["threads"][0]["children"], serde_json::json!([9, 12]));
    assert_eq!(row["threads"][1], serde_json::json!({"children": [], "comm": "worker", "state": "R", "tid": 8}));

    let items = testing::items(&messages);
    let noted = |path: &str| items.iter().find(|item| item.path == path.as_bytes()).unwrap();
    assert_eq!(noted("/proc/66").status, Status::Error);
    assert!(noted("/proc/66").reason.as_ref().unwrap().contains("empty"));
    assert!(noted("/proc/30").reason.as_ref().unwrap().contains("shows process 31"));
    assert_eq!(noted("/proc/self/loginuid").status, Status::Skipped);
    let absent = items.iter().filter(|item| item.path.ends_with(b"/loginuid")).count();
    assert_eq!(absent, 1, "what a kernel lacks is said once");

    let starts = messages.iter().filter_map(|message| match message {
        Message::Event(event) => Some(event.message.as_str()),
        _ => None,
    });
    let starts: Vec<_> = starts.collect();
    assert_eq!(starts.len(), 3);
    assert_eq!(starts[1], "process 7 (a) R 1 (b ) of parent 1 started: /usr/sbin/sshd -D \u{fffd}");
}

#[test]
fn arguments_at_their_bound_and_past_it() {
    for (length, is_cut) in [(ARGUMENT_BYTES_MAX, false), (ARGUMENT_BYTES_MAX + 1, true)] {
        let tree = tempfile::tempdir().unwrap();
        let proc = tree.path().join("proc");
        process(&proc, 7, "x", &[7]);
        std::fs::write(proc.join("7/environ"), vec![b'A'; length]).unwrap();
        let messages = testing::collect(&Processes {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        let row = &testing::rows(&messages)[0];
        assert_eq!(row["environ"][0].as_str().unwrap().len(), ARGUMENT_BYTES_MAX);
        assert_eq!(row.get("cut").is_some(), is_cut);
        let truncated = testing::items(&messages).iter().any(|item| item.status == Status::Truncated);
        assert_eq!(truncated, is_cut);
        assert_eq!(messages.iter().any(|message| matches!(message, Message::Limited(_))), is_cut);
    }
}

#[test]
fn keys_are_sorted_at_every_depth() {
    let messages = testing::collect(&Processes {}, Arc::new(Host::live()));
    let lines = messages.iter().filter_map(|message| match message {
        Message::Rows(rows) => Some(rows.as_slice()),
        _ => None,
    });
    for line in lines.flat_map(|rows| rows.split(|byte| *byte == b'\n')).filter(|line| !line.is_empty()) {
        let value: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), str::from_utf8(line).unwrap());
    }
}

#[test]
fn this_process_on_the_live_host() {
    let messages = testing::collect(&Processes {}, Arc::new(Host::live()));
    let rows = testing::rows(&messages);
    let me = rows.iter().find(|row| row["pid"] == std::process::id()).unwrap();
    let exe = std::env::current_exe().unwrap();
    assert_eq!(me["exe"]["path"], exe.to_str().unwrap());
    assert_eq!(me["exe"]["size"], std::fs::metadata(&exe).unwrap().len());
    assert_eq!(me["cmdline"][0], std::env::args().next().unwrap());
    assert!(me["ns"]["mnt"].as_u64().unwrap() > 0);
    assert!(me["threads"].as_array().unwrap().len() > 1);
    assert!(me["start"].as_str().unwrap() <= me["collected"].as_str().unwrap());
    assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
}
