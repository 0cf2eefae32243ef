//! The row of one process.

use bundle::item::shown;
use bundle::time::Instant;
use rustix::fs::StatxTimestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Facts, group, mask};
use crate::host::capabilities;
use crate::host::proc::stat::Stat;
use crate::host::proc::status::Status;
use crate::host::proc::{self, Pages, Piece};
use crate::host::text::{Device, List, Number};

/// Bytes of the arguments that a row shows, joined.
const CMDLINE_BYTES: usize = 4096;
/// Arguments that are looked at for what they name.
const ARGUMENTS_MAX: usize = 64;
/// Folders whose content is not meant to last, or that anybody may write to.
const TEMPORARY: [&[u8]; 6] = [b"/tmp/", b"/var/tmp/", b"/dev/shm/", b"/run/", b"/var/run/", b"/dev/mqueue/"];
/// How the names of threads of the kernel begin; those that end in `/` carry a CPU, a device or a queue behind it.
const KERNEL_NAMES: [&[u8]; 33] = [
    b"kworker/",
    b"ksoftirqd/",
    b"migration/",
    b"cpuhp/",
    b"idle_inject/",
    b"watchdog/",
    b"irq/",
    b"kthreadd",
    b"kthread",
    b"rcu_",
    b"rcuo",
    b"rcub/",
    b"rcuc/",
    b"kswapd",
    b"kcompactd",
    b"khugepaged",
    b"khungtaskd",
    b"ksmd",
    b"kauditd",
    b"kdevtmpfs",
    b"kblockd",
    b"kintegrityd",
    b"kthrotld",
    b"jbd2/",
    b"xfsaild/",
    b"xfs-",
    b"scsi_eh_",
    b"scsi_tmf_",
    b"oom_reaper",
    b"writeback",
    b"netns",
    b"kstrp",
    b"slub_flushwq",
];
/// Fields that are 4294967295 where there is no value: login user and audit session.
const NONE: u64 = 0xffff_ffff;

