//! The tables of the older iptables and ip6tables (iptables-legacy), as rows: getsockopt(2) gives a table as one piece of
//! memory, an entry after the other (include/uapi/linux/netfilter/x_tables.h, netfilter_ipv4/ip_tables.h).
//!
//! Rules are written as iptables-save(8) writes them, as far as their matches and targets are known; what is not known is
//! named, and the entry's bytes stand beside. Layouts are those of a 64-bit kernel.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::netlink::{i32_at, text_of, u16_at, u16_be, u32_at, u64_at};
use super::value::{Kind, prefix_of, quoted};
use super::{IPV6, protocol_name};

/// Length of `ipt_getinfo`.
pub const INFO_BYTES: usize = 84;
/// Where the entries begin in `ipt_get_entries`.
pub const ENTRIES_AT: usize = 40;
/// Entries of one table that become rows.
pub const RULES_MAX: usize = 100_000;
const HOOKS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// What SO_GET_INFO says of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Info {
    /// Bytes of its entries.
    pub bytes: u32,
    /// Where the chain of each hook begins; `None` where the table has none.
    hooks: [Option<u32>; 5],
    /// The entry that is the policy of each hook.
    policies: [Option<u32>; 5],
}

impl Info {
    /// Reads `ipt_getinfo`.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let valid = u32_at(bytes, 32)?;
        let at = |start: usize| -> Option<[Option<u32>; 5]> {
            let mut found = [None; 5];
            for (hook, place) in found.iter_mut().enumerate() {
                let offset = u32_at(bytes, start + hook * 4)?;
                *place = (valid & (1 << hook) != 0).then_some(offset);
            }
            Some(found)
        };
        Some(Self { hooks: at(36)?, policies: at(56)?, bytes: u32_at(bytes, 80)? })
    }
}

/// A chain of an older table.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChainRow {
    /// Bytes that fell to its policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// ip or ip6.
    pub family: &'static str,
    /// Its name.
    pub name: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Packets that fell to its policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// ACCEPT or DROP; absent for a chain that rules jump to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// `iptables_chain`.
    pub record: &'static str,
    /// filter, nat, mangle, raw, security.
    pub table: String,
}

/// A rule of an older table.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleRow {
    /// Bytes that it matched.
    pub bytes: u64,
    /// Its chain.
    pub chain: String,
    /// The entry as the kernel gave it.
    pub entry_b64: String,
    /// ip or ip6.
    pub family: &'static str,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Its place in the chain, from 1.
    pub number: u64,
    /// Packets that it matched.
    pub packets: u64,
    /// `iptables_rule`.
    pub record: &'static str,
    /// filter, nat, mangle, raw, security.
    pub table: String,
    /// ACCEPT, DROP, RETURN, REJECT, the name of a chain …; absent where a rule only counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What it says, in the words of iptables-save(8): `-p tcp -m tcp --dport 31337 -j ACCEPT`.
    pub text: String,
    /// Matches and targets that `text` only names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undecoded: Vec<String>,
}

/// Where things lie in an entry of a family.
struct Layout {
    family: &'static str,
    address_bytes: usize,
    /// Where the names of the interfaces begin.
    interfaces: usize,
    protocol: usize,
    inverted: usize,
    target: usize,
    next: usize,
    counters: usize,
    elements: usize,
}

const V4: Layout = Layout {
    family: "ip",
    address_bytes: 4,
    interfaces: 16,
    protocol: 80,
    inverted: 83,
    target: 88,
    next: 90,
    counters: 96,
    elements: 112,
};
const V6: Layout = Layout {
    family: "ip6",
    address_bytes: 16,
    interfaces: 64,
    protocol: 128,
    inverted: 132,
    target: 140,
    next: 142,
    counters: 152,
    elements: 168,
};

/// One entry.
struct Entry<'a> {
    offset: usize,
    bytes: &'a [u8],
    target: &'a [u8],
    matches: &'a [u8],
}

