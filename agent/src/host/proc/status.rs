//! `/proc/PID/status`: one `Key: value` a line (proc_pid_status(5)).
//!
//! The kernel escapes newlines in the name, so a line is always the kernel's. Lines that this list does not know, or
//! whose value does not have the known form, are kept as they are under `other`.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeSeq as _, Serializer};

use super::super::text::{Number, Text, decimal, key_value};

/// A form that a value has.
trait Form<'a>: Sized {
    fn parse(value: &'a [u8]) -> Option<Self>;
}

impl<'a> Form<'a> for Text<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        Some(Text(value))
    }
}

impl Form<'_> for Number {
    fn parse(value: &[u8]) -> Option<Self> {
        Number::parse(value)
    }
}

/// A number of KiB; the kernel writes `kB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema, serde::Serialize)]
#[serde(transparent)]
pub struct Kib(pub u64);

impl Form<'_> for Kib {
    fn parse(value: &[u8]) -> Option<Self> {
        decimal(value.strip_suffix(b" kB")?).map(Self)
    }
}

/// Numbers with blanks between them; serialised as a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    /// The numbers among the words of `bytes`.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The number at that place.
    pub fn get(self, place: usize) -> Option<u64> {
        self.words().nth(place).and_then(decimal)
    }

    fn words(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
    }
}

impl<'a> Form<'a> for Numbers<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        let numbers = Self(value);
        numbers.words().all(|word| decimal(word).is_some()).then_some(numbers)
    }
}

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for number in self.words().filter_map(decimal) {
            list.serialize_element(&number)?;
        }
        list.end()
    }
}

