//! A node of Kubernetes by its disk: manifests and what their pods may do, the kubelet's settings and command line, the
//! pods that it keeps and which tokens they hold, logs of pods. Neither the API server nor the kubelet is asked.
//!
//! Rows: `manifest`, `kubelet`, `pod`, `pod_log`. Files: `/etc/kubernetes`, the kubelet's settings, CNI's configuration,
//! those of k3s and MicroK8s, the audit log where a manifest names it. Credentials (`*.conf` with client keys, tokens and
//! secrets of pods, etcd's database) come as metadata and digest, unless the order lets their class through.
//!
//! Known limits: YAML with anchors or tags is not read for rows (the file comes); what a pod is allowed by the API
//! server's policies is not on the node. Its containers are rows of `containers`.

mod manifest;

use std::collections::BTreeMap;

use bundle::item::{Kind, Nanos, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{ByteSize, Tier};

use self::manifest::ManifestRow;
use super::containers::row::{text, truth};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::gather::Request;
use crate::files::read_all::{Found, read_all};
use crate::host::Host;
use crate::host::glob::Glob;
use crate::host::meta::Type;
use crate::host::proc::Processes;
use crate::run::session::{Session, Stopped};

/// A manifest or a setting that is read for rows.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// A command line.
const CMDLINE_BYTES_MAX: u64 = 128 << 10;

/// Arguments of `collect: kubernetes_node`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesNode {
    /// The most bytes of one file: 1 GiB when nothing is said.
    #[serde(default)]
    file_bytes_max: Option<ByteSize>,
}

/// The kubelet, or a program that has one in it (k3s, k0s).
#[derive(Debug, Default, Serialize, JsonSchema)]
struct KubeletRow {
    /// True when it lets anybody in who does not say who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    anonymous_auth: Option<bool>,
    /// Webhook or AlwaysAllow.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_mode: Option<String>,
    /// Its command line; absent for a row that comes from settings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    /// The file of its settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_path: Option<String>,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    /// Port that answers anybody; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_only_port: Option<i64>,
    /// `kubelet`.
    record: &'static str,
    /// Folder that it starts pods from by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    static_pod_path: Option<String>,
}

/// A pod that the kubelet keeps on disk.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct PodRow {
    /// Names of its containers.
    containers: Vec<String>,
    /// Its name, where its logs tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Its namespace, where its logs tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// Its folder.
    path: String,
    /// `pod`.
    record: &'static str,
    /// Files with a token of a service account; their content is not taken.
    token_paths: Vec<String>,
    /// Its identity.
    uid: String,
    /// Its volumes: kind and name.
    volumes: Vec<String>,
}

/// A log of a pod's container.
#[derive(Debug, Serialize, JsonSchema)]
struct LogRow {
    /// Name of the container.
    container: String,
    /// Last change of its content.
    mtime_ns: Nanos,
    /// Name of the pod.
    name: String,
    /// Namespace of the pod.
    namespace: String,
    /// The file.
    path: String,
    /// Identity of the pod.
    pod_uid: String,
    /// `pod_log`.
    record: &'static str,
    /// Its size.
    size_bytes: u64,
}

/// Where a node keeps what becomes rows.
const MANIFESTS: [&str; 4] = [
    "/etc/kubernetes/manifests/*",
    "/var/lib/rancher/{k3s,rke2}/agent/pod-manifests/*",
    "/var/lib/rancher/{k3s,rke2}/server/manifests/*",
    "/var/lib/k0s/manifests/*/*",
];
const SETTINGS: [&str; 3] = [
    "/var/lib/kubelet/config.yaml",
    "/etc/kubernetes/kubelet/*.{json,yaml}",
    "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/*",
];
const PODS: [&str; 5] = [
    "/var/lib/kubelet/pods/*",
    "/var/lib/kubelet/pods/*/containers/*",
    "/var/lib/kubelet/pods/*/volumes/*/*",
    "/var/lib/kubelet/pods/*/volumes/kubernetes.io~{secret,projected}/*/token",
    "/var/log/pods/*",
];

/// What goes into the bundle as it is.
const FILES: [&str; 14] = [
    "/etc/kubernetes/**",
    "/var/lib/kubelet/{config.yaml,kubeadm-flags.env,kubeconfig,bootstrap-kubeconfig}",
    "/var/lib/kubelet/{cpu_manager_state,memory_manager_state}",
    "/var/lib/kubelet/pki/*",
    "/var/lib/kubelet/pods/*/etc-hosts",
    "/{etc,lib,usr/lib}/systemd/system/kubelet.service{,.d/*}",
    "/etc/default/kubelet",
    "/etc/cni/net.d/**",
    "/var/lib/cni/**",
    "/etc/rancher/**",
    "/var/lib/rancher/{k3s,rke2}/{agent/pod-manifests,server/manifests}/*",
    "/var/snap/microk8s/current/{args,credentials}/*",
    "/var/lib/etcd/member/snap/db",
    "/etc/crictl.yaml",
];

