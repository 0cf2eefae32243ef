use std::sync::Arc;

use super::*;
use crate::host::FixedClock;
use crate::run::session::Message;
use crate::run::testing;

fn rows(record: &str, messages: &[Message]) -> Vec<serde_json::Value> {
    testing::rows(messages).into_iter().filter(|row| row["record"] == record).collect()
}

#[test]
fn mounts_over_processes_are_told_by_their_point() {
    assert_eq!(over_process(b"/proc/77"), Some((77, true)));
    assert_eq!(over_process(b"/proc/77/environ"), Some((77, false)));
    for other in [&b"/proc"[..], b"/proc/sys", b"/proc/kcore", b"/process/7", b"/mnt/proc/7", b"/proc/77x"] {
        assert_eq!(over_process(other), None);
    }
}

#[test]
fn views_disagree_only_when_both_answers_are_there() {
    let yes = View {
        calls: [Some(true); 7],
        cgroups: Some(false),
        fresh_listed: None,
        fresh_opened: None,
        is_covered: false,
        listed: true,
        opened: true,
    };
    assert!(!yes.disagrees(), "a zombie is in no control group");
    assert!(View { opened: false, ..yes.clone() }.disagrees());
    assert!(View { listed: false, ..yes.clone() }.disagrees());
    let no = View { calls: [Some(false); 7], listed: false, opened: false, ..yes };
    assert!(!no.disagrees());
    assert!(View { cgroups: Some(true), ..no.clone() }.disagrees());
    assert_eq!(View { cgroups: Some(true), ..no.clone() }.named(Some(true)), ["cgroup_procs"]);
    assert_eq!(no.named(None), ["fresh_proc_list", "fresh_proc_open"]);
}

#[test]
fn a_sweep_asks_for_every_number_once_and_stops_at_its_deadline() {
    let asked = std::sync::Mutex::new(Vec::new());
    let (mut found, reached) = sweep(
        1..=10_000,
        |number| {
            asked.lock().unwrap().push(number);
            number % 5000 == 0
        },
        None,
    );
    found.sort_unstable();
    assert_eq!((found, reached), (vec![5000, 10_000], 10_000));
    let mut asked = asked.into_inner().unwrap();
    asked.sort_unstable();
    assert!(asked.into_iter().eq(1..=10_000));
    assert_eq!(sweep(8..=9, |_| true, Some(Monotonic::now())), (vec![], 7));
}

#[test]
fn a_tree_has_no_processes_to_ask_for() {
    let tree = tempfile::tempdir().unwrap();
    let host = Host::at(tree.path(), FixedClock(Instant(0)));
    let messages = testing::collect(&HiddenProcesses::default(), Arc::new(host));
    assert!(testing::rows(&messages).is_empty());
    assert_eq!(testing::items(&messages)[0].status, ItemStatus::Skipped);
}

#[test]
fn nothing_is_hidden_here_while_processes_come_and_go() {
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let churning = Arc::clone(&stop);
    // Threads come and go as processes do: their numbers answer, and no listing of /proc has them.
    let churn = std::thread::spawn(move || {
        while !churning.load(std::sync::atomic::Ordering::Relaxed) {
            std::thread::spawn(std::thread::yield_now).join().unwrap();
        }
    });
    let messages = testing::collect(&HiddenProcesses::default(), Arc::new(Host::live()));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    churn.join().unwrap();
    testing::assert_keys_sorted(&messages);
    let skipped = testing::items(&messages).iter().any(|item| item.method == "procfs");
    let scans = rows("scan", &messages);
    assert!(skipped || scans.len() == 1, "a reason, or a scan");
    for scan in scans {
        assert!(scan["near_scanned_to"].as_u64().unwrap() >= u64::from(std::process::id()));
        assert!(scan["processes"].as_u64().unwrap() >= 1);
    }
    // Another test of this process may hold a mount over a process of its own making: none does.
    assert_eq!(rows("process", &messages), [] as [serde_json::Value; 0]);
}

#[test]
fn a_process_under_a_mount_is_told_by_what_does_not_see_it() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = child.id();
    // A mount namespace of its own: nobody else sees this mount.
    let collected = std::thread::spawn(move || {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).ok()?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).ok()?;
        mount("none", format!("/proc/{pid}"), "tmpfs", MountFlags::empty(), None).ok()?;
        Some(testing::collect(&HiddenProcesses { far_scan_ms_max: 0 }, Arc::new(Host::live())))
    });
    let collected = collected.join();
    child.kill().unwrap();
    child.wait().unwrap();
    let Some(messages) = collected.unwrap() else {
        println!("skipped: a mount namespace needs root");
        return;
    };
    let rows = rows("process", &messages);
    let row = rows.iter().find(|row| row["pid"] == pid).unwrap();
    assert_eq!(row["missed_by"], serde_json::json!(["proc_open"]));
    assert_eq!((&row["covered_by_mount"], &row["comm"]), (&true.into(), &"sleep".into()));
    for view in ["proc_list", "fresh_proc_open", "kill", "pidfd_open", "sched_getparam"] {
        assert!(row["seen_by"].as_array().unwrap().contains(&view.into()), "{view}");
    }
}
