//! Whole trees that stand for hosts of three families, and one that an intruder prepared for the collector.

use std::path::Path;
use std::sync::Arc;

use bundle::item::Status;
use bundle::time::Instant;
use serde_json::Value;

use super::*;
use crate::host::FixedClock;
use crate::run::session::Message;
use crate::run::testing::{assert_keys_sorted, collect, items, rows};

/// A file as a reading function gets it.
pub(super) fn found(path: &[u8], content: &[u8]) -> Found {
    use std::os::fd::AsFd as _;
    let folder = tempfile::tempdir().unwrap();
    let opened = std::fs::File::open(folder.path()).unwrap();
    Found {
        asked: 0,
        path: path.to_vec(),
        stat: crate::host::views::stat(opened.as_fd(), c"").unwrap(),
        link_target: None,
        resolved: None,
        content: Some(content.to_vec()),
        is_cut: false,
        sha256: None,
    }
}

fn put(tree: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = tree.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn put_executable(tree: &Path, path: &str, content: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    put(tree, path, content);
    let path = tree.join(path.trim_start_matches('/'));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn link(tree: &Path, path: &str, target: &str) {
    let path = tree.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(target, path).unwrap();
}

fn taken(tree: &Path) -> Vec<Message> {
    let messages = collect(&Persistence::default(), Arc::new(Host::at(tree, FixedClock(Instant(0)))));
    assert_keys_sorted(&messages);
    let last = messages.last();
    assert!(matches!(last, Some(Message::Done(Ok(())))), "{last:?}");
    messages
}

#[track_caller]
fn row<'a>(rows: &'a [Value], mechanism: &str, path: &str) -> &'a Value {
    let wanted = rows.iter().find(|row| row["mechanism"] == mechanism && row["path"] == path);
    wanted.unwrap_or_else(|| panic!("no row of {mechanism} at {path}"))
}

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/bash\ndaemon:x:1:1::/:/x\n";

