//! Against trees that are laid out as the runtimes lay out theirs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::host::FixedClock;
use crate::run::session::Message;
use crate::run::testing::{assert_keys_sorted, collect, items, rows};
use bundle::time::Instant;
use serde_json::{Value, json};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const LOST: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

fn put(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn run(root: &Path, with: &Containers) -> Vec<Message> {
    let messages = collect(with, Arc::new(Host::at(root, FixedClock(Instant(0)))));
    assert_keys_sorted(&messages);
    assert!(matches!(messages.last(), Some(Message::Done(Ok(())))), "{:?}", messages.last());
    messages
}

fn docker(root: &Path) {
    let config = json!({
        "ID": ID, "Created": "2026-11-01T10:00:00Z", "Path": "/bin/sh", "Args": ["-c", "sleep 1"], "Name": "/web",
        "Image": "sha256:1111", "LogPath": format!("/var/lib/docker/containers/{ID}/{ID}-json.log"),
        "Config": {"Hostname": "web", "User": "0", "Image": "nginx:latest",
            "Env": ["PATH=/bin", "TOKEN=hunter2", "LD_PRELOAD=/x.so"]},
        "State": {"Running": true, "Pid": 7, "StartedAt": "2026-11-01T10:00:01Z", "FinishedAt": "0001-01-01T00:00:00Z"},
        "MountPoints": {"/host": {"Source": "/", "Destination": "/host", "RW": true, "Type": "bind"}},
    });
    let host = json!({
        "Privileged": true, "PidMode": "host", "NetworkMode": "host", "CapAdd": ["CAP_SYS_ADMIN"],
        "PortBindings": {"8080/tcp": [{"HostIp": "", "HostPort": "80"}]}, "RestartPolicy": {"Name": "always"},
        "Binds": ["/etc:/e:ro", "/:/host"], "SecurityOpt": ["seccomp=unconfined"],
    });
    let folder = format!("/var/lib/docker/containers/{ID}");
    put(root, &format!("{folder}/config.v2.json"), config.to_string());
    put(root, &format!("{folder}/hostconfig.json"), host.to_string());
    put(root, &format!("{folder}/{ID}-json.log"), "{\"log\":\"hello\"}\n");
    put(root, &format!("/var/lib/docker/image/overlay2/layerdb/mounts/{ID}/mount-id"), "layer1");
    put(root, "/var/lib/docker/overlay2/layer1/diff/tmp/.x/miner", "ELF");
    put(root, "/var/lib/docker/image/overlay2/imagedb/content/sha256/1111", r#"{"config":{"Cmd":["nginx"]}}"#);
    let repositories = json!({"Repositories": {"nginx": {"nginx:latest": "sha256:1111"}}});
    put(root, "/var/lib/docker/image/overlay2/repositories.json", repositories.to_string());
    put(root, "/proc/7/cgroup", format!("0::/system.slice/docker-{ID}.scope\n"));
    put(root, "/proc/8/cgroup", format!("0::/kubepods.slice/cri-containerd-{LOST}.scope\n"));
    put(root, "/proc/9/cgroup", "0::/user.slice\n");
}

#[test]
fn a_container_of_docker_with_its_processes_and_changes() {
    let tree = tempfile::tempdir().unwrap();
    docker(tree.path());
    let miner = tree.path().join("var/lib/docker/overlay2/layer1/diff/tmp/.x/miner");
    std::fs::set_permissions(&miner, std::fs::Permissions::from_mode(0o755)).unwrap();
    let messages = run(tree.path(), &Containers::default());
    let rows = rows(&messages);
    let of = |record: &str| rows.iter().filter(|row| row["record"] == record).collect::<Vec<_>>();
    let row = of("container").into_iter().find(|row| row["id"] == ID).unwrap();
    assert_eq!((&row["runtime"], &row["name"], &row["state"]), (&"docker".into(), &"web".into(), &"running".into()));
    assert_eq!(
        (&row["host_pid"], &row["host_network"], &row["privileged"]),
        (&true.into(), &true.into(), &true.into())
    );
    assert_eq!((&row["pids"], &row["capabilities_added"]), (&json!([7]), &json!(["SYS_ADMIN"])));
    assert_eq!(row["ports"], json!(["0.0.0.0:80->8080/tcp"]));
    assert_eq!(row["environment_names"], json!(["PATH", "TOKEN", "LD_PRELOAD"]));
    assert_eq!(row["environment"], json!({"LD_PRELOAD": "/x.so", "PATH": "/bin"}));
    assert!(!row.to_string().contains("hunter2"));
    assert_eq!(row["upper_path"], "/var/lib/docker/overlay2/layer1/diff");
    let mounts = row["mounts"].as_array().unwrap();
    assert_eq!(mounts.iter().map(|mount| mount["source"].as_str().unwrap()).collect::<Vec<_>>(), ["/", "/etc"]);
    assert_eq!((&mounts[0]["is_writable"], &mounts[1]["is_writable"]), (&true.into(), &false.into()));
    let lost = of("container").into_iter().find(|row| row["id"] == LOST).unwrap();
    assert_eq!((&lost["runtime"], &lost["pids"]), (&"cgroup".into(), &json!([8])));
    assert_eq!((&of("image")[0]["names"], &of("image")[0]["command"]), (&json!(["nginx:latest"]), &json!(["nginx"])));
    let changed = of("upper_file")[0];
    assert_eq!((&changed["path"], &changed["is_executable"]), (&"/tmp/.x/miner".into(), &true.into()));
    let paths: Vec<Vec<u8>> = items(&messages).into_iter().map(|item| item.path).collect();
    let has = |end: &str| paths.iter().any(|path| path.ends_with(end.as_bytes()));
    assert!(has("config.v2.json") && has("hostconfig.json") && has("-json.log") && !has("miner"));

    let messages = run(tree.path(), &Containers { upper_dirs: true, without_logs: true, ..Containers::default() });
    let paths: Vec<Vec<u8>> = items(&messages).into_iter().map(|item| item.path).collect();
    assert!(paths.iter().any(|path| path.ends_with(b"miner")));
    assert!(!paths.iter().any(|path| path.ends_with(b"-json.log")));
}

#[test]
fn containers_of_podman_of_a_user_and_of_containerd() {
    let tree = tempfile::tempdir().unwrap();
    put(tree.path(), "/etc/passwd", "a:x:1000:1000::/home/a:/bin/sh\n");
    let storage = "/home/a/.local/share/containers/storage";
    let spec = |namespaces: Value| {
        json!({
            "process": {"args": ["sleep", "1"], "env": ["PATH=/bin"], "user": {"uid": 0},
                "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}},
            "root": {"path": "rootfs"}, "hostname": "h",
            "mounts": [{"destination": "/h", "source": "/", "type": "bind", "options": ["rbind", "ro"]}],
            "linux": {"namespaces": namespaces, "maskedPaths": []},
            "annotations": {"io.kubernetes.cri.sandbox-name": "pod-1", "io.kubernetes.cri.container-name": "app"},
        })
    };
    let list = json!([{
        "id": ID, "names": ["web"], "image": "2222", "layer": "abc", "created": "2026-11-01T10:00:00Z",
        "metadata": json!({"image-name": "docker.io/library/nginx:latest", "name": "web"}).to_string(),
    }]);
    put(tree.path(), &format!("{storage}/overlay-containers/containers.json"), list.to_string());
    let podman = json!({"process": {"args": ["nginx"]}, "linux": {"namespaces": [{"type": "pid"}], "seccomp": {}}});
    put(tree.path(), &format!("{storage}/overlay-containers/{ID}/userdata/config.json"), podman.to_string());
    let images = json!([{"id": "2222", "names": ["docker.io/library/nginx:latest"]}]);
    put(tree.path(), &format!("{storage}/overlay-images/images.json"), images.to_string());
    let task = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{POD}");
    put(tree.path(), &format!("{task}/config.json"), spec(json!([{"type": "mount"}, {"type": "network"}])).to_string());
    put(tree.path(), &format!("{task}/init.pid"), "41");

    let messages = run(tree.path(), &Containers::default());
    let rows = rows(&messages);
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap();
    assert_eq!((&row(ID)["runtime"], &row(ID)["is_rootless"]), (&"podman".into(), &true.into()));
    assert_eq!((&row(ID)["image"], &row(ID)["command"]), (&"docker.io/library/nginx:latest".into(), &json!(["nginx"])));
    assert_eq!(row(ID)["upper_path"], format!("{storage}/overlay/abc/diff"));
    assert_eq!((&row(ID)["host_network"], &row(ID)["host_pid"]), (&true.into(), &false.into()));
    assert_eq!((&row(POD)["runtime"], &row(POD)["namespace"]), (&"containerd".into(), &"k8s.io".into()));
    assert_eq!((&row(POD)["pod"], &row(POD)["name"], &row(POD)["pid"]), (&"pod-1".into(), &"app".into(), &41.into()));
    assert_eq!((&row(POD)["host_pid"], &row(POD)["privileged"]), (&true.into(), &true.into()));
    assert_eq!(
        (&row(POD)["capabilities_added"], &row(POD)["rootfs_path"]),
        (&json!(["SYS_ADMIN"]), &format!("{task}/rootfs").into())
    );
    assert_eq!((&row("2222")["record"], &row("2222")["runtime"]), (&"image".into(), &"podman".into()));
}

#[test]
fn containers_of_lxc_and_machines_of_nspawn() {
    let tree = tempfile::tempdir().unwrap();
    put(
        tree.path(),
        "/var/lib/lxc/box/config",
        "# comment\nlxc.rootfs.path = dir:/var/lib/lxc/box/rootfs\nlxc.uts.name = box\nlxc.net.0.type = none\n\
         lxc.mount.entry = /etc mnt none ro,bind 0 0\nlxc.start.auto = 1\n",
    );
    put(tree.path(), "/var/lib/machines/m1/etc/hostname", "m1");
    put(tree.path(), "/etc/systemd/nspawn/m1.nspawn", "[Exec]\nCapability=CAP_SYS_ADMIN\n[Files]\nBind=/srv:/mnt\n");
    put(tree.path(), "/run/systemd/machines/m1", "NAME=m1\nLEADER=55\nROOT=/var/lib/machines/m1\n");
    put(tree.path(), "/proc/55/cgroup", "0::/machine.slice/machine-m1.scope/payload\n");
    let rows = rows(&run(tree.path(), &Containers::default()));
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap();
    assert_eq!(
        (&row("box")["rootfs_path"], &row("box")["host_network"]),
        (&"/var/lib/lxc/box/rootfs".into(), &true.into())
    );
    assert_eq!((&row("box")["privileged"], &row("box")["mounts"][0]["is_writable"]), (&true.into(), &false.into()));
    assert_eq!((&row("m1")["pid"], &row("m1")["pids"]), (&55.into(), &json!([55])));
    assert_eq!((&row("m1")["capabilities_added"], &row("m1")["state"]), (&json!(["SYS_ADMIN"]), &"running".into()));
    assert_eq!(row("m1")["mounts"][0]["destination"], "/mnt");
}

#[test]
fn what_an_intruder_wrote_ends_nothing() {
    let tree = tempfile::tempdir().unwrap();
    docker(tree.path());
    let deep = "[".repeat(100_000);
    put(tree.path(), "/var/lib/docker/containers/bad/config.v2.json", &deep);
    put(tree.path(), "/var/lib/docker/containers/odd/config.v2.json", r#"{"ID":7,"State":[],"MountPoints":"x"}"#);
    put(tree.path(), "/etc/docker/daemon.json", r#"{"data-root":"/../../[x"}"#);
    put(tree.path(), "/etc/containers/storage.conf", "[storage]\ngraphroot = \"/srv/{\"\n");
    put(tree.path(), "/var/lib/containers/storage/overlay-containers/containers.json", b"\xff\xfe");
    put(tree.path(), "/proc/10/cgroup", b"0::/\xff/lxc.payload.\xff\n");
    let messages = run(tree.path(), &Containers::default());
    let rows = rows(&messages);
    assert!(rows.iter().any(|row| row["id"] == ID) && rows.iter().any(|row| row["id"] == "odd"));
    let damaged =
        items(&messages).into_iter().filter(|item| item.reason.as_deref().is_some_and(|why| why.contains("JSON")));
    assert_eq!(damaged.count(), 2);
}

#[test]
fn control_groups_name_containers() {
    let named = |text: &str| container_of(text).map(|(id, _)| id);
    assert_eq!(named(&format!("12:cpu:/docker/{ID}\n")).as_deref(), Some(ID));
    assert_eq!(named(&format!("0::/kubepods/besteffort/pod1/{ID}\n")).as_deref(), Some(ID));
    assert_eq!(named(&format!("0::/system.slice/crio-{ID}.scope\n")).as_deref(), Some(ID));
    assert_eq!(named(&format!("1:cpu:/kubepods-pod1.slice:cri-containerd:{ID}\n")).as_deref(), Some(ID));
    assert_eq!(named("0::/lxc.payload.box\n").as_deref(), Some("box"));
    assert_eq!(named("0::/user.slice/user-1000.slice\n"), None);
    assert_eq!(named(""), None);
}

#[test]
fn the_live_host_is_read_without_a_failure() {
    let messages = collect(&Containers::default(), Arc::new(Host::live()));
    assert_keys_sorted(&messages);
    assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
}