/// The entries one after the other, up to the first that does not fit.
fn entries<'a>(table: &'a [u8], layout: &Layout) -> Vec<Entry<'a>> {
    let mut found = Vec::new();
    let mut offset = 0;
    while found.len() < RULES_MAX {
        let Some(rest) = table.get(offset..) else { break };
        let lengths = u16_at(rest, layout.target).zip(u16_at(rest, layout.next));
        let Some((target, next)) = lengths.map(|(target, next)| (usize::from(target), usize::from(next))) else {
            break;
        };
        let (Some(bytes), true) = (rest.get(..next), next >= layout.elements) else { break };
        let (Some(matches), Some(target)) = (bytes.get(layout.elements..target), bytes.get(target..)) else { break };
        found.push(Entry { offset, bytes, target, matches });
        offset += next;
    }
    found
}

/// Chains and rules of a table.
pub struct Table {
    /// In the order of the kernel.
    pub chains: Vec<ChainRow>,
    /// In the order of the kernel.
    pub rules: Vec<RuleRow>,
    /// False when entries were left: damaged, or more than [`RULES_MAX`].
    pub is_whole: bool,
}

/// Reads the entries of the table `name`.
pub fn read(netns: u64, family: u8, name: &str, info: &Info, table: &[u8]) -> Table {
    let layout = if family == IPV6 { &V6 } else { &V4 };
    let entries = entries(table, layout);
    let end = entries.last().map_or(0, |entry| entry.offset + entry.bytes.len());
    let mut read =
        Table { chains: Vec::new(), rules: Vec::new(), is_whole: end == table.len() && info.bytes as usize == end };
    // Where the chains that rules jump to begin: behind an entry whose target is ERROR and whose data is the name.
    let starts: Vec<(usize, &[u8])> =
        entries.iter().filter_map(|entry| Some((entry.offset + entry.bytes.len(), chain_begun_by(entry)?))).collect();
    let mut chain: Vec<u8> = Vec::new();
    let mut number = 0;
    let mut in_hook = None;
    for (at, entry) in entries.iter().enumerate() {
        let counters = (u64_at(entry.bytes, layout.counters), u64_at(entry.bytes, layout.counters + 8));
        let hook = info.hooks.iter().position(|start| start.is_some_and(|start| start as usize == entry.offset));
        if let Some(hook) = hook {
            chain = HOOKS.get(hook).unwrap_or(&"?").as_bytes().to_vec();
            (number, in_hook) = (0, Some(hook));
            let policy = info.policies.get(hook).copied().flatten();
            let last = entries.iter().find(|entry| policy.is_some_and(|at| at as usize == entry.offset));
            read.chains.push(ChainRow {
                bytes: last.and_then(|entry| u64_at(entry.bytes, layout.counters + 8)),
                family: layout.family,
                name: shown(&chain),
                netns,
                packets: last.and_then(|entry| u64_at(entry.bytes, layout.counters)),
                policy: last.and_then(|entry| standard(entry.target, &[]).map(|(target, _)| target)),
                record: "iptables_chain",
                table: name.to_owned(),
            });
        }
        if let Some(begun) = chain_begun_by(entry) {
            // The last entry of a table is an ERROR that begins nothing.
            if at + 1 < entries.len() {
                chain = begun.to_vec();
                (number, in_hook) = (0, None);
                read.chains.push(ChainRow {
                    bytes: None,
                    family: layout.family,
                    name: shown(&chain),
                    netns,
                    packets: None,
                    policy: None,
                    record: "iptables_chain",
                    table: name.to_owned(),
                });
            }
            continue;
        }
        let is_policy = in_hook
            .and_then(|hook| info.policies.get(hook).copied().flatten())
            .is_some_and(|policy| policy as usize == entry.offset);
        // A chain that rules jump to ends with a RETURN that nobody wrote.
        let is_tail = in_hook.is_none() && entries.get(at + 1).is_some_and(|next| chain_begun_by(next).is_some());
        if is_policy || is_tail {
            continue;
        }
        number += 1;
        let (text, target, undecoded) = text(family, layout, entry, &starts);
        read.rules.push(RuleRow {
            bytes: counters.1.unwrap_or(0),
            chain: shown(&chain),
            entry_b64: BASE64_STANDARD.encode(entry.bytes),
            family: layout.family,
            netns,
            number,
            packets: counters.0.unwrap_or(0),
            record: "iptables_rule",
            table: name.to_owned(),
            target,
            text,
            undecoded,
        });
    }
    read
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The name of an `xt_entry_match` or `xt_entry_target` is at 2, its revision at 31, its data at 32.
fn name_of(element: &[u8]) -> &[u8] {
    text_of(element.get(2..31).unwrap_or_default())
}

fn chain_begun_by<'a>(entry: &Entry<'a>) -> Option<&'a [u8]> {
    (name_of(entry.target) == b"ERROR").then(|| text_of(entry.target.get(32..).unwrap_or_default()))
}