#[test]
#[expect(clippy::too_many_lines, reason = "one tree, and what each of its files must bring")]
fn a_debian_like_host() {
    let tree = tempfile::tempdir().unwrap();
    let tree = tree.path();
    put(tree, "/etc/passwd", PASSWD);
    link(tree, "/lib", "usr/lib");
    put_executable(tree, "/usr/sbin/agentd", "\x7fELF");
    put(
        tree,
        "/etc/systemd/system/fx.service",
        "[Service]\nType=oneshot\nUser=ann\nEnvironment=\"LD_PRELOAD=/x.so\" B=2\nExecStart=-/usr/sbin/agentd -d\nExecStartPre=/bin/sh -c 'x'\n[Install]\nWantedBy=multi-user.target\n",
    );
    put(tree, "/etc/systemd/system/off.service", "[Service]\nExecStart=/x\n[Install]\nWantedBy=multi-user.target\n");
    put(tree, "/etc/systemd/system/fx.timer", "[Timer]\nOnBootSec=1h\nOnCalendar=daily\n");
    put(tree, "/etc/systemd/system/ssh.service.d/override.conf", "[Service]\nExecStartPost=/tmp/x\n");
    link(tree, "/etc/systemd/system/multi-user.target.wants/fx.service", "/etc/systemd/system/fx.service");
    link(tree, "/etc/systemd/system/gone.service", "/dev/null");
    put_executable(tree, "/etc/systemd/system-generators/fx-gen", "#!/bin/sh\n# c\nexit 0\n");
    put(tree, "/usr/lib/systemd/system/vendor.socket", "[Socket]\nListenStream=/run/x\n");
    put(tree, "/home/ann/.config/systemd/user/u.service", "[Service]\nExecStart=/home/ann/x\n");
    put(tree, "/var/lib/systemd/linger/ann", "");
    put(tree, "/etc/crontab", "SHELL=/bin/sh\n17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly\n");
    put(tree, "/etc/cron.d/fx-update", "* * * * * root /bin/true # fx\n");
    put(tree, "/etc/cron.d/no.pe", "* * * * * root /x\n");
    put(tree, "/var/spool/cron/crontabs/ann", "@reboot /usr/sbin/agentd\n");
    put_executable(tree, "/etc/cron.daily/apt", "#!/bin/sh\nrm -f /x\n");
    put(
        tree,
        "/var/spool/cron/atjobs/a0000101b3d4e5",
        "#!/bin/sh\n# atrun uid=1000 gid=1000\nHOME=/x; export HOME\n/tmp/later\n",
    );
    put_executable(tree, "/etc/init.d/fx", "#!/bin/sh\n# Default-Start: 2 3\nexit 0\n");
    link(tree, "/etc/rc2.d/S01fx", "../init.d/fx");
    put_executable(tree, "/etc/rc.local", "#!/bin/sh\nexit 0 # fx\n");
    put(tree, "/etc/skel/.bashrc", "case $- in\nesac\nalias ll='ls -l'\n");
    put(
        tree,
        "/home/ann/.bashrc",
        "case $- in\nesac\nalias ll='ls -l'\nexport PROMPT_COMMAND='/x &'\nalias sudo=/tmp/s\ntrap '/x' DEBUG\n",
    );
    put(tree, "/etc/ld.so.preload", "# c\n/usr/lib/libx.so:/lib/b.so\n");
    put(
        tree,
        "/etc/pam.d/common-auth",
        "auth [success=1 default=ignore] pam_unix.so nullok\n@include x\nauth optional pam_exec.so quiet /bin/true # fx\n",
    );
    put(tree, "/usr/lib/x86_64-linux-gnu/security/pam_unix.so", "\x7fELF");
    put(
        tree,
        "/etc/udev/rules.d/99-fx.rules",
        "# c\nACTION==\"add\", RUN+=\"/bin/true\" # fx\nKERNEL==\"x\", MODE=\"1\"\n",
    );
    put(tree, "/etc/modprobe.d/fx.conf", "install fxnothing /bin/true\noptions x a=1\n");
    put(tree, "/etc/modules-load.d/fx.conf", "fxmod\n");
    put(tree, "/etc/sysctl.d/1.conf", "kernel.core_pattern=|/tmp/h %p\nnet.ipv4.ip_forward = 1\n");
    put(tree, "/etc/apt/apt.conf.d/99x", "APT::Update::Pre-Invoke {\"/tmp/a\";};\n");
    put_executable(tree, "/etc/update-motd.d/00-x", "#!/bin/sh\nuname\n");
    put(tree, "/etc/network/interfaces", "iface eth0 inet dhcp\n  post-up /tmp/n a\n");
    put(
        tree,
        "/home/ann/.gitconfig",
        "[core]\n\thooksPath = /home/ann/h\n[alias]\n\tst = status\n\tx = !/tmp/g\n[filter \"lfs\"]\n\tclean = git-lfs clean\n",
    );
    put_executable(tree, "/home/ann/repo/.git/hooks/pre-commit", "#!/bin/sh\n/tmp/h\n");
    put(tree, "/home/ann/repo/.git/hooks/pre-push.sample", "x\n");
    put(tree, "/home/ann/.config/autostart/x.desktop", "[Desktop Entry]\nName=X\nExec=/home/ann/x\n");
    put(tree, "/etc/ssh/sshd_config", "PermitRootLogin yes\nForceCommand /tmp/f\nSubsystem sftp /usr/lib/sftp\n");
    put(tree, "/home/ann/.ssh/rc", "/tmp/r\n");
    put(tree, "/etc/aliases", "root: ann\nx: \"|/tmp/m -a\"\n");
    put(tree, "/usr/lib/python3/dist-packages/x.pth", "import os; os.system('x')\n/opt/l\n");
    put(tree, "/etc/logrotate.d/x", "/var/log/x {\n  postrotate\n    /tmp/l\n  endscript\n}\n");
    put(tree, "/etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = SECRETSECRET\nPostUp = /tmp/w\n");
    put(tree, "/boot/vmlinuz-6", "kernel");
    put(
        tree,
        "/var/lib/dpkg/status",
        "Package: vendor\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n",
    );
    put(tree, "/var/lib/dpkg/info/vendor.list", "/lib/systemd/system/vendor.socket\n/usr/sbin/agentd\n");

    let messages = taken(tree);
    let rows = rows(&messages);
    let at = |mechanism: &str, path: &str| row(&rows, mechanism, path).clone();

    let service = at("systemd_unit", "/etc/systemd/system/fx.service");
    assert_eq!((&service["target"], &service["target_exists"]), (&"/usr/sbin/agentd".into(), &true.into()));
    assert_eq!(
        (&service["enabled"], &service["user"], &service["kind"]),
        (&true.into(), &"ann".into(), &"oneshot".into())
    );
    assert_eq!(service["runs"], serde_json::json!(["-/usr/sbin/agentd -d", "/bin/sh -c 'x'"]));
    assert_eq!(service["sets"], serde_json::json!(["LD_PRELOAD=/x.so", "B=2"]));
    assert_eq!(service["target_sha256"].as_str().map(str::len), Some(64));
    assert_eq!((&service["layer"], &service["file_type"]), (&"admin".into(), &"file".into()));
    assert_eq!(at("systemd_unit", "/etc/systemd/system/off.service")["enabled"], false);
    let timer = at("systemd_unit", "/etc/systemd/system/fx.timer");
    assert_eq!((&timer["unit"], &timer["schedule"]), (&"fx.service".into(), &"OnBootSec=1h; OnCalendar=daily".into()));
    assert_eq!(at("systemd_unit", "/etc/systemd/system/ssh.service.d/override.conf")["unit"], "ssh.service");
    let wants = at("systemd_unit", "/etc/systemd/system/multi-user.target.wants/fx.service");
    assert_eq!(
        (&wants["form"], &service["form"], &timer["form"]),
        (&"wants_link".into(), &"service".into(), &"timer".into())
    );
    assert_eq!((&wants["is_link"], &wants["target"]), (&true.into(), &"/usr/sbin/agentd".into()));
    assert_eq!(
        (&wants["link_target"], &wants["schedule"]),
        (&"/etc/systemd/system/fx.service".into(), &"multi-user.target".into())
    );
    assert_eq!(at("systemd_unit", "/etc/systemd/system/gone.service")["kind"], "masked");
    assert_eq!(at("systemd_generator", "/etc/systemd/system-generators/fx-gen")["enabled"], true);
    let vendor: Vec<_> = rows.iter().filter(|row| row["name"] == "vendor.socket").collect();
    assert_eq!(vendor.len(), 1, "/lib is /usr/lib");
    assert_eq!((&vendor[0]["layer"], &vendor[0]["package"]), (&"vendor".into(), &"vendor".into()));
    assert_eq!((&service["package_owned"], &service["target_package_owned"]), (&false.into(), &true.into()));
    assert_eq!(at("systemd_user_unit", "/home/ann/.config/systemd/user/u.service")["user"], "ann");
    assert_eq!(at("systemd_linger", "/var/lib/systemd/linger/ann")["user"], "ann");

    let cron = at("cron_line", "/etc/cron.d/fx-update");
    assert_eq!(
        (&cron["user"], &cron["schedule"], &cron["target"]),
        (&"root".into(), &"* * * * *".into(), &"/bin/true".into())
    );
    assert_eq!((&cron["target_exists"], &cron["enabled"], &cron["line"]), (&false.into(), &true.into(), &1.into()));
    assert_eq!(at("cron_line", "/etc/cron.d/no.pe")["enabled"], false);
    assert_eq!(at("cron_line", "/var/spool/cron/crontabs/ann")["user"], "ann");
    assert_eq!(at("cron_environment", "/etc/crontab")["sets"][0], "SHELL=/bin/sh");
    assert_eq!(at("cron_line", "/etc/crontab")["runs"][0], "cd / && run-parts --report /etc/cron.hourly");
    assert_eq!(at("cron_script", "/etc/cron.daily/apt")["schedule"], "cron.daily");
    assert_eq!(at("at_job", "/var/spool/cron/atjobs/a0000101b3d4e5")["user"], "uid=1000");
    let init = at("sysv_init", "/etc/init.d/fx");
    assert_eq!((&init["enabled"], &init["schedule"]), (&true.into(), &"rc2.d".into()));
    assert_eq!(at("sysv_link", "/etc/rc2.d/S01fx")["target_resolved"], "/etc/init.d/fx");
    assert_eq!(at("rc_local", "/etc/rc.local")["runs"][0], "exit 0 # fx");
    let shell = at("shell_startup", "/home/ann/.bashrc");
    assert_eq!(shell["added"].as_array().map(Vec::len), Some(3));
    assert_eq!((&shell["aliases"][1], &shell["traps"][0]), (&"sudo=/tmp/s".into(), &"'/x' DEBUG".into()));
    assert_eq!(shell["sets"][0], "PROMPT_COMMAND=/x &");
    let preload: Vec<_> = rows.iter().filter(|row| row["mechanism"] == "ld_so_preload").collect();
    assert_eq!(preload.len(), 2);
    assert_eq!(preload[1]["target"], "/lib/b.so");
    let pam: Vec<_> = rows.iter().filter(|row| row["mechanism"] == "pam_line").collect();
    assert_eq!(pam[0]["target"], "/usr/lib/x86_64-linux-gnu/security/pam_unix.so");
    assert_eq!((&pam[2]["module"], &pam[2]["runs"][0]), (&"pam_exec.so".into(), &"/bin/true".into()));
    let udev: Vec<_> = rows.iter().filter(|row| row["mechanism"] == "udev_rule").collect();
    assert_eq!((udev.len(), &udev[0]["runs"][0], &udev[0]["line"]), (1, &"/bin/true".into(), &2.into()));
    assert_eq!(at("modprobe", "/etc/modprobe.d/fx.conf")["runs"][0], "/bin/true");
    assert_eq!(at("modules_load", "/etc/modules-load.d/fx.conf")["module"], "fxmod");
    assert_eq!(at("sysctl", "/etc/sysctl.d/1.conf")["target"], "/tmp/h");
    assert_eq!(at("apt_hook", "/etc/apt/apt.conf.d/99x")["target"], "/tmp/a");
    assert_eq!(at("motd_script", "/etc/update-motd.d/00-x")["runs"][0], "uname");
    assert_eq!(at("ifupdown_command", "/etc/network/interfaces")["runs"][0], "/tmp/n a");
    let git: Vec<_> =
        rows.iter().filter(|row| row["mechanism"] == "git_setting").map(|row| row["name"].clone()).collect();
    assert_eq!(git, ["core.hooksPath", "alias.x", "filter.lfs.clean"]);
    assert_eq!(rows.iter().filter(|row| row["mechanism"] == "git_hook").count(), 1);
    assert_eq!(at("xdg_autostart", "/home/ann/.config/autostart/x.desktop")["user"], "ann");
    let sshd: Vec<_> = rows.iter().filter(|row| row["mechanism"] == "sshd_setting").collect();
    assert_eq!((&sshd[0]["sets"][0], &sshd[1]["target"]), (&"PermitRootLogin=yes".into(), &"/tmp/f".into()));
    assert_eq!(at("ssh_rc", "/home/ann/.ssh/rc")["runs"][0], "/tmp/r");
    assert_eq!(at("mail_alias", "/etc/aliases")["target"], "/tmp/m");
    assert_eq!(at("python_pth", "/usr/lib/python3/dist-packages/x.pth")["line"], 1);
    assert_eq!(at("logrotate_script", "/etc/logrotate.d/x")["target"], "/tmp/l");
    assert_eq!(at("wireguard_command", "/etc/wireguard/wg0.conf")["runs"][0], "/tmp/w");
    assert_eq!(at("boot_file", "/boot/vmlinuz-6")["size_bytes"], 6);

    let whole = format!("{messages:?}");
    assert!(!whole.contains("SECRETSECRET"), "the key stays where it is");
    let handed = items(&messages);
    let of = |path: &str| handed.iter().find(|item| item.path == path.as_bytes()).map(|item| item.status);
    assert_eq!(of("/etc/wireguard/wg0.conf"), Some(Status::Redacted));
    assert_eq!(of("/etc/cron.d/fx-update"), Some(Status::Ok));
    assert_eq!(of("/boot/vmlinuz-6"), None, "kernels are known by their digest");
}

