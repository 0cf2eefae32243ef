//! The runtime specification of a container (`config.json`), which podman, CRI-O, containerd and docker all hand to runc
//! or crun (github.com/opencontainers/runtime-spec, config.md and config-linux.md).

use serde_json::Value;

use super::row::{ContainerRow, MountPart, text, texts};

/// What runtimes give a container by themselves (docker, podman and containerd differ a little: this is all of it).
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Adds what the specification says to a row; what the row has already stays.
pub fn add(row: &mut ContainerRow, spec: &Value) {
    row.command = texts(spec, "/process/args");
    row.environment(&texts(spec, "/process/env"));
    row.hostname = row.hostname.take().or_else(|| text(spec, "/hostname"));
    row.rootfs_path = row.rootfs_path.take().or_else(|| text(spec, "/root/path"));
    row.cgroup = row.cgroup.take().or_else(|| text(spec, "/linux/cgroupsPath"));
    let uid = spec.pointer("/process/user/uid").and_then(Value::as_u64);
    row.user = row.user.take().or_else(|| uid.map(|uid| uid.to_string()));
    let bounding: Vec<String> = texts(spec, "/process/capabilities/bounding")
        .iter()
        .map(|name| name.trim_start_matches("CAP_").to_owned())
        .collect();
    let has_admin = bounding.iter().any(|name| name == "SYS_ADMIN");
    row.capabilities_added = bounding.into_iter().filter(|name| !DEFAULT.contains(&name.as_str())).collect();
    let namespaces = spec.pointer("/linux/namespaces").and_then(Value::as_array);
    let has = |kind: &str| namespaces.into_iter().flatten().any(|one| text(one, "/type").as_deref() == Some(kind));
    row.host_pid = namespaces.is_some() && !has("pid");
    row.host_network = namespaces.is_some() && !has("network");
    row.host_ipc = namespaces.is_some() && !has("ipc");
    let seccomp = spec.pointer("/linux/seccomp").filter(|seccomp| !seccomp.is_null());
    let is_masked = !texts(spec, "/linux/maskedPaths").is_empty();
    row.privileged = row.privileged.or(Some(has_admin && seccomp.is_none() && !is_masked));
    if seccomp.is_none() {
        row.security_options.push("seccomp=unconfined".to_owned());
    }
    if let Some(profile) = text(spec, "/process/apparmorProfile") {
        row.security_options.push(format!("apparmor={profile}"));
    }
    if let Some(label) = text(spec, "/process/selinuxLabel") {
        row.security_options.push(format!("selinux={label}"));
    }
    if spec.pointer("/process/noNewPrivileges").and_then(Value::as_bool) == Some(true) {
        row.security_options.push("no-new-privileges".to_owned());
    }
    let mounts = spec.pointer("/mounts").and_then(Value::as_array);
    for mount in mounts.into_iter().flatten() {
        let options = texts(mount, "/options");
        let is_bind = options.iter().any(|option| option == "bind" || option == "rbind");
        let kind = text(mount, "/type").unwrap_or_default();
        row.mounts.push(MountPart {
            destination: text(mount, "/destination").unwrap_or_default(),
            is_writable: !options.iter().any(|option| option == "ro"),
            source: text(mount, "/source").unwrap_or_default(),
            mount_type: if is_bind { "bind".to_owned() } else { kind },
        });
    }
    annotations(row, spec);
}

/// What Kubernetes' runtimes note beside: containerd under `io.kubernetes.cri.`, CRI-O under `io.kubernetes.cri-o.`.
fn annotations(row: &mut ContainerRow, spec: &Value) {
    let note =
        |names: &[&str]| names.iter().find_map(|name| text(spec, &format!("/annotations/{}", name.replace('/', "~1"))));
    row.name = row.name.take().or_else(|| {
        note(&["io.kubernetes.cri.container-name", "io.kubernetes.container.name", "io.kubernetes.cri-o.ContainerName"])
    });
    row.image = row.image.take().or_else(|| {
        note(&["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "io.container.manager.image"])
    });
    row.pod = note(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]);
    row.pod_namespace = note(&["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"]);
    row.pod_uid = note(&["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"]);
    row.log_path = row.log_path.take().or_else(|| note(&["io.kubernetes.cri-o.LogPath"]));
    row.created = row.created.take().or_else(|| note(&["io.kubernetes.cri-o.Created"]));
}
