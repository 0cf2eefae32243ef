//! The rows of the collector `containers`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// A container as its runtime keeps it on disk, and the processes that live in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "facts of a container, not a state")]
pub struct ContainerRow {
    /// Capabilities beyond those that a runtime gives by itself, without `CAP_`; `ALL` for all of them.
    pub capabilities_added: Vec<String>,
    /// Control group of its processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// What it runs, with arguments.
    pub command: Vec<String>,
    /// The file that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_path: Option<String>,
    /// When it was made, as the runtime wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Variables of its environment that change what a program loads or runs: PATH, LD_*, PYTHONPATH …
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Names of all variables of its environment; their values may be secrets.
    pub environment_names: Vec<String>,
    /// What it ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// When it ended, as the runtime wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// True when it shares the host's IPC namespace.
    pub host_ipc: bool,
    /// True when it shares the host's network.
    pub host_network: bool,
    /// True when it sees the host's processes.
    pub host_pid: bool,
    /// Its host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its identity: 64 hexadecimal digits, or a name where the runtime has no other.
    pub id: String,
    /// Its image as it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its image's digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// True when a user's own runtime made it: its files lie in a home.
    pub is_rootless: bool,
    /// Where its output is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_path: Option<String>,
    /// What of the host, and what else, is mounted into it.
    pub mounts: Vec<MountPart>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace of containerd: moby, k8s.io, default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its first process as the runtime wrote it, which may be long gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Processes that live in it now, by their control group.
    pub pids: Vec<u32>,
    /// Kubernetes: name of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Kubernetes: namespace of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<String>,
    /// Kubernetes: identity of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Ports of the host that lead into it: `0.0.0.0:80->8080/tcp`.
    pub ports: Vec<String>,
    /// True when nothing keeps it from the host: as docker wrote it; elsewhere, when no path is masked, there is no
    /// seccomp filter, and CAP_SYS_ADMIN is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// `container`.
    pub record: &'static str,
    /// no, always, on-failure, unless-stopped: when it is started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<String>,
    /// Its root on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs_path: Option<String>,
    /// docker, podman, cri-o, containerd, lxc, nspawn; cgroup for one that only its processes show.
    pub runtime: &'static str,
    /// Security options: seccomp, AppArmor, SELinux, no-new-privileges.
    pub security_options: Vec<String>,
    /// When it was started, as the runtime wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// running, paused, exited, created … as it is on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Folder of the host that holds what was changed in it against its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upper_path: Option<String>,
    /// User that it runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Something mounted into a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MountPart {
    /// Where in the container.
    pub destination: String,
    /// True when it can be written through the mount.
    pub is_writable: bool,
    /// What: a path of the host for a bind mount, else a volume's name or a type.
    pub source: String,
    /// bind, volume, tmpfs, proc …
    #[serde(rename = "type")]
    pub mount_type: String,
}

/// An image that is kept on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ImageRow {
    /// What it runs when nothing else is said.
    pub command: Vec<String>,
    /// When it was made, as the builder wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Its digest.
    pub id: String,
    /// Names and tags that point at it.
    pub names: Vec<String>,
    /// `image`.
    pub record: &'static str,
    /// docker, or podman for all that share its storage.
    pub runtime: &'static str,
    /// The folder that holds it.
    pub storage_path: String,
    /// User that it runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A file of a container that differs from its image: metadata only.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UpperRow {
    /// The container.
    pub container: String,
    /// Last change of its inode.
    pub ctime_ns: bundle::item::Nanos,
    /// Its group.
    pub gid: u32,
    /// Path on the host.
    pub host_path: String,
    /// True for a regular file that somebody may execute.
    pub is_executable: bool,
    /// True for a file of the image that was deleted in the container (a whiteout).
    pub is_whiteout: bool,
    /// Permissions in octal.
    pub mode: String,
    /// Last change of its content.
    pub mtime_ns: bundle::item::Nanos,
    /// Path in the container.
    pub path: String,
    /// `upper_file`.
    pub record: &'static str,
    /// Its size.
    pub size_bytes: u64,
    /// file, symlink, fifo, socket, char, block.
    #[serde(rename = "type")]
    pub file_type: &'static str,
    /// Its owner.
    pub uid: u32,
}

/// Variables whose values say what a program loads or runs.
const TOLD: [&str; 9] = [
    "PATH",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PERL5LIB",
    "PERL5OPT",
    "NODE_OPTIONS",
    "JAVA_TOOL_OPTIONS",
    "BASH_ENV",
    "ENV",
];

impl ContainerRow {
    /// A container of which only runtime and identity are known.
    pub fn new(runtime: &'static str, id: impl Into<String>) -> Self {
        Self { id: id.into(), record: "container", runtime, ..Self::default() }
    }

    /// Takes `NAME=value` lines: names of all, values of those that say what is loaded or run.
    pub fn environment(&mut self, lines: &[String]) {
        for line in lines {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            self.environment_names.push(name.to_owned());
            if TOLD.contains(&name) || name.starts_with("LD_") {
                self.environment.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// The text at a place in JSON; empty texts are none.
pub fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The texts of a list at a place in JSON.
pub fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The truth at a place in JSON.
pub fn truth(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// The process number at a place in JSON; 0 is none.
pub fn pid(value: &Value, pointer: &str) -> Option<u32> {
    value.pointer(pointer)?.as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0)
}