/// A standard target: its name, and whether it is a chain.
fn standard(target: &[u8], starts: &[(usize, &[u8])]) -> Option<(String, bool)> {
    if !name_of(target).is_empty() {
        return None;
    }
    let verdict = i32_at(target, 32)?;
    Some(match verdict {
        -1 => ("DROP".to_owned(), false),
        -2 => ("ACCEPT".to_owned(), false),
        -4 => ("QUEUE".to_owned(), false),
        -5 => ("RETURN".to_owned(), false),
        other if other < 0 => (format!("verdict {other}"), false),
        offset => {
            let start = starts.iter().find(|(start, _)| usize::try_from(offset) == Ok(*start));
            (start.map_or_else(|| format!("offset {offset}"), |(_, name)| shown(name)), true)
        }
    })
}

fn text(
    family: u8,
    layout: &Layout,
    entry: &Entry<'_>,
    starts: &[(usize, &[u8])],
) -> (String, Option<String>, Vec<String>) {
    let mut words = Vec::new();
    let mut undecoded = Vec::new();
    let inverted = entry.bytes.get(layout.inverted).copied().unwrap_or(0);
    let flags = entry.bytes.get(layout.inverted - 1).copied().unwrap_or(0);
    let not = |bit: u8| if inverted & bit != 0 { "! " } else { "" };
    let length = layout.address_bytes;
    for (flag, at, bit) in [("-s", 0, 0x08), ("-d", 1, 0x10)] {
        let address = entry.bytes.get(at * length..(at + 1) * length).unwrap_or_default();
        let mask = entry.bytes.get((at + 2) * length..(at + 3) * length).unwrap_or_default();
        if mask.iter().any(|byte| *byte != 0) {
            let kind = if length == 4 { Kind::Ip4 } else { Kind::Ip6 };
            let mask = prefix_of(mask).map_or_else(|| kind.show(mask), |length| length.to_string());
            words.push(format!("{}{flag} {}/{mask}", not(bit), kind.show(address)));
        }
    }
    for (flag, at, bit) in [("-i", 0, 0x01), ("-o", 1, 0x02)] {
        let start = layout.interfaces + at * 16;
        let interface = text_of(entry.bytes.get(start..start + 16).unwrap_or_default());
        if !interface.is_empty() {
            // The mask covers the zero byte when the whole name is meant.
            let mask = entry.bytes.get(start + 32 + interface.len()).copied().unwrap_or(0);
            let end = if mask == 0 && !interface.ends_with(b"+") { "+" } else { "" };
            words.push(format!("{}{flag} {}{end}", not(bit), interface.escape_ascii()));
        }
    }
    let protocol = u16_at(entry.bytes, layout.protocol).unwrap_or(0);
    if protocol != 0 {
        let name = u8::try_from(protocol).map_or_else(|_| protocol.to_string().into(), protocol_name);
        words.push(format!("{}-p {name}", not(0x40)));
    }
    if family != IPV6 && flags & 0x01 != 0 {
        words.push(format!("{}-f", not(0x20)));
    }
    let mut rest = entry.matches;
    while let Some(size) = u16_at(rest, 0).map(usize::from) {
        let (Some(element), true) = (rest.get(..size), size >= 32) else { break };
        let name = name_of(element);
        let revision = element.get(31).copied().unwrap_or(0);
        words.push(match match_text(name, revision, element.get(32..).unwrap_or_default()) {
            Some(text) => text,
            None => {
                undecoded.push(format!("match {}", shown(name)));
                format!("-m {}", name.escape_ascii())
            }
        });
        rest = rest.get(size..).unwrap_or_default();
    }
    let is_goto = flags & if family == IPV6 { 0x04 } else { 0x02 } != 0;
    let flag = if is_goto { "-g" } else { "-j" };
    let target = match standard(entry.target, starts) {
        // A rule without a target falls through to the one behind it.
        Some((_, true))
            if i32_at(entry.target, 32)
                .is_some_and(|to| to.cast_unsigned() as usize == entry.offset + entry.bytes.len()) =>
        {
            None
        }
        Some((name, _)) => {
            words.push(format!("{flag} {}", name.escape_default()));
            Some(name)
        }
        None => {
            let name = name_of(entry.target);
            let revision = entry.target.get(31).copied().unwrap_or(0);
            match target_text(family, name, revision, entry.target.get(32..).unwrap_or_default()) {
                Some(text) => words.push(text),
                None => {
                    undecoded.push(format!("target {}", shown(name)));
                    words.push(format!("-j {}", name.escape_ascii()));
                }
            }
            Some(shown(name))
        }
    };
    (words.join(" "), target, undecoded)
}

