//! `triage` against `tar czf` of the same files, hashing, signing and all that is volatile included.
//!
//! A machine that builds software has next to no logs, and the comparison would be one of starting processes. As root
//! both sides therefore see a made-up /var/log, in a mount namespace that ends with each of them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::Value;

use super::{Bench, ROUNDS, Row, median};
use crate::shell::{output, run};

/// Four long logs and many short ones.
const LONG_BYTES: usize = 40 << 20;
const LONG: usize = 4;
const SHORT_BYTES: usize = 128 << 10;
const SHORT: usize = 400;

/// See the module.
pub(super) fn compare(bench: &Bench) -> anyhow::Result<Row> {
    let is_root = nix::unistd::geteuid().is_root();
    let logs = bench.folder.path().join("log");
    if is_root {
        make_logs(&logs)?;
    } else {
        println!("   not root: the logs of this host, as far as you may read them, are all there is");
    }
    let inside = |command: &Command| if is_root { with_logs(&logs, command) } else { again(command) };
    let first: Value = serde_json::from_str(&output(&mut inside(&bench.collect("triage", "triage")))?)?;
    let bundle = first["path"].as_str().context("the agent says where the bundle lies")?;
    let list = bench.folder.path().join("files");
    let (files, bytes) = write_list(Path::new(bundle), &list)?;
    println!("   {files} files, {} MiB", bytes >> 20);
    let archive = bench.folder.path().join("baseline.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&archive).args(["--no-recursion", "-P", "--null", "-T"]).arg(&list);
    let (mut baseline, mut subject) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        baseline.push(timed(&inside(&tar))?);
        subject.push(timed(&inside(&bench.collect("triage", &format!("triage-{round}"))))?);
    }
    let what = "triage : tar czf of the files in it";
    Ok(Row { what, baseline: median(baseline), subject: median(subject), aim: "at most 0.33" })
}

fn timed(command: &Command) -> anyhow::Result<u64> {
    let mut command = again(command);
    command.stdout(Stdio::null()).stderr(Stdio::inherit());
    let started = Instant::now();
    run(&mut command)?;
    Ok(u64::try_from(started.elapsed().as_nanos())?)
}

/// The same command once more; a `Command` cannot be cloned.
fn again(command: &Command) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args());
    for (name, value) in command.get_envs() {
        again.env(name, value.unwrap_or_default());
    }
    again.stderr(Stdio::null());
    again
}

/// The command, to which `logs` are /var/log.
fn with_logs(logs: &Path, command: &Command) -> Command {
    let mut inside = again(command);
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", "mount --bind \"$0\" /var/log && exec \"$@\""]).arg(logs);
    unshare.arg(inside.get_program()).args(inside.get_args());
    for (name, value) in inside.get_envs() {
        unshare.env(name, value.unwrap_or_default());
    }
    inside = unshare;
    inside.stderr(Stdio::null());
    inside
}

/// The paths of the host's files whose content is in the bundle, each ended by NUL.
fn write_list(bundle: &Path, list: &Path) -> anyhow::Result<(u64, u64)> {
    let mut unzip = Command::new("unzip");
    unzip.arg("-p").arg(bundle).arg("data/items/*");
    let items = output(&mut unzip)?;
    let mut names = String::new();
    let (mut files, mut bytes) = (0, 0);
    for line in items.lines() {
        let item: Value = serde_json::from_str(line)?;
        // What is hidden under a mount, or has a name that is no text, tar could not be asked for in a list.
        let is_at_its_path = item["reason"].is_null() && item["path_b64"].is_null();
        let is_stored =
            item["kind"] == "file" && item["stored"].as_str().is_some_and(|name| name.starts_with("[root]/"));
        if let (true, Some(path)) = (is_stored && is_at_its_path, item["path"].as_str()) {
            write!(names, "{path}\0")?;
            files += 1;
            bytes += item["size"].as_u64().unwrap_or(0);
        }
    }
    fs::write(list, names)?;
    Ok((files, bytes))
}

fn make_logs(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut lines = Lines(1);
    let mut write = |name: String, bytes: usize| -> anyhow::Result<()> {
        let path: PathBuf = folder.join(name);
        fs::write(path, lines.text(bytes))?;
        Ok(())
    };
    for number in 0..LONG {
        write(if number == 0 { "syslog".into() } else { format!("syslog.{number}") }, LONG_BYTES)?;
    }
    for number in 0..SHORT {
        write(format!("service-{number}.log"), SHORT_BYTES)?;
    }
    Ok(())
}

/// Lines like those of a busy host: much the same words, never the same numbers.
struct Lines(u64);

impl Lines {
    fn text(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 256);
        while text.len() < bytes {
            // xorshift64: the same text in each run.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let n = self.0;
            let (hour, minute, second, micro) = (n % 24, n / 24 % 60, n / 1440 % 60, n / 86_400 % 1_000_000);
            let (pid, port, a, b) = (n >> 20 & 0x7fff, n >> 35 & 0xffff, n >> 51 & 0xff, n >> 56);
            let service = ["sshd", "systemd", "nginx", "cron", "kernel"][usize::try_from(n % 5).unwrap_or(0)];
            let _ = writeln!(
                text,
                "2026-11-21T{hour:02}:{minute:02}:{second:02}.{micro:06}+00:00 web-1 {service}[{pid}]: connection from \
                 10.0.{a}.{b} port {port} closed, session {n:016x}"
            );
        }
        text
    }
}
