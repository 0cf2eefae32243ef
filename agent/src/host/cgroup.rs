//! Control groups: the lines of `/proc/PID/cgroup` (cgroups(7)), and the container that the path of a group names.
//!
//! Container engines name the group of a container after its id: by engine under systemd (`docker-<id>.scope`,
//! `libpod-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`), by folder without it (`/docker/<id>`,
//! `/kubepods/burstable/pod<uid>/<id>`, `/lxc.payload.<name>`). A group's name is a claim: root inside the host can
//! make any. Known limit: in a cgroup namespace that is not the host's own the path may begin with `/..`.

use serde::Serialize;

use super::tokens::{decimal, lines};

/// One line of `/proc/PID/cgroup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Number of the hierarchy; 0 for cgroup v2.
    pub hierarchy: u64,
    /// Controllers, or `name=…`; empty for cgroup v2.
    pub controllers: &'a [u8],
    /// The group, from the root of the reader's cgroup namespace.
    pub path: &'a [u8],
}

/// The lines, those that are none of the kernel's left out.
pub fn memberships(text: &[u8]) -> impl Iterator<Item = Membership<'_>> {
    lines(text).filter_map(|line| {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (hierarchy, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Membership { hierarchy: decimal(hierarchy)?, controllers, path })
    })
}

/// The group that says most: that of cgroup v2 unless it is the root, else the longest.
pub fn chief(text: &[u8]) -> Option<&[u8]> {
    let longest = || memberships(text).map(|group| group.path).max_by_key(|path| path.len());
    let unified = memberships(text).find(|group| group.hierarchy == 0 && group.path != b"/");
    unified.map(|group| group.path).or_else(longest)
}

/// A container, as the name of a control group tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Container {
    /// Its id, 64 hexadecimal digits for most engines; its name for LXC and systemd-nspawn.
    pub id: String,
    /// uid of its pod in Kubernetes.
    pub pod_uid: Option<String>,
    /// docker, podman, containerd, crio, lxc, nspawn, nerdctl, or `unknown` when only the id is told.
    pub runtime: &'static str,
}

/// Beginnings of systemd scopes, and of folders, by engine.
const SCOPES: [(&[u8], &str); 6] = [
    (b"docker-", "docker"),
    (b"libpod-payload-", "podman"),
    (b"libpod-", "podman"),
    (b"cri-containerd-", "containerd"),
    (b"crio-", "crio"),
    (b"nerdctl-", "nerdctl"),
];
/// Parents of a folder that is named by id.
const FOLDERS: [(&[u8], &str); 4] =
    [(b"docker", "docker"), (b"libpod_parent", "podman"), (b"moby", "docker"), (b"k8s.io", "containerd")];

/// The container that a group's path names, the innermost where one runs in another.
pub fn container(path: &[u8]) -> Option<Container> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    let found = parts.iter().enumerate().rev().find_map(|(n, part)| {
        let parent = n.checked_sub(1).and_then(|n| parts.get(n)).copied().unwrap_or_default();
        identity(part, parent)
    });
    let pod_uid = || parts.iter().rev().find_map(|part| pod(part));
    found.map(|(id, runtime)| Container { id: String::from_utf8_lossy(id).into_owned(), pod_uid: pod_uid(), runtime })
}

/// The same for all lines of `/proc/PID/cgroup`: the first that names one.
pub fn container_of(text: &[u8]) -> Option<Container> {
    memberships(text).find_map(|group| container(group.path))
}

fn identity<'a>(part: &'a [u8], parent: &[u8]) -> Option<(&'a [u8], &'static str)> {
    // `slice:cri-containerd:<id>`: systemd notation in a hierarchy that systemd does not manage.
    let mut colons = part.rsplitn(3, |byte| *byte == b':');
    if let (Some(id), Some(engine)) = (colons.next(), colons.next())
        && is_id(id)
    {
        return Some((id, if engine == b"cri-containerd" { "containerd" } else { engine_named(engine) }));
    }
    let name = part.strip_suffix(b".scope").unwrap_or(part);
    if let Some((id, runtime)) =
        SCOPES.iter().find_map(|(begins, runtime)| Some((name.strip_prefix(*begins)?, runtime)))
    {
        // `libpod-conmon-<id>` and `crio-conmon-<id>` are the monitors outside.
        return is_id(id).then_some((id, *runtime));
    }
    if let Some(name) = part.strip_prefix(b"lxc.payload.") {
        return Some((name, "lxc"));
    }
    if matches!(parent, b"lxc" | b"lxc.payload") {
        return Some((part, "lxc"));
    }
    if parent == b"machine.slice"
        && let Some(name) = part.strip_prefix(b"machine-").and_then(|name| name.strip_suffix(b".scope"))
    {
        return Some((name, "nspawn"));
    }
    if let Some(name) = part.strip_prefix(b"systemd-nspawn@").and_then(|name| name.strip_suffix(b".service")) {
        return Some((name, "nspawn"));
    }
    is_id(part).then(|| {
        let known = FOLDERS.iter().find(|(folder, _)| *folder == parent);
        (part, known.map_or("unknown", |(_, runtime)| *runtime))
    })
}

