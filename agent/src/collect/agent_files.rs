//! What collects: the agent's own program as it runs, and the files that say how it is started and whom it obeys. Who
//! replaced the agent, or gave its unit a drop-in, is seen by comparing this with what was installed.
//!
//! Rows: `agent_program`, one for the image that runs, read through `/proc/self/exe` and so the right one also where
//! another file has its name by now; `agent_file`, one for each file: the one at the program's path, units and their
//! drop-ins, `/etc/holdfast`, and the state folder, whose files are secret and have no digest. A program that was tampered
//! with may say whatever it likes of itself: this is worth what the signature of the bundle is worth.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use bundle::item::{Nanos, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{Sha256, Tier};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::files::digest::digest;
use crate::files::file_row::{FileRow, Look};
use crate::files::gather::Request;
use crate::host::Host;
use crate::host::glob::Glob;
use crate::run::session::{Session, Stopped};
use crate::state;

/// The program that runs.
const SELF: &str = "/proc/self/exe";
/// Units and their drop-ins, in the order in which systemd.unit(5) looks, and the site's files.
const FILES: [&str; 6] = [
    "/{etc,run,usr/local/lib,usr/lib,lib}/systemd/system/holdfast-*.{service,path,socket,timer}",
    "/{etc,run,usr/local/lib,usr/lib,lib}/systemd/system/holdfast-*.{service,path,socket,timer}.d/*",
    "/run/systemd/{transient,system.control}/holdfast-*",
    "/run/systemd/{transient,system.control}/holdfast-*.d/*",
    "/etc/systemd/system/{service,path,socket,timer}.d/*",
    "/etc/holdfast/**",
];
/// No program of ours is longer.
const PROGRAM_BYTES_MAX: u64 = 1 << 30;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentFiles {}

/// The program that runs.
#[derive(Debug, Serialize, JsonSchema)]
struct ProgramRow {
    /// Last change of its inode.
    ctime_ns: Nanos,
    /// Its group.
    gid: u32,
    /// Inode number.
    inode: u64,
    /// `st_mode` as seven octal digits.
    mode: String,
    /// Last change of its content.
    mtime_ns: Nanos,
    /// Names that it still has: none when it was removed or replaced since it was started.
    nlink: u64,
    /// The path that the kernel has for it.
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// Always `agent_program`.
    record: &'static str,
    /// Digest of all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
    /// Size in bytes.
    size: u64,
    /// Its user.
    uid: u32,
    /// Its version.
    version: &'static str,
}

impl Collect for AgentFiles {
    const NAME: &'static str = "agent_files";
    const TIER: Tier = Tier::System;
    const SUMMARY: &'static str = "The agent's own program, its units with their drop-ins, and its configuration.";
    const NEEDS: &'static [&'static str] = &["root"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut files = FILES.map(str::to_owned).to_vec();
        if session.host().is_live()
            && let Some(path) = program(session)?.to_str()
        {
            files.push(Glob::escape(path));
        }
        of(session, &files, true)?;
        let state = state::folder();
        let Some(state) = state.to_str().filter(|_| session.host().is_live()) else { return Ok(()) };
        of(session, &[Glob::escape(state), format!("{}/*", Glob::escape(state))], false)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<ProgramRow>("agent_program", "proc_pid_exe(5), stat(2)"),
            RowType::of::<FileRow>("agent_file", "statx(2), systemd.unit(5)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads = FILES.iter().copied().chain([SELF]).map(str::to_owned).collect();
        Plan { reads, ..Plan::default() }
    }
}

