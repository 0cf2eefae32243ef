//! Sockets that some of the kernel's answers show and others do not.
//!
//! In every network namespace the tables of `/proc/net` are compared with what the kernel tells over netlink
//! (sock_diag(7)), and both with the descriptors of all processes. A row is a socket that only one of the two lists, one
//! that nobody holds (its process is hidden, or the kernel itself made it), or one that a process holds and that should
//! be listed and is not: its descriptor is copied for a moment (pidfd_getfd(2)) and asked for its address and its
//! namespace, which sends and changes nothing. The copy keeps the socket open for some microseconds if its owner closes
//! it just then.
//!
//! What comes and goes meanwhile is no disagreement: what stands out is looked at three times, in both orders, and only
//! what stays the same is a row.
//!
//! Each family of netlink is answered by a module of its own, and the kernel runs modprobe for one that is not loaded.
//! An examination loads nothing: a family whose module is not there is not asked, and an item says so. The descriptors
//! then are the second witness.
//!
//! Known limits: sockets without a file (TIME_WAIT, connections that nobody accepted yet) have no inode to compare by.
//! In a PID namespace of its own the agent does not see who holds what others hold: `sees_all_processes` tells. Where
//! descriptors of a process could not be read at all, sockets without an owner are counted and not told one by one.

mod compare;
mod owned;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bundle::item::{Kind, Status, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use self::compare::{Comparison, Listed};
use self::owned::Answer;
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::net_census::{Census, Holder};
use crate::host::netns::{Door, NetNamespace};
use crate::host::sock_diag::FAMILIES;
use crate::run::session::Session;

/// Rows of disagreements.
const ROWS_MAX: usize = 1 << 14;
/// Holders that a row names.
const HOLDERS_MAX: usize = 16;
/// Sockets whose owners are asked.
const ASKED_MAX: usize = 1 << 14;
/// Rounds in which a disagreement must stay the same.
const ROUNDS: usize = 3;
/// Inode of the first PID namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h).
const FIRST_PID_NAMESPACE: &[u8] = b"pid:[4026531836]";

/// The collector `hidden_sockets`; it has no arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HiddenSockets {}

/// A socket on which the views disagree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
struct SocketRow {
    /// What is odd: `not_in_proc` (netlink tells it, /proc/net does not list it), `not_in_diag` (the other way round),
    /// `no_owner` (listed, and no process holds it), `held_not_listed` (a process holds it, it should be listed, and
    /// neither lists it), `namespace_unreached` (a process holds it, in a network namespace that nothing else leads to).
    disagreements: Vec<&'static str>,
    /// True when netlink tells it; absent where the family could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_diag: Option<bool>,
    /// True when /proc/net lists it.
    in_proc: bool,
    /// Inode on sockfs.
    inode: u64,
    /// Local address.
    #[serde(skip_serializing_if = "Option::is_none")]
    local_address: Option<IpAddr>,
    /// Local port; the IP protocol of a raw socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    local_port: Option<u16>,
    /// Inode of its network namespace.
    netns: u64,
    /// The processes that hold it, at most sixteen.
    owners: Vec<Holder>,
    /// Unix: its name; an abstract name begins with `@`.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// The table of /proc/net where it is, or would be: tcp, tcp6, udp …
    protocol: String,
    /// `socket`.
    record: &'static str,
    /// Remote address.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_address: Option<IpAddr>,
    /// Remote port.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_port: Option<u16>,
    /// False when the agent lives in a PID namespace of its own: somebody outside may hold it.
    sees_all_processes: bool,
    /// By name.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u64>,
}

/// A network namespace, and what was compared in it.
#[derive(Debug, Serialize, JsonSchema)]
struct NamespaceRow {
    /// Disagreements that a second look explained: sockets that came or went meanwhile.
    explained: usize,
    /// Inode of its link, `/proc/PID/ns/net`.
    netns: u64,
    /// `namespace`.
    record: &'static str,
    /// False when processes may hold sockets here that the agent cannot see: it lives in a PID namespace of its own, or
    /// descriptors of some could not be read.
    sees_all_processes: bool,
    /// What each view has, by table.
    tables: Vec<TableCount>,
    /// Sockets that nobody was seen to hold, the kernel's own netlink sockets left out.
    unowned: usize,
}

/// What each view has of one table, sockets without an inode left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TableCount {
    /// Sockets that netlink tells; absent where it could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    diag: Option<usize>,
    /// The table.
    file: &'static str,
    /// Sockets that /proc/net lists; absent where there is no such table.
    #[serde(skip_serializing_if = "Option::is_none")]
    proc: Option<usize>,
}