impl Collect for KubernetesNode {
    const NAME: &'static str = "kubernetes_node";
    const TIER: Tier = Tier::System;
    const SUMMARY: &'static str = "A node of Kubernetes: manifests, kubelet, pods and their tokens, CNI, audit log";
    const NEEDS: &'static [&'static str] = &["CAP_DAC_READ_SEARCH"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let settings = read_all(session, &SETTINGS.map(str::to_owned), FILE_BYTES_MAX)?;
        let kubelets = kubelets(session, &settings)?;
        let manifests = manifests(session, &kubelets)?;
        let pods = read_all(session, &PODS.map(str::to_owned), 0)?;
        if kubelets.is_empty() && manifests.is_empty() && pods.is_empty() && !has_folder(session.host()) {
            let item = session.item(Kind::File, "/etc/kubernetes", "walk", Status::Skipped);
            return Ok(session.note(item.because("nothing of Kubernetes is on this host"))?);
        }
        for row in &kubelets {
            session.row(row)?;
        }
        for row in &manifests {
            session.row(row)?;
        }
        for row in pod_rows(&pods) {
            session.row(&row)?;
        }
        logs(session)?;
        let audits = manifests.iter().filter_map(|row| row.audit_log_path.as_ref()).map(|path| format!("{path}*"));
        let paths: Vec<String> = FILES.iter().map(|path| (*path).to_owned()).chain(audits).collect();
        let globs: Vec<Glob> = paths.iter().filter_map(|path| Glob::parse(path).ok()).collect();
        Request { file_bytes_max: self.file_bytes_max.map(|size| size.0), ..Request::of(&globs) }.gather(session)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<ManifestRow>("manifest", "Kubernetes API, Pod v1 core"),
            RowType::of::<KubeletRow>("kubelet", "KubeletConfiguration v1beta1, /proc/PID/cmdline"),
            RowType::of::<PodRow>("pod", "/var/lib/kubelet/pods"),
            RowType::of::<LogRow>("pod_log", "/var/log/pods/NAMESPACE_NAME_UID/CONTAINER"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan { reads: FILES.map(str::to_owned).into(), ..Plan::default() }
    }
}

fn has_folder(host: &Host) -> bool {
    ["/etc/kubernetes", "/var/lib/kubelet", "/etc/rancher"].iter().any(|path| host.dir(path).is_ok())
}

/// The kubelets that run, and those that are set up.
fn kubelets(session: &mut Session, settings: &[Found]) -> Result<Vec<KubeletRow>, Stopped> {
    let host = session.host().clone();
    let mut rows = Vec::new();
    let pids = Processes::of(&host).and_then(|processes| processes.pids());
    for pid in pids.unwrap_or_default() {
        session.go_on()?;
        let Ok(line) = host.read(format!("/proc/{pid}/cmdline"), CMDLINE_BYTES_MAX) else { continue };
        let command: Vec<String> = line
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let name = command.first().map(|word| word.rsplit('/').next().unwrap_or_default());
        if !matches!(name, Some("kubelet" | "k3s" | "k3s-agent" | "rke2" | "k0s")) {
            continue;
        }
        let flag = |name: &str| flag(&command, name);
        rows.push(KubeletRow {
            anonymous_auth: flag("anonymous-auth").and_then(|value| value.parse().ok()),
            authorization_mode: flag("authorization-mode"),
            config_path: flag("config"),
            pid: Some(pid),
            read_only_port: flag("read-only-port").and_then(|value| value.parse().ok()),
            record: "kubelet",
            static_pod_path: flag("pod-manifest-path"),
            command,
        });
    }
    for file in settings {
        let text_of = String::from_utf8_lossy(file.bytes.as_deref().unwrap_or_default()).into_owned();
        let value = match wire::profile::yaml_document(&text_of) {
            Ok(value) => value,
            Err(error) => {
                let item = session.item(Kind::Record, file.path.clone(), "read", Status::Error);
                session.note(item.because(error))?;
                continue;
            }
        };
        let anonymous = value.pointer("/authentication/anonymous/enabled").is_some();
        rows.push(KubeletRow {
            anonymous_auth: anonymous.then(|| truth(&value, "/authentication/anonymous/enabled")),
            authorization_mode: text(&value, "/authorization/mode"),
            config_path: Some(file.path_text()),
            read_only_port: value.pointer("/readOnlyPort").and_then(Value::as_i64),
            record: "kubelet",
            static_pod_path: text(&value, "/staticPodPath"),
            ..KubeletRow::default()
        });
    }
    Ok(rows)
}

