//! Docker's state on disk: `containers/ID/config.v2.json` and `hostconfig.json` (the JSON of its package container),
//! layers (`image/DRIVER/layerdb/mounts/ID/mount-id`), images (`repositories.json`, `imagedb/content`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::row::{ContainerRow, ImageRow, MountPart, pid, text, texts, truth};
use super::{CONFIG_BYTES_MAX, Found};
use crate::files::read_all::read_all;
use crate::run::session::{Session, Stopped};

/// Reads one data folder of docker.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn read(session: &mut Session, root: &str, found: &mut Found) -> Result<(), Stopped> {
    let globs = [
        format!("{root}/containers/*/config.v2.json"),
        format!("{root}/containers/*/hostconfig.json"),
        format!("{root}/image/*/layerdb/mounts/*/mount-id"),
        format!("{root}/image/*/repositories.json"),
        format!("{root}/image/*/imagedb/content/sha256/*"),
    ];
    let files = read_all(session, &globs, CONFIG_BYTES_MAX)?;
    let of = |number: usize| files.iter().filter(move |file| file.asked == number);
    let mut host_configs: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
    for file in of(1) {
        if let Some(json) = file.json() {
            host_configs.insert(folder(&file.path).to_vec(), json);
        }
    }
    // Driver and container → the name of its writable layer.
    let mut layers: BTreeMap<String, (String, String)> = BTreeMap::new();
    for file in of(2) {
        let layer = String::from_utf8_lossy(file.bytes.as_deref().unwrap_or_default()).trim().to_owned();
        let is_name = !layer.is_empty() && layer.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_name {
            layers.insert(file.name(1), (file.name(4), layer));
        }
    }
    for file in of(0) {
        let Some(config) = file.json() else {
            found.damaged.push(file.path.clone());
            continue;
        };
        let root_of = String::from_utf8_lossy(folder(folder(folder(&file.path)))).into_owned();
        let mut row = container(&config, host_configs.get(folder(&file.path)).unwrap_or(&Value::Null));
        if row.id.is_empty() {
            row.id = file.name(1);
        }
        if let Some((driver, layer)) = layers.get(&row.id) {
            row.upper_path = Some(format!("{root_of}/{driver}/{layer}/diff"));
        }
        row.config_path = Some(file.path_text());
        row.is_rootless = super::is_in_home(&root_of);
        found.roots.insert(root_of);
        found.add(row);
    }
    images(root, &files, found);
    Ok(())
}

fn folder(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').and_then(|at| path.get(..at)).unwrap_or_default()
}

/// The row of a container.
pub fn container(config: &Value, host: &Value) -> ContainerRow {
    let state = ["Paused", "Restarting", "Running", "Dead"];
    let state = state.iter().find(|state| truth(config, &format!("/State/{state}")));
    let started = text(config, "/State/StartedAt").filter(|time| !time.starts_with("0001-"));
    let mut row = ContainerRow {
        capabilities_added: texts(host, "/CapAdd")
            .iter()
            .map(|name| name.trim_start_matches("CAP_").to_owned())
            .collect(),
        command: text(config, "/Path").into_iter().chain(texts(config, "/Args")).collect(),
        created: text(config, "/Created"),
        exit_code: config.pointer("/State/ExitCode").and_then(Value::as_i64),
        finished: text(config, "/State/FinishedAt").filter(|time| !time.starts_with("0001-")),
        host_ipc: text(host, "/IpcMode").as_deref() == Some("host"),
        host_network: text(host, "/NetworkMode").as_deref() == Some("host"),
        host_pid: text(host, "/PidMode").as_deref() == Some("host"),
        hostname: text(config, "/Config/Hostname"),
        image: text(config, "/Config/Image"),
        image_id: text(config, "/Image"),
        log_path: text(config, "/LogPath"),
        mounts: mounts(config, host),
        name: text(config, "/Name").map(|name| name.trim_start_matches('/').to_owned()),
        pid: pid(config, "/State/Pid"),
        pod: text(config, "/Config/Labels/io.kubernetes.pod.name"),
        pod_namespace: text(config, "/Config/Labels/io.kubernetes.pod.namespace"),
        pod_uid: text(config, "/Config/Labels/io.kubernetes.pod.uid"),
        ports: ports(host),
        privileged: host.pointer("/Privileged").and_then(Value::as_bool),
        restart_policy: text(host, "/RestartPolicy/Name"),
        security_options: texts(host, "/SecurityOpt"),
        state: Some(match (state, &started) {
            (Some(state), _) => state.to_lowercase(),
            (None, Some(_)) => "exited".to_owned(),
            (None, None) => "created".to_owned(),
        }),
        started,
        user: text(config, "/Config/User"),
        ..ContainerRow::new("docker", text(config, "/ID").unwrap_or_default())
    };
    for option in ["AppArmorProfile", "SeccompProfile"] {
        if let Some(value) = text(config, &format!("/{option}")) {
            row.security_options.push(format!("{option}={value}"));
        }
    }
    row.environment(&texts(config, "/Config/Env"));
    row
}

