//! What this process may do: effective capabilities by name (capabilities(7)).

use super::Host;

/// The capabilities by number (include/uapi/linux/capability.h).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The names of the capabilities in a mask, in the order of their numbers.
pub fn names(mask: u64) -> Vec<String> {
    let named = NAMES.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| format!("CAP_{name}"));
    let unnamed = (NAMES.len()..64).filter(|bit| mask >> bit & 1 == 1).map(|bit| format!("CAP_{bit}"));
    named.chain(unnamed).collect()
}

/// The effective capabilities of this process (`CapEff` of proc_pid_status(5)), which does not run in an image.
pub fn effective(host: &Host) -> Vec<String> {
    let here = Host::live();
    let host = if host.is_image() { &here } else { host };
    let status = host.read_text("/proc/self/status", 64 << 10).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    names(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
}

/// What of `needs` is not among `held`. `root` is needed where no capability says it.
pub fn lacking(needs: &[&'static str], held: &[String]) -> Vec<&'static str> {
    let root = rustix::process::geteuid().is_root();
    let has = |need: &str| if need == "root" { root } else { held.iter().any(|held| held == need) };
    needs.iter().copied().filter(|need| !has(need)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_become_names() {
        assert_eq!(names(1 << 19 | 1 << 40 | 1 << 63), ["CAP_SYS_PTRACE", "CAP_CHECKPOINT_RESTORE", "CAP_63"]);
        assert_eq!(lacking(&["CAP_SYS_PTRACE"], &["CAP_SYS_PTRACE".into()]), [""; 0]);
        assert_eq!(lacking(&["CAP_SYS_PTRACE"], &[]), ["CAP_SYS_PTRACE"]);
    }
}