/// The value of `--name=value` or `--name value`.
fn flag(command: &[String], name: &str) -> Option<String> {
    let long = format!("--{name}");
    let mut words = command.iter();
    while let Some(word) = words.next() {
        if let Some(value) = word.strip_prefix(&long) {
            return match value.strip_prefix('=') {
                Some(value) => Some(value.to_owned()),
                None if value.is_empty() => words.next().cloned(),
                None => continue,
            };
        }
    }
    None
}

fn manifests(session: &mut Session, kubelets: &[KubeletRow]) -> Result<Vec<ManifestRow>, Stopped> {
    let mut globs = MANIFESTS.map(str::to_owned).to_vec();
    let configured = kubelets.iter().filter_map(|row| row.static_pod_path.as_ref());
    let configured: Vec<String> = configured
        .filter(|path| path.starts_with('/') && !path.contains(".."))
        .map(|path| path.trim_end_matches('/').to_owned())
        .collect();
    globs.extend(configured.iter().filter(|path| *path != "/etc/kubernetes/manifests").map(|path| format!("{path}/*")));
    let mut rows = Vec::new();
    for file in read_all(session, &globs, FILE_BYTES_MAX)? {
        let Some(bytes) = &file.bytes else { continue };
        let path = file.path_text();
        // The kubelet reads every file of its folder that does not begin with a dot, whatever its name ends in.
        let is_static = file.asked < 2 || file.asked >= MANIFESTS.len();
        if is_static && file.name(0).starts_with('.') {
            continue;
        }
        let (found, damaged) = manifest::read(&path, bytes, is_static);
        rows.extend(found);
        if let Some(reason) = damaged {
            let item = session.item(Kind::Record, file.path.clone(), "read", Status::Error);
            session.note(item.because(reason))?;
        }
    }
    Ok(rows)
}

/// Pods by the folders of the kubelet; names by those of their logs, `NAMESPACE_NAME_UID`.
fn pod_rows(found: &[Found]) -> Vec<PodRow> {
    let mut pods: BTreeMap<String, PodRow> = BTreeMap::new();
    for file in found.iter().filter(|file| file.asked == 0 && file.file_type == Type::Folder) {
        let uid = file.name(0);
        pods.insert(uid.clone(), PodRow { path: file.path_text(), record: "pod", uid, ..PodRow::default() });
    }
    for file in found {
        let uid = match file.asked {
            1 => file.name(2),
            2 => file.name(3),
            3 => file.name(4),
            4 => file.name(0).rsplit('_').next().unwrap_or_default().to_owned(),
            _ => continue,
        };
        let Some(pod) = pods.get_mut(&uid) else { continue };
        match file.asked {
            1 => pod.containers.push(file.name(0)),
            2 => pod.volumes.push(format!("{}/{}", file.name(1), file.name(0))),
            3 => pod.token_paths.push(file.path_text()),
            _ => {
                let folder = file.name(0);
                let mut parts = folder.split('_');
                (pod.namespace, pod.name) = (parts.next().map(str::to_owned), parts.next().map(str::to_owned));
            }
        }
    }
    pods.into_values().collect()
}

