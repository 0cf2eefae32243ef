//! Containers by their state on disk, and the processes that live in them: docker, podman, CRI-O, containerd, LXC, LXD,
//! Incus and systemd-nspawn, those of users included. No daemon is asked, so none has to run, and none can lie.
//!
//! Processes are joined by their control groups. A container that only a control group shows (its files were removed, or
//! its runtime is another one) is a row with the runtime `cgroup`.
//!
//! Rows: `container`, `image`, `upper_file` (what a container changed against its image, metadata only). Files: the
//! configuration that the rows were read from, logs, and with `upper_dirs` the changed files themselves.
//!
//! Known limits: databases of podman (`bolt_state.db`, `db.sql`) and of containerd (`meta.db`) come as files and are not
//! read; LXD's and Incus' settings lie in a database and in `backup.yaml`, of which the latter comes as a file. Values of
//! environment variables are in the configuration files, not in the rows, except for those that say what is loaded.

mod docker;
mod oci;
pub(super) mod row;
mod storage;
mod system;
mod upper;

use std::collections::{BTreeMap, BTreeSet};

use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::{ByteSize, Tier};

use self::row::{ContainerRow, ImageRow, UpperRow};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::gather::Request;
use crate::files::read_all::read_all;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::proc::Processes;
use crate::run::session::{Session, Stopped};

/// A configuration file that is read for rows.
const CONFIG_BYTES_MAX: u64 = 8 << 20;
/// Containers that become rows.
const CONTAINERS_MAX: usize = 10_000;
/// The control groups of one process.
const CGROUP_BYTES_MAX: u64 = 64 << 10;
/// Changed files of one container that become rows, when nobody says otherwise.
const UPPER_ENTRIES: u64 = 5000;

/// Arguments of `collect: containers`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Containers {
    /// Takes the content of what containers changed against their images too.
    #[serde(default)]
    upper_dirs: bool,
    /// Changed files of one container that become rows: 5000 when nothing is said, 0 for none.
    #[serde(default)]
    upper_entries_max: Option<u64>,
    /// Leaves the containers' logs out.
    #[serde(default)]
    without_logs: bool,
    /// The most bytes of one file: 1 GiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    containers: Vec<ContainerRow>,
    images: Vec<ImageRow>,
    /// Folders of runtimes that hold something.
    roots: BTreeSet<String>,
    /// Files that are no JSON.
    damaged: Vec<Vec<u8>>,
}

impl Found {
    /// Adds a container; of one that is known already, what is missing is filled in (docker's are containerd's too).
    fn add(&mut self, row: ContainerRow) {
        let has_room = self.containers.len() < CONTAINERS_MAX;
        match self.containers.iter_mut().find(|known| known.id == row.id) {
            Some(known) => {
                known.namespace = known.namespace.take().or(row.namespace);
                known.rootfs_path = known.rootfs_path.take().or(row.rootfs_path);
                known.cgroup = known.cgroup.take().or(row.cgroup);
                known.pid = known.pid.or(row.pid);
                known.config_path = known.config_path.take().or(row.config_path);
                if known.command.is_empty() {
                    known.command = row.command;
                }
                if known.mounts.is_empty() {
                    known.mounts = row.mounts;
                }
            }
            None if has_room => self.containers.push(row),
            None => {}
        }
    }
}

/// True for a path below a home: a user's own runtime.
fn is_in_home(path: &str) -> bool {
    path.starts_with("/home/") || path.contains("/.local/share/") || path.starts_with("/run/user/")
}

impl Collect for Containers {
    const NAME: &'static str = "containers";
    const TIER: Tier = Tier::System;
    const SUMMARY: &'static str = "Containers by their state on disk, their images, logs, changed files and processes";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut found = Found::default();
        for root in docker_roots(session)? {
            docker::read(session, &root, &mut found)?;
        }
        for root in storage_roots(session)? {
            storage::read(session, &root, &mut found)?;
        }
        for root in TASKS {
            storage::tasks(session, root, &mut found)?;
        }
        system::lxc(session, &mut found)?;
        system::nspawn(session, &mut found)?;
        join_processes(session, &mut found)?;
        for path in std::mem::take(&mut found.damaged) {
            let item = session.item(Kind::Record, path, "read", Status::Error);
            session.note(item.because("it is not the JSON that its runtime writes: it comes as a file only"))?;
        }
        if found.containers.len() >= CONTAINERS_MAX {
            session.limited(format!("more than {CONTAINERS_MAX} containers"))?;
        }
        found.containers.sort_by(|a, b| (a.runtime, &a.id).cmp(&(b.runtime, &b.id)));
        for row in &mut found.containers {
            row.environment.retain(|name, _| session.shows_variable(name.as_bytes()));
            session.row(row)?;
        }
        found.images.sort_by(|a, b| (&a.storage_path, &a.id).cmp(&(&b.storage_path, &b.id)));
        for row in &found.images {
            session.row(row)?;
        }
        self.changed(session, &found)?;
        self.files(session, &found)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<ContainerRow>(
                "container",
                "config.v2.json and hostconfig.json of docker, OCI runtime-spec, containers-storage.conf(5), lxc.container.conf(5), systemd.nspawn(5)",
            ),
            RowType::of::<ImageRow>(
                "image",
                "repositories.json and imagedb of docker, images.json of containers-storage",
            ),
            RowType::of::<UpperRow>("upper_file", "overlayfs (Documentation/filesystems/overlayfs.rst), statx(2)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads =
            ["/var/lib/docker/**", "/var/lib/containers/storage/**", "/run/containerd/**", "/var/lib/lxc/*/config"];
        Plan { reads: reads.map(str::to_owned).into(), ..Plan::default() }
    }
}

