//! `/proc/PID/stat` and `/proc/PID/task/TID/stat`: one line, the same in both (proc_pid_stat(5)).
//!
//! The second field is the name in parentheses, and a name may hold blanks, parentheses and newlines: it ends at the
//! *last* closing parenthesis, whatever a process calls itself.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::super::text::{Number, Text, decimal};

/// Set in `flags` for a thread of the kernel (include/linux/sched.h). A process cannot set it for itself.
const PF_KTHREAD: u64 = 0x0020_0000;

/// Numeric fields from the fourth on, in the kernel's order.
const FIELDS: usize = 49;

/// The names of proc_pid_stat(5), sorted, each with its place after `state`. Times are in ticks of 1/100 s, `starttime`
/// since boot; `vsize` is bytes, `rss` pages; addresses are zero without the right to trace the process.
const NAMES: [(&str, usize); FIELDS] = [
    ("arg_end", 45),
    ("arg_start", 44),
    ("blocked", 28),
    ("cguest_time", 40),
    ("cmajflt", 9),
    ("cminflt", 7),
    ("cnswap", 33),
    ("cstime", 13),
    ("cutime", 12),
    ("delayacct_blkio_ticks", 38),
    ("end_data", 42),
    ("endcode", 23),
    ("env_end", 47),
    ("env_start", 46),
    ("exit_code", 48),
    ("exit_signal", 34),
    ("flags", 5),
    ("guest_time", 39),
    ("itrealvalue", 17),
    ("kstkeip", 26),
    ("kstkesp", 25),
    ("majflt", 8),
    ("minflt", 6),
    ("nice", 15),
    ("nswap", 32),
    ("num_threads", 16),
    ("pgrp", 1),
    ("policy", 37),
    ("ppid", 0),
    ("priority", 14),
    ("processor", 35),
    ("rss", 20),
    ("rsslim", 21),
    ("rt_priority", 36),
    ("session", 2),
    ("sigcatch", 30),
    ("sigignore", 29),
    ("signal", 27),
    ("start_brk", 43),
    ("start_data", 41),
    ("startcode", 22),
    ("startstack", 24),
    ("starttime", 18),
    ("stime", 11),
    ("tpgid", 4),
    ("tty_nr", 3),
    ("utime", 10),
    ("vsize", 19),
    ("wchan", 31),
];

/// The line, parsed. Serialised as an object of all numeric fields, with `more` for those that a later kernel adds.
#[derive(Clone, Copy, Debug)]
pub struct Stat<'a> {
    /// The number that the line itself names.
    pub pid: u32,
    /// The name, of at most 15 bytes for a user's process (longer for workers of the kernel).
    pub comm: &'a [u8],
    /// R, S, D, Z, T, t, X, I …
    pub state: u8,
    numbers: [Option<Number>; FIELDS],
    more: &'a [u8],
}

impl<'a> Stat<'a> {
    /// Parses the line; `None` when it is not one of the kernel's.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (pid, comm, state, mut rest) = head(line)?;
        let mut numbers = [None; FIELDS];
        for number in &mut numbers {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if word.is_empty() {
                break;
            }
            *number = Some(Number::parse(word)?);
            rest = after;
        }
        Some(Self { pid, comm, state, numbers, more: rest.trim_ascii_start() })
    }

    /// Only the name and the state of the line, without parsing the rest.
    pub fn name_and_state(line: &'a [u8]) -> Option<(&'a [u8], u8)> {
        head(line).map(|(_, comm, state, _)| (comm, state))
    }

    fn unsigned(&self, place: usize) -> Option<u64> {
        self.numbers.get(place).copied().flatten().and_then(Number::unsigned)
    }

    /// The parent; 0 for the first process, for kthreadd, and for one whose parent lies outside this PID namespace.
    pub fn ppid(&self) -> Option<u64> {
        self.unsigned(0)
    }

    /// When it started, in ticks of 1/100 s since boot.
    pub fn starttime_ticks(&self) -> Option<u64> {
        self.unsigned(18)
    }

    /// How many threads it has.
    pub fn threads(&self) -> Option<u64> {
        self.unsigned(16)
    }

    /// The session that it belongs to: the number of the process that leads it.
    pub fn session(&self) -> Option<u64> {
        self.unsigned(2)
    }

    /// Its controlling terminal, by the device that `tty_nr` packs: `pts/3`, `tty1`, `ttyS0`, else `major:minor`.
    pub fn terminal(&self) -> Option<String> {
        let number = self.unsigned(3).filter(|number| *number != 0)?;
        let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
        Some(match major {
            // 136 to 143 (Documentation/admin-guide/devices.txt); each has 256 of the first million minors.
            136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
            4 if minor < 64 => format!("tty{minor}"),
            4 => format!("ttyS{}", minor - 64),
            _ => format!("{major}:{minor}"),
        })
    }

    /// True for a thread of the kernel: it has no memory, no image, no arguments.
    pub fn is_kernel_thread(&self) -> bool {
        self.unsigned(5).is_some_and(|flags| flags & PF_KTHREAD != 0)
    }

    /// True for a process that has ended and waits for its parent: it has no memory and no files any more.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// The first three fields, and the rest of the line.