/// The logs of pods: metadata only, their content is for the collectors of logs.
fn logs(session: &mut Session) -> Result<(), Stopped> {
    let found = read_all(session, &["/var/log/pods/*/*/*".to_owned()], 0)?;
    for file in found.iter().filter(|file| file.file_type == Type::File) {
        let folder = file.name(2);
        let mut parts = folder.splitn(3, '_');
        session.row(&LogRow {
            container: file.name(1),
            mtime_ns: file.mtime_ns,
            namespace: parts.next().unwrap_or_default().to_owned(),
            name: parts.next().unwrap_or_default().to_owned(),
            path: file.path_text(),
            pod_uid: parts.next().unwrap_or_default().to_owned(),
            record: "pod_log",
            size_bytes: file.size_bytes,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};
    use bundle::time::Instant;
    use std::path::Path;
    use std::sync::Arc;

    fn put(root: &Path, path: &str, content: impl AsRef<[u8]>) {
        let path = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn run(root: &Path) -> Vec<Message> {
        let messages = collect(&KubernetesNode::default(), Arc::new(Host::at(root, FixedClock(Instant(0)))));
        assert_keys_sorted(&messages);
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))), "{:?}", messages.last());
        messages
    }

    #[test]
    fn a_node_with_a_pod_that_owns_it() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        let manifest = "kind: Pod\nmetadata: {name: evil}\nspec:\n  hostPID: true\n  containers:\n  - name: a\n    \
            image: x\n    command: [kube-apiserver, --audit-log-path=/var/log/kube/audit.log]\n";
        put(root, "/srv/pods/evil.yaml", manifest);
        put(root, "/etc/kubernetes/admin.conf", "users: [{user: {client-key-data: SECRETKEY}}]");
        put(root, "/etc/kubernetes/manifests/bad.yaml", "kind: [Pod");
        put(
            root,
            "/var/lib/kubelet/config.yaml",
            "authentication:\n  anonymous: {enabled: true}\nauthorization: {mode: AlwaysAllow}\nreadOnlyPort: 10255\n\
             staticPodPath: /srv/pods\n",
        );
        put(
            root,
            "/proc/12/cmdline",
            b"/usr/bin/kubelet\0--config=/var/lib/kubelet/config.yaml\0--read-only-port\x000\0",
        );
        put(root, "/proc/13/cmdline", b"/bin/sh\0");
        let pod = "/var/lib/kubelet/pods/uid-1";
        put(root, &format!("{pod}/containers/app/1a2b"), "");
        put(root, &format!("{pod}/volumes/kubernetes.io~projected/kube-api-access-x/token"), "SECRETTOKEN");
        put(root, "/var/log/pods/kube-system_web_uid-1/app/0.log", "2026 stdout F hello\n");
        put(root, "/var/log/kube/audit.log", "{}\n");
        put(root, "/etc/cni/net.d/10-x.conflist", "{}");
        put(root, "/var/lib/etcd/member/snap/db", "SECRETDATABASE");

        let messages = run(root);
        let rows = rows(&messages);
        let of = |record: &str| rows.iter().filter(|row| row["record"] == record).collect::<Vec<_>>();
        assert_eq!((&of("kubelet")[0]["pid"], &of("kubelet")[0]["read_only_port"]), (&12.into(), &0.into()));
        assert_eq!(
            (&of("kubelet")[1]["anonymous_auth"], &of("kubelet")[1]["read_only_port"]),
            (&true.into(), &10255.into())
        );
        assert_eq!(of("kubelet")[1]["authorization_mode"], "AlwaysAllow");
        let row = of("manifest")[0];
        assert_eq!((&row["name"], &row["is_static"], &row["host_pid"]), (&"evil".into(), &true.into(), &true.into()));
        let row = of("pod")[0];
        assert_eq!(
            (&row["name"], &row["namespace"], &row["uid"]),
            (&"web".into(), &"kube-system".into(), &"uid-1".into())
        );
        assert_eq!(row["volumes"][0], "kubernetes.io~projected/kube-api-access-x");
        assert_eq!((row["token_paths"].as_array().unwrap().len(), &row["containers"][0]), (1, &"app".into()));
        assert_eq!((&of("pod_log")[0]["container"], &of("pod_log")[0]["size_bytes"]), (&"app".into(), &20.into()));

        let items = items(&messages);
        let item =
            |path: &str| items.iter().find(|item| item.path == path.as_bytes() && item.kind == Kind::File).unwrap();
        assert_eq!(item("/var/lib/etcd/member/snap/db").status, Status::Redacted);
        assert!(item("/var/lib/etcd/member/snap/db").sha256.is_some());
        assert_eq!(item("/etc/kubernetes/admin.conf").status, Status::Redacted);
        assert_eq!(item("/var/log/kube/audit.log").status, Status::Ok);
        assert_eq!(item("/etc/cni/net.d/10-x.conflist").status, Status::Ok);
        for message in &messages {
            if let Message::Whole(_, bytes) | Message::Chunk(bytes) | Message::Rows(bytes) = message {
                assert!(!bytes.windows(6).any(|text| text == b"SECRET"));
            }
        }
    }

    #[test]
    fn a_host_without_kubernetes_says_so_once() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("proc")).unwrap();
        let messages = run(tree.path());
        assert!(rows(&messages).is_empty());
        let items = items(&messages);
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].reason.as_deref(), Some("nothing of Kubernetes is on this host"));
    }

    #[test]
    fn flags_in_both_ways() {
        let words: Vec<String> = ["kubelet", "--a=1", "--ab", "2", "--b"].map(str::to_owned).into();
        assert_eq!(flag(&words, "a").as_deref(), Some("1"));
        assert_eq!(flag(&words, "ab").as_deref(), Some("2"));
        assert_eq!((flag(&words, "b"), flag(&words, "c")), (None, None));
    }
}
