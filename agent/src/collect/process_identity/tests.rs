use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use bundle::time::Instant;

use super::*;
use crate::host::FixedClock;
use crate::run::session::Message;
use crate::run::testing;

/// A process with what a kernel shows of it.
fn process(proc: &Path, pid: u32, comm: &[u8], exe: &str, cmdline: &[u8], flags: u64) {
    let dir = proc.join(pid.to_string());
    for folder in ["ns", "fd", "task/7", "task/8"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let mut stat = format!("{pid} (").into_bytes();
    stat.extend_from_slice(comm);
    stat.extend(format!(") S 1 1 1 34816 -1 {flags} 0 0 0 0 0 0 0 0 20 0 2 0 200 1 1 1\n").bytes());
    let status = "Name:\tx\nTracerPid:\t1\nUid:\t1000\t0\t0\t0\nGid:\t5\t6\t5\t5\nCapInh:\t0000000000000000\n\
        CapPrm:\t0000000000003000\nCapEff:\t0000000000002000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n\
        NoNewPrivs:\t1\nSeccomp:\t2\n";
    let files: [(&str, &[u8]); 9] = [
        ("stat", &stat),
        ("status", status.as_bytes()),
        ("cmdline", cmdline),
        ("environ", b"LD_PRELOAD=/tmp/\xff.so\0HISTFILE=/dev/null\0"),
        ("maps", b"1000-2000 rwxp 00000000 00:00 0 \n"),
        ("cgroup", b"0::/system.slice/x.service\n"),
        ("loginuid", b"1000"),
        ("sessionid", b"4294967295"),
        ("mountinfo", b"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / /tmp rw - tmpfs tmpfs rw\n"),
    ];
    for (name, content) in files {
        std::fs::write(dir.join(name), content).unwrap();
    }
    std::fs::write(dir.join("task/7/comm"), [comm, b"\n"].concat()).unwrap();
    std::fs::write(dir.join("task/8/comm"), "worker\n").unwrap();
    symlink("/tmp/gone (deleted)", dir.join("cwd")).unwrap();
    symlink("/", dir.join("root")).unwrap();
    symlink(exe, dir.join("exe")).unwrap();
    symlink("mnt:[77]", dir.join("ns/mnt")).unwrap();
    symlink("socket:[5]", dir.join("fd/0")).unwrap();
}

fn rows(tree: &Path) -> (Vec<serde_json::Value>, Vec<Message>) {
    let messages = testing::collect(&ProcessIdentity {}, Arc::new(Host::at(tree, FixedClock(Instant(0)))));
    testing::assert_keys_sorted(&messages);
    (testing::rows(&messages), messages)
}

#[test]
fn a_process_that_poses_as_a_thread_of_the_kernel() {
    let tree = tempfile::tempdir().unwrap();
    let proc = tree.path().join("proc");
    process(&proc, 7, b"kworker/u9:7", "/tmp/.x/kthreadd-x (deleted)", b"[kworker/u9:7-events]\0", 0);
    let row = &rows(tree.path()).0[0];
    for (column, expected) in [
        ("argv0", "[kworker/u9:7-events]".into()),
        ("argv0_differs", true.into()),
        ("argv_is_kernel_like", true.into()),
        ("claims_kernel_thread", true.into()),
        ("comm_differs", true.into()),
        ("cwd", "/tmp/gone".into()),
        ("cwd_deleted", true.into()),
        ("cwd_is_temporary", true.into()),
        ("effective_capabilities", serde_json::json!(["CAP_NET_RAW"])),
        ("permitted_capabilities", serde_json::json!(["CAP_NET_ADMIN", "CAP_NET_RAW"])),
        ("euid", 0.into()),
        ("uid", 1000.into()),
        ("exe", "/tmp/.x/kthreadd-x".into()),
        ("exe_deleted", true.into()),
        ("exe_folder_is_temporary", true.into()),
        ("exe_fs_type", "tmpfs".into()),
        ("exe_is_hidden", true.into()),
        ("histfile", "/dev/null".into()),
        ("is_kernel_thread", false.into()),
        ("ld_preload_b64", "L3RtcC//LnNv".into()),
        ("login_uid", 1000.into()),
        ("no_new_privs", true.into()),
        ("rwx_maps", 1.into()),
        ("seccomp", "filter".into()),
        ("stdio_sockets", 1.into()),
        ("terminal", "pts/0".into()),
        ("thread_names", serde_json::json!(["worker"])),
        ("tracer_pid", 1.into()),
    ] {
        assert_eq!(row[column], expected, "{column}");
    }
    assert!(row.get("session_id").is_none());
}

#[test]
fn a_thread_of_the_kernel_claims_nothing() {
    let tree = tempfile::tempdir().unwrap();
    process(&tree.path().join("proc"), 9, b"kworker/0:1", "none", b"", 0x0020_0000);
    let row = &rows(tree.path()).0[0];
    assert_eq!((&row["is_kernel_thread"], &row["claims_kernel_thread"]), (&true.into(), &false.into()));
    assert!(row.get("exe").is_none() && row.get("maps").is_none());
}

#[test]
fn names_that_agree_and_scripts() {
    let tree = tempfile::tempdir().unwrap();
    let proc = tree.path().join("proc");
    process(&proc, 7, b"a-name-that-is-", "/usr/bin/a-name-that-is-long", b"-a-name-that-is-long\0", 0);
    process(&proc, 8, b"job", "/usr/bin/dash", b"/bin/sh\0/var/tmp/job\0", 0);
    process(&proc, 9, b"payload", "/memfd:payload (deleted)", b"\xff\0", 0);
    let rows = rows(tree.path()).0;
    assert_eq!((&rows[0]["argv0_differs"], &rows[0]["comm_differs"]), (&false.into(), &false.into()));
    assert_eq!((&rows[1]["comm_is_argument"], &rows[1]["argument_in_temporary_folder"]), (&true.into(), &true.into()));
    assert_eq!(rows[1]["cmdline"], "/bin/sh /var/tmp/job");
    assert_eq!((&rows[2]["exe_is_memfd"], &rows[2]["argv0_b64"]), (&true.into(), &"/w==".into()));
}

#[test]
fn this_process_on_the_live_host() {
    let messages = testing::collect(&ProcessIdentity {}, Arc::new(Host::live()));
    testing::assert_keys_sorted(&messages);
    let rows = testing::rows(&messages);
    let me = rows.iter().find(|row| row["pid"] == std::process::id()).unwrap();
    let exe = std::env::current_exe().unwrap();
    assert_eq!((&me["exe"], &me["exe_deleted"]), (&exe.to_str().unwrap().into(), &false.into()));
    assert_eq!(me["exe_size_bytes"], std::fs::metadata(&exe).unwrap().len());
    assert_eq!((&me["claims_kernel_thread"], &me["comm_is_kernel_like"]), (&false.into(), &false.into()));
    assert!(me["maps"].as_u64().unwrap() > 5 && me["exe_fs_type"].is_string());
    assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
}