/// One process: facts, no verdicts. A field is absent when it could not be read, or when there is nothing of it; a
/// thread of the kernel and a zombie have no image, no arguments and no memory.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, for rules to stand on")]
pub struct Row {
    /// Ambient capabilities by name: what programs that it starts keep.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ambient_capabilities: Vec<String>,
    /// Mappings that are executable and that no file stands behind (anonymous, heap, stack). JIT compilers have some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_executable_maps: Option<u64>,
    /// True when one of the first 64 arguments is a path below a temporary folder: a script that an interpreter runs.
    pub argument_in_temporary_folder: bool,
    /// First argument, as the process shows it now: it can write there what it likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv0: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv0_b64: Option<String>,
    /// True when the program that `argv0` names (its last part, before a blank or colon, without a leading dash) is not
    /// the last part of `exe`. Links (`sh`), interpreters and titles that a service sets make it true as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv0_differs: Option<bool>,
    /// True for a process with memory whose arguments are empty: ps(1) then shows its name in brackets.
    pub argv_is_empty: bool,
    /// True when `argv0` stands in brackets, as ps(1) shows threads of the kernel.
    pub argv_is_kernel_like: bool,
    /// Bounding set of capabilities by name, when it is not the kernel's full set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bounding_capabilities: Vec<String>,
    /// True when the bounding set is the kernel's full set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounding_is_full: Option<bool>,
    /// Its control group: of cgroup v2 unless that is the root, else the longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// True when it is no thread of the kernel and looks like one: by name, by an argument in brackets, or by empty
    /// arguments.
    pub claims_kernel_thread: bool,
    /// Arguments joined by blanks, at most 4096 bytes; whole in the rows of `processes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// The exact bytes, zeros included, when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline_b64: Option<String>,
    /// Name: of the file that was executed, or what the process set since.
    pub comm: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_b64: Option<String>,
    /// True when the name is not the beginning (15 bytes) of the last part of `exe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm_differs: Option<bool>,
    /// True when the name is that of a file among the first arguments: a script.
    pub comm_is_argument: bool,
    /// True when the name begins like that of a thread of the kernel.
    pub comm_is_kernel_like: bool,
    /// Id of its container, as its control group names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Engine of the container: docker, podman, containerd, crio, lxc, nspawn, nerdctl, unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_runtime: Option<&'static str>,
    /// Working folder, without the kernel's ` (deleted)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd_b64: Option<String>,
    /// True when the working folder has no name any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd_deleted: Option<bool>,
    /// True when the working folder is a temporary one (see `exe_folder_is_temporary`).
    pub cwd_is_temporary: bool,
    /// Executable mappings of files that have no name any more, the image's own included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_executable_maps: Option<u64>,
    /// Paths of those files, at most sixteen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted_executable_paths: Vec<String>,
    /// Effective capabilities by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub effective_capabilities: Vec<String>,
    /// True when the effective capabilities are the kernel's full set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_is_full: Option<bool>,
    /// Effective group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egid: Option<u64>,
    /// Variables in its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_count: Option<usize>,
    /// Names of telling variables in its environment: all `LD_…`, and those that bend interpreters, histories, proxies
    /// and sessions. Their values stand in the rows of `processes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment_names: Vec<String>,
    /// Effective user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub euid: Option<u64>,
    /// The running image, without the kernel's ` (deleted)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_b64: Option<String>,
    /// When the image's inode was changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_ctime: Option<Instant>,
    /// True when the image has no name any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_deleted: Option<bool>,
    /// Device of the image's file, `major:minor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub exe_dev: Option<Device>,
    /// True when the image lies below /tmp, /var/tmp, /dev/shm, /dev/mqueue, /run or /var/run.
    pub exe_folder_is_temporary: bool,
    /// Type of the file system that the image lies on, by the mounts of its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_fs_type: Option<String>,
    /// Group of the image's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_gid: Option<u32>,
    /// Inode of the image's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_inode: Option<u64>,
    /// True when a part of the image's path begins with a dot.
    pub exe_is_hidden: bool,
    /// True when the image is a memfd: it never was a file with a name.
    pub exe_is_memfd: bool,
    /// True when the image lies on a network or FUSE mount, and was not looked at for that.
    pub exe_is_remote: bool,
    /// True when the image's file gives whoever runs it another user or group (setuid, setgid).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_is_setid: Option<bool>,
    /// True when everybody may write to the image's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_is_writable_by_others: Option<bool>,
    /// Mode of the image's file, octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_mode: Option<String>,
    /// Where that file system is mounted, as the process sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_mount_point: Option<String>,
    /// When the image's content was changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_mtime: Option<Instant>,
    /// For a deleted image: true when there is another file at its path now, as after an upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_replaced: Option<bool>,
    /// Size of the image's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_size_bytes: Option<u64>,
    /// Owner of the image's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe_uid: Option<u32>,
    /// Real group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u64>,
    /// True when it has an image.
    pub has_exe: bool,
    /// True when it has mappings: a thread of the kernel and a zombie have none.
    pub has_memory: bool,
    /// HISTFILE in its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histfile: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histfile_b64: Option<String>,
    /// Inheritable capabilities by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inheritable_capabilities: Vec<String>,
    /// True for a thread of the kernel, by the kernel's own word (PF_KTHREAD).
    pub is_kernel_thread: bool,
    /// LD_AUDIT in its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ld_audit: Option<String>,
    /// LD_LIBRARY_PATH in its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ld_library_path: Option<String>,
    /// LD_PRELOAD in its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ld_preload: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ld_preload_b64: Option<String>,
    /// The user who logged in (audit), absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u64>,
    /// All mappings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maps: Option<u64>,
    /// Executable mappings of memfds, the image's own included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memfd_executable_maps: Option<u64>,
    /// Mappings of memfds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memfd_maps: Option<u64>,
    /// Names of those memfds, at most sixteen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memfd_paths: Vec<String>,
    /// Inode of its mount namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mntns: Option<u64>,
    /// Inode of its network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u64>,
    /// True when execve(2) can give it no privileges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_new_privs: Option<bool>,
    /// Name of its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_comm: Option<String>,
    /// Image of its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_exe: Option<String>,
    /// Permitted capabilities by name, when they are others than the effective ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub permitted_capabilities: Vec<String>,
    /// Process number.
    pub pid: u32,
    /// Inode of its PID namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pidns: Option<u64>,
    /// uid of its pod in Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Parent's number; 0 for the first process, kthreadd, and one whose parent lies outside of this PID namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppid: Option<u64>,
    /// Root folder, when it is not `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Mappings that are writable and executable at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rwx_maps: Option<u64>,
    /// seccomp(2): none, strict, filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<&'static str>,
    /// Audit session, absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<u64>,
    /// Session of job control: the number of the process that leads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<u64>,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Instant>,
    /// One letter: R, S, D, Z, T, t, X, I.
    pub state: char,
    /// What descriptor 2 is: a path, `socket:[…]`, `pipe:[…]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// What descriptor 0 is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// How many of the three standard streams are sockets: a shell that somebody else's hands are on has two or three.
    pub stdio_sockets: usize,
    /// What descriptor 1 is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// Executable mappings of files below a temporary folder (see `exe_folder_is_temporary`), the image's own included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temporary_executable_maps: Option<u64>,
    /// Paths of those files, at most sixteen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub temporary_executable_paths: Vec<String>,
    /// Controlling terminal: pts/3, tty1, ttyS0, else the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// Names of its threads that are not its own name, each once, at most sixteen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thread_names: Vec<String>,
    /// How many threads it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// Name of the process that traces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracer_comm: Option<String>,
    /// Image of the process that traces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracer_exe: Option<String>,
    /// The process that traces it (ptrace(2)), absent for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracer_pid: Option<u64>,
    /// Real user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u64>,
    /// True when something is mounted over its folder and it was read from behind.
    pub unhidden: bool,
    /// True when it ended while it was read.
    pub vanished: bool,
}

