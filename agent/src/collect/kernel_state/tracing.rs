//! What traces or hooks the kernel's functions: tracefs (events that were defined, functions with a callback) and
//! kprobes (debugfs). ftrace is how most of today's rootkits hook system calls, and it shows here.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::Serialize;

use super::read_at;
use crate::host::text::Text;
use crate::run::session::{Session, Stopped};

/// Bytes of one file: enabled_functions has 60,000 lines while the function tracer runs.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Lines of one file that become rows.
const LINES_MAX: usize = 5000;

/// How the tracer is set.
const SETTINGS: [&CStr; 7] = [
    c"current_tracer",
    c"set_event",
    c"set_event_pid",
    c"set_ftrace_filter",
    c"set_ftrace_pid",
    c"tracing_on",
    c"error_log",
];

/// Settings of the tracer, with the lines that are no comments.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TracingRow<'a> {
    /// current_tracer, tracing_on, set_event, set_ftrace_filter …
    name: &'a str,
    /// `tracing`.
    record: &'static str,
    /// Its lines.
    values: Vec<Text<'a>>,
}

/// An event that somebody defined: at an instruction of the kernel or of a program.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProbeRow<'a> {
    /// What is recorded with it.
    arguments: Vec<Text<'a>>,
    /// Group and name, `kprobes/open`.
    event: Text<'a>,
    /// `trace_probe`.
    record: &'static str,
    /// Function with offset, or file with offset.
    target: Text<'a>,
    /// p at the instruction, r at the return; e, f, s, t for events, function entries, synthetic events, tracepoints.
    #[serde(rename = "type")]
    kind: Text<'a>,
}

/// A kprobe that is set.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KprobeRow<'a> {
    /// Address of the instruction; zeros when it may not be told.
    address_hex: Text<'a>,
    /// GONE, DISABLED, OPTIMIZED, FTRACE.
    flags: Vec<Text<'a>>,
    /// The module whose code is probed; null for the kernel itself.
    module: Option<Text<'a>>,
    /// `kprobe`.
    record: &'static str,
    /// Function and offset.
    target: Text<'a>,
    /// k for one at an instruction, r at a return.
    #[serde(rename = "type")]
    kind: Text<'a>,
}

/// A function of the kernel that ftrace calls something for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FunctionRow<'a> {
    /// The function.
    function: Text<'a>,
    /// The whole line: how many callbacks, letters (R registers, I changes the instruction pointer, D direct call,
    /// M modified it), the trampoline and the callbacks with the modules that they lie in.
    line: Text<'a>,
    /// The module that the function lies in; null for the kernel itself.
    module: Option<Text<'a>>,
    /// Modules that the line names behind the function: where trampolines and callbacks lie.
    owners: Vec<Text<'a>>,
    /// `ftrace_function`.
    record: &'static str,
}

pub fn collect(session: &mut Session) -> Result<(), Stopped> {
    match session.host().kernel_fs("tracefs", "/sys/kernel/tracing") {
        Ok(root) => tracefs(session, &root)?,
        Err(error) => session.unreadable("tracefs", &error)?,
    }
    match session.host().kernel_fs("debugfs", "/sys/kernel/debug") {
        Ok(root) => each(session, &root, "debugfs", c"kprobes/list", |session, line| match kprobe(line) {
            Some(row) => session.row(&row),
            None => Ok(()),
        }),
        Err(error) => session.unreadable("debugfs", &error),
    }
}

fn tracefs(session: &mut Session, root: &OwnedFd) -> Result<(), Stopped> {
    for name in SETTINGS {
        match read_at(root, name, FILE_BYTES_MAX) {
            Ok(text) => {
                let values: Vec<Text<'_>> = lines(&text).take(LINES_MAX).map(Text).collect();
                session.row(&TracingRow { name: name.to_str().unwrap_or_default(), record: "tracing", values })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => session.unreadable(format!("tracefs/{}", name.to_string_lossy()), &error)?,
        }
    }
    // All kinds of defined events stand in the first; kernels before 5.0 have the other two only, and the rows of the
    // first would be told twice.
    let names: &[&CStr] = match read_at(root, c"dynamic_events", FILE_BYTES_MAX) {
        Ok(_) => &[c"dynamic_events"],
        Err(_) => &[c"kprobe_events", c"uprobe_events"],
    };
    for name in names {
        each(session, root, "tracefs", name, |session, line| match probe(line) {
            Some(row) => session.row(&row),
            None => Ok(()),
        })?;
    }
    // Functions that have a callback now, and all that ever had one (6.5).
    each(session, root, "tracefs", c"enabled_functions", |session, line| match function(line) {
        Some(row) => session.row(&row),
        None => Ok(()),
    })?;
    each(session, root, "tracefs", c"touched_functions", |_, _| Ok(()))
}

/// Hands each line over, and the whole text as raw bytes when there is any.
fn each(
    session: &mut Session,
    root: &OwnedFd,
    of: &str,
    name: &CStr,
    mut row: impl FnMut(&mut Session, &[u8]) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    let path = format!("{of}/{}", name.to_string_lossy());
    let text = match read_at(root, name, FILE_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let item = session.item(Kind::Record, path, of_method(of), Status::Skipped);
            return session.note(item.because("this kernel has no such file"));
        }
        Err(error) => return session.unreadable(path, &error),
    };
    for line in lines(&text).take(LINES_MAX) {
        row(session, line)?;
    }
    if lines(&text).count() > LINES_MAX {
        session.limited(format!("only the first {LINES_MAX} lines of {path} are rows; the text is whole"))?;
    }
    if text.is_empty() {
        return Ok(());
    }
    let raw = format!("{}.txt", path.replace('/', "-"));
    session.raw(path, of_method(of), raw, text)
}