/// Where containerd keeps its tasks: its own, docker's, and those of the small distributions of Kubernetes.
const TASKS: [&str; 5] = [
    "/run/containerd",
    "/run/docker/containerd/daemon",
    "/run/k3s/containerd",
    "/run/k0s/containerd",
    "/var/snap/microk8s/common/run/containerd",
];

/// The data folders of docker: the usual ones, those of users, and the one that is configured.
fn docker_roots(session: &mut Session) -> Result<Vec<String>, Stopped> {
    let mut roots = vec![
        "/var/lib/docker".to_owned(),
        "/var/snap/docker/common/var-lib-docker".to_owned(),
        "~/.local/share/docker".to_owned(),
    ];
    let globs =
        ["/etc/docker/daemon.json", "/var/snap/docker/current/config/daemon.json", "~/.config/docker/daemon.json"];
    for file in read_all(session, &globs.map(str::to_owned), CONFIG_BYTES_MAX)? {
        let Some(json) = file.json() else { continue };
        roots.extend(row::text(&json, "/data-root").or_else(|| row::text(&json, "/graph")));
    }
    Ok(tidy(roots))
}

/// The storages of podman and CRI-O.
fn storage_roots(session: &mut Session) -> Result<Vec<String>, Stopped> {
    let mut roots = vec![
        "/var/lib/containers/storage".to_owned(),
        "/run/containers/storage".to_owned(),
        "~/.local/share/containers/storage".to_owned(),
        "/run/user/*/containers".to_owned(),
    ];
    let globs =
        ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf", "~/.config/containers/storage.conf"];
    for file in read_all(session, &globs.map(str::to_owned), CONFIG_BYTES_MAX)? {
        let text = String::from_utf8_lossy(file.bytes.as_deref().unwrap_or_default()).into_owned();
        let Ok(table) = text.parse::<toml::Table>() else { continue };
        let storage = table.get("storage").and_then(toml::Value::as_table);
        for key in ["graphroot", "runroot", "rootless_storage_path"] {
            roots.extend(storage.and_then(|storage| storage.get(key)?.as_str()).map(str::to_owned));
        }
    }
    Ok(tidy(roots))
}

/// Each once, without what a configuration may have that is no path of this kind.
fn tidy(mut roots: Vec<String>) -> Vec<String> {
    for root in &mut roots {
        root.truncate(root.trim_end_matches('/').len());
    }
    roots.retain(|root| {
        (root.starts_with('/') || root.starts_with("~/"))
            && !root.contains("/..")
            && !root.contains('$')
            && root.len() > 1
    });
    let mut seen = BTreeSet::new();
    roots.retain(|root| seen.insert(root.clone()));
    roots
}

/// Says which processes live in which container, by what their control groups are called.
fn join_processes(session: &mut Session, found: &mut Found) -> Result<(), Stopped> {
    let host = session.host().clone();
    let pids = Processes::of(&host).and_then(|processes| processes.pids());
    let pids = match pids {
        Ok(pids) => pids,
        Err(error) => return session.unreadable("/proc", &error),
    };
    let mut groups: BTreeMap<String, (String, Vec<u32>)> = BTreeMap::new();
    for pid in pids {
        session.go_on()?;
        // A process that ended meanwhile lives in no container.
        let Ok(text) = host.read(format!("/proc/{pid}/cgroup"), CGROUP_BYTES_MAX) else { continue };
        let text = String::from_utf8_lossy(&text);
        let Some((id, path)) = container_of(&text) else { continue };
        groups.entry(id).or_insert_with(|| (path, Vec::new())).1.push(pid);
    }
    for (id, (path, pids)) in groups {
        let known = found.containers.iter_mut().find(|row| row.id == id);
        let row = match known {
            Some(row) => row,
            None => {
                found.add(ContainerRow::new("cgroup", id));
                match found.containers.last_mut() {
                    Some(row) => row,
                    None => continue,
                }
            }
        };
        row.cgroup = Some(path);
        row.pids = pids;
    }
    Ok(())
}