fn ports(flag: &str, data: &[u8], at: usize, is_inverted: bool) -> Option<String> {
    let (first, last) = (u16_at(data, at)?, u16_at(data, at + 2)?);
    let not = if is_inverted { "! " } else { "" };
    Some(match (first, last) {
        (0, u16::MAX) => String::new(),
        (first, last) if first == last => format!(" {not}{flag} {first}"),
        (first, last) => format!(" {not}{flag} {first}:{last}"),
    })
}

const STATES: [&str; 4] = ["INVALID", "ESTABLISHED", "RELATED", "NEW"];

fn states(mask: u32) -> String {
    let named = STATES.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, name)| *name);
    // The numbers are those of the kernel's enum ip_conntrack_info as programs see it.
    let rest = [(6, "SNAT"), (7, "DNAT"), (8, "UNTRACKED")];
    let rest = rest.iter().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, name)| *name);
    named.chain(rest).collect::<Vec<_>>().join(",")
}

fn rate(average: u32) -> String {
    // XT_LIMIT_SCALE: ten thousand to the second.
    let average = u64::from(average.max(1));
    for (unit, scale) in [("sec", 10_000), ("min", 600_000), ("hour", 36_000_000)] {
        if average <= scale {
            return format!("{}/{unit}", scale / average);
        }
    }
    format!("{}/day", 864_000_000 / average)
}

