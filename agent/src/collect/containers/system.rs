//! Containers that hold a whole system: LXC and LXD or Incus (lxc.container.conf(5)), and systemd-nspawn
//! (systemd.nspawn(5), `/run/systemd/machines`).

use super::row::{ContainerRow, MountPart};
use super::{CONFIG_BYTES_MAX, Found};
use crate::files::read_all::read_all;
use crate::host::meta::Type;
use crate::run::session::{Session, Stopped};

/// `key = value` lines, comments and sections left out.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter(|line| !line.trim_start().starts_with(['#', ';', '['])).filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        Some((key.trim(), value.trim()))
    })
}

/// Reads LXC's containers: the configured ones, and those that LXD or Incus keep.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn lxc(session: &mut Session, found: &mut Found) -> Result<(), Stopped> {
    let globs = [
        "/var/lib/lxc/*/config".to_owned(),
        "~/.local/share/lxc/*/config".to_owned(),
        "/var/log/{lxd,incus}/*/lxc.conf".to_owned(),
        "/var/snap/lxd/common/lxd/logs/*/lxc.conf".to_owned(),
        "/var/lib/{lxd,incus}/containers/*".to_owned(),
        "/var/snap/lxd/common/lxd/containers/*".to_owned(),
    ];
    for file in read_all(session, &globs, CONFIG_BYTES_MAX)? {
        if file.asked >= 4 {
            let rootfs = format!("{}/rootfs", file.path_text());
            found.add(ContainerRow { rootfs_path: Some(rootfs), ..ContainerRow::new("lxc", file.name(0)) });
            continue;
        }
        let Some(bytes) = &file.bytes else { continue };
        let mut row = ContainerRow {
            config_path: Some(file.path_text()),
            is_rootless: super::is_in_home(&file.path_text()),
            name: Some(file.name(1)),
            ..ContainerRow::new("lxc", file.name(1))
        };
        config(&mut row, &String::from_utf8_lossy(bytes));
        found.add(row);
    }
    Ok(())
}

fn config(row: &mut ContainerRow, text: &str) {
    let mut has_id_map = false;
    for (key, value) in pairs(text) {
        match key {
            "lxc.rootfs.path" | "lxc.rootfs" => {
                row.rootfs_path = Some(value.rsplit_once(':').map_or(value, |(_, path)| path).to_owned());
            }
            "lxc.uts.name" | "lxc.utsname" => row.hostname = Some(value.to_owned()),
            "lxc.init.cmd" | "lxc.execute.cmd" => row.command = vec![value.to_owned()],
            "lxc.environment" => row.environment(&[value.to_owned()]),
            "lxc.mount.entry" => {
                // A line of fstab(5).
                let words: Vec<&str> = value.split_whitespace().collect();
                if let [source, destination, kind, options, ..] = words[..] {
                    row.mounts.push(MountPart {
                        destination: destination.to_owned(),
                        is_writable: !options.split(',').any(|option| option == "ro"),
                        source: source.to_owned(),
                        mount_type: if options.contains("bind") { "bind".to_owned() } else { kind.to_owned() },
                    });
                }
            }
            "lxc.net.0.type" => row.host_network = value == "none",
            "lxc.namespace.keep" => {
                row.host_network |= value.split_whitespace().any(|name| name == "net");
                row.host_pid |= value.split_whitespace().any(|name| name == "pid");
                row.host_ipc |= value.split_whitespace().any(|name| name == "ipc");
            }
            "lxc.apparmor.profile"
            | "lxc.selinux.context"
            | "lxc.seccomp.profile"
            | "lxc.cap.drop"
            | "lxc.cap.keep" => {
                row.security_options.push(format!("{}={value}", key.trim_start_matches("lxc.")));
            }
            "lxc.start.auto" if value == "1" => row.restart_policy = Some("always".to_owned()),
            "lxc.idmap" | "lxc.id_map" => has_id_map = true,
            _ => {}
        }
    }
    // Without a map root in it is root outside.
    row.privileged = Some(!has_id_map);
}

/// Reads the machines of systemd-nspawn: their folders, their settings, and those that run.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn nspawn(session: &mut Session, found: &mut Found) -> Result<(), Stopped> {
    let globs = [
        "/var/lib/machines/*".to_owned(),
        "/{etc,run}/systemd/nspawn/*.nspawn".to_owned(),
        "/run/systemd/machines/*".to_owned(),
    ];
    let files = read_all(session, &globs, CONFIG_BYTES_MAX)?;
    let mut rows: std::collections::BTreeMap<String, ContainerRow> = std::collections::BTreeMap::new();
    for file in &files {
        let name = file.name(0).trim_end_matches(".nspawn").trim_end_matches(".raw").to_owned();
        // Names of units are links beside the machines.
        if file.file_type == Type::Link || name.starts_with('.') || name.starts_with("unit:") {
            continue;
        }
        let row = rows
            .entry(name.clone())
            .or_insert_with(|| ContainerRow { name: Some(name.clone()), ..ContainerRow::new("nspawn", name) });
        if file.asked == 0 {
            row.rootfs_path = Some(file.path_text());
            continue;
        }
        let Some(bytes) = &file.bytes else { continue };
        let text = String::from_utf8_lossy(bytes);
        if file.asked == 1 {
            row.config_path = Some(file.path_text());
            settings(row, &text);
            continue;
        }
        for (key, value) in pairs(&text) {
            match key {
                "LEADER" => row.pid = value.parse().ok(),
                "ROOT" => row.rootfs_path = Some(value.to_owned()),
                "SCOPE" | "UNIT" => row.cgroup = Some(value.to_owned()),
                "REALTIME" => row.started = Some(format!("{value} us")),
                _ => {}
            }
        }
        row.state = Some("running".to_owned());
    }
    for row in rows.into_values() {
        found.add(row);
    }
    Ok(())
}

fn settings(row: &mut ContainerRow, text: &str) {
    for (key, value) in pairs(text) {
        match key {
            "Parameters" => row.command = value.split_whitespace().map(str::to_owned).collect(),
            "Environment" => row.environment(&[value.to_owned()]),
            "User" => row.user = Some(value.to_owned()),
            "Hostname" => row.hostname = Some(value.to_owned()),
            "Capability" => {
                let names = value.split([' ', ',']).filter(|name| !name.is_empty());
                row.capabilities_added.extend(names.map(|name| name.trim_start_matches("CAP_").to_uppercase()));
            }
            "Bind" | "BindReadOnly" => {
                let mut parts = value.split(':');
                let source = parts.next().unwrap_or_default();
                row.mounts.push(MountPart {
                    destination: parts.next().unwrap_or(source).to_owned(),
                    is_writable: key == "Bind",
                    source: source.to_owned(),
                    mount_type: "bind".to_owned(),
                });
            }
            "Private" | "VirtualEthernet" => row.host_network = matches!(value, "no" | "false" | "off" | "0"),
            "Port" => row.ports.push(value.to_owned()),
            _ => {}
        }
    }
}
