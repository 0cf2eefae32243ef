//! The connections that the kernel tracks, in every network namespace: who spoke with whom, how much, through which
//! translation of addresses, also where the process has ended and where the host only passed it on.
//!
//! They come from netlink; where that part of the kernel is not loaded, from `/proc/net/nf_conntrack`. Nothing is asked
//! of a part that is not there, because asking would load its module.
//!
//! Rows: `conntrack` (one for each namespace), `connection`. Raw: `netns-<inode>/conntrack.bin`, the messages as they
//! came, or `netns-<inode>/nf_conntrack`.

use std::io::{self, Read as _};

use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::netlink_dumps::Dumps;
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::kernel_part::Part;
use crate::host::net_census::namespaces;
use crate::host::netlink;
use crate::host::netns::{Door, NetNamespace};
use crate::host::nf::{self, conntrack};
use crate::host::tokens::lines;
use crate::run::session::{Session, Stopped};

/// The table as text: about 100,000 connections.
const TEXT_BYTES_MAX: u64 = 32 << 20;

/// The collector `conntrack`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conntrack {
    /// The most connections of one namespace that become rows: 100,000 when nothing is said.
    #[serde(default)]
    connections_max: Option<u64>,
}

const CONNECTIONS_MAX: u64 = 100_000;

/// The table of one namespace.
#[derive(Debug, Serialize, JsonSchema)]
struct TableRow {
    /// Connections that became rows.
    connections: u64,
    /// Inode of the network namespace.
    netns: u64,
    /// Whether nf_conntrack is there: loaded, built_in, unknown (the kernel loads no modules, so it was asked), not_loaded.
    presence: &'static str,
    /// `conntrack`.
    record: &'static str,
    /// netlink or procfs; absent where neither was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
}

impl Collect for Conntrack {
    const NAME: &'static str = "conntrack";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Connections that the kernel tracks, with translated addresses, of every namespace";
    const NEEDS: &'static [&'static str] = &["CAP_NET_ADMIN", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = session.host().clone();
        if !host.is_live() {
            let item = session.item(Kind::Record, "netlink/conntrack", "netlink", Status::Skipped);
            return Ok(session.note(item.because("only on a live host"))?);
        }
        let presence = Part::of(&host, "nf_conntrack");
        let netlink = presence.may_be_asked()
            && Part::of(&host, "nfnetlink").may_be_asked()
            && Part::of(&host, "nf_conntrack_netlink").may_be_asked();
        for namespace in namespaces(session)?.iter() {
            session.go_on()?;
            let mut table = TableRow {
                connections: 0,
                netns: namespace.inode,
                presence: presence.name(),
                record: "conntrack",
                source: None,
            };
            if netlink {
                self.by_netlink(session, namespace, &mut table)?;
            }
            if table.source.is_none() && presence.may_be_asked() {
                self.by_procfs(session, namespace, &mut table)?;
            }
            session.row(&table)?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<TableRow>("conntrack", "/sys/module/nf_conntrack"),
            RowType::of::<conntrack::Row>(
                "connection",
                "include/uapi/linux/netfilter/nfnetlink_conntrack.h, /proc/net/nf_conntrack",
            ),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan {
            reads: ["netlink IPCTNL_MSG_CT_GET", "/proc/net/nf_conntrack"].map(str::to_owned).into(),
            ..Plan::default()
        }
    }
}