/// A match as iptables-save(8) writes it; `None` for one that is not known.
#[expect(clippy::too_many_lines, reason = "a list: one arm for each match")]
pub fn match_text(name: &[u8], revision: u8, data: &[u8]) -> Option<String> {
    let byte = |at: usize| data.get(at).copied();
    let not = |is_inverted: bool| if is_inverted { "! " } else { "" };
    Some(match (name, revision) {
        (b"tcp", _) => {
            let inverted = byte(11)?;
            let mut text = format!(
                "-m tcp{}{}",
                ports("--sport", data, 0, inverted & 1 != 0)?,
                ports("--dport", data, 4, inverted & 2 != 0)?
            );
            if byte(9)? != 0 {
                let (mask, set) = (Kind::TcpFlags.show(&[byte(9)?]), Kind::TcpFlags.show(&[byte(10)?]));
                let flags = format!(" {}--tcp-flags {mask} {set}", not(inverted & 4 != 0));
                text.push_str(&flags.to_uppercase().replace("--TCP-FLAGS", "--tcp-flags"));
            }
            text
        }
        (b"udp" | b"udplite", _) => {
            let inverted = byte(8)?;
            format!(
                "-m udp{}{}",
                ports("--sport", data, 0, inverted & 1 != 0)?,
                ports("--dport", data, 4, inverted & 2 != 0)?
            )
        }
        (b"icmp" | b"icmp6", _) => {
            let flag = if name == b"icmp" { "--icmp-type" } else { "--icmpv6-type" };
            let code = match (byte(1)?, byte(2)?) {
                (0, 255) => String::new(),
                (code, _) => format!("/{code}"),
            };
            let kind = if byte(0)? == 255 { "any".to_owned() } else { byte(0)?.to_string() };
            format!("-m {} {}{flag} {kind}{code}", shown(name), not(byte(3)? & 1 != 0))
        }
        (b"comment", _) => format!("-m comment --comment {}", quoted(text_of(data), "")),
        (b"state", _) => format!("-m state --state {}", states(u32_at(data, 0)?)),
        (b"conntrack", 2 | 3) => {
            // XT_CONNTRACK_STATE alone; addresses, ports and times are left to the raw bytes.
            let (flags, inverted) = (u16_at(data, 146)?, u16_at(data, 148)?);
            if flags & !0x2001 != 0 {
                return None;
            }
            format!("-m conntrack {}--ctstate {}", not(inverted & 1 != 0), states(u32::from(u16_at(data, 150)?)))
        }
        (b"multiport", 1) => {
            let flag = ["--sports", "--dports", "--ports"].get(usize::from(byte(0)?))?;
            let mut text = String::new();
            for at in 0..usize::from(byte(1)?).min(15) {
                let is_range_begin = byte(32 + at)? != 0;
                text.push_str(&u16_at(data, 2 + at * 2)?.to_string());
                text.push(if is_range_begin { ':' } else { ',' });
            }
            format!("-m multiport {}{flag} {}", not(byte(47)? != 0), text.trim_end_matches([',', ':']))
        }
        (b"limit", _) => format!("-m limit --limit {} --limit-burst {}", rate(u32_at(data, 0)?), u32_at(data, 4)?),
        (b"mark" | b"connmark", 1) => {
            let mask = match u32_at(data, 4)? {
                u32::MAX => String::new(),
                mask => format!("/{mask:#x}"),
            };
            format!("-m {} {}--mark {:#x}{mask}", shown(name), not(byte(8)? != 0), u32_at(data, 0)?)
        }
        (b"owner", 1) => {
            let (asked, inverted) = (byte(16)?, byte(17)?);
            let mut text = "-m owner".to_owned();
            for (flag, at, bit) in [("--uid-owner", 0, 1), ("--gid-owner", 8, 2)] {
                if asked & bit != 0 {
                    let (first, last) = (u32_at(data, at)?, u32_at(data, at + 4)?);
                    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
                    let _ = write!(text, " {}{flag} {range}", not(inverted & bit != 0));
                }
            }
            text
        }
        (b"recent", _) => {
            let checks = [(1, "--rcheck"), (2, "--set"), (4, "--update"), (8, "--remove"), (16, "--rttl")];
            let set = byte(8)?;
            let checks: Vec<&str> = checks.iter().filter(|(bit, _)| set & bit != 0).map(|(_, flag)| *flag).collect();
            let mut text = format!("-m recent {}{}", not(byte(9)? != 0), checks.join(" "));
            for (flag, number) in [("--seconds", u32_at(data, 0)?), ("--hitcount", u32_at(data, 4)?)] {
                if number != 0 {
                    let _ = write!(text, " {flag} {number}");
                }
            }
            format!("{text} --name {}", text_of(data.get(10..210)?).escape_ascii())
        }
        (b"string", _) => {
            let length = usize::from(byte(148)?).min(128);
            let pattern = data.get(20..20 + length)?;
            let algorithm = text_of(data.get(4..20)?).escape_ascii();
            let is_inverted = byte(149)? & 1 != 0;
            format!("-m string {}--string {} --algo {algorithm}", not(is_inverted), quoted(pattern, ""))
        }
        (b"addrtype", 1) => {
            let mut text = "-m addrtype".to_owned();
            for (flag, at) in [("--src-type", 0), ("--dst-type", 2)] {
                let mask = u32::from(u16_at(data, at)?);
                for kind in (0..16_u32).filter(|bit| mask & (1 << bit) != 0) {
                    let name = Kind::AddressType.show(&kind.to_ne_bytes()).to_uppercase();
                    let _ = write!(text, " {flag} {name}");
                }
            }
            text
        }
        (b"set", 1..=4) => {
            let is_inverted = byte(3)? & 4 != 0;
            format!("-m set {}--match-set #{}", not(is_inverted), u16_at(data, 0)?)
        }
        (b"mac", _) => format!("-m mac {}--mac-source {}", not(byte(8)? != 0), Kind::Mac.show(data.get(..6)?)),
        _ => return None,
    })
}

