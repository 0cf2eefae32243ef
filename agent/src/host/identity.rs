//! Who a host is: what stands in the header of every bundle.

use bundle::header::HostIdentity;

use super::Host;

/// Bytes of a small file that is read whole.
const SMALL_BYTES_MAX: u64 = 64 << 10;

/// The identity of `host`. What cannot be read is `None`; its name is then `unknown`.
pub fn identity(host: &Host) -> HostIdentity {
    let name = text(host, "/proc/sys/kernel/hostname").or_else(|| text(host, "/etc/hostname"));
    HostIdentity {
        // A tree does not say for which processor it was made.
        arch: if host.is_live() {
            rustix::system::uname().machine().to_string_lossy().into_owned()
        } else {
            "unknown".to_owned()
        },
        boot_id: text(host, "/proc/sys/kernel/random/boot_id"),
        container_or_vm: if host.is_image() {
            Some("image".to_owned())
        } else {
            surroundings(host).into_iter().next().map(|(name, _)| name)
        },
        kernel: text(host, "/proc/sys/kernel/osrelease").unwrap_or_default(),
        machine_id: text(host, "/etc/machine-id"),
        name: name.unwrap_or_else(|| "unknown".to_owned()),
        os_id: os_id(host),
        timezone: timezone(host),
    }
}

/// A small file as trimmed text; `None` for one that cannot be read or is empty.
fn text(host: &Host, path: &str) -> Option<String> {
    host.read_text(path, SMALL_BYTES_MAX).ok().filter(|text| !text.is_empty())
}

/// The assignments of an os-release(5) file, quotes removed, in the file's order.
pub fn os_release(file: &str) -> Vec<(&str, String)> {
    let lines = file.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key, unquoted(value))).collect()
}

fn unquoted(value: &str) -> String {
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    let inner = quote.and_then(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let Some(inner) = inner else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        // A backslash keeps the next character, as in a shell's double quotes.
        let is_escape = character == '\\' && quote == Some('"');
        text.extend(if is_escape { characters.next() } else { Some(character) });
    }
    text
}

/// Where os-release(5) may lie, the administrator's first.
pub const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

fn os_id(host: &Host) -> Option<String> {
    let file = OS_RELEASE.iter().find_map(|path| text(host, path))?;
    let entries = os_release(&file);
    let get = |wanted: &str| entries.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str());
    let id = get("ID")?;
    Some(match get("VERSION_ID") {
        Some(version) => format!("{id} {version}"),
        None => id.to_owned(),
    })
}

/// The name of the time zone: the end of the link `/etc/localtime`, or the line in `/etc/timezone`.
pub fn timezone(host: &Host) -> Option<String> {
    let link = host.read_link("/etc/localtime").ok();
    let named = link.as_deref().and_then(|link| str::from_utf8(link).ok());
    let named = named.and_then(|link| link.split_once("zoneinfo/").map(|(_, name)| name.to_owned()));
    named.or_else(|| text(host, "/etc/timezone"))
}

/// Signs of a container or a virtual machine, the innermost first: its name, and the file that says so.
pub fn surroundings(host: &Host) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut add = |name: &str, sign: &str| found.push((name.to_owned(), sign.to_owned()));
    if let Some(name) = text(host, "/run/systemd/container") {
        add(&name, "/run/systemd/container");
    }
    for (file, name) in [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")] {
        if std::fs::symlink_metadata(host.path(file)).is_ok() {
            add(name, file);
        }
    }
    let groups = text(host, "/proc/1/cgroup").unwrap_or_default();
    for name in ["kubepods", "docker", "lxc", "libpod", "garden"] {
        if groups.contains(&format!("/{name}")) {
            add(name, "/proc/1/cgroup");
        }
    }
    if text(host, "/proc/sys/kernel/osrelease").is_some_and(|release| release.to_lowercase().contains("microsoft")) {
        add("wsl", "/proc/sys/kernel/osrelease");
    }
    if let Some(name) = text(host, "/sys/hypervisor/type") {
        add(&name, "/sys/hypervisor/type");
    }
    for file in ["/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name", "/sys/class/dmi/id/bios_vendor"] {
        let says = text(host, file).unwrap_or_default();
        if let Some((_, name)) = DMI.iter().find(|(word, _)| says.contains(word)) {
            add(name, file);
            break;
        }
    }
    if has_hypervisor_flag(host) {
        add("hypervisor", "/proc/cpuinfo");
    }
    found
}

/// Words of DMI that name a hypervisor, and its name as systemd-detect-virt(1) has it.
const DMI: [(&str, &str); 12] = [
    ("KVM", "kvm"),
    ("QEMU", "qemu"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("Google", "google"),
    ("DigitalOcean", "digitalocean"),
    ("VMware", "vmware"),
    ("innotek GmbH", "virtualbox"),
    ("VirtualBox", "virtualbox"),
    ("Xen", "xen"),
    ("Microsoft Corporation", "microsoft"),
];

fn has_hypervisor_flag(host: &Host) -> bool {
    let cpuinfo = host.read("/proc/cpuinfo", 16 << 20).unwrap_or_default();
    let mut lines = cpuinfo.split(|byte| *byte == b'\n');
    let flags = lines.find(|line| line.starts_with(b"flags"));
    flags.is_some_and(|flags| flags.split(|byte| *byte == b' ').any(|flag| flag == b"hypervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FixedClock;
    use bundle::time::Instant;

    #[test]
    fn os_release_values() {
        let file = "# comment\nID=debian\nVERSION_ID=\"13\"\nNAME='It is \\d'\nPRETTY_NAME=\"a \\\"b\\\" \\$c\"\nodd\n";
        let entries = os_release(file);
        assert_eq!(entries[1], ("VERSION_ID", "13".to_owned()));
        assert_eq!(entries[2].1, "It is \\d");
        assert_eq!(entries[3].1, "a \"b\" $c");
        assert_eq!(entries.len(), 4);
        assert_eq!(unquoted("\""), "\"");
    }

    #[test]
    fn a_tree_and_an_empty_one() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path(), FixedClock(Instant(0)));
        assert_eq!(identity(&host).name, "unknown");
        for (path, content) in [
            ("etc/hostname", "web-1\n"),
            ("usr/lib/os-release", "ID=alpine\n"),
            ("run/systemd/container", "lxc\n"),
            ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor\n"),
        ] {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        std::os::unix::fs::symlink("../usr/share/zoneinfo/Europe/Berlin", tree.path().join("etc/localtime")).unwrap();
        let found = identity(&host);
        assert_eq!((found.name.as_str(), found.os_id.as_deref()), ("web-1", Some("alpine")));
        assert_eq!(found.timezone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(found.container_or_vm.as_deref(), Some("lxc"));
        assert_eq!(surroundings(&host)[1].1, "/proc/cpuinfo");
    }

    #[test]
    fn the_live_host() {
        let found = identity(&Host::live());
        assert!(!found.kernel.is_empty() && found.boot_id.is_some());
        assert_eq!(found.arch, std::env::consts::ARCH);
    }
}
