//! Containers of podman and CRI-O, which share one storage (containers-storage.conf(5)): `overlay-containers/`,
//! `overlay-images/`, and the runtime specification in each container's `userdata/`; and of containerd, whose tasks lie
//! under `/run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::row::{ContainerRow, ImageRow, text, texts};
use super::{CONFIG_BYTES_MAX, Found, is_in_home, oci};
use crate::files::read_all::read_all;
use crate::run::session::{Session, Stopped};

/// Reads one storage, and the folder of its runtime state.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn read(session: &mut Session, root: &str, found: &mut Found) -> Result<(), Stopped> {
    let globs = [
        format!("{root}/*-containers/{{containers,volatile-containers}}.json"),
        format!("{root}/*-containers/*/userdata/config.json"),
        format!("{root}/*-images/images.json"),
    ];
    let files = read_all(session, &globs, CONFIG_BYTES_MAX)?;
    let mut specs: BTreeMap<String, (Value, String)> = BTreeMap::new();
    for file in files.iter().filter(|file| file.asked == 1) {
        if let Some(spec) = file.json() {
            specs.insert(file.name(2), (spec, file.path_text()));
        }
    }
    for file in files.iter().filter(|file| file.asked == 0) {
        let Some(Value::Array(list)) = file.json() else {
            found.damaged.push(file.path.clone());
            continue;
        };
        // `/…/storage/overlay-containers/containers.json`
        let folder = file.path_text();
        let (storage, driver) = split(&folder);
        found.roots.insert(storage.clone());
        for entry in list {
            let Some(id) = text(&entry, "/id") else { continue };
            let metadata: Value =
                text(&entry, "/metadata").and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            let mut row = ContainerRow {
                created: text(&entry, "/created"),
                image: text(&metadata, "/image-name"),
                image_id: text(&entry, "/image"),
                is_rootless: is_in_home(&storage),
                name: text(&metadata, "/name").or_else(|| texts(&entry, "/names").into_iter().next()),
                ..ContainerRow::new("podman", id.clone())
            };
            if let Some(layer) = text(&entry, "/layer").filter(|layer| is_name(layer)) {
                row.upper_path = Some(format!("{storage}/{driver}/{layer}/diff"));
            }
            if let Some((spec, path)) = specs.remove(&id) {
                oci::add(&mut row, &spec);
                row.config_path = Some(path);
            }
            // CRI-O names the pod in its metadata.
            if metadata.pointer("/pod-name").is_some() || row.pod.is_some() {
                row.runtime = "cri-o";
                row.pod = row.pod.take().or_else(|| text(&metadata, "/pod-name"));
            }
            found.add(row);
        }
    }
    // A specification without an entry: what was taken from the list, or the folder of the runtime's state.
    for (id, (spec, path)) in specs {
        let mut row = ContainerRow { is_rootless: is_in_home(&path), ..ContainerRow::new("podman", id) };
        oci::add(&mut row, &spec);
        row.config_path = Some(path);
        found.add(row);
    }
    for file in files.iter().filter(|file| file.asked == 2) {
        let Some(Value::Array(list)) = file.json() else { continue };
        let (storage, _) = split(&file.path_text());
        found.images.extend(list.iter().map(|entry| ImageRow {
            created: text(entry, "/created"),
            id: text(entry, "/id").unwrap_or_default(),
            names: texts(entry, "/names"),
            record: "image",
            runtime: "podman",
            storage_path: storage.clone(),
            ..ImageRow::default()
        }));
    }
    Ok(())
}

/// Reads the tasks of containerd below one of its state folders.
///
/// # Errors
/// [`Stopped`] when the step must end.
pub fn tasks(session: &mut Session, root: &str, found: &mut Found) -> Result<(), Stopped> {
    let globs = [
        format!("{root}/io.containerd.runtime.{{v1.linux,v2.task}}/*/*/config.json"),
        format!("{root}/io.containerd.runtime.{{v1.linux,v2.task}}/*/*/init.pid"),
    ];
    let files = read_all(session, &globs, CONFIG_BYTES_MAX)?;
    for file in files.iter().filter(|file| file.asked == 0) {
        let Some(spec) = file.json() else {
            found.damaged.push(file.path.clone());
            continue;
        };
        let folder = file.path_text();
        let folder = folder.trim_end_matches("/config.json");
        let pid = files.iter().find(|other| other.asked == 1 && other.path_text() == format!("{folder}/init.pid"));
        let mut row = ContainerRow {
            namespace: Some(file.name(2)),
            pid: pid.and_then(|file| str::from_utf8(file.bytes.as_deref()?).ok()?.trim().parse().ok()),
            ..ContainerRow::new("containerd", file.name(1))
        };
        oci::add(&mut row, &spec);
        // The root is named relative to the folder of the task.
        if let Some(path) = row.rootfs_path.take() {
            row.rootfs_path = Some(if path.starts_with('/') { path } else { format!("{folder}/{path}") });
        }
        row.config_path = Some(file.path_text());
        found.roots.insert(root.to_owned());
        found.add(row);
    }
    Ok(())
}

/// The storage's folder and its driver, from the path of a list in it.
fn split(path: &str) -> (String, String) {
    let mut parts = path.rsplitn(3, '/');
    let (_, folder, storage) = (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let driver = folder.rsplit_once('-').map_or(folder, |(driver, _)| driver);
    (storage.to_owned(), driver.to_owned())
}

fn is_name(layer: &str) -> bool {
    layer.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