/// A target as iptables-save(8) writes it; `None` for one that is not known.
pub fn target_text(family: u8, name: &[u8], revision: u8, data: &[u8]) -> Option<String> {
    const REJECTS: [&str; 8] = [
        "icmp-net-unreachable",
        "icmp-host-unreachable",
        "icmp-proto-unreachable",
        "icmp-port-unreachable",
        "icmp-echo-reply",
        "icmp-net-prohibited",
        "icmp-host-prohibited",
        "tcp-reset",
    ];
    let byte = |at: usize| data.get(at).copied();
    Some(match (name, revision) {
        (b"LOG", _) => {
            let prefix = text_of(data.get(2..32)?);
            let prefix =
                if prefix.is_empty() { String::new() } else { format!(" --log-prefix {}", quoted(prefix, "")) };
            format!("-j LOG{prefix} --log-level {}", byte(0)?)
        }
        (b"NFLOG", _) => {
            let prefix = text_of(data.get(12..76)?);
            format!("-j NFLOG --nflog-prefix {} --nflog-group {}", quoted(prefix, ""), u16_at(data, 4)?)
        }
        (b"REJECT", _) if family != IPV6 => {
            let with = u32_at(data, 0)?;
            let with = REJECTS.get(with as usize).map_or_else(|| with.to_string(), |name| (*name).to_owned());
            format!("-j REJECT --reject-with {with}")
        }
        (b"REJECT", _) => format!("-j REJECT --reject-with {}", u32_at(data, 0)?),
        (b"DNAT", _) => format!("-j DNAT --to-destination {}", nat(family, revision, data)?),
        (b"SNAT", _) => format!("-j SNAT --to-source {}", nat(family, revision, data)?),
        (b"REDIRECT" | b"MASQUERADE", _) => {
            let to = nat(family, revision, data)?;
            let to = to.trim_start_matches(':');
            if to.is_empty() { format!("-j {}", shown(name)) } else { format!("-j {} --to-ports {to}", shown(name)) }
        }
        (b"MARK", 2) => format!("-j MARK --set-xmark {:#x}/{:#x}", u32_at(data, 0)?, u32_at(data, 4)?),
        (b"NFQUEUE", _) => format!("-j NFQUEUE --queue-num {}", u16_at(data, 0)?),
        (b"TPROXY", 1) => {
            let address = data.get(8..24)?;
            let (kind, address) = if family == IPV6 { (Kind::Ip6, address) } else { (Kind::Ip4, address.get(..4)?) };
            let port = u16_be(data.get(24..26)?)?;
            format!("-j TPROXY --on-port {port} --on-ip {}", kind.show(address))
        }
        (b"NOTRACK" | b"TRACE" | b"ACCEPT", _) => format!("-j {}", shown(name)),
        _ => return None,
    })
}

