//! Whether a part of the kernel is there, found out without asking that part.
//!
//! Asking the kernel for a protocol, a netlink subsystem or a family that nobody has registered makes it run modprobe
//! (request_module). An examination must not load modules, so the question is put to `/sys/module` and to the list of
//! what is built in, and only a part that is there is then asked.
//!
//! Known limit: a module that hides its folder under `/sys/module` is taken for absent.

use super::Host;

/// The list of what is built in has about 10 KB.
const BUILTIN_BYTES_MAX: u64 = 1 << 20;

/// What is known of a part of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its module is loaded, or it is built in and has a folder under `/sys/module`.
    Loaded,
    /// It is built in (`/lib/modules/RELEASE/modules.builtin`).
    BuiltIn,
    /// Nothing is known of it, but this kernel cannot load modules (any more): asking changes nothing.
    Askable,
    /// It is not loaded, and asking could load it.
    NotLoaded,
    /// The host is a tree and no running kernel.
    NotLive,
}

impl Part {
    /// The part whose module has this name (with underscores).
    pub fn of(host: &Host, module: &str) -> Self {
        if !host.is_live() {
            return Self::NotLive;
        }
        Self::in_tree(host, module)
    }

    fn in_tree(host: &Host, module: &str) -> Self {
        let exists = |path: String| rustix::fs::stat(host.path(path)).is_ok();
        if exists(format!("/sys/module/{module}")) {
            return Self::Loaded;
        }
        if !exists("/proc/modules".to_owned())
            || host.read_text("/proc/sys/kernel/modules_disabled", 16).is_ok_and(|text| text == "1")
        {
            return Self::Askable;
        }
        let release = host.read_text("/proc/sys/kernel/osrelease", 256).unwrap_or_default();
        match host.read(format!("/lib/modules/{release}/modules.builtin"), BUILTIN_BYTES_MAX) {
            Ok(list) if is_listed(&list, module) => Self::BuiltIn,
            _ => Self::NotLoaded,
        }
    }

    /// True when asking it loads nothing.
    pub fn may_be_asked(self) -> bool {
        matches!(self, Self::Loaded | Self::BuiltIn | Self::Askable)
    }

    /// What rows say: `loaded`, `built_in`, `unknown`, `not_loaded` or `not_live`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::BuiltIn => "built_in",
            Self::Askable => "unknown",
            Self::NotLoaded => "not_loaded",
            Self::NotLive => "not_live",
        }
    }
}

/// The list holds lines such as `kernel/net/netfilter/nf_tables.ko`; file names may have dashes.
fn is_listed(list: &[u8], module: &str) -> bool {
    list.split(|&byte| byte == b'\n').any(|line| {
        let file = line.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        file.strip_suffix(b".ko").is_some_and(|name| {
            name.len() == module.len()
                && name.iter().zip(module.as_bytes()).all(|(a, b)| a == b || *a == b'-' && *b == b'_')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FixedClock;
    use bundle::time::Instant;

    #[test]
    fn a_part_is_asked_only_where_nothing_can_be_loaded_by_it() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path(), FixedClock(Instant(0)));
        let put = |path: &str, text: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(Part::of(&host, "nf_tables"), Part::NotLive);
        assert_eq!(Part::in_tree(&host, "nf_tables"), Part::Askable);
        put("proc/modules", "");
        assert_eq!(Part::in_tree(&host, "nf_tables"), Part::NotLoaded);
        put("proc/sys/kernel/osrelease", "6.1\n");
        put("lib/modules/6.1/modules.builtin", "kernel/net/a.ko\nkernel/net/netfilter/nf-tables.ko\n");
        assert_eq!(Part::in_tree(&host, "nf_tables"), Part::BuiltIn);
        assert_eq!(Part::in_tree(&host, "tables"), Part::NotLoaded);
        put("sys/module/nf_tables/refcnt", "1");
        assert_eq!(Part::in_tree(&host, "nf_tables"), Part::Loaded);
        put("proc/sys/kernel/modules_disabled", "1\n");
        assert_eq!(Part::in_tree(&host, "tables"), Part::Askable);
        assert!(!Part::NotLoaded.may_be_asked() && Part::Askable.may_be_asked());
    }
}
