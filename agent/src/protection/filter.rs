//! The seccomp filter of threads that parse: a list of calls that are answered with `EPERM` (seccomp(2)).
//!
//! A list of what is denied and not of what is allowed: collectors ask the kernel in many ways, the C library in its own,
//! and an evidence run that dies of a call that nobody thought of loses more than the filter saves.

use std::io;

use libc::{c_long, sock_filter};

use crate::host::sys::confine;

/// `AUDIT_ARCH_*` of this program (include/uapi/linux/audit.h). Calls by another architecture's numbers are denied.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// Numbers from here on are those of the x32 ABI.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Two calls that the libc crate does not name for every architecture and C library.
#[cfg(target_arch = "x86_64")]
const KEXEC_FILE_LOAD: c_long = 320;
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: c_long = 294;
#[cfg(target_arch = "x86_64")]
const RENAMEAT: c_long = 264;
#[cfg(target_arch = "aarch64")]
const RENAMEAT: c_long = 38;

/// Denied, whatever their arguments.
const DENIED: &[c_long] = &[
    // Programs, and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_writev,
    // The kernel.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_reboot,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    // Its operations would pass by this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Mounts that others see. Views of our own are detached: open_tree, mount_setattr, fsmount.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    // The host's clock and names, keys.
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // File systems, by name.
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    RENAMEAT,
    libc::SYS_renameat2,
    libc::SYS_truncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    // The same by their older numbers, which only some architectures have.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
];

/// Commands of bpf(2) that read: looking up and walking maps, `OBJ_GET`, walking ids and opening what they name, asking for
/// what is attached. All others are denied, those to come included.
const BPF_READS: &[u32] = &[1, 4, 7, 11, 12, 13, 14, 15, 16, 19, 20, 23, 30, 31];

/// Offsets in `struct seccomp_data` (include/uapi/linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
#[cfg(target_endian = "little")]
const FIRST_ARGUMENT: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const DENY: u32 = 0x0005_0000 | libc::EPERM as u32;

/// Confines this thread.
///
/// # Errors
/// As seccomp(2): `EINVAL` or `ENOSYS` where the kernel has no filters.
pub(super) fn apply() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    confine::set_filter(&program())
}

/// Where an instruction goes when its comparison holds, and when it does not.
#[derive(Clone, Copy)]
enum To {
    Next,
    Allow,
    Deny,
}

enum Step {
    Load(u32),
    Equal(u32, To, To),
    #[cfg(target_arch = "x86_64")]
    AtLeast(u32, To),
}

fn program() -> Vec<sock_filter> {
    let number = |call: c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let mut steps = vec![Step::Load(ARCH), Step::Equal(ARCHITECTURE, To::Next, To::Deny), Step::Load(NUMBER)];
    #[cfg(target_arch = "x86_64")]
    steps.push(Step::AtLeast(X32, To::Deny));
    steps.extend(DENIED.iter().map(|call| Step::Equal(number(*call), To::Deny, To::Next)));
    steps.push(Step::Equal(number(libc::SYS_bpf), To::Next, To::Allow));
    steps.push(Step::Load(FIRST_ARGUMENT));
    steps.extend(BPF_READS.iter().map(|command| Step::Equal(*command, To::Allow, To::Next)));
    // The last comparison falls through to DENY.
    let (deny, allow) = (steps.len(), steps.len() + 1);
    let code = |parts: &[u32]| parts.iter().fold(0, |code, part| code | u16::try_from(*part).unwrap_or(0));
    let mut program: Vec<sock_filter> = Vec::with_capacity(steps.len() + 2);
    for (at, step) in steps.iter().enumerate() {
        // A jump counts from the instruction behind it, and fits into a byte: the program is that short.
        let jump = |to: To| match to {
            To::Next => 0,
            To::Deny => u8::try_from(deny - at - 1).unwrap_or(u8::MAX),
            To::Allow => u8::try_from(allow - at - 1).unwrap_or(u8::MAX),
        };
        program.push(match *step {
            Step::Load(offset) => {
                sock_filter { code: code(&[libc::BPF_LD, libc::BPF_W, libc::BPF_ABS]), jt: 0, jf: 0, k: offset }
            }
            Step::Equal(k, holds, fails) => {
                let code = code(&[libc::BPF_JMP, libc::BPF_JEQ, libc::BPF_K]);
                sock_filter { code, jt: jump(holds), jf: jump(fails), k }
            }
            #[cfg(target_arch = "x86_64")]
            Step::AtLeast(k, holds) => {
                let code = code(&[libc::BPF_JMP, libc::BPF_JGE, libc::BPF_K]);
                sock_filter { code, jt: jump(holds), jf: 0, k }
            }
        });
    }
    let answer = |k| sock_filter { code: code(&[libc::BPF_RET, libc::BPF_K]), jt: 0, jf: 0, k };
    program.extend([answer(DENY), answer(ALLOW)]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would make of it.
    fn run(arch: u32, number: c_long, argument: u32) -> u32 {
        let (program, mut at, mut loaded) = (program(), 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            let (code, holds) = (u32::from(code), |is: bool| usize::from(if is { jt } else { jf }));
            at += 1;
            if code == libc::BPF_RET | libc::BPF_K {
                return k;
            } else if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS {
                loaded = match k {
                    NUMBER => u32::try_from(number).unwrap(),
                    ARCH => arch,
                    FIRST_ARGUMENT => argument,
                    _ => panic!("{k}"),
                };
            } else if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K {
                at += holds(loaded == k);
            } else {
                assert_eq!(code, libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
                at += holds(loaded >= k);
            }
        }
    }

    #[test]
    fn every_path_ends_where_it_should() {
        assert!(program().len() < usize::from(u8::MAX));
        for call in DENIED {
            assert_eq!(run(ARCHITECTURE, *call, 0), DENY, "{call}");
        }
        for call in [libc::SYS_read, libc::SYS_openat, libc::SYS_clone, libc::SYS_mount_setattr, libc::SYS_exit_group] {
            assert_eq!(run(ARCHITECTURE, call, 0), ALLOW, "{call}");
            assert_eq!(run(ARCHITECTURE ^ 1, call, 0), DENY, "{call} by other numbers");
        }
        for command in 0..64 {
            let expected = if BPF_READS.contains(&command) { ALLOW } else { DENY };
            assert_eq!(run(ARCHITECTURE, libc::SYS_bpf, command), expected, "bpf {command}");
        }
        #[cfg(target_arch = "x86_64")]
        assert_eq!(run(ARCHITECTURE, libc::SYS_read | c_long::from(X32), 0), DENY);
    }
}