#[test]
fn a_rhel_like_and_an_alpine_like_host() {
    let tree = tempfile::tempdir().unwrap();
    let tree = tree.path();
    put(tree, "/etc/passwd", PASSWD);
    put(tree, "/var/spool/cron/root", "*/5 * * * * /usr/bin/a\n");
    put(tree, "/etc/anacrontab", "SHELL=/bin/sh\n1\t5\tcron.daily\tnice run-parts /etc/cron.daily\n");
    put(tree, "/etc/rc.d/rc.local", "touch /x\n");
    put(tree, "/etc/bashrc", "export A=1\n");
    put(tree, "/etc/dnf/plugins/post-transaction-actions.d/x.action", "*:any:/tmp/y\n");
    put(tree, "/usr/lib64/security/pam_x.so", "");
    put(tree, "/etc/NetworkManager/dispatcher.d/99-x", "#!/bin/sh\n");
    put(
        tree,
        "/etc/xinetd.d/echo",
        "service echo\n{\n disable = no\n user = root\n server = /bin/e\n server_args = -l\n}\n",
    );
    put(tree, "/etc/crontabs/root", "*/15 * * * * run-parts /etc/periodic/15min\n");
    put_executable(tree, "/etc/periodic/15min/x", "#!/bin/sh\n");
    put(tree, "/etc/inittab", "::sysinit:/sbin/openrc sysinit\ntty1::respawn:/sbin/getty 38400 tty1\n");
    put_executable(tree, "/etc/local.d/x.start", "#!/bin/sh\n/tmp/l\n");
    put_executable(tree, "/etc/init.d/sshd", "#!/sbin/openrc-run\n");
    link(tree, "/etc/runlevels/default/sshd", "/etc/init.d/sshd");
    put(tree, "/etc/ld-musl-x86_64.path", "/lib:/usr/local/lib\n");
    put(tree, "/etc/apk/commit_hooks.d/x", "#!/bin/sh\n");
    put(tree, "/etc/pacman.d/hooks/x.hook", "[Action]\nWhen=PostTransaction\nExec=/tmp/p\n");

    let rows = rows(&taken(tree));
    let at = |mechanism: &str, path: &str| row(&rows, mechanism, path).clone();
    assert!(rows.iter().all(|row| row["package_owned"].is_null()), "no database of packages, so nothing is told");
    assert_eq!(at("cron_line", "/var/spool/cron/root")["target"], "/usr/bin/a");
    assert_eq!(at("anacron_line", "/etc/anacrontab")["name"], "cron.daily");
    assert_eq!(at("rc_local", "/etc/rc.d/rc.local")["enabled"], false);
    assert_eq!(at("shell_startup", "/etc/bashrc")["sets"][0], "A=1");
    assert_eq!(at("dnf_action", "/etc/dnf/plugins/post-transaction-actions.d/x.action")["target"], "/tmp/y");
    assert_eq!(at("networkmanager_dispatcher", "/etc/NetworkManager/dispatcher.d/99-x")["enabled"], false);
    let xinetd = at("xinetd_service", "/etc/xinetd.d/echo");
    assert_eq!(
        (&xinetd["runs"][0], &xinetd["enabled"], &xinetd["name"]),
        (&"/bin/e -l".into(), &true.into(), &"echo".into())
    );
    assert_eq!(at("cron_line", "/etc/crontabs/root")["user"], "root");
    assert_eq!(at("cron_script", "/etc/periodic/15min/x")["schedule"], "15min");
    assert_eq!(at("inittab_line", "/etc/inittab")["target"], "/sbin/openrc");
    assert_eq!(at("openrc_local", "/etc/local.d/x.start")["runs"][0], "/tmp/l");
    let init = at("sysv_init", "/etc/init.d/sshd");
    assert_eq!((&init["enabled"], &init["schedule"]), (&true.into(), &"default".into()));
    assert_eq!(at("ld_musl_path", "/etc/ld-musl-x86_64.path")["text"], "/lib:/usr/local/lib");
    assert_eq!(at("apk_hook", "/etc/apk/commit_hooks.d/x")["enabled"], false);
    assert_eq!(at("pacman_hook", "/etc/pacman.d/hooks/x.hook")["target"], "/tmp/p");
    assert_eq!(at("pam_module", "/usr/lib64/security/pam_x.so")["size_bytes"], 0);
}