fn head(line: &[u8]) -> Option<(u32, &[u8], u8, &[u8])> {
    let line = line.trim_ascii_end();
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let pid = u32::try_from(decimal(line.get(..open)?.trim_ascii_end())?).ok()?;
    let comm = line.get(open + 1..close)?;
    let mut rest = line.get(close + 1..)?.trim_ascii_start();
    let state = *rest.split_off_first()?;
    Some((pid, comm, state, rest))
}

impl Serialize for Stat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut more = (!self.more.is_empty()).then_some(Text(self.more));
        for (name, place) in &NAMES {
            if *name > "more"
                && let Some(more) = more.take()
            {
                map.serialize_entry("more", &more)?;
            }
            if let Some(number) = self.numbers.get(*place).copied().flatten() {
                map.serialize_entry(name, &number)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"451 (sd) R 1 (x\n) S 1 451 451 0 -1 4194560 1014 0 3 0 2 1 0 0 20 0 1 0 215 8556544 1024 \
18446744073709551615 94 95 140 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 96 97 98 141 142 143 144 0 99\n";

    #[test]
    fn the_name_ends_at_the_last_parenthesis() {
        let stat = Stat::parse(LINE).unwrap();
        assert_eq!(stat.comm, b"sd) R 1 (x\n");
        assert_eq!((stat.pid, stat.state, stat.ppid()), (451, b'S', Some(1)));
        assert_eq!((stat.starttime_ticks(), stat.threads()), (Some(215), Some(1)));
        assert!(!stat.is_kernel_thread() && !stat.is_dead());
    }

    #[test]
    fn terminals_by_their_device() {
        for (number, name) in [(0, None), (34_818, Some("pts/2")), (1025, Some("tty1")), (1088, Some("ttyS0"))] {
            let line = format!("9 (x) S 1 9 7 {number} -1");
            let stat = Stat::parse(line.as_bytes()).unwrap();
            assert_eq!((stat.terminal().as_deref(), stat.session()), (name, Some(7)));
        }
    }

    #[test]
    fn every_field_comes_out_sorted_and_nothing_is_dropped() {
        let json = serde_json::to_string(&Stat::parse(LINE).unwrap()).unwrap();
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(fields.len(), FIELDS + 1);
        assert_eq!(fields["rsslim"], u64::MAX);
        assert_eq!(fields["tpgid"], -1);
        assert_eq!(fields["exit_code"], 0);
        assert_eq!(fields["more"], "99");
        assert_eq!(json, serde_json::to_string(&fields).unwrap(), "keys are sorted");
        let mut places: Vec<usize> = NAMES.iter().map(|(_, place)| *place).collect();
        places.sort_unstable();
        assert!(places.iter().copied().eq(0..FIELDS));
    }

    #[test]
    fn lines_that_are_no_stat() {
        for bad in ["", "1", "1 (a", "1 (a)", "x (a) S 1", "1 )a( S 1", "1 (a) S one"] {
            assert!(Stat::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        let kthread = Stat::parse(b"2 (kthreadd) S 0 0 0 0 -1 2129984 0").unwrap();
        assert!(kthread.is_kernel_thread());
        assert!(Stat::parse(b"9 (z) Z 1 9").unwrap().is_dead());
    }
}
