//! What decides which packets pass, in every network namespace: nf_tables, the older iptables and ip6tables, IP sets.
//!
//! All of it is asked of the kernel itself (netlink, getsockopt(2)), so no program of the host is believed. Nothing is
//! asked of a part of the kernel that is not there, because asking would load its module; `firewall_subsystem` says which
//! parts there are.
//!
//! Rows: `firewall_subsystem`, `nft_table`, `nft_chain`, `nft_rule`, `nft_set`, `nft_element`, `nft_object`,
//! `nft_flowtable`, `iptables_chain`, `iptables_rule`, `ipset`, `ipset_element`. Raw: `netns-<inode>/nf_tables.bin` and
//! `ipset.bin`, the messages of all dumps as they came; `netns-<inode>/iptables-<family>-<table>.bin`, the memory of a
//! table (`ipt_getinfo`, `ipt_get_entries`).
//!
//! Known limits: arptables and ebtables of the older kind are named, not read; programs of BPF that filter are the
//! business of the collector `bpf`; a rule that was offloaded to a card counts there.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use bundle::item::{Kind, Status};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::netlink_dumps::Dumps;
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::kernel_part::Part;
use crate::host::net_census::namespaces;
use crate::host::netlink::{self, write_attribute};
use crate::host::netns::{Door, NetNamespace};
use crate::host::nf::{self, ipset, tables, xtables};
use crate::host::sys::net::{XtablesOption, xtables as xtables_option};
use crate::run::session::{Session, Stopped};

/// Rows of elements of one set.
const ELEMENTS_MAX: usize = 10_000;
/// Rows of elements of one namespace.
const ALL_ELEMENTS_MAX: usize = 100_000;
/// Sets whose elements are asked for, of one namespace.
const SETS_MAX: usize = 10_000;
/// The memory of one older table.
const TABLE_BYTES_MAX: usize = 64 << 20;
/// A table that changed while it was asked for is asked for again this often.
const TRIES: u32 = 3;
/// The lists of older tables have a line for each, of which there are five.
const NAMES_BYTES_MAX: u64 = 64 << 10;

/// The collector `firewall`; it has no arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Firewall {}

/// A part of the kernel that filters packets, in one namespace.
#[derive(Debug, Serialize, JsonSchema)]
struct SubsystemRow {
    /// nf_tables, ip_tables, ip6_tables, arp_tables, ip_set.
    name: &'static str,
    /// Inode of the network namespace.
    netns: u64,
    /// Whether it is there: loaded, built_in, unknown (the kernel loads no modules, so it was asked), not_loaded (it was
    /// not asked, because asking would load it), not_live.
    presence: &'static str,
    /// `firewall_subsystem`.
    record: &'static str,
    /// Tables or sets that it has in this namespace; absent where it was not asked or did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<u64>,
}