/// Where a packet is sent: `address:port`, each as a range where it is one. The older layout (revision 0 of IPv4) has a
/// count before, and addresses of four bytes.
fn nat(family: u8, revision: u8, data: &[u8]) -> Option<String> {
    let (flags, first, last, ports, kind) = if family != IPV6 && revision == 0 {
        (u32_at(data, 4)?, data.get(8..12)?, data.get(12..16)?, 16, Kind::Ip4)
    } else {
        let bytes = if family == IPV6 { 16 } else { 4 };
        let kind = if family == IPV6 { Kind::Ip6 } else { Kind::Ip4 };
        (u32_at(data, 0)?, data.get(4..4 + bytes)?, data.get(20..20 + bytes)?, 36, kind)
    };
    let mut text = String::new();
    if flags & 1 != 0 {
        text = kind.show(first);
        if first != last {
            let _ = write!(text, "-{}", kind.show(last));
        }
    }
    if flags & 2 != 0 {
        let (first, last) = (u16_be(data.get(ports..)?)?, u16_be(data.get(ports + 2..)?)?);
        let _ = if first == last { write!(text, ":{first}") } else { write!(text, ":{first}-{last}") };
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(name: &[u8], revision: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 32];
        bytes[2..2 + name.len()].copy_from_slice(name);
        bytes[31] = revision;
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let size = u16::try_from(bytes.len()).unwrap();
        bytes[..2].copy_from_slice(&size.to_ne_bytes());
        bytes
    }

    fn entry(protocol: u16, matches: &[u8], target: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; V4.elements];
        bytes[80..82].copy_from_slice(&protocol.to_ne_bytes());
        bytes.extend(matches);
        let at = u16::try_from(bytes.len()).unwrap();
        bytes.extend(target);
        let next = u16::try_from(bytes.len()).unwrap();
        bytes[88..90].copy_from_slice(&at.to_ne_bytes());
        bytes[90..92].copy_from_slice(&next.to_ne_bytes());
        bytes[96..104].copy_from_slice(&3u64.to_ne_bytes());
        bytes
    }

    /// INPUT with one rule and policy DROP, and the chain `own` with its tail.
    fn table() -> (Info, Vec<u8>) {
        let tcp = element(b"tcp", 0, &[0, 0, 255, 255, 0x69, 0x7a, 0x69, 0x7a, 0, 0, 0, 0]);
        let verdict = |number: i32| element(b"", 0, &number.to_ne_bytes());
        let first = entry(6, &tcp, &verdict(0));
        let policy = entry(0, &[], &verdict(-1));
        let begun = entry(0, &[], &element(b"ERROR", 0, b"own\0"));
        let own = first.len() + policy.len() + begun.len();
        let first = entry(6, &tcp, &verdict(i32::try_from(own).unwrap()));
        let tail = entry(0, &[], &verdict(-5));
        let end = entry(0, &[], &element(b"ERROR", 0, b"ERROR\0"));
        let at = u32::try_from(first.len()).unwrap();
        let table = [first, policy, begun, tail, end].concat();
        let bytes = u32::try_from(table.len()).unwrap();
        (Info { bytes, hooks: [None, Some(0), None, None, None], policies: [None, Some(at), None, None, None] }, table)
    }

    #[test]
    fn chains_rules_and_policies() {
        let (info, table) = table();
        let read = read(1, 2, "filter", &info, &table);
        assert!(read.is_whole);
        let chains: Vec<_> = read.chains.iter().map(|chain| (chain.name.as_str(), chain.policy.as_deref())).collect();
        assert_eq!(chains, [("INPUT", Some("DROP")), ("own", None)]);
        let rules: Vec<_> = read
            .rules
            .iter()
            .map(|rule| (rule.chain.as_str(), rule.number, rule.text.as_str(), rule.packets))
            .collect();
        assert_eq!(rules, [("INPUT", 1, "-p tcp -m tcp --dport 31337 -j own", 3)]);
    }

    #[test]
    fn damaged_tables_never_panic() {
        let (info, whole) = table();
        for length in 0..whole.len() {
            assert!(!read(1, 2, "filter", &info, &whole[..length]).is_whole);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 32, 255] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let _ = (read(1, 2, "filter", &info, &damaged), read(1, 10, "filter", &info, &damaged));
            }
        }
        for length in 0..INFO_BYTES {
            assert_eq!(Info::read(&vec![1; length]), None);
        }
    }

    #[test]
    fn matches_that_backdoors_use() {
        let mut string = vec![0; 152];
        string[4..6].copy_from_slice(b"bm");
        string[20..25].copy_from_slice(b"knock");
        string[148] = 5;
        assert_eq!(match_text(b"string", 1, &string).unwrap(), "-m string --string \"knock\" --algo bm");
        let mut recent = vec![0; 212];
        recent[..4].copy_from_slice(&60u32.to_ne_bytes());
        recent[8] = 1;
        recent[10..13].copy_from_slice(b"ssh");
        assert_eq!(match_text(b"recent", 0, &recent).unwrap(), "-m recent --rcheck --seconds 60 --name ssh");
        assert_eq!(match_text(b"recent", 0, &recent[..100]), None);
        let mut nat = vec![0; 20];
        nat[4] = 3;
        nat[8..12].copy_from_slice(&[10, 0, 0, 1]);
        nat[12..16].copy_from_slice(&[10, 0, 0, 1]);
        nat[16..20].copy_from_slice(&[0x1f, 0x90, 0x1f, 0x90]);
        assert_eq!(target_text(2, b"DNAT", 0, &nat).unwrap(), "-j DNAT --to-destination 10.0.0.1:8080");
        assert_eq!(rate(10_000 * 6), "10/min");
    }
}
