//! What the kernel answers about a task by its number: ways to it that do not go through `/proc`.

use std::io;

/// getpgid(2): the process group of task `pid`; 0 for a thread of the kernel, which is why rustix's is no use here.
///
/// # Errors
/// As the system call: `ESRCH` when there is no such task.
pub fn process_group_of(pid: i32) -> io::Result<i32> {
    // SAFETY: the call takes one integer and touches no memory of ours.
    number(unsafe { libc::syscall(libc::SYS_getpgid, pid) })
}

/// getsid(2): the session of task `pid`; 0 for a thread of the kernel.
///
/// # Errors
/// As the system call: `ESRCH` when there is no such task.
pub fn session_of(pid: i32) -> io::Result<i32> {
    // SAFETY: the call takes one integer and touches no memory of ours.
    number(unsafe { libc::syscall(libc::SYS_getsid, pid) })
}

fn number(answer: libc::c_long) -> io::Result<i32> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(answer).unwrap_or(i32::MAX)) }
}

/// sched_getscheduler(2): the policy of task `pid`.
///
/// # Errors
/// As the system call: `ESRCH` when there is no such task.
pub fn scheduler_of(pid: i32) -> io::Result<i32> {
    // The C library's function is no use: musl answers ENOSYS by itself.
    // SAFETY: the call takes one integer and touches no memory of ours.
    number(unsafe { libc::syscall(libc::SYS_sched_getscheduler, pid) })
}

/// sched_getparam(2): the real-time priority of task `pid`.
///
/// # Errors
/// As the system call: `ESRCH` when there is no such task.
pub fn scheduler_priority_of(pid: i32) -> io::Result<i32> {
    // `struct sched_param` of the kernel is one int; the C library's may be longer.
    let mut priority: libc::c_int = 0;
    // SAFETY: the pointer is to a live integer of the size that the kernel writes.
    let outcome = unsafe { libc::syscall(libc::SYS_sched_getparam, pid, &raw mut priority) };
    if outcome == 0 { Ok(priority) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_is_known_and_number_zero_is_the_caller() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(super::scheduler_of(me).unwrap() >= 0);
        assert!(super::scheduler_priority_of(me).unwrap() >= 0);
        assert!(super::process_group_of(me).unwrap() > 0 && super::session_of(me).is_ok());
        // kthreadd, where it can be seen, is in no group.
        if std::fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n") {
            assert_eq!((super::process_group_of(2).unwrap(), super::session_of(2).unwrap()), (0, 0));
        }
        assert_eq!(super::process_group_of(i32::MAX).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert_eq!(super::session_of(i32::MAX).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        let none = super::scheduler_of(i32::MAX).unwrap_err();
        assert_eq!(none.raw_os_error(), Some(libc::ESRCH));
        assert_eq!(super::scheduler_priority_of(i32::MAX).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
