//! A tree with accounts as they are and as an intruder leaves them.

use std::path::Path;
use std::sync::Arc;

use bundle::item::Status;
use bundle::time::Instant;
use serde_json::Value;

use super::*;
use crate::host::FixedClock;
use crate::run::session::Message;
use crate::run::testing::{assert_keys_sorted, collect, items, rows};

fn put(tree: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = tree.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn taken(tree: &Path) -> Vec<Message> {
    let messages = collect(&Accounts {}, Arc::new(Host::at(tree, FixedClock(Instant(0)))));
    assert_keys_sorted(&messages);
    assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    messages
}

fn of<'a>(rows: &'a [Value], record: &str) -> Vec<&'a Value> {
    rows.iter().filter(|row| row["record"] == record).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one tree, and what each of its files must bring")]
fn accounts_rules_and_keys() {
    let tree = tempfile::tempdir().unwrap();
    let tree = tree.path();
    put(
        tree,
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\nfxadm:x:0:0::/root:/bin/sh\nopen:x:1001:7::/none:/usr/sbin/nologin\nhash:$1$a$b:1002:0::/:\nbroken\n+nis::::::\n",
    );
    put(
        tree,
        "/etc/shadow",
        "root:$y$j9T$SECRETHASH:20000:0:99999:7:::\nann:$6$SECRETHASH:19000:0:99999:7::20500:\nfxadm:!:19000:0:99999:7:::\nopen::0:::::\nghost:*:1::::::\n",
    );
    put(tree, "/etc/group", "root:x:0:\nann:x:1000:\nsudo:x:27:ann,nobody\ndocker:x:99:ann\n");
    put(tree, "/etc/gshadow", "sudo:!:root:ann\n");
    put(tree, "/etc/shells", "/bin/bash\n/bin/sh\n");
    put(
        tree,
        "/etc/sudoers",
        "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n@include /opt/more\n",
    );
    put(tree, "/etc/sudoers.d/fx", "nobody ALL=(ALL) NOPASSWD: /bin/true\n");
    put(tree, "/etc/sudoers.d/ignored.bak", "x ALL=ALL\n");
    put(tree, "/opt/more", "%y ALL=ALL\n@include /opt/more\n");
    put(tree, "/etc/doas.conf", "permit nopass keepenv setenv { A=1 B } :wheel as root cmd /bin/x args y\n");
    put(tree, "/etc/ssh/sshd_config", "AuthorizedKeysFile .ssh/authorized_keys /srv/keys/%u\n");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFXnotarealkeynotarealkeynotarealkeynotare fx-backdoor@example";
    put(
        tree,
        "/root/.ssh/authorized_keys",
        format!("# c\ncommand=\"/x\",from=\"1.2.3.4\",environment=\"A=1\" {key}\ngarbage\n"),
    );
    put(tree, "/srv/keys/ann", format!("{key}\n"));
    put(tree, "/home/ann/.ssh/id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\nSECRETKEY\n");
    put(tree, "/home/ann/.ssh/old.pem", "-----BEGIN RSA PRIVATE KEY-----\nSECRETKEY\n");
    put(tree, "/home/ann/.ssh/known_hosts", "|1|abc=|def= ssh-ed25519 AAAA\n@cert-authority *.x,y ssh-rsa AAAA\n");
    put(tree, "/home/ann/.rhosts", "+ +\n");
    put(tree, "/etc/login.defs", "UMASK\t022\nENCRYPT_METHOD=YESCRYPT\n");
    put(tree, "/etc/nsswitch.conf", "passwd: files systemd evil\n");
    put(tree, "/etc/krb5.keytab", "SECRETKEY");

    let messages = taken(tree);
    let rows = rows(&messages);
    assert!(!format!("{messages:?}").contains("SECRET"), "no secret is in a row, an item or a message");
    let accounts = of(&rows, "account");
    assert_eq!(accounts.len(), 7);
    let named = |name: &str| *accounts.iter().find(|row| row["name"] == name).unwrap();
    let ann = named("ann");
    assert_eq!((&ann["password_state"], &ann["shadow_hash_type"]), (&"hashed".into(), &"sha512crypt".into()));
    assert_eq!((&ann["password_changed_days"], &ann["account_expires_days"]), (&19000.into(), &20500.into()));
    assert_eq!(ann["admin_groups"], serde_json::json!(["sudo", "docker"]));
    assert_eq!((&ann["home_exists"], &ann["login_shell_is_valid"]), (&true.into(), &true.into()));
    let fxadm = named("fxadm");
    assert_eq!((&fxadm["is_uid_zero"], &fxadm["is_duplicate_uid"]), (&true.into(), &true.into()));
    assert_eq!((&fxadm["password_state"], &fxadm["has_login_shell"]), (&"locked".into(), &true.into()));
    let open = named("open");
    assert_eq!((&open["password_state"], &open["has_login_shell"]), (&"empty".into(), &false.into()));
    assert_eq!(open["home_exists"], false);
    assert_eq!(named("hash")["password_is_in_passwd"], true);
    let problems: Vec<_> = of(&rows, "account_problem")
        .iter()
        .map(|row| format!("{} {}", row["name"].as_str().unwrap(), row["problem"].as_str().unwrap()))
        .collect();
    for expected in [
        "broken fields",
        "+nis nis",
        "ghost not_in_passwd",
        "nobody member_without_account",
        "open no_such_group",
        "root duplicate_id",
    ] {
        assert!(problems.iter().any(|problem| problem == expected), "{expected}: {problems:?}");
    }
    let sudo = of(&rows, "sudo_rule");
    let fx = sudo.iter().find(|row| row["path"] == "/etc/sudoers.d/fx").unwrap();
    assert_eq!((&fx["is_nopasswd"], &fx["who"][0], &fx["is_read"]), (&true.into(), &"nobody".into(), &true.into()));
    assert!(sudo.iter().any(|row| row["path"] == "/opt/more" && row["kind"] == "rule"), "includes are followed, once");
    assert!(sudo.iter().any(|row| row["path"] == "/etc/sudoers.d/ignored.bak" && row["is_read"] == false));
    let doas = of(&rows, "doas_rule");
    assert_eq!(
        (&doas[0]["who"], &doas[0]["runas_user"], &doas[0]["command"]),
        (&":wheel".into(), &"root".into(), &"/bin/x args y".into())
    );
    let keys = of(&rows, "authorized_key");
    assert_eq!(keys.len(), 3);
    let backdoor = keys.iter().find(|row| row["line"] == 2).unwrap();
    assert_eq!((&backdoor["comment"], &backdoor["command"]), (&"fx-backdoor@example".into(), &"/x".into()));
    assert_eq!((&backdoor["from"], &backdoor["environment"][0]), (&"1.2.3.4".into(), &"A=1".into()));
    assert!(backdoor["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
    assert!(keys.iter().any(|row| row["path"] == "/srv/keys/ann"), "where sshd's configuration looks");
    let private: Vec<_> = of(&rows, "ssh_key").into_iter().filter(|row| row["is_private"] == true).collect();
    assert_eq!(private.len(), 2);
    assert!(private.iter().all(|row| row["is_encrypted"] == false));
    let known = of(&rows, "known_host");
    assert_eq!((&known[0]["is_hashed"], &known[1]["marker"]), (&true.into(), &"@cert-authority".into()));
    assert_eq!(of(&rows, "trust_line")[0]["is_wildcard"], true);
    let settings = of(&rows, "account_setting");
    assert!(settings.iter().any(|row| row["name"] == "passwd" && row["value"] == "files systemd evil"));
    assert!(settings.iter().any(|row| row["name"] == "ENCRYPT_METHOD" && row["value"] == "YESCRYPT"));
    let items = items(&messages);
    let status = |path: &str| items.iter().find(|item| item.path == path.as_bytes()).unwrap().status;
    assert_eq!(status("/etc/passwd"), Status::Ok);
    for secret in ["/etc/shadow", "/home/ann/.ssh/id_ed25519", "/home/ann/.ssh/old.pem", "/etc/krb5.keytab"] {
        assert_eq!(status(secret), Status::Redacted, "{secret}");
    }
}

#[test]
fn hostile_files_are_rows_or_items_and_never_a_panic() {
    let tree = tempfile::tempdir().unwrap();
    let tree = tree.path();
    put(tree, "/etc/passwd", [b"\xff:\xff:99999999999999999999:\n::::::\n".as_slice(), &b":".repeat(100_000)].concat());
    put(tree, "/etc/group", b"\n\xff\n:::,,,,\n");
    put(tree, "/etc/sudoers", b"=\n\xff\xff = (\nDefaults\nCmnd_Alias\n@include\n@includedir ../x\n@include /a[b\n");
    put(
        tree,
        "/root/.ssh/authorized_keys",
        [b"\"\\".as_slice(), b"\nssh-rsa ", &b"A".repeat(200_000), b"\nssh-rsa\n"].concat(),
    );
    put(tree, "/root/.ssh/id_x", b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA/////w==\n");
    std::os::unix::fs::symlink("loop", tree.join("root/.ssh/loop")).unwrap();
    let fifo = tree.join("root/.ssh/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let rows = rows(&taken(tree));
    assert_eq!(of(&rows, "account").len(), 3);
    assert_eq!(of(&rows, "authorized_key").len(), 3);
    assert_eq!(of(&rows, "ssh_key").len(), 1);
}

#[test]
fn the_live_host_has_root() {
    let messages = collect(&Accounts {}, Arc::new(Host::live()));
    assert_keys_sorted(&messages);
    let rows = rows(&messages);
    let roots = of(&rows, "account").into_iter().filter(|row| row["is_uid_zero"] == true).count();
    let reasons = items(&messages).iter().filter(|item| item.path == b"/etc/passwd" && item.error.is_some()).count();
    assert!(roots >= 1 || reasons >= 1);
}