fn of_method(of: &str) -> &'static str {
    if of == "debugfs" { "debugfs" } else { "tracefs" }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A word `[name]`.
fn bracketed(word: &[u8]) -> Option<&[u8]> {
    word.strip_prefix(b"[")?.strip_suffix(b"]")
}

/// `p:GROUP/EVENT TARGET ARGUMENTS…`, where a number may stand behind p or r.
fn probe(line: &[u8]) -> Option<ProbeRow<'_>> {
    let mut words = words(line);
    let head = words.next()?;
    let colon = head.iter().position(|byte| *byte == b':')?;
    Some(ProbeRow {
        event: Text(head.get(colon + 1..)?),
        kind: Text(head.get(..colon)?),
        record: "trace_probe",
        target: Text(words.next().unwrap_or_default()),
        arguments: words.map(Text).collect(),
    })
}

/// `ADDRESS  TYPE  FUNCTION+OFFSET  MODULE [FLAG]…`
fn kprobe(line: &[u8]) -> Option<KprobeRow<'_>> {
    let mut words = words(line);
    let (address, kind, target) = (words.next()?, words.next()?, words.next()?);
    let mut row = KprobeRow {
        address_hex: Text(address),
        flags: Vec::new(),
        module: None,
        record: "kprobe",
        target: Text(target),
        kind: Text(kind),
    };
    for word in words {
        match bracketed(word) {
            Some(flag) => row.flags.push(Text(flag)),
            None => row.module = Some(Text(word)),
        }
    }
    Some(row)
}

/// `FUNCTION [MODULE] (N) LETTERS … CALLBACK+0x0/0x10 [MODULE] …`
fn function(line: &[u8]) -> Option<FunctionRow<'_>> {
    let mut words = words(line).peekable();
    let function = words.next()?;
    let module = words.next_if(|word| bracketed(word).is_some()).and_then(bracketed);
    let mut owners: Vec<&[u8]> =
        words.filter_map(|word| bracketed(word.trim_ascii_end().strip_suffix(b")").unwrap_or(word))).collect();
    owners.sort_unstable();
    owners.dedup();
    Some(FunctionRow {
        function: Text(function),
        line: Text(line),
        module: module.map(Text),
        owners: owners.into_iter().map(Text).collect(),
        record: "ftrace_function",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(row: Option<impl Serialize>) -> serde_json::Value {
        serde_json::to_value(row.unwrap()).unwrap()
    }

    #[test]
    fn events_and_kprobes() {
        let row = json(probe(b"p:kprobes/open do_sys_open dfd=%ax file=+0(%dx):string"));
        assert_eq!(
            (&row["type"], &row["event"], &row["target"]),
            (&"p".into(), &"kprobes/open".into(), &"do_sys_open".into())
        );
        assert_eq!(row["arguments"].as_array().unwrap().len(), 2);
        let row = json(probe(b"r16:u/x /bin/bash:0x4245c0"));
        assert_eq!((&row["type"], &row["target"]), (&"r16".into(), &"/bin/bash:0x4245c0".into()));
        assert!(probe(b"no head").is_none());
        let row = json(kprobe(b"ffffffffc0a00000  k  hook+0x0  rk [DISABLED][FTRACE]"));
        assert_eq!((&row["module"], &row["target"]), (&"rk".into(), &"hook+0x0".into()));
        assert!(json(kprobe(b"0000000000000000  r  do_exit+0x0    [FTRACE]"))["module"].is_null());
        assert!(kprobe(b"x").is_none());
    }

    #[test]
    fn a_hook_names_the_module_of_its_callback() {
        let line = b"__x64_sys_getdents64 (1) R I    \ttramp: 0xffffffffc0561000 (fh_ftrace_thunk+0x0/0x60 [rk]) ->ftrace_ops_assist_func+0x0/0xf0";
        let row = json(function(line));
        assert_eq!((&row["function"], &row["module"]), (&"__x64_sys_getdents64".into(), &serde_json::Value::Null));
        assert_eq!(row["owners"], serde_json::json!(["rk"]));
        let row = json(function(b"xfs_read [xfs] (1) R   ->0xffffffffc0561000"));
        assert_eq!((&row["module"], &row["owners"]), (&"xfs".into(), &serde_json::json!([])));
    }
}