macro_rules! status {
    ([$($(#[$doc:meta])* $key:literal => $field:ident: $form:ty,)*]
     [$($(#[$doc_after:meta])* $key_after:literal => $field_after:ident: $form_after:ty,)*]) => {
        /// All lines of the file. Masks of signals, capabilities, CPUs and memory nodes are hex, as the kernel writes
        /// them; without a note a field is a number.
        #[derive(Clone, Debug, Default, schemars::JsonSchema, serde::Serialize)]
        pub struct Status<'a> {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$form>,)*
            /// Lines that are not in this list, or not in the known form.
            #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "as_text")]
            #[schemars(with = "BTreeMap<String, String>")]
            pub other: BTreeMap<&'a [u8], &'a [u8]>,
            $($(#[$doc_after])* #[serde(skip_serializing_if = "Option::is_none")] pub $field_after: Option<$form_after>,)*
        }

        impl<'a> Status<'a> {
            /// Parses the file. Never fails: what is not understood is kept.
            pub fn parse(file: &'a [u8]) -> Self {
                let mut status = Self::default();
                for line in file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let (key, value) = key_value(line).unwrap_or((line, b""));
                    let understood = match key {
                        $($key if status.$field.is_none() => {
                            status.$field = Form::parse(value);
                            status.$field.is_some()
                        })*
                        $($key_after if status.$field_after.is_none() => {
                            status.$field_after = Form::parse(value);
                            status.$field_after.is_some()
                        })*
                        _ => false,
                    };
                    if !understood {
                        status.other.insert(key, value);
                    }
                }
                status
            }
        }
    };
}

status! {
    [
        /// Ambient capabilities.
        b"CapAmb" => cap_amb: Text<'a>,
        /// Bounding capabilities.
        b"CapBnd" => cap_bnd: Text<'a>,
        /// Effective capabilities.
        b"CapEff" => cap_eff: Text<'a>,
        /// Inheritable capabilities.
        b"CapInh" => cap_inh: Text<'a>,
        /// Permitted capabilities.
        b"CapPrm" => cap_prm: Text<'a>,
        /// 1 while it dumps core.
        b"CoreDumping" => core_dumping: Number,
        /// CPUs that it may run on, as a mask.
        b"Cpus_allowed" => cpus_allowed: Text<'a>,
        /// The same as a list.
        b"Cpus_allowed_list" => cpus_allowed_list: Text<'a>,
        /// Slots of its table of descriptors.
        b"FDSize" => fd_size: Number,
        /// Groups: real, effective, saved, file system.
        b"Gid" => gids: Numbers<'a>,
        /// Supplementary groups.
        b"Groups" => groups: Numbers<'a>,
        /// Huge pages in use, KiB.
        b"HugetlbPages" => hugetlb_pages_kib: Kib,
        /// 1 for a thread of the kernel (6.10).
        b"Kthread" => kthread: Number,
        /// Memory nodes that it may use, as a mask.
        b"Mems_allowed" => mems_allowed: Text<'a>,
        /// The same as a list.
        b"Mems_allowed_list" => mems_allowed_list: Text<'a>,
        /// Name, with newlines and backslashes escaped by the kernel.
        b"Name" => name: Text<'a>,
        /// Group of NUMA balancing.
        b"Ngid" => ngid: Number,
        /// 1 when it can gain no privileges by execve(2).
        b"NoNewPrivs" => no_new_privs: Number,
        /// Times that it was made to give up the CPU.
        b"nonvoluntary_ctxt_switches" => nonvoluntary_ctxt_switches: Number,
        /// Its process group in each PID namespace, outermost first.
        b"NSpgid" => ns_pgids: Numbers<'a>,
        /// Its thread number in each PID namespace, outermost first: more than one means a container.
        b"NSpid" => ns_pids: Numbers<'a>,
        /// Its session in each PID namespace.
        b"NSsid" => ns_sids: Numbers<'a>,
        /// Its process number in each PID namespace.
        b"NStgid" => ns_tgids: Numbers<'a>,
    ]
    [
        /// Thread number.
        b"Pid" => pid: Number,
        /// Parent.
        b"PPid" => ppid: Number,
        /// Resident anonymous memory, KiB.
        b"RssAnon" => rss_anon_kib: Kib,
        /// Resident file mappings, KiB.
        b"RssFile" => rss_file_kib: Kib,
        /// Resident shared memory, KiB.
        b"RssShmem" => rss_shmem_kib: Kib,
        /// 0 none, 1 strict, 2 filter (seccomp(2)).
        b"Seccomp" => seccomp: Number,
        /// How many filters (5.9).
        b"Seccomp_filters" => seccomp_filters: Number,
        /// Signals pending for the whole process.
        b"ShdPnd" => shd_pnd: Text<'a>,
        /// Signals blocked.
        b"SigBlk" => sig_blk: Text<'a>,
        /// Signals caught.
        b"SigCgt" => sig_cgt: Text<'a>,
        /// Signals ignored.
        b"SigIgn" => sig_ign: Text<'a>,
        /// Signals pending for the thread.
        b"SigPnd" => sig_pnd: Text<'a>,
        /// Queued signals and their limit, `n/limit`.
        b"SigQ" => sig_q: Text<'a>,
        /// State of the mitigation of Spectre variant 2.
        b"SpeculationIndirectBranch" => speculation_indirect_branch: Text<'a>,
        /// State of the mitigation of Spectre variant 4.
        b"Speculation_Store_Bypass" => speculation_store_bypass: Text<'a>,
        /// State, letter and word.
        b"State" => state: Text<'a>,
        /// Process number.
        b"Tgid" => tgid: Number,
        /// 1 when transparent huge pages are allowed.
        b"THP_enabled" => thp_enabled: Number,
        /// How many threads.
        b"Threads" => threads: Number,
        /// The process that traces it, 0 for none.
        b"TracerPid" => tracer_pid: Number,
        /// Users: real, effective, saved, file system.
        b"Uid" => uids: Numbers<'a>,
        /// umask, octal.
        b"Umask" => umask: Text<'a>,
        /// Mask of address tags.
        b"untag_mask" => untag_mask: Text<'a>,
        /// Data segment, KiB.
        b"VmData" => vm_data_kib: Kib,
        /// Program text, KiB.
        b"VmExe" => vm_exe_kib: Kib,
        /// Highest resident size, KiB.
        b"VmHWM" => vm_hwm_kib: Kib,
        /// Locked memory, KiB.
        b"VmLck" => vm_lck_kib: Kib,
        /// Text of libraries, KiB.
        b"VmLib" => vm_lib_kib: Kib,
        /// Highest virtual size, KiB.
        b"VmPeak" => vm_peak_kib: Kib,
        /// Pinned memory, KiB.
        b"VmPin" => vm_pin_kib: Kib,
        /// Page tables, KiB.
        b"VmPTE" => vm_pte_kib: Kib,
        /// Resident size, KiB.
        b"VmRSS" => vm_rss_kib: Kib,
        /// Virtual size, KiB.
        b"VmSize" => vm_size_kib: Kib,
        /// Stack, KiB.
        b"VmStk" => vm_stk_kib: Kib,
        /// Swapped out, KiB.
        b"VmSwap" => vm_swap_kib: Kib,
        /// Times that it gave up the CPU by itself.
        b"voluntary_ctxt_switches" => voluntary_ctxt_switches: Number,
        /// Features of x86 that are on for the thread (6.6): shstk, wrss.
        b"x86_Thread_features" => x86_thread_features: Text<'a>,
        /// Those that can no longer be changed.
        b"x86_Thread_features_locked" => x86_thread_features_locked: Text<'a>,
    ]
}

fn as_text<S: Serializer>(lines: &BTreeMap<&[u8], &[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(lines.iter().map(|(key, value)| (Text(key), Text(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = b"Name:\ta\\nUid:\t0\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nPid:\t7\nPPid:\t1\n\
TracerPid:\t3\nUid:\t1000\t0\t1000\t1000\nGroups:\t4 27 \nNSpid:\t7\t1\nVmRSS:\t    1744 kB\nVmSize:\tmuch\n\
CapEff:\t000001fffeffffff\nNoNewPrivs:\t1\nSeccomp:\t2\nFuture_line:\tx \xff y\nvoluntary_ctxt_switches:\t9\n";

    #[test]
    fn known_lines_are_typed_and_unknown_ones_kept() {
        let json = serde_json::to_string(&Status::parse(FILE)).unwrap();
        let found: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(found["name"], "a\\nUid:\t0");
        assert_eq!(found["uids"], serde_json::json!([1000, 0, 1000, 1000]));
        assert_eq!(found["groups"], serde_json::json!([4, 27]));
        assert_eq!(found["ns_pids"], serde_json::json!([7, 1]));
        assert_eq!(found["vm_rss_kib"], 1744);
        assert_eq!(found["tracer_pid"], 3);
        assert_eq!(found["other"]["VmSize"], "much");
        assert_eq!(found["other"]["Future_line"], "x \u{fffd} y");
        assert_eq!(json, serde_json::to_string(&found).unwrap(), "keys are sorted");
    }

    #[test]
    fn every_line_of_the_running_kernel_comes_out_sorted() {
        let file = std::fs::read("/proc/self/status").unwrap();
        let json = serde_json::to_string(&Status::parse(&file)).unwrap();
        let found: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
        let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        let other = found.get("other").map_or(0, |other| other.as_object().unwrap().len());
        assert_eq!(found.len() - usize::from(other > 0) + other, lines);
        assert_eq!(json, serde_json::to_string(&found).unwrap(), "keys are sorted");
    }
}