#[test]
fn what_an_intruder_prepared_for_the_collector() {
    let tree = tempfile::tempdir().unwrap();
    let tree = tree.path();
    put(tree, "/etc/passwd", "root:x:0:0::/root:/bin/sh\nslash:x:1:1::/:/x\nloop:x:2:2::/home/../..:/x\n");
    put(tree, "/etc/shadow", "root:$y$SECRET:1:2:3:4:::\n");
    std::fs::create_dir_all(tree.join("etc/cron.d")).unwrap();
    let fifo = tree.join("etc/cron.d/x");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    link(tree, "/etc/cron.d/secret", "/etc/shadow");
    link(tree, "/etc/cron.d/a", "b");
    link(tree, "/etc/cron.d/b", "a");
    link(tree, "/etc/cron.d/linked", "/opt/jobs");
    put(tree, "/opt/jobs", "* * * * * root /opt/x\n");
    put(tree, "/etc/cron.d/bytes", b"* * * * * r\xffot /\xfe\x00\n\xff\xff\nodd\n");
    put(tree, "/etc/cron.d/long", [b"* * * * * root /x ".as_slice(), &b"a".repeat(3 << 20)].concat());
    put(tree, "/etc/cron.d/many", "* * * * * root /x\n".repeat(ROWS_OF_FILE_MAX + 1));
    put(tree, "/etc/systemd/system/x.service", b"[Service\nExecStart\n=\n[]\n=x\nExecStart=\\");
    link(tree, "/etc/systemd/system/dir", ".");
    put(tree, "/etc/udev/rules.d/x.rules", b"RUN+=\"\\");
    put(tree, "/etc/pam.d/x", b"auth [\nauth\n\xff \xff \xff\n");
    put(tree, "/etc/apt/apt.conf.d/x", "{".repeat(100_000) + "\"");
    put(tree, "/etc/inittab", ":::::\n");
    put(tree, "/var/spool/cron/atjobs/a", "");
    put(tree, "/etc/logrotate.d/x", "postrotate\n/x\n");

    let messages = taken(tree);
    let rows = rows(&messages);
    assert_eq!(row(&rows, "cron_line", "/etc/cron.d/x")["file_type"], "fifo");
    let linked = row(&rows, "cron_line", "/etc/cron.d/linked");
    assert_eq!((&linked["target"], &linked["is_link"]), (&"/opt/x".into(), &true.into()));
    let secret = row(&rows, "cron_line", "/etc/cron.d/secret");
    assert!(secret["text"].is_null() && secret["link_target"] == "/etc/shadow");
    assert!(!format!("{messages:?}").contains("SECRET"));
    assert!(row(&rows, "cron_line", "/etc/cron.d/a")["text"].is_null());
    let bytes = row(&rows, "cron_line", "/etc/cron.d/bytes");
    assert!(bytes["text_b64"].is_string());
    let long = row(&rows, "cron_line", "/etc/cron.d/long");
    assert_eq!(long["is_cut"], true);
    assert!(long["text"].as_str().unwrap().len() <= 4096 && long["sha256"].is_null());
    let many = rows.iter().filter(|row| row["path"] == "/etc/cron.d/many").count();
    assert_eq!(many, ROWS_OF_FILE_MAX);
    let limits = messages.iter().filter(|message| matches!(message, Message::Limited(_))).count();
    assert!(limits >= 2, "{limits}");
}

#[test]
fn the_live_host_starts_something() {
    let messages = collect(&Persistence::default(), Arc::new(Host::live()));
    assert_keys_sorted(&messages);
    let rows = rows(&messages);
    let items = items(&messages);
    assert!(!rows.is_empty() && items.iter().any(|item| item.status == Status::Ok));
    assert!(rows.iter().all(|row| row["record"] == "persistence" && row["mechanism"].as_str() != Some("")));
}

#[test]
fn every_glob_of_the_list_is_one() {
    for family in FAMILIES {
        for mechanism in family.mechanisms {
            for glob in mechanism.globs {
                Glob::parse(glob).unwrap_or_else(|error| panic!("{}: {glob}: {error}", mechanism.name));
            }
        }
    }
}
