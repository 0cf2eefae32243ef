//! Which files hold secrets, whatever a profile says: by where they lie, and by what they begin with.
//!
//! Where they lie is looked at from the end of the path, so that the `/etc/shadow` of a container's root, of a backup or
//! of a mounted disk is one as well. Known limit: a copy under another name is not recognised.

use wire::profile::Sensitive;

/// How much of a file is looked at for the words of a private key.
pub(super) const HEAD_BYTES: usize = 4096;

/// The class of a file by its path.
pub(super) fn by_path(path: &[u8]) -> Option<Sensitive> {
    let mut names = path.rsplit(|byte| *byte == b'/');
    let name = names.next()?;
    let folder = names.next().unwrap_or_default();
    if is_shadow(folder, name) || name.ends_with(b"htpasswd") {
        return Some(Sensitive::PasswordHashes);
    }
    let is_user_key = folder == b".ssh" && name.starts_with(b"id_") && !name.ends_with(b".pub");
    let is_host_key = folder == b"ssh" && name.starts_with(b"ssh_host_") && name.ends_with(b"_key");
    let is_tls_key = contains(path, b"/etc/ssl/private/");
    if is_user_key || is_host_key || is_tls_key {
        return Some(Sensitive::PrivateKeys);
    }
    (is_of_browser(path, name) || is_of_cluster(path, folder, name)).then_some(Sensitive::Credentials)
}

/// Credentials of containers and of Kubernetes: configurations with client keys, tokens and secrets of pods as the
/// kubelet lays them out, the database that holds all secrets of a cluster, logins to registries.
fn is_of_cluster(path: &[u8], folder: &[u8], name: &[u8]) -> bool {
    let is_client = folder == b"kubernetes" && name.ends_with(b".conf")
        || folder == b".kube" && name == b"config"
        || folder == b"k3s" && name == b"k3s.yaml"
        || name.ends_with(b"kubeconfig");
    let is_secret = contains(path, b"/volumes/kubernetes.io~secret/")
        || contains(path, b"/volumes/kubernetes.io~projected/")
        || contains(path, b"/secrets/kubernetes.io/serviceaccount/");
    let is_store = contains(path, b"/etcd/member/")
        || contains(path, b"/k3s/server/db/")
        || contains(path, b"/k3s/server/cred/")
        || folder == b"server" && matches!(name, b"token" | b"node-token" | b"agent-token");
    let is_login = folder == b".docker" && name == b"config.json" || folder == b"containers" && name == b"auth.json";
    is_client || is_secret || is_store || is_login
}

/// Cookies and passwords of browsers: whoever has them is logged in as their owner.
fn is_of_browser(path: &[u8], name: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"Cookies",
        b"Login Data",
        b"Login Data For Account",
        b"cookies.sqlite",
        b"key3.db",
        b"key4.db",
        b"logins.json",
        b"signons.sqlite",
    ];
    let is_below = |folder: &[u8]| contains(path, folder);
    NAMES.contains(&name)
        && (is_below(b"/.config/") || is_below(b"/.mozilla/") || is_below(b"/snap/") || is_below(b"/.var/app/"))
}

/// `/etc/shadow`, `/etc/gshadow`, what shadow(5), passwd(1) and editors leave beside them (`shadow-`, `shadow.bak`,
/// `.shadow.swp`), Debian's `/var/backups/shadow.bak`, and the old passwords of pam_unix(8).
fn is_shadow(folder: &[u8], name: &[u8]) -> bool {
    if folder == b"security" && name.starts_with(b"opasswd") {
        return true;
    }
    if folder != b"etc" && folder != b"backups" {
        return false;
    }
    let name = name.trim_prefix_bytes(b"#").trim_prefix_bytes(b".");
    let rest = name.strip_prefix(b"shadow").or_else(|| name.strip_prefix(b"gshadow"));
    rest.is_some_and(|rest| rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
}

trait TrimPrefix {
    fn trim_prefix_bytes(&self, prefix: &[u8]) -> &[u8];
}

impl TrimPrefix for [u8] {
    fn trim_prefix_bytes(&self, prefix: &[u8]) -> &[u8] {
        self.strip_prefix(prefix).unwrap_or(self)
    }
}

/// True when the content has to be looked at to tell.
pub(super) fn needs_head(path: &[u8]) -> bool {
    path.ends_with(b".pem") || path.ends_with(b".key") || contains(path, b"/.ssh/")
}

/// The class of a file by its first bytes: `-----BEGIN … PRIVATE KEY-----` (RFC 7468, and OpenSSH's own).
pub(super) fn by_head(head: &[u8]) -> Option<Sensitive> {
    contains(head, b"PRIVATE KEY").then_some(Sensitive::PrivateKeys)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_where_they_lie() {
        for path in [
            "/etc/shadow",
            "/etc/shadow-",
            "/etc/gshadow.bak",
            "/etc/.shadow.swp",
            "/etc/#shadow#",
            "/var/backups/shadow.bak",
            "/var/lib/docker/overlay2/x/diff/etc/shadow",
            "/etc/security/opasswd",
            "/var/www/html/.htpasswd",
        ] {
            assert_eq!(by_path(path.as_bytes()), Some(Sensitive::PasswordHashes), "{path}");
        }
        for path in
            ["/root/.ssh/id_ed25519", "/home/a/.ssh/id_rsa.old", "/etc/ssh/ssh_host_rsa_key", "/etc/ssl/private/deep/x"]
        {
            assert_eq!(by_path(path.as_bytes()), Some(Sensitive::PrivateKeys), "{path}");
        }
        for path in ["/home/a/.config/chromium/Default/Cookies", "/home/a/.mozilla/firefox/x.default/key4.db"] {
            assert_eq!(by_path(path.as_bytes()), Some(Sensitive::Credentials), "{path}");
        }
        for path in [
            "/etc/kubernetes/admin.conf",
            "/root/.kube/config",
            "/var/lib/kubelet/pods/1/volumes/kubernetes.io~projected/kube-api-access-x/..data/token",
            "/var/lib/etcd/member/snap/db",
            "/home/a/.docker/config.json",
        ] {
            assert_eq!(by_path(path.as_bytes()), Some(Sensitive::Credentials), "{path}");
        }
        for path in [
            "/srv/Cookies",
            "/etc/passwd",
            "/etc/kubernetes/manifests/etcd.yaml",
            "/var/lib/kubelet/config.yaml",
            "/etc/shadowsocks/config",
            "/etc/shadowsocks.json",
            "/root/.ssh/id_rsa.pub",
            "/etc/ssh/ssh_host_rsa_key.pub",
            "/root/.ssh/authorized_keys",
            "/usr/share/shadow",
            "",
        ] {
            assert_eq!(by_path(path.as_bytes()), None, "{path}");
        }
        assert!(needs_head(b"/x/a.pem") && needs_head(b"/root/.ssh/work") && !needs_head(b"/etc/passwd"));
        assert!(by_head(b"x\n-----BEGIN OPENSSH PRIVATE KEY-----\n").is_some());
        assert!(by_head(b"-----BEGIN CERTIFICATE-----").is_none());
    }
}