impl Row {
    /// The row of process `pid`. `all` are the capabilities that the kernel has.
    pub fn of(pid: u32, stat: &Stat<'_>, facts: &Facts, pages: &Pages, all: Option<u64>) -> Self {
        let mut row = Self {
            is_kernel_thread: stat.is_kernel_thread(),
            parent_comm: facts.parent.comm.clone(),
            parent_exe: facts.parent.exe.clone(),
            pid,
            ppid: stat.ppid(),
            sid: stat.session(),
            state: char::from(stat.state),
            terminal: stat.terminal(),
            thread_names: facts.thread_names.clone(),
            threads: stat.threads(),
            tracer_comm: facts.tracer.comm.clone(),
            tracer_exe: facts.tracer.exe.clone(),
            ..Self::default()
        };
        (row.comm, row.comm_b64) = shown(stat.comm);
        row.status(facts, pages, all);
        row.image(facts, pages);
        row.arguments(stat, facts, pages);
        row.surroundings(facts, pages);
        row.memory(facts);
        row
    }

    fn status(&mut self, facts: &Facts, pages: &Pages, all: Option<u64>) {
        let Some(status) = facts.status.map(|piece| Status::parse(pages.get(piece))) else { return };
        let number = |number: Option<Number>| number.and_then(Number::unsigned);
        self.uid = status.uids.and_then(|uids| uids.get(0));
        self.euid = status.uids.and_then(|uids| uids.get(1));
        self.gid = status.gids.and_then(|gids| gids.get(0));
        self.egid = status.gids.and_then(|gids| gids.get(1));
        self.tracer_pid = number(status.tracer_pid).filter(|pid| *pid != 0);
        self.no_new_privs = number(status.no_new_privs).map(|set| set != 0);
        self.seccomp = number(status.seccomp).map(|mode| match mode {
            0 => "none",
            1 => "strict",
            _ => "filter",
        });
        // Threads of the kernel have all of them, always.
        if self.is_kernel_thread {
            return;
        }
        let names = |mask: Option<u64>| mask.map(capabilities::names).unwrap_or_default();
        let (effective, permitted, bounding) = (mask(status.cap_eff), mask(status.cap_prm), mask(status.cap_bnd));
        self.effective_is_full = effective.zip(all).map(|(held, all)| held & all == all);
        self.effective_capabilities = names(effective);
        self.permitted_capabilities = names(permitted.filter(|_| permitted != effective));
        self.bounding_is_full = bounding.zip(all).map(|(held, all)| held & all == all);
        self.bounding_capabilities = names(bounding.filter(|_| self.bounding_is_full != Some(true)));
        self.ambient_capabilities = names(mask(status.cap_amb));
        self.inheritable_capabilities = names(mask(status.cap_inh));
    }

