use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::host::FixedClock;
use crate::run::session::Message;
use crate::run::testing;

fn process(proc: &Path, pid: u32, exe: &str, cmdline: &str, environ: &str, sockets: &[u64]) {
    let dir = proc.join(pid.to_string());
    for folder in ["ns", "fd", "net", &format!("task/{pid}")] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let comm = exe.rsplit('/').next().unwrap();
    std::fs::write(dir.join("stat"), format!("{pid} ({comm}) S 1 1 1 34816 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 200 1 1 1\n"))
        .unwrap();
    std::fs::write(dir.join("status"), "Uid:\t1000\t1000\t1000\t1000\n").unwrap();
    std::fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
    std::fs::write(dir.join("cmdline"), cmdline.replace('|', "\0") + "\0").unwrap();
    std::fs::write(dir.join("environ"), environ.replace('|', "\0")).unwrap();
    symlink(exe, dir.join("exe")).unwrap();
    symlink("net:[9]", dir.join("ns/net")).unwrap();
    symlink("..", dir.join(format!("task/{pid}/up"))).unwrap();
    for (fd, inode) in sockets.iter().enumerate() {
        symlink(format!("socket:[{inode}]"), dir.join(format!("fd/{fd}"))).unwrap();
    }
    let task = dir.join(format!("task/{pid}"));
    std::fs::create_dir_all(task.join("ns")).unwrap();
    std::fs::create_dir_all(task.join("net")).unwrap();
    symlink("net:[9]", task.join("ns/net")).unwrap();
    let tcp = "sl\n   0: 0A00000A:0016 0B00000A:D431 01 00000000:00000000 00:00000000 00000000     0        0 501 1 00 20 4 21 10 -1\n";
    std::fs::write(task.join("net/tcp"), tcp).unwrap();
    let unix = "Num\n0000000000000001: 00000002 00000000 00010000 0001 01 601 /tmp/ssh-abc/agent.7\n\
        0000000000000002: 00000002 00000000 00010000 0001 01 602 /home/a/cm.AbCdEfGhIjKlMnOp\n\
        0000000000000003: 00000002 00000000 00010000 0001 01 603 /run/other\n";
    std::fs::write(task.join("net/unix"), unix).unwrap();
}

#[test]
fn a_tree_with_a_session_a_client_and_their_sockets() {
    let tree = tempfile::tempdir().unwrap();
    let proc = tree.path().join("proc");
    process(&proc, 7, "/usr/sbin/sshd", "sshd: alice@pts/0", "", &[501, 601]);
    process(&proc, 8, "/usr/bin/ssh", "ssh|-NfR|2222:localhost:22|evil", "", &[602]);
    process(
        &proc,
        9,
        "/usr/bin/bash",
        "-bash",
        "SSH_CONNECTION=10.0.0.11 54321 10.0.0.10 22|SSH_TTY=/dev/pts/0|SSH_AUTH_SOCK=/tmp/ssh-abc/agent.7|",
        &[603],
    );
    std::fs::create_dir_all(proc.join("self")).unwrap();
    std::fs::write(proc.join("self/mountinfo"), "").unwrap();
    let host = Host::at(tree.path(), FixedClock(Instant(0)));
    let messages = testing::collect(&SshSessions {}, Arc::new(host));
    testing::assert_keys_sorted(&messages);
    let rows = testing::rows(&messages);
    let of = |record: &str| rows.iter().filter(|row| row["record"] == record).collect::<Vec<_>>();

    let server = of("server_process");
    assert_eq!((server.len(), &server[0]["user"], &server[0]["terminal"]), (1, &"alice".into(), &"pts/0".into()));
    assert_eq!(server[0]["connections"][0]["remote_address"], "10.0.0.11");
    let client = of("client");
    assert_eq!((client.len(), &client[0]["destination"]), (1, &"evil".into()));
    assert_eq!(client[0]["remote_forwards"], serde_json::json!(["2222:localhost:22"]));
    let agent = of("agent_socket");
    assert_eq!(
        (agent.len(), &agent[0]["is_forwarded"], &agent[0]["user_pids"]),
        (1, &true.into(), &serde_json::json!([9]))
    );
    assert_eq!(agent[0]["holders"][0]["pid"], 7);
    let control = of("control_socket");
    assert_eq!((control.len(), &control[0]["control_path"]), (1, &"/home/a/cm".into()));
    let origin = of("origin");
    assert_eq!((&origin[0]["is_connected"], &origin[0]["pids"]), (&true.into(), &serde_json::json!([9])));
    assert_eq!(origin[0]["terminals"], serde_json::json!(["/dev/pts/0"]));
}

#[test]
fn titles_of_servers() {
    for (title, role, user, terminal) in [
        ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "listener", None, None),
        ("sshd: alice [priv]", "monitor", Some("alice"), None),
        ("sshd-session: unknown [preauth]", "preauth", None, None),
        ("sshd: bob [net]", "preauth", Some("bob"), None),
        ("sshd: a@b@pts/3,pts/4", "session", Some("a@b"), Some("pts/3,pts/4")),
        ("sshd: alice@notty", "session", Some("alice"), None),
        ("/usr/sbin/sshd", "other", None, None),
        ("", "other", None, None),
    ] {
        let told = told_by_title(title.as_bytes());
        assert_eq!((told.0, told.1.as_deref(), told.2.as_deref()), (role, user, terminal), "{title}");
    }
    assert_eq!(control_path("/run/cm-x.0123456789abcdef"), "/run/cm-x");
    assert_eq!(control_path("/run/cm.sock"), "/run/cm.sock");
}

#[test]
fn the_live_host_is_gone_through() {
    let messages = testing::collect(&SshSessions {}, Arc::new(Host::live()));
    testing::assert_keys_sorted(&messages);
    assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    // Whoever runs this from a session of SSH finds it.
    if let Ok(connection) = std::env::var("SSH_CONNECTION") {
        let address = connection.split(' ').next().unwrap().to_owned();
        assert!(
            testing::rows(&messages).iter().any(|row| row["record"] == "origin" && row["remote_address"] == address)
        );
    } else {
        println!("skipped: this test does not run in a session of SSH");
    }
}