impl Collect for HiddenSockets {
    const NAME: &'static str = "hidden_sockets";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Sockets on which /proc/net, sock_diag and the descriptors of processes disagree";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_NET_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        if !session.host().is_live() {
            let item = session.item(Kind::Record, *b"/proc/net", "netlink", Status::Skipped);
            return Ok(session.note(item.because("only a live host has sockets"))?);
        }
        let host = session.host().clone();
        let askable = compare::askable(session, &host)?;
        let census = Census::take(session)?;
        let mut search = Search { sees_all: is_in_first_pid_namespace(), ..Search::default() };
        search.begin(session, census.unread)?;
        for namespace in census.namespaces.values() {
            session.go_on()?;
            match Comparison::of(session, &host, namespace, &askable)? {
                Some(comparison) => search.namespace(session, &host, &census, namespace, comparison)?,
                None => unentered(session, namespace)?,
            }
        }
        search.held_not_listed(session, &host, &census)?;
        search.owners_again(session)?;
        search.finish(session)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<SocketRow>("socket", "proc_net(5), sock_diag(7), pidfd_getfd(2), proc_pid_fd(5)"),
            RowType::of::<NamespaceRow>("namespace", "network_namespaces(7)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let files: Vec<_> = FAMILIES.iter().map(|family| family.file).collect();
        Plan {
            reads: vec![
                "/proc/*/fd, /proc/*/ns/net".into(),
                format!("/proc/*/net/{{{}}}", files.join(",")),
                "netlink SOCK_DIAG_BY_FAMILY, for modules that are loaded".into(),
                "getsockname of sockets that are not listed (pidfd_getfd)".into(),
            ],
            ..Plan::default()
        }
    }
}

fn unentered(session: &mut Session, namespace: &NetNamespace) -> Result<(), Failure> {
    let path = namespace.doors.first().map_or_else(|| b"/proc".to_vec(), Door::path);
    let item = session.item(Kind::Record, path, "setns", Status::Error);
    Ok(session.note(item.because(format!("network namespace {} could not be entered", namespace.inode)))?)
}

fn is_in_first_pid_namespace() -> bool {
    let own = rustix::fs::readlink("/proc/self/ns/pid", Vec::new());
    own.is_ok_and(|own| own.to_bytes() == FIRST_PID_NAMESPACE)
}

/// What was found so far.
#[derive(Default)]
struct Search {
    rows: Vec<SocketRow>,
    namespaces: Vec<NamespaceRow>,
    listed: BTreeSet<u32>,
    /// Processes whose descriptors could not be read.
    unread: usize,
    sees_all: bool,
}

impl Search {
    fn begin(&mut self, session: &mut Session, unread: usize) -> Result<(), Failure> {
        self.unread = unread;
        if unread > 0 {
            let item = session.item(Kind::Record, *b"/proc/*/fd", "procfs", Status::Denied);
            let reason = format!(
                "descriptors of {unread} processes could not be read: sockets that nobody was seen to hold are only counted"
            );
            session.note(item.because(reason))?;
        }
        Ok(())
    }

    fn namespace(
        &mut self,
        session: &mut Session,
        host: &Host,
        census: &Census,
        namespace: &NetNamespace,
        first: Comparison,
    ) -> Result<(), Failure> {
        self.listed.extend(first.inodes());
        let mut odd = first.odd(|inode| !census.owners(u64::from(inode)).is_empty());
        let before = odd.len();
        let (tables, askable) = (first.counts(), first.askable().to_vec());
        let mut last = first;
        for _ in 1..ROUNDS {
            if odd.is_empty() {
                break;
            }
            let Some(again) = last.again(session, host, namespace, &askable)? else { break };
            self.listed.extend(again.inodes());
            let now = again.odd(|inode| !census.owners(u64::from(inode)).is_empty());
            odd.retain(|key, found| now.get(key) == Some(found));
            last = again;
        }
        let explained = before - odd.len();
        let sees_all_processes = self.sees_all && self.unread == 0;
        let (netns, record) = (namespace.inode, "namespace");
        let unowned = odd.values().filter(|names| names.contains(&"no_owner")).count();
        self.namespaces.push(NamespaceRow { explained, netns, record, sees_all_processes, tables, unowned });
        for ((file, inode), mut disagreements) in odd {
            if self.unread > 0 {
                disagreements.retain(|name| *name != "no_owner");
            }
            if disagreements.is_empty() {
                continue;
            }
            if self.rows.len() == ROWS_MAX {
                session.limited(format!("more than {ROWS_MAX} sockets on which the views disagree"))?;
                break;
            }
            let listed = last.facts(file, inode);
            let mut row = row_of(file, inode, netns, disagreements, listed);
            row.sees_all_processes = sees_all_processes;
            row.owners = census.holders(u64::from(inode), HOLDERS_MAX);
            (row.in_proc, row.in_diag) = last.has(file, inode);
            self.rows.push(row);
        }
        Ok(())
    }