    fn image(&mut self, facts: &Facts, pages: &Pages) {
        let Some(exe) = facts.exe else { return };
        let (path, is_deleted) = proc::deleted(pages.get(exe));
        self.has_exe = true;
        self.exe_deleted = Some(is_deleted);
        self.exe_is_memfd = is_deleted && path.starts_with(b"/memfd:");
        self.exe_folder_is_temporary = is_temporary(path);
        self.exe_is_hidden = path.split(|byte| *byte == b'/').any(|part| part.starts_with(b"."));
        self.exe_is_remote = facts.is_remote;
        self.exe_replaced = facts.exe_replaced;
        (self.exe_mount_point, self.exe_fs_type) = facts.exe_mount.clone().unzip();
        let (text, exact) = shown(path);
        (self.exe, self.exe_b64) = (Some(text), exact);
        let file = last_part(path);
        let comm = self.comm_b64.is_none().then_some(self.comm.as_bytes());
        self.comm_differs = comm.map(|comm| comm != file.get(..15).unwrap_or(file));
        let Some(stat) = facts.exe_stat.as_deref() else { return };
        let at =
            |time: StatxTimestamp| Some(Instant(i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)));
        self.exe_ctime = at(stat.stx_ctime);
        self.exe_mtime = at(stat.stx_mtime);
        self.exe_dev = Some(Device { major: stat.stx_dev_major, minor: stat.stx_dev_minor });
        self.exe_gid = Some(stat.stx_gid);
        self.exe_inode = Some(stat.stx_ino);
        self.exe_is_setid = Some(stat.stx_mode & 0o6000 != 0);
        self.exe_is_writable_by_others = Some(stat.stx_mode & 0o002 != 0);
        self.exe_mode = Some(format!("{:04o}", stat.stx_mode & 0o7777));
        self.exe_size_bytes = Some(stat.stx_size);
        self.exe_uid = Some(stat.stx_uid);
    }

    fn arguments(&mut self, stat: &Stat<'_>, facts: &Facts, pages: &Pages) {
        self.comm_is_kernel_like = !self.is_kernel_thread && is_kernel_name(stat.comm);
        if let Some(cmdline) = facts.cmdline {
            let cmdline = pages.get(cmdline);
            let cut = cmdline.get(..CMDLINE_BYTES).unwrap_or(cmdline);
            let (text, exact) = shown(cut);
            (self.cmdline, self.cmdline_b64) = (Some(text.trim_end_matches('\0').replace('\0', " ")), exact);
            let parts: Vec<&[u8]> = List::zero_ended(cmdline).parts().take(ARGUMENTS_MAX).collect();
            self.argv_is_empty = parts.iter().all(|part| part.is_empty());
            self.argument_in_temporary_folder = parts.iter().any(|part| is_temporary(part));
            let scripts = parts.iter().skip(1).take(3);
            self.comm_is_argument = scripts
                .map(|part| last_part(part))
                .any(|name| !name.is_empty() && name.get(..15).unwrap_or(name) == stat.comm);
            if let Some(first) = parts.first() {
                let (text, exact) = shown(first);
                (self.argv0, self.argv0_b64) = (Some(text), exact);
                self.argv_is_kernel_like = is_bracketed(first);
                let exe = facts.exe.map(|exe| proc::deleted(pages.get(exe)).0);
                self.argv0_differs =
                    exe.filter(|_| !self.argv_is_empty).map(|exe| named_program(first) != last_part(exe));
            }
        }
        self.claims_kernel_thread = self.comm_is_kernel_like || self.argv_is_kernel_like || self.argv_is_empty;
    }

    fn surroundings(&mut self, facts: &Facts, pages: &Pages) {
        let text = |piece: Option<Piece>| piece.map(|piece| shown(pages.get(piece)).0);
        if let Some(cwd) = facts.cwd {
            let (path, is_deleted) = proc::deleted(pages.get(cwd));
            self.cwd_deleted = Some(is_deleted);
            self.cwd_is_temporary = is_temporary(&[path, b"/"].concat());
            let (path, exact) = shown(path);
            (self.cwd, self.cwd_b64) = (Some(path), exact);
        }
        self.root = text(facts.root).filter(|root| root != "/");
        let [stdin, stdout, stderr] = facts.standard.map(text);
        let streams = [&stdin, &stdout, &stderr];
        self.stdio_sockets =
            streams.iter().filter(|stream| stream.as_deref().is_some_and(|text| text.starts_with("socket:["))).count();
        (self.stdin, self.stdout, self.stderr) = (stdin, stdout, stderr);
        (self.mntns, self.netns, self.pidns) = (facts.mntns, facts.netns, facts.pidns);
        self.login_uid = facts.loginuid.filter(|uid| *uid != NONE);
        self.session_id = facts.sessionid.filter(|session| *session != NONE);
        if let Some(cgroup) = facts.cgroup {
            let (path, container) = group(pages.get(cgroup));
            self.cgroup = path;
            self.container_runtime = container.as_ref().map(|container| container.runtime);
            (self.container_id, self.pod_uid) = container.map_or((None, None), |found| (Some(found.id), found.pod_uid));
        }
        let Some(environment) = &facts.environment else { return };
        self.environment_count = Some(environment.count);
        self.environment_names.clone_from(&environment.names);
        self.ld_audit = environment.audit.clone().map(|(text, _)| text);
        self.ld_library_path = environment.library_path.clone().map(|(text, _)| text);
        let both = |value: &Option<(String, Option<String>)>| {
            value.clone().map_or((None, None), |(text, exact)| (Some(text), exact))
        };
        (self.ld_preload, self.ld_preload_b64) = both(&environment.preload);
        (self.histfile, self.histfile_b64) = both(&environment.histfile);
    }

    fn memory(&mut self, facts: &Facts) {
        let Some(maps) = &facts.maps else { return };
        self.anonymous_executable_maps = Some(maps.anonymous_executable);
        self.deleted_executable_maps = Some(maps.deleted_executable);
        self.deleted_executable_paths.clone_from(&maps.deleted_executable_paths);
        self.maps = Some(maps.total);
        self.memfd_executable_maps = Some(maps.memfd_executable);
        self.memfd_maps = Some(maps.memfd);
        self.memfd_paths.clone_from(&maps.memfd_paths);
        self.rwx_maps = Some(maps.rwx);
        self.temporary_executable_maps = Some(maps.temporary_executable);
        self.temporary_executable_paths.clone_from(&maps.temporary_executable_paths);
        self.has_memory = maps.total > 0;
    }
}