/// Hands over a row for the program, and answers its path.
fn program(session: &mut Session) -> Result<PathBuf, Stopped> {
    let read = || {
        let path = std::fs::read_link(SELF)?;
        let file = File::open(SELF)?;
        let stat = file.metadata()?;
        Ok((path, file, stat))
    };
    let (path, file, stat) = match read() {
        Ok(read) => read,
        Err(error) => return session.unreadable(SELF, &error).map(|()| PathBuf::new()),
    };
    let digested = digest(session, file.as_fd(), stat.len(), PROGRAM_BYTES_MAX)?;
    let time = |secs: i64, nsec: i64| Nanos(i128::from(secs) * 1_000_000_000 + i128::from(nsec));
    let (shown_path, path_b64) = shown(path.as_os_str().as_encoded_bytes());
    session.row(&ProgramRow {
        ctime_ns: time(stat.ctime(), stat.ctime_nsec()),
        gid: stat.gid(),
        inode: stat.ino(),
        mode: format!("{:07o}", stat.mode()),
        mtime_ns: time(stat.mtime(), stat.mtime_nsec()),
        nlink: stat.nlink(),
        path: shown_path,
        path_b64,
        record: "agent_program",
        sha256: digested.sha256,
        size: stat.len(),
        uid: stat.uid(),
        version: env!("CARGO_PKG_VERSION"),
    })?;
    Ok(path)
}

/// A row for each file that these name; its digest where it is no secret.
fn of(session: &mut Session, globs: &[String], has_digests: bool) -> Result<(), Failure> {
    let globs: Vec<Glob> = globs.iter().filter_map(|glob| Glob::parse(glob).ok()).collect();
    Request::of(&globs).each(session, |session, entry, asked| {
        if asked.is_empty() {
            return Ok(());
        }
        let mut row = FileRow::of("agent_file", entry);
        if has_digests {
            row.look(session, entry, Look { digest_bytes_max: PROGRAM_BYTES_MAX, is_text_searched: false })?;
        }
        session.row(&row)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::testing::{assert_keys_sorted, collect, rows};

    #[test]
    fn units_drop_ins_and_configuration_of_a_tree() {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("usr/lib/systemd/system/holdfast-agent.service", "[Service]\nExecStart=/usr/bin/holdfast-agent run\n"),
            ("etc/systemd/system/holdfast-agent.service.d/evil.conf", "[Service]\nExecStartPre=/tmp/x\n"),
            ("etc/systemd/system/service.d/all.conf", "[Service]\n"),
            ("etc/systemd/system/cron.service", "[Service]\n"),
            ("etc/holdfast/policy.toml", "[collect]\n"),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let messages = collect(&AgentFiles {}, Arc::new(Host::at(root.path(), FixedClock(bundle::time::Instant(0)))));
        assert_keys_sorted(&messages);
        let mut found: Vec<(String, String)> = rows(&messages)
            .iter()
            .filter(|row| row["type"] == "file")
            .map(|row| (row["path"].as_str().unwrap().to_owned(), row["sha256"].as_str().unwrap().to_owned()))
            .collect();
        found.sort();
        let of = |content: &str| Sha256::of(content.as_bytes()).to_string();
        assert_eq!(
            found,
            [
                ("/etc/holdfast/policy.toml".to_owned(), of("[collect]\n")),
                (
                    "/etc/systemd/system/holdfast-agent.service.d/evil.conf".to_owned(),
                    of("[Service]\nExecStartPre=/tmp/x\n")
                ),
                ("/etc/systemd/system/service.d/all.conf".to_owned(), of("[Service]\n")),
                (
                    "/usr/lib/systemd/system/holdfast-agent.service".to_owned(),
                    of("[Service]\nExecStart=/usr/bin/holdfast-agent run\n")
                ),
            ]
        );
    }

    #[test]
    fn the_program_that_runs_is_told_with_its_digest() {
        let messages = collect(&AgentFiles {}, Arc::new(Host::live()));
        let rows = rows(&messages);
        let program = rows.iter().find(|row| row["record"] == "agent_program").unwrap();
        let content = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(program["sha256"], Sha256::of(&content).to_string());
        assert_eq!(program["size"], content.len());
        let path = Path::new(program["path"].as_str().unwrap());
        let at_path = rows.iter().find(|row| row["record"] == "agent_file" && row["path"] == path.to_str().unwrap());
        assert_eq!(at_path.unwrap()["sha256"], program["sha256"]);
    }
}