/// The container that the lines of a `/proc/PID/cgroup` name, and the path that does: an identity of 64 hexadecimal
/// digits (the last one: a container in a container has two), or the name that LXC or nspawn puts there.
fn container_of(text: &str) -> Option<(String, String)> {
    for line in text.lines() {
        let path = line.splitn(3, ':').nth(2)?;
        let parts = path.split('/').rev();
        for part in parts {
            let stem = part.split_once('.').map_or(part, |(stem, _)| stem);
            let id = part.rsplit(':').next().filter(|_| part.contains(':')).unwrap_or(stem);
            let id = id.rsplit('-').next().unwrap_or_default();
            if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Some((id.to_owned(), path.to_owned()));
            }
            let name = part
                .strip_prefix("lxc.payload.")
                .or_else(|| part.strip_prefix("machine-")?.strip_suffix(".scope"))
                .or_else(|| part.strip_prefix("systemd-nspawn@")?.strip_suffix(".service"))
                .or_else(|| path.strip_prefix("/lxc/")?.split('/').next());
            if let Some(name) = name {
                return Some((name.replace("\\x2d", "-"), path.to_owned()));
            }
        }
    }
    None
}

impl Containers {
    /// What containers changed against their images.
    fn changed(&self, session: &mut Session, found: &Found) -> Result<(), Failure> {
        let most = self.upper_entries_max.unwrap_or(UPPER_ENTRIES);
        for container in found.containers.iter().filter(|_| most > 0) {
            let Some(upper) = &container.upper_path else { continue };
            if Glob::parse(upper).is_ok() {
                upper::rows(session, container, upper, most)?;
            }
        }
        if self.upper_dirs {
            let upper = found.containers.iter().filter_map(|container| container.upper_path.as_ref());
            let paths: Vec<String> = upper.map(|path| format!("{path}/**")).collect();
            self.gather(session, &paths)?;
        }
        Ok(())
    }

    /// The configuration and the logs.
    fn files(&self, session: &mut Session, found: &Found) -> Result<(), Failure> {
        let mut paths = Vec::new();
        for root in &found.roots {
            let below: &[&str] = if root.starts_with("/run/") && !root.contains("containers") {
                &[
                    "io.containerd.runtime.*/*/*/{config,options,log}.json",
                    "io.containerd.runtime.*/*/*/{init.pid,address}",
                ]
            } else if root.ends_with("docker") {
                &[
                    "containers/*/{config.v2.json,hostconfig.json,hostname,hosts,resolv.conf}",
                    "image/*/repositories.json",
                    "network/files/local-kv.db",
                ]
            } else {
                &[
                    "*-containers/{containers,volatile-containers}.json",
                    "*-containers/*/userdata/{config.json,*pid*,attach,exit}",
                    "*-images/images.json",
                    "libpod/bolt_state.db",
                    "db.sql",
                ]
            };
            paths.extend(below.iter().map(|path| format!("{root}/{path}")));
            if !self.without_logs {
                let logs: &[&str] =
                    &["containers/*/*-json.log*", "containers/*/local-logs/*", "*-containers/*/userdata/ctr.log"];
                paths.extend(logs.iter().map(|path| format!("{root}/{path}")));
            }
        }
        paths.extend(found.containers.iter().filter_map(|row| row.config_path.clone()));
        if !found.containers.is_empty() {
            paths.extend(CONFIGURATION.map(str::to_owned));
        }
        self.gather(session, &paths)
    }

    fn gather(&self, session: &mut Session, paths: &[String]) -> Result<(), Failure> {
        let globs: Vec<Glob> = paths.iter().filter_map(|path| Glob::parse(path).ok()).collect();
        if globs.is_empty() {
            return Ok(());
        }
        Request { file_bytes_max: self.file_bytes_max.map(|size| size.0), ..Request::of(&globs) }.gather(session)
    }
}

/// Settings of the runtimes themselves, and databases that are not read.
const CONFIGURATION: [&str; 8] = [
    "/etc/docker/daemon.json",
    "/etc/containers/{containers,storage,registries}.conf",
    "/etc/containerd/config.toml",
    "/etc/crio/**/*.conf",
    "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db",
    "/var/lib/{lxd,incus}/containers/*/backup.yaml",
    "/run/{runc,crun}/*/{state.json,status}",
    "/run/containerd/runc/*/*/state.json",
];

#[cfg(test)]
mod tests;