fn engine_named(name: &[u8]) -> &'static str {
    match name {
        b"docker" => "docker",
        b"crio" => "crio",
        b"libpod" => "podman",
        _ => "unknown",
    }
}

/// 64 hexadecimal digits in lower case.
fn is_id(bytes: &[u8]) -> bool {
    bytes.len() == 64 && bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The uid in `pod<uid>` or `kubepods-burstable-pod<uid>.slice`, where systemd wants `_` for `-`.
fn pod(part: &[u8]) -> Option<String> {
    let name = part.split(|byte| *byte == b':').next()?;
    let name = name.strip_suffix(b".slice").unwrap_or(name);
    let uid = match name.strip_prefix(b"pod") {
        Some(uid) => uid,
        None => {
            let rest = name.strip_prefix(b"kubepods")?;
            let at = rest.windows(4).position(|four| four == b"-pod")?;
            rest.get(at + 4..)?
        }
    };
    let uid: String = uid.iter().map(|byte| if *byte == b'_' { '-' } else { char::from(*byte) }).collect();
    (uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[track_caller]
    fn check(path: &str, expected: Option<(&str, &str, Option<&str>)>) {
        let found = container(path.replace("ID", ID).as_bytes());
        let found = found.as_ref().map(|c| (c.id.as_str(), c.runtime, c.pod_uid.as_deref()));
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn groups_of_the_engines() {
        let uid = "11111111-2222-3333-4444-555555555555";
        let underscored = uid.replace('-', "_");
        check("/system.slice/docker-ID.scope", Some((ID, "docker", None)));
        check("/docker/ID", Some((ID, "docker", None)));
        check("/docker/ID/system.slice/ssh.service", Some((ID, "docker", None)));
        check("/machine.slice/libpod-ID.scope/container", Some((ID, "podman", None)));
        check("/machine.slice/libpod-conmon-ID.scope", None);
        check(
            &format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{underscored}.slice/cri-containerd-ID.scope"
            ),
            Some((ID, "containerd", Some(uid))),
        );
        check(&format!("/kubepods/besteffort/pod{uid}/ID"), Some((ID, "unknown", Some(uid))));
        check(
            &format!("/system.slice/containerd.service/kubepods-pod{underscored}.slice:cri-containerd:ID"),
            Some((ID, "containerd", Some(uid))),
        );
        check("/kubepods.slice/crio-ID.scope", Some((ID, "crio", None)));
        check("/lxc.payload.web/init.scope", Some((("web"), "lxc", None)));
        check("/lxc/web", Some(("web", "lxc", None)));
        check("/lxc.monitor.web", None);
        check("/machine.slice/machine-deb.scope/payload", Some(("deb", "nspawn", None)));
        check("/user.slice/user-1000.slice/session-3.scope", None);
        check("/", None);
        check("/docker/0123", None);
    }

    #[test]
    fn lines_of_both_versions() {
        let text = format!("12:pids:/docker/{ID}\nodd\n1:name=systemd:/a:b\n0::/\n");
        assert_eq!(memberships(text.as_bytes()).count(), 3);
        assert_eq!(memberships(text.as_bytes()).nth(1).unwrap().path, b"/a:b");
        assert_eq!(container_of(text.as_bytes()).unwrap().runtime, "docker");
        assert_eq!(chief(text.as_bytes()).unwrap(), format!("/docker/{ID}").as_bytes());
        assert_eq!(chief(b"0::/x\n9:cpu:/longer\n"), Some(&b"/x"[..]));
        assert_eq!(chief(b""), None);
    }
}