fn mounts(config: &Value, host: &Value) -> Vec<MountPart> {
    let points = config.pointer("/MountPoints").and_then(Value::as_object);
    let mut mounts: Vec<MountPart> = points
        .into_iter()
        .flatten()
        .map(|(destination, point)| MountPart {
            destination: destination.clone(),
            is_writable: truth(point, "/RW"),
            source: text(point, "/Source").or_else(|| text(point, "/Name")).unwrap_or_default(),
            mount_type: text(point, "/Type").unwrap_or_else(|| "bind".to_owned()),
        })
        .collect();
    // A container that was made and never started has its binds here only.
    for bind in texts(host, "/Binds") {
        let mut parts = bind.split(':');
        let (Some(source), Some(destination)) = (parts.next(), parts.next()) else { continue };
        if mounts.iter().all(|mount| mount.destination != destination) {
            mounts.push(MountPart {
                destination: destination.to_owned(),
                is_writable: !parts.next().unwrap_or_default().split(',').any(|option| option == "ro"),
                source: source.to_owned(),
                mount_type: "bind".to_owned(),
            });
        }
    }
    let devices = host.pointer("/Devices").and_then(Value::as_array);
    for device in devices.into_iter().flatten() {
        mounts.push(MountPart {
            destination: text(device, "/PathInContainer").unwrap_or_default(),
            is_writable: text(device, "/CgroupPermissions").is_some_and(|may| may.contains('w')),
            source: text(device, "/PathOnHost").unwrap_or_default(),
            mount_type: "device".to_owned(),
        });
    }
    mounts
}

fn ports(host: &Value) -> Vec<String> {
    let bindings = host.pointer("/PortBindings").and_then(Value::as_object);
    let mut ports = Vec::new();
    for (inner, outer) in bindings.into_iter().flatten() {
        for binding in outer.as_array().into_iter().flatten() {
            let address = text(binding, "/HostIp").unwrap_or_else(|| "0.0.0.0".to_owned());
            ports.push(format!("{address}:{}->{inner}", text(binding, "/HostPort").unwrap_or_default()));
        }
    }
    ports
}

fn images(root: &str, files: &[crate::files::read_all::Found], found: &mut Found) {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for json in files.iter().filter(|file| file.asked == 3).filter_map(crate::files::read_all::Found::json) {
        let repositories = json.pointer("/Repositories").and_then(Value::as_object);
        for (name, id) in repositories.into_iter().flatten().filter_map(|(_, tags)| tags.as_object()).flatten() {
            names.entry(id.as_str().unwrap_or_default().to_owned()).or_default().push(name.clone());
        }
    }
    for file in files.iter().filter(|file| file.asked == 4) {
        let Some(config) = file.json() else { continue };
        let id = format!("sha256:{}", file.name(0));
        found.images.push(ImageRow {
            command: texts(&config, "/config/Entrypoint").into_iter().chain(texts(&config, "/config/Cmd")).collect(),
            created: text(&config, "/created"),
            names: names.remove(&id).unwrap_or_default(),
            id,
            record: "image",
            runtime: "docker",
            storage_path: root.to_owned(),
            user: text(&config, "/config/User"),
        });
    }
}