impl Collect for Firewall {
    const NAME: &'static str = "firewall";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "Rules of nf_tables and of the older iptables, sets and counters, of every namespace";
    const NEEDS: &'static [&'static str] = &["CAP_NET_ADMIN", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = session.host().clone();
        if !host.is_live() {
            let item = session.item(Kind::Record, "netlink/netfilter", "netlink", Status::Skipped);
            return Ok(session.note(item.because("only on a live host"))?);
        }
        let nfnetlink = Part::of(&host, "nfnetlink").may_be_asked();
        let of_nfnetlink = |module| match Part::of(&host, module) {
            part if nfnetlink || !part.may_be_asked() => part,
            _ => Part::NotLoaded,
        };
        let parts = Parts { nf_tables: of_nfnetlink("nf_tables"), ip_set: of_nfnetlink("ip_set") };
        for namespace in namespaces(session)?.iter() {
            session.go_on()?;
            of_namespace(session, namespace, &parts)?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<SubsystemRow>("firewall_subsystem", "/sys/module, /proc/net/ip_tables_names"),
            RowType::of::<tables::TableRow>("nft_table", "nft(8), include/uapi/linux/netfilter/nf_tables.h"),
            RowType::of::<tables::ChainRow>("nft_chain", "nft(8), include/uapi/linux/netfilter/nf_tables.h"),
            RowType::of::<tables::RuleRow>("nft_rule", "nft(8), include/uapi/linux/netfilter/nf_tables.h"),
            RowType::of::<tables::SetRow>("nft_set", "nft(8), include/uapi/linux/netfilter/nf_tables.h"),
            RowType::of::<tables::ElementRow>("nft_element", "nft(8), include/uapi/linux/netfilter/nf_tables.h"),
            RowType::of::<tables::ObjectRow>("nft_object", "nft(8), include/uapi/linux/netfilter/nf_tables.h"),
            RowType::of::<tables::FlowtableRow>("nft_flowtable", "nft(8), include/uapi/linux/netfilter/nf_tables.h"),
            RowType::of::<xtables::ChainRow>(
                "iptables_chain",
                "iptables-save(8), include/uapi/linux/netfilter_ipv4/ip_tables.h",
            ),
            RowType::of::<xtables::RuleRow>(
                "iptables_rule",
                "iptables-save(8), include/uapi/linux/netfilter_ipv4/ip_tables.h",
            ),
            RowType::of::<ipset::SetRow>("ipset", "ipset(8), include/uapi/linux/netfilter/ipset/ip_set.h"),
            RowType::of::<ipset::ElementRow>("ipset_element", "ipset(8), include/uapi/linux/netfilter/ipset/ip_set.h"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads = ["netlink NFNL_SUBSYS_NFTABLES", "netlink NFNL_SUBSYS_IPSET", "getsockopt IPT_SO_GET_ENTRIES"];
        Plan { reads: reads.map(str::to_owned).into(), ..Plan::default() }
    }
}

/// What of netfilter's netlink is there.
struct Parts {
    nf_tables: Part,
    ip_set: Part,
}

/// What is opened inside a namespace and read outside of it.
struct Opened {
    netfilter: Option<io::Result<OwnedFd>>,
    ipv4: io::Result<OwnedFd>,
    ipv6: Option<io::Result<OwnedFd>>,
}

fn of_namespace(session: &mut Session, namespace: &NetNamespace, parts: &Parts) -> Result<(), Failure> {
    let host = session.host().clone();
    let netns = namespace.inode;
    let asks_netlink = parts.nf_tables.may_be_asked() || parts.ip_set.may_be_asked();
    let older = older_tables(session, namespace)?;
    let asks_ipv6 = older.iter().any(|older| older.file == IPV6_NAMES && !older.names.is_empty());
    let entered = namespace.enter(&host, || Opened {
        netfilter: asks_netlink.then(|| netlink::open_protocol(netlink::NETFILTER)),
        ipv4: datagram(AddressFamily::INET),
        ipv6: asks_ipv6.then(|| datagram(AddressFamily::INET6)),
    });
    let opened = match entered {
        Ok(opened) => opened,
        Err(error) => {
            let path = namespace.doors.first().map_or_else(|| b"/proc".to_vec(), Door::path);
            let item = session.item(Kind::Record, path, "setns", Status::Error).failed(&error);
            session.note(item.because(format!("the firewall of network namespace {netns} was not asked")))?;
            return Ok(());
        }
    };
    let (mut nft, mut sets) = (None, None);
    match opened.netfilter {
        Some(Ok(socket)) => {
            if parts.nf_tables.may_be_asked() {
                nft = nf_tables(session, netns, &socket)?;
            }
            if parts.ip_set.may_be_asked() {
                sets = ip_sets(session, netns, &socket)?;
            }
        }
        Some(Err(error)) => session.unreadable(format!("netlink/netfilter/{netns}"), &error)?,
        None => {}
    }
    let row = |name, presence: Part, tables| SubsystemRow {
        name,
        netns,
        presence: presence.name(),
        record: "firewall_subsystem",
        tables,
    };
    session.row(&row("nf_tables", parts.nf_tables, nft))?;
    session.row(&row("ip_set", parts.ip_set, sets))?;
    for Older { file, names } in older {
        let (name, family, socket) = match file {
            IPV4_NAMES => ("ip_tables", nf::IPV4, Some(&opened.ipv4)),
            IPV6_NAMES => ("ip6_tables", nf::IPV6, opened.ipv6.as_ref()),
            _ => ("arp_tables", 0, None),
        };
        // The file is there when the part is.
        session.row(&row(name, Part::Loaded, Some(names.len() as u64)))?;
        for table in names {
            match socket {
                Some(Ok(socket)) => older_table(session, netns, family, &table, socket)?,
                Some(Err(error)) => session.unreadable(format!("socket/{name}/{table}"), error)?,
                None => {
                    let item = session.item(Kind::Record, format!("{name}/{table}"), "getsockopt", Status::Skipped);
                    session.note(item.because("tables of arptables are not read"))?;
                }
            }
        }
    }
    Ok(())
}

fn datagram(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

const IPV4_NAMES: &str = "ip_tables_names";
const IPV6_NAMES: &str = "ip6_tables_names";

/// The tables that one of the lists names.
struct Older {
    file: &'static str,
    names: Vec<String>,
}

/// Which older tables there are, by the lists under `/proc/net`: asking for another one would make it.
fn older_tables(session: &mut Session, namespace: &NetNamespace) -> Result<Vec<Older>, Failure> {
    let host = session.host().clone();
    let files = [IPV4_NAMES, IPV6_NAMES, "arp_tables_names"];
    let (folder, opened) = match namespace.open_files(&host, &files) {
        Ok(opened) => opened,
        Err(error) => {
            let path = namespace.doors.first().map_or_else(|| b"/proc".to_vec(), Door::path);
            session.unreadable(path, &error)?;
            return Ok(Vec::new());
        }
    };
    let mut found = Vec::new();
    for (file, opened) in files.into_iter().zip(opened) {
        let text = opened.and_then(|file| {
            let mut text = String::new();
            std::fs::File::from(file).take(NAMES_BYTES_MAX).read_to_string(&mut text)?;
            Ok(text)
        });
        match text {
            Ok(text) => found.push(Older { file, names: text.lines().map(str::to_owned).collect() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => session.unreadable([&folder, b"/".as_slice(), file.as_bytes()].concat(), &error)?,
        }
    }
    Ok(found)
}

/// Takes everything that nf_tables has in a namespace; `None` when it did not answer.
fn nf_tables(session: &mut Session, netns: u64, socket: &OwnedFd) -> Result<Option<u64>, Stopped> {
    let all = nf::header(nf::UNSPEC);
    let kind = |message| nf::kind(nf::NFTABLES, message);
    let mut dumps = Dumps::new(socket, "nf_tables", netns);

    let dump = dumps.ask(session, kind(tables::GET_TABLE), &all)?;
    let mut count = 0;
    for message in netlink::messages(&dump.bytes).filter(|message| message.kind >> 8 == nf::NFTABLES) {
        if let Some(row) = tables::table(netns, message.payload) {
            session.row(&row)?;
            count += 1;
        }
    }
    let answered = dump.error.is_none();
    dumps.tell(session, "NFT_MSG_GETTABLE", count, dump)?;
    if count == 0 {
        // An empty dump needs no file.
        return Ok(answered.then_some(0));
    }
    macro_rules! rows {
        ($name:literal, $message:expr, $read:expr) => {{
            let dump = dumps.ask(session, kind($message), &all)?;
            let mut rows = 0;
            for message in netlink::messages(&dump.bytes).filter(|message| message.kind >> 8 == nf::NFTABLES) {
                if let Some(row) = $read(message.payload) {
                    session.row(&row)?;
                    rows += 1;
                }
            }
            dumps.tell(session, $name, rows, dump)?;
        }};
    }
    rows!("NFT_MSG_GETCHAIN", tables::GET_CHAIN, |payload| tables::chain(netns, payload));
    // Sets come before rules, because an anonymous set is written where a rule uses it.
    let sets = sets(session, netns, &mut dumps)?;
    let mut numbers: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    rows!("NFT_MSG_GETRULE", tables::GET_RULE, |payload| {
        let mut row = tables::rule(netns, payload, &sets)?;
        let number = numbers.entry((row.family.to_string(), row.table.clone(), row.chain.clone())).or_default();
        *number += 1;
        row.number = *number;
        Some(row)
    });
    rows!("NFT_MSG_GETOBJ", tables::GET_OBJECT, |payload| tables::object(netns, payload));
    rows!("NFT_MSG_GETFLOWTABLE", tables::GET_FLOWTABLE, |payload| tables::flowtable(netns, payload));
    dumps.keep(session, "nf_tables.bin")?;
    Ok(Some(count))
}

fn sets(session: &mut Session, netns: u64, dumps: &mut Dumps<'_>) -> Result<tables::Sets, Stopped> {
    let kind = |message| nf::kind(nf::NFTABLES, message);
    let dump = dumps.ask(session, kind(tables::GET_SET), &nf::header(nf::UNSPEC))?;
    let listed: Vec<tables::Set> = netlink::messages(&dump.bytes)
        .filter(|message| message.kind >> 8 == nf::NFTABLES)
        .filter_map(|message| tables::set(netns, message.payload))
        .collect();
    dumps.tell(session, "NFT_MSG_GETSET", listed.len() as u64, dump)?;
    let mut known = tables::Sets::default();
    let mut left = ALL_ELEMENTS_MAX;
    for (at, mut set) in listed.into_iter().enumerate() {
        if at >= SETS_MAX {
            session.limited(format!("network namespace {netns} has more than {SETS_MAX} sets of nf_tables"))?;
            break;
        }
        let mut request = nf::header(set.family);
        write_attribute(&mut request, tables::ELEMENTS_OF_TABLE, &[set.table.as_slice(), b"\0"].concat());
        write_attribute(&mut request, tables::ELEMENTS_OF_SET, &[set.name.as_slice(), b"\0"].concat());
        let dump = dumps.ask(session, kind(tables::GET_ELEMENT), &request)?;
        let messages = netlink::messages(&dump.bytes).filter(|message| message.kind >> 8 == nf::NFTABLES);
        let elements = tables::elements(&set, messages.map(|message| message.payload));
        set.row.elements = elements.len() as u64;
        session.row(&set.row)?;
        let taken = elements.len().min(ELEMENTS_MAX).min(left);
        left -= taken;
        for element in elements.iter().take(taken) {
            session.row(element)?;
        }
        if taken < elements.len() {
            let rule = format!("{taken} of {} elements of set {} became rows", elements.len(), set.row.name);
            session.limited(rule)?;
        }
        known.add(&set, &elements);
        dumps.tell(session, "NFT_MSG_GETSETELEM", elements.len() as u64, dump)?;
    }
    Ok(known)
}

/// Takes the IP sets of a namespace; `None` when the kernel did not answer.
fn ip_sets(session: &mut Session, netns: u64, socket: &OwnedFd) -> Result<Option<u64>, Stopped> {
    let mut dumps = Dumps::new(socket, "ipset", netns);
    let dump = dumps.ask(session, nf::kind(nf::IPSET, ipset::LIST), &ipset::request())?;
    let (mut count, mut rows) = (0, 0);
    for message in netlink::messages(&dump.bytes).filter(|message| message.kind >> 8 == nf::IPSET) {
        let Some((set, elements)) = ipset::read(netns, message.payload) else { continue };
        if let Some(set) = set {
            session.row(&set)?;
            count += 1;
        }
        for element in elements {
            rows += 1;
            if rows <= ALL_ELEMENTS_MAX {
                session.row(&element)?;
            }
        }
    }
    if rows > ALL_ELEMENTS_MAX {
        session.limited(format!("{ALL_ELEMENTS_MAX} of {rows} elements of IP sets became rows"))?;
    }
    let answered = dump.error.is_none();
    dumps.tell(session, "IPSET_CMD_LIST", count, dump)?;
    if count > 0 {
        dumps.keep(session, "ipset.bin")?;
    }
    Ok(answered.then_some(count))
}

/// Takes a table of iptables or ip6tables that is there.
fn older_table(session: &mut Session, netns: u64, family: u8, name: &str, socket: &OwnedFd) -> Result<(), Stopped> {
    let path = format!("getsockopt/{netns}/{}/{name}", nf::family_name(family));
    let mut read = Err(io::Error::from(rustix::io::Errno::AGAIN));
    for _ in 0..TRIES {
        session.go_on()?;
        read = older_memory(family, name, socket);
        if read.as_ref().err().and_then(io::Error::raw_os_error) != Some(libc::EAGAIN) {
            break;
        }
    }
    let (head, memory) = match read {
        Ok(read) => read,
        Err(error) => {
            let item = session.item(Kind::Record, path, "getsockopt", Status::Error);
            return session.note(item.failed(&error));
        }
    };
    let entries = memory.get(xtables::ENTRIES_AT..).unwrap_or_default();
    let Some(info) = xtables::Info::read(&head) else { return Ok(()) };
    let table = xtables::read(netns, family, name, &info, entries);
    for chain in &table.chains {
        session.row(chain)?;
    }
    for rule in &table.rules {
        session.row(rule)?;
    }
    if !table.is_whole {
        session.limited(format!("{path}: not all entries became rows"))?;
    }
    let file = format!("netns-{netns}/iptables-{}-{name}.bin", nf::family_name(family));
    session.raw(path, "getsockopt", file, [head, memory].concat())
}

/// `ipt_getinfo` and `ipt_get_entries` of a table.
fn older_memory(family: u8, name: &str, socket: &OwnedFd) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let is_ipv6 = family == nf::IPV6;
    let mut head = vec![0; xtables::INFO_BYTES];
    // Of the 32 bytes of a name the last is a zero.
    if name.len() > 31 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let named = |buffer: &mut [u8]| {
        for (to, from) in buffer.iter_mut().zip(name.as_bytes()) {
            *to = *from;
        }
    };
    named(&mut head);
    xtables_option(socket, is_ipv6, XtablesOption::Info, &mut head)?;
    let info = xtables::Info::read(&head).ok_or(io::ErrorKind::InvalidData)?;
    let bytes = info.bytes as usize;
    if bytes > TABLE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut memory = vec![0; xtables::ENTRIES_AT + bytes];
    named(&mut memory);
    if let Some(place) = memory.get_mut(32..36) {
        place.copy_from_slice(&info.bytes.to_ne_bytes());
    }
    xtables_option(socket, is_ipv6, XtablesOption::Entries, &mut memory)?;
    Ok((head, memory))
}

#[cfg(test)]
mod tests;
