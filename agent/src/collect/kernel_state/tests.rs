use std::sync::Arc;

use bundle::time::Instant;

use super::*;
use crate::host::FixedClock;
use crate::run::session::Message;
use crate::run::testing::{assert_keys_sorted, collect, items, rows};

#[test]
fn a_tree() {
    let tree = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("proc/sys/kernel/tainted", &b"12288\n"[..]),
        ("proc/sys/kernel/core_pattern", b"|/tmp/.x/core %p\n"),
        ("proc/sys/kernel/modprobe", b"/sbin/modprobe\n"),
        ("proc/sys/kernel/random/uuid", b"made up\n"),
        ("proc/sys/net/ipv4/conf/all/forwarding", b"1\n"),
        ("proc/sys/net/ipv4/tcp_syncookies", b"1\n"),
        ("proc/sys/kernel/odd", b"a\xffb\n"),
        ("proc/sys/fs/binfmt_misc/fx", b"enabled\ninterpreter /tmp/fx\nflags: C\noffset 0\nmagic 4658\n"),
        ("proc/sys/fs/binfmt_misc/status", b"enabled\n"),
        ("proc/keys", b"0555850f I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid_ses.0: 1\n"),
        ("proc/iomem", b"00000000-00000000 : Reserved\n  00000000-00000000 : PCI\n"),
        ("sys/kernel/tracing/dynamic_events", b"p:kprobes/open do_sys_open\n"),
        ("sys/kernel/tracing/current_tracer", b"nop\n"),
        ("sys/kernel/tracing/enabled_functions", b"do_exit (1) R   ->cb+0x0/0x1 [rk]\n"),
        ("sys/kernel/debug/kprobes/list", b"0000000000000000  k  do_exit+0x0    [FTRACE]\n"),
        ("sys/kernel/security/lockdown", b"none [integrity] confidentiality\n"),
        ("sys/kernel/livepatch/kp/enabled", b"1\n"),
        ("sys/kernel/livepatch/kp/vmlinux/do_exit,1/x", b""),
    ] {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let messages = collect(&KernelState {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
    assert_keys_sorted(&messages);
    assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    let rows = rows(&messages);
    let of = |record: &str| rows.iter().filter(|row| row["record"] == record).collect::<Vec<_>>();
    assert_eq!(of("taint")[0]["flags"], serde_json::json!(["O module from out of tree", "E unsigned module"]));
    let settings: Vec<_> = of("sysctl").iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        settings,
        ["kernel.core_pattern", "kernel.modprobe", "kernel.odd", "kernel.tainted", "net.ipv4.tcp_syncookies"]
    );
    assert_eq!(of("sysctl")[2]["value_b64"], "Yf9i");
    let helpers: Vec<_> =
        of("usermode_helper").iter().map(|row| (row["name"].as_str(), row["runs"][0].as_str())).collect();
    assert_eq!(helpers, [(Some("core_pattern"), Some("/tmp/.x/core")), (Some("modprobe"), Some("/sbin/modprobe"))]);
    assert_eq!((&of("binfmt")[0]["name"], &of("binfmt")[0]["flags"]), (&"fx".into(), &"C".into()));
    assert_eq!(of("binfmt").len(), 1);
    assert_eq!(of("trace_probe")[0]["target"], "do_sys_open");
    assert_eq!(of("ftrace_function")[0]["owners"], serde_json::json!(["rk"]));
    assert_eq!(of("kprobe").len(), 1);
    assert_eq!(of("livepatch")[0]["functions"], serde_json::json!(["vmlinux/do_exit,1"]));
    assert_eq!(of("key").len(), 1);
    let iomem = of("kernel_file").into_iter().find(|row| row["path"] == "/proc/iomem").unwrap();
    assert_eq!(iomem["is_zeroed"], true);
    assert!(of("state").iter().any(|row| row["name"] == "lockdown"));
    assert!(items(&messages).iter().any(|item| item.path == b"tracefs/touched_functions"));
}

#[test]
fn the_live_host() {
    let started = std::time::Instant::now();
    let messages = collect(&KernelState {}, Arc::new(Host::live()));
    println!("kernel_state took {:?}", started.elapsed());
    assert_keys_sorted(&messages);
    assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    let rows = rows(&messages);
    let has = |record: &str, name: &str| rows.iter().any(|row| row["record"] == record && row["name"] == name);
    assert!(has("sysctl", "kernel.randomize_va_space"));
    assert!(has("usermode_helper", "core_pattern"));
    assert!(rows.iter().any(|row| row["record"] == "taint"));
    assert!(rows.iter().any(|row| row["record"] == "kernel_file" && row["path"] == "/proc/interrupts"));
    // The settings of sandboxes differ, but nothing may hang or be asked for by name that acts.
    assert!(!has("sysctl", "kernel.random.uuid"));
}
