//! The agent starts no program and writes nowhere but to its output and its state folder, as strace sees it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Lab, Running, agent};

/// Calls that change the file system whatever their flags.
const CHANGING: &str = "creat,mkdir,mkdirat,mknod,mknodat,unlink,unlinkat,rmdir,rename,renameat,renameat2,link,linkat,\
    symlink,symlinkat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,truncate,utimensat,setxattr,lsetxattr,fsetxattr";

/// One traced call: `NAME(ARGUMENTS) = ANSWER`, paths behind descriptors in angle brackets (`strace -y`).
struct Call<'a> {
    line: &'a str,
    name: &'a str,
}

impl<'a> Call<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let call = line.split_once(' ')?.1.trim_start();
        let name = call.split_once('(')?.0;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then_some(Self { line, name })
    }

    fn opens_for_writing(&self) -> bool {
        self.name.starts_with("open")
            && ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"]
                .iter()
                .any(|flag| self.line.contains(flag))
    }
}

/// The lines of a trace, with calls that another thread interrupted put together again.
fn whole_lines(trace: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in trace.lines() {
        if line.contains("<unfinished ...>") {
            lines.push(line.replace(" <unfinished ...>", "").replace("<unfinished ...>", ""));
            continue;
        }
        if let Some((head, rest)) = line.split_once(" resumed>") {
            let pid = line.split(' ').next().unwrap();
            let name = head.rsplit(' ').next().unwrap();
            let begun = |begun: &&mut String| {
                begun.starts_with(&format!("{pid} ")) && begun.contains(&format!(" {name}(")) && !begun.contains(" = ")
            };
            if let Some(begun) = lines.iter_mut().rev().find(begun) {
                begun.push_str(rest);
                continue;
            }
        }
        lines.push(line.to_owned());
    }
    lines
}

#[test]
fn no_program_is_started_and_nothing_is_written_elsewhere() {
    let lab = Lab::new();
    lab.plant("a", "a");
    let profile = lab.profile(
        "name: test\ncollect:\n  - include: volatile\n  - collect: mounts\n  - collect: login_records\n  - collect: files\n    with: { paths: [\"TREE/**\", \"/etc/**\"] }\n",
    );
    let trace = lab.path("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "4096", "--seccomp-bpf", "-e"]);
    strace.arg(format!("trace=open,openat,openat2,execve,execveat,fork,vfork,{CHANGING}")).arg("-o").arg(&trace);
    let collect = lab.collect(profile).arg("--json").command();
    strace.arg(collect.get_program()).args(collect.get_args()).env("HOLDFAST_STATE_DIR", lab.path("state"));
    Running::start(&mut strace).wait(Duration::from_mins(5)).expect_code(0);

    let text = String::from_utf8_lossy(&fs::read(&trace).unwrap()).into_owned();
    let lines = whole_lines(&text);
    let calls: Vec<Call> = lines.iter().filter_map(|line| Call::parse(line)).collect();
    assert!(calls.len() > 100, "too little was traced to prove anything: {} calls", calls.len());
    let started: Vec<&str> = calls
        .iter()
        .filter(|call| call.name.starts_with("exec") || call.name.ends_with("fork"))
        .map(|call| call.line)
        .collect();
    assert_eq!(started.len(), 1, "{started:?}");
    assert!(started[0].contains(agent().to_str().unwrap()));
    let changing: Vec<&str> = CHANGING.split(',').map(str::trim).collect();
    let writes: Vec<&Call> =
        calls.iter().filter(|call| call.opens_for_writing() || changing.contains(&call.name)).collect();
    let is_ours = |call: &&&Call| [lab.out(), lab.path("state")].iter().any(|folder| names(call.line, folder));
    assert!(writes.iter().filter(is_ours).count() >= 3, "bundle, sidecar and key are written: {}", writes.len());
    let elsewhere: Vec<&str> = writes.iter().filter(|call| !is_ours(call)).map(|call| call.line).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

/// True when the call names something in the folder, or the folder.
fn names(line: &str, folder: &Path) -> bool {
    let folder = folder.to_str().unwrap();
    line.contains(&format!("\"{folder}/"))
        || line.contains(&format!("\"{folder}\""))
        || line.contains(&format!("<{folder}/"))
}

#[test]
fn a_call_is_read_from_its_line() {
    let lines = whole_lines(
        "12 openat(AT_FDCWD</x>, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3</etc/passwd>\n\
         13 openat(AT_FDCWD</x>, \"/tmp/a\", O_WRONLY|O_CREAT <unfinished ...>\n\
         12 unlink(\"/tmp/b\") = 0\n\
         13 <... openat resumed>, 0600) = 4</tmp/a>\n",
    );
    let calls: Vec<Call> = lines.iter().filter_map(|line| Call::parse(line)).collect();
    let seen: Vec<(&str, bool)> = calls.iter().map(|call| (call.name, call.opens_for_writing())).collect();
    assert_eq!(seen, [("openat", false), ("openat", true), ("unlink", false)]);
    assert!(names(calls[1].line, Path::new("/tmp")) && !names(calls[0].line, Path::new("/tmp")));
}