    /// Asks the sockets that processes hold and that no table and no family has.
    fn held_not_listed(&mut self, session: &mut Session, host: &Host, census: &Census) -> Result<(), Failure> {
        let mut asked = 0;
        for held in census.held.chunk_by(|a, b| a.inode == b.inode) {
            session.go_on()?;
            let Some(first) = held.first() else { continue };
            let inode = low(first.inode);
            if self.listed.contains(&inode) || self.rows.len() == ROWS_MAX {
                continue;
            }
            if asked == ASKED_MAX {
                session.limited(format!("more than {ASKED_MAX} sockets that no table lists"))?;
                break;
            }
            asked += 1;
            let Some(answer) = held.iter().take(8).find_map(owned::ask) else { continue };
            let is_reached = answer.netns.is_none_or(|netns| census.namespaces.contains_key(&netns));
            let mut disagreements = Vec::new();
            if !is_reached {
                disagreements.push("namespace_unreached");
            } else if answer.should_be_listed && !self.is_listed_now(session, host, census, &answer, inode)? {
                disagreements.push("held_not_listed");
            }
            // Asked once more: a socket that was closed and one that was only now bound say something else.
            if disagreements.is_empty() || held.iter().take(8).find_map(owned::ask).as_ref() != Some(&answer) {
                continue;
            }
            self.rows.push(SocketRow {
                disagreements,
                in_diag: None,
                in_proc: false,
                inode: first.inode,
                local_address: answer.local.map(|(address, _)| address),
                local_port: answer.local.map(|(_, port)| port),
                netns: answer.netns.unwrap_or(0),
                owners: census.holders(u64::from(inode), HOLDERS_MAX),
                path: answer.path.clone(),
                path_b64: None,
                protocol: answer.protocol.clone(),
                record: "socket",
                remote_address: answer.remote.map(|(address, _)| address),
                remote_port: answer.remote.map(|(_, port)| port),
                sees_all_processes: self.sees_all && self.unread == 0,
                state: None,
                uid: None,
            });
        }
        Ok(())
    }

    /// Reads the tables of its namespace once more: it may have been bound after they were read.
    fn is_listed_now(
        &mut self,
        session: &mut Session,
        host: &Host,
        census: &Census,
        answer: &Answer,
        inode: u32,
    ) -> Result<bool, Failure> {
        // Without the namespace's number all of them may have it; it is then not claimed to be hidden.
        let Some(namespace) = answer.netns.and_then(|netns| census.namespaces.get(&netns)) else { return Ok(true) };
        let Some(again) = Comparison::of(session, host, namespace, &[])? else { return Ok(true) };
        self.listed.extend(again.inodes());
        Ok(self.listed.contains(&inode))
    }

    /// Looks for the owners of what nobody held once more: it may have been opened after the descriptors were read.
    fn owners_again(&mut self, session: &mut Session) -> Result<(), Failure> {
        let is_unowned = |row: &SocketRow| row.disagreements.contains(&"no_owner");
        if !self.rows.iter().any(is_unowned) {
            return Ok(());
        }
        let census = Census::take(session)?;
        for row in &mut self.rows {
            if row.disagreements.contains(&"no_owner") {
                row.owners = census.holders(row.inode, HOLDERS_MAX);
                if !row.owners.is_empty() {
                    row.disagreements.retain(|name| *name != "no_owner");
                }
            }
        }
        self.rows.retain(|row| !row.disagreements.is_empty());
        Ok(())
    }

    fn finish(self, session: &mut Session) -> Result<(), Failure> {
        for row in &self.rows {
            session.row(row)?;
        }
        for row in &self.namespaces {
            session.row(row)?;
        }
        Ok(())
    }
}

/// Inodes on sockfs have 32 bits (get_next_ino).
fn low(inode: u64) -> u32 {
    u32::try_from(inode & u64::from(u32::MAX)).unwrap_or(0)
}

fn row_of(
    file: &'static str,
    inode: u32,
    netns: u64,
    disagreements: Vec<&'static str>,
    listed: Option<Listed>,
) -> SocketRow {
    let listed = listed.unwrap_or_default();
    let (path, path_b64) = listed.name.map_or((None, None), |name| {
        let (text, exact) = shown(&name);
        (Some(text), exact)
    });
    SocketRow {
        disagreements,
        inode: u64::from(inode),
        local_address: listed.local.map(|(address, _)| address),
        local_port: listed.local.map(|(_, port)| port),
        netns,
        path,
        path_b64,
        protocol: file.to_owned(),
        record: "socket",
        remote_address: listed.remote.map(|(address, _)| address),
        remote_port: listed.remote.map(|(_, port)| port),
        state: listed.state.map(str::to_owned),
        uid: listed.uid,
        ..SocketRow::default()
    }
}

/// What is odd in one namespace: by table and inode.
type Odd = BTreeMap<(&'static str, u32), Vec<&'static str>>;

#[cfg(test)]
mod tests;