/// True below a folder whose content is not meant to last, or that anybody may write to.
pub fn is_temporary(path: &[u8]) -> bool {
    TEMPORARY.iter().any(|folder| path.starts_with(folder))
}

fn is_kernel_name(comm: &[u8]) -> bool {
    KERNEL_NAMES.iter().any(|name| comm.starts_with(name))
}

fn is_bracketed(argument: &[u8]) -> bool {
    let argument = argument.trim_ascii();
    argument.len() > 2 && argument.starts_with(b"[") && argument.ends_with(b"]")
}

fn last_part(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The program that a first argument names: `-bash` is a login shell, `sshd: alice [priv]` a title.
fn named_program(argument: &[u8]) -> &[u8] {
    let argument = argument.strip_prefix(b"-").unwrap_or(argument);
    let word = argument.split(|byte| *byte == b' ').next().unwrap_or_default();
    last_part(word.strip_suffix(b":").unwrap_or(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_arguments_name() {
        for (argument, program) in [
            ("-bash", "bash"),
            ("/usr/sbin/sshd", "sshd"),
            ("sshd: alice [priv]", "sshd"),
            ("nginx: master process /usr/sbin/nginx", "nginx"),
            ("", ""),
        ] {
            assert_eq!(named_program(argument.as_bytes()), program.as_bytes(), "{argument}");
        }
        assert!(is_bracketed(b"[kworker/u9:7-events]") && !is_bracketed(b"[") && !is_bracketed(b"[x"));
        assert!(is_kernel_name(b"kworker/0:1") && !is_kernel_name(b"irqbalance") && !is_kernel_name(b"kworkerd"));
        assert!(is_temporary(b"/dev/shm/x") && !is_temporary(b"/tmpx/y") && !is_temporary(b"/running"));
    }
}
