//! Manifests of Kubernetes: what a pod may do on the node, from YAML or JSON (kubernetes.io, Pod v1 core).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::collect::containers::row::{text, texts, truth};

/// Documents of one file that become rows.
const DOCUMENTS_MAX: usize = 1000;

/// A manifest on the node's disk that makes pods.
#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "facts of a pod, not a state")]
pub struct ManifestRow {
    /// Where the API server writes its audit log, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log_path: Option<String>,
    /// Its containers, those that run first included.
    pub containers: Vec<ContainerPart>,
    /// True when it shares the node's IPC namespace.
    pub host_ipc: bool,
    /// True when it shares the node's network.
    pub host_network: bool,
    /// Paths of the node that are mounted into it.
    pub host_paths: Vec<String>,
    /// True when it sees the node's processes.
    pub host_pid: bool,
    /// True when it lies where the kubelet starts pods from by itself, without the API server.
    pub is_static: bool,
    /// Pod, DaemonSet, Deployment, Job …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace, where it says one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The file.
    pub path: String,
    /// True when one of its containers is privileged.
    pub privileged: bool,
    /// `manifest`.
    pub record: &'static str,
    /// Account that its processes may speak to the API as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// A container of a manifest.
#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct ContainerPart {
    /// Capabilities that it adds.
    pub capabilities_added: Vec<String>,
    /// What it runs, with arguments; empty: what its image says.
    pub command: Vec<String>,
    /// Its image.
    pub image: Option<String>,
    /// Its name.
    pub name: String,
    /// True when it is privileged.
    pub privileged: bool,
    /// User that it runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
}

/// The manifests of one file; and what could not be read of it.
pub fn read(path: &str, bytes: &[u8], is_static: bool) -> (Vec<ManifestRow>, Option<String>) {
    let text = String::from_utf8_lossy(bytes);
    let mut rows = Vec::new();
    let mut damaged = None;
    if path.ends_with(".json") {
        match serde_json::from_str(&text) {
            Ok(value) => rows.extend(row(path, &value, is_static)),
            Err(error) => damaged = Some(error.to_string()),
        }
        return (rows, damaged);
    }
    for document in documents(&text).into_iter().take(DOCUMENTS_MAX) {
        match wire::profile::yaml_document(&document) {
            Ok(value) => rows.extend(row(path, &value, is_static)),
            Err(error) => damaged = Some(error),
        }
    }
    (rows, damaged)
}

/// The documents of a stream, which lines of three dashes part.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" || line.starts_with("--- #") {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let has_content = |text: &String| text.lines().any(|line| !line.trim().is_empty() && !line.trim().starts_with('#'));
    documents.retain(has_content);
    documents
}

/// The row of a manifest; `None` for one that makes no pods.
fn row(path: &str, value: &Value, is_static: bool) -> Option<ManifestRow> {
    let kind = text(value, "/kind")?;
    let spec = match kind.as_str() {
        "Pod" => value.pointer("/spec")?,
        "CronJob" => value.pointer("/spec/jobTemplate/spec/template/spec")?,
        _ => value.pointer("/spec/template/spec")?,
    };
    let list = |name: &str| spec.pointer(name).and_then(Value::as_array).into_iter().flatten();
    let containers: Vec<ContainerPart> =
        list("/initContainers").chain(list("/containers")).chain(list("/ephemeralContainers")).map(container).collect();
    let mut flags = containers.iter().flat_map(|container| &container.command);
    let audit = flags.find_map(|flag| flag.strip_prefix("--audit-log-path="));
    Some(ManifestRow {
        audit_log_path: audit.map(str::to_owned),
        host_ipc: truth(spec, "/hostIPC"),
        host_network: truth(spec, "/hostNetwork"),
        host_paths: list("/volumes").filter_map(|volume| text(volume, "/hostPath/path")).collect(),
        host_pid: truth(spec, "/hostPID"),
        is_static,
        kind,
        name: text(value, "/metadata/name").unwrap_or_default(),
        namespace: text(value, "/metadata/namespace"),
        path: path.to_owned(),
        privileged: containers.iter().any(|container| container.privileged),
        containers,
        record: "manifest",
        service_account: text(spec, "/serviceAccountName"),
    })
}

fn container(value: &Value) -> ContainerPart {
    ContainerPart {
        capabilities_added: texts(value, "/securityContext/capabilities/add"),
        command: texts(value, "/command").into_iter().chain(texts(value, "/args")).collect(),
        image: text(value, "/image"),
        name: text(value, "/name").unwrap_or_default(),
        privileged: truth(value, "/securityContext/privileged"),
        run_as_user: value.pointer("/securityContext/runAsUser").and_then(Value::as_i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "# made by hand\n---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: kube-proxy-x\n  \
        namespace: kube-system\nspec:\n  hostPID: true\n  hostNetwork: true\n  containers:\n  - name: c\n    \
        image: example/miner:1\n    command: [\"/bin/sh\", \"-c\"]\n    args:\n    - sleep 1\n    securityContext:\n      \
        privileged: true\n      capabilities: {add: [SYS_ADMIN]}\n  volumes:\n  - name: root\n    hostPath:\n      \
        path: /\n---\nkind: ConfigMap\nmetadata: {name: x}\n";

    #[test]
    fn a_pod_that_owns_its_node() {
        let (rows, damaged) = read("/etc/kubernetes/manifests/x.yaml", MANIFEST.as_bytes(), true);
        assert_eq!((rows.len(), damaged), (1, None));
        let row = &rows[0];
        assert_eq!((row.name.as_str(), row.namespace.as_deref()), ("kube-proxy-x", Some("kube-system")));
        assert!(row.host_pid && row.host_network && row.privileged && row.is_static && !row.host_ipc);
        assert_eq!((row.host_paths.as_slice(), row.containers[0].command.len()), (&["/".to_owned()][..], 3));
        assert_eq!(row.containers[0].capabilities_added, ["SYS_ADMIN"]);
    }

    #[test]
    fn hostile_manifests_are_refused_and_end_nothing() {
        let deep = format!("kind: Pod\nspec: {}", "[".repeat(1_000_000));
        let dashes = format!("{}x\n", "- ".repeat(500_000));
        let anchors = "kind: Pod\na: &a [x]\nb: [*a, *a]\n";
        for text in [deep.as_str(), dashes.as_str(), anchors, "kind: [Pod"] {
            let (rows, damaged) = read("/x.yaml", text.as_bytes(), true);
            assert!(rows.is_empty() && damaged.is_some(), "{}", &text[..10.min(text.len())]);
        }
        for bytes in [b"\0".as_slice(), b"\xff\xfe", b"", b"---\n---\n"] {
            assert_eq!(read("/x.yaml", bytes, true).0, []);
        }
        assert_eq!(read("/x.json", br#"{"kind":"Pod"}"#, true), (Vec::new(), None));
    }
}