impl Conntrack {
    fn by_netlink(&self, session: &mut Session, namespace: &NetNamespace, table: &mut TableRow) -> Result<(), Stopped> {
        let host = session.host().clone();
        let netns = namespace.inode;
        let socket = match namespace.enter(&host, || netlink::open_protocol(netlink::NETFILTER)) {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) | Err(error) => {
                let path = namespace.doors.first().map_or_else(|| b"/proc".to_vec(), Door::path);
                let item = session.item(Kind::Record, path, "setns", Status::Error).failed(&error);
                return session.note(item.because(format!("network namespace {netns}: /proc/net is read instead")));
            }
        };
        let mut dumps = Dumps::new(&socket, "conntrack", netns);
        let dump = dumps.ask(session, nf::kind(nf::CONNTRACK, conntrack::GET), &nf::header(nf::UNSPEC))?;
        let messages = netlink::messages(&dump.bytes).filter(|message| message.kind >> 8 == nf::CONNTRACK);
        let rows = messages.filter_map(|message| conntrack::read(netns, message.payload));
        self.rows_of(session, table, rows)?;
        if dump.error.is_none() || table.connections > 0 {
            table.source = Some("netlink");
        }
        dumps.tell(session, "IPCTNL_MSG_CT_GET", table.connections, dump)?;
        if table.connections > 0 { dumps.keep(session, "conntrack.bin") } else { Ok(()) }
    }

    fn by_procfs(&self, session: &mut Session, namespace: &NetNamespace, table: &mut TableRow) -> Result<(), Stopped> {
        let host = session.host().clone();
        let opened = namespace.open_files(&host, &["nf_conntrack"]);
        let (folder, file) = match opened {
            Ok((folder, mut files)) => (folder, files.pop()),
            Err(error) => {
                let path = namespace.doors.first().map_or_else(|| b"/proc".to_vec(), Door::path);
                return session.unreadable(path, &error);
            }
        };
        let path = [folder.as_slice(), b"/nf_conntrack"].concat();
        let read = file.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())).and_then(|file| {
            let mut text = Vec::new();
            std::fs::File::from(file).take(TEXT_BYTES_MAX).read_to_end(&mut text)?;
            Ok(text)
        });
        let text = match read {
            Ok(text) => text,
            Err(error) => return session.unreadable(path, &error),
        };
        table.source = Some("procfs");
        if text.len() as u64 == TEXT_BYTES_MAX {
            session.limited(format!("{} has {TEXT_BYTES_MAX} bytes or more", String::from_utf8_lossy(&path)))?;
        }
        let netns = table.netns;
        self.rows_of(session, table, lines(&text).filter_map(|line| conntrack::read_line(netns, line)))?;
        session.raw(path, "procfs", format!("netns-{netns}/nf_conntrack"), text)
    }

    fn rows_of(
        &self,
        session: &mut Session,
        table: &mut TableRow,
        rows: impl Iterator<Item = conntrack::Row>,
    ) -> Result<(), Stopped> {
        let most = self.connections_max.unwrap_or(CONNECTIONS_MAX);
        for row in rows {
            if table.connections >= most {
                let rule = format!("network namespace {}: more than {most} connections", table.netns);
                return session.limited(rule);
            }
            session.row(&row)?;
            table.connections += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netns::{link_inode, testing::held_namespace};
    use crate::host::regular::fd_path;
    use crate::run::testing::{assert_keys_sorted, collect, inside, rows};
    use std::sync::Arc;

    #[test]
    fn an_entry_of_a_namespace_comes_back() {
        let Some((held, _listener)) = held_namespace() else {
            println!("not tested: only root may make a network namespace");
            return;
        };
        let own = link_inode(&fd_path(&held)).unwrap();
        let entry = [
            "-I",
            "-s",
            "192.0.2.1",
            "-d",
            "192.0.2.2",
            "-p",
            "tcp",
            "--sport",
            "40000",
            "--dport",
            "31337",
            "--state",
            "ESTABLISHED",
            "-u",
            "SEEN_REPLY,ASSURED",
            "-t",
            "600",
            "-m",
            "5",
            "-r",
            "10.0.0.9",
            "-q",
            "192.0.2.1",
            "--reply-port-src",
            "8080",
            "--reply-port-dst",
            "40000",
        ];
        let has_entry = inside(&held, "conntrack", &entry, "");
        let messages = collect(&Conntrack::default(), Arc::new(Host::live()));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let mine: Vec<_> = rows.iter().filter(|row| row["netns"] == own).collect();
        let table = mine.iter().find(|row| row["record"] == "conntrack").unwrap();
        if has_entry {
            assert_eq!((&table["connections"], &table["source"]), (&1.into(), &"netlink".into()));
            let row = mine.iter().find(|row| row["record"] == "connection").unwrap();
            assert_eq!((&row["destination_port"], &row["state"]), (&31337.into(), &"established".into()));
            assert_eq!((&row["reply_source"], &row["is_translated"]), (&"10.0.0.9".into(), &true.into()));
            assert_eq!(row["mark"], 5);
            let none = collect(&Conntrack { connections_max: Some(0) }, Arc::new(Host::live()));
            assert!(none.iter().any(|message| matches!(message, crate::run::session::Message::Limited(_))));
        }
    }
}
