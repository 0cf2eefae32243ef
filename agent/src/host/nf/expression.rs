//! The expressions of a rule of nf_tables as one line of text, in the words of nft(8).
//!
//! A rule is a little program: an expression loads a field into a register, another changes it, a third compares it
//! (include/uapi/linux/netfilter/nf_tables.h). So the registers are followed, each with what it holds, and a comparison
//! says both sides. What nft(8) leaves out because it follows from the rest (the protocol before a port) is left out
//! here too. An expression that is not known is shown as `[name]` and named in `undecoded`; the raw bytes stand beside.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::netlink::{attribute, attributes, text_of, u32_be, u64_be};
use super::value::{Kind, address, hex, prefix_of, quoted};
use super::{IPV4, IPV6, protocol_name, xtables};

/// The longest text of a rule.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Registers of four bytes: NFT_REG32_00 to NFT_REG32_15.
const REGISTERS: usize = 16;
/// Dynamic sets and maps hold expressions of their own: so deep.
const DEPTH_MAX: u8 = 3;

/// What is known of a set when the rules are read.
#[derive(Debug, Default)]
pub struct KnownSet {
    /// True for a set that is written where it is used.
    pub is_anonymous: bool,
    /// Its elements as text, for an anonymous one.
    pub elements: String,
    /// Length of its key.
    pub key_bytes: usize,
}

/// The sets of one table by name.
pub type KnownSets = BTreeMap<Vec<u8>, KnownSet>;

/// A rule as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// One line.
    pub text: String,
    /// Names of the expressions that are not decoded.
    pub undecoded: Vec<String>,
    /// The verdict at its end: accept, drop, jump, goto, return, queue, continue; reject for that expression.
    pub verdict: Option<String>,
}

/// The text of a rule of `family` whose NFTA_RULE_EXPRESSIONS are `list`.
pub fn decode(family: u8, list: &[u8], sets: &KnownSets) -> Decoded {
    let mut machine = Machine { family, sets, ..Machine::new(sets) };
    machine.list(list, 0);
    machine.finish()
}

/// What a register holds.
#[derive(Clone, Debug)]
struct Held {
    /// The words for it.
    what: String,
    kind: Kind,
    /// Its value, for a constant.
    value: Option<Vec<u8>>,
    mask: Option<Vec<u8>>,
    bytes: usize,
}

struct Machine<'a> {
    family: u8,
    sets: &'a KnownSets,
    registers: [Option<Held>; REGISTERS],
    /// Layers that comparisons have settled.
    network: Option<u8>,
    transport: Option<u8>,
    /// A comparison that is left out when what follows implies it: its text and whether it is of the transport layer.
    implied: Option<(String, bool)>,
    words: Vec<String>,
    undecoded: Vec<String>,
    verdict: Option<String>,
}

impl<'a> Machine<'a> {
    fn new(sets: &'a KnownSets) -> Self {
        Self {
            family: 0,
            sets,
            registers: [const { None }; REGISTERS],
            network: None,
            transport: None,
            implied: None,
            words: Vec::new(),
            undecoded: Vec::new(),
            verdict: None,
        }
    }

    fn finish(mut self) -> Decoded {
        self.settle(None);
        let mut text = self.words.join(" ");
        if text.len() > TEXT_BYTES_MAX {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text.push('…');
        }
        Decoded { text, undecoded: self.undecoded, verdict: self.verdict }
    }

    fn list(&mut self, list: &[u8], depth: u8) {
        // NFTA_LIST_ELEM, each with NFTA_EXPR_NAME and NFTA_EXPR_DATA.
        for (kind, expression) in attributes(list) {
            if kind == 1 {
                self.expression(expression, depth);
            }
        }
    }

    fn expression(&mut self, expression: &[u8], depth: u8) {
        let name = text_of(attribute(expression, 1).unwrap_or_default());
        let data = attribute(expression, 2).unwrap_or_default();
        let is_known = match name {
            b"payload" => self.payload(data),
            b"meta" => self.meta(data),
            b"ct" => self.ct(data),
            b"rt" => self.named_load(data, 1, 2, "rt", &RT_KEYS),
            b"socket" => self.named_load(data, 2, 1, "socket", &SOCKET_KEYS),
            b"fib" => self.fib(data),
            b"exthdr" => self.exthdr(data),
            b"immediate" => self.immediate(data),
            b"bitwise" => self.bitwise(data),
            b"byteorder" => Some(()),
            b"cmp" => self.cmp(data),
            b"range" => self.range(data),
            b"lookup" => self.lookup(data),
            b"dynset" if depth < DEPTH_MAX => self.dynset(data, depth),
            b"nat" => self.nat(data),
            b"masq" => {
                self.ported("masquerade", data, 2, 3);
                Some(())
            }
            b"redir" => {
                self.ported("redirect", data, 1, 2);
                Some(())
            }
            b"tproxy" => self.tproxy(data),
            b"match" => self.xt(data, false),
            b"target" => self.xt(data, true),
            _ => plain(name, data).map(|text| self.say(text)),
        };
        if name == b"reject" {
            self.verdict = Some("reject".to_owned());
        }
        if is_known.is_none() {
            let name = String::from_utf8_lossy(name).into_owned();
            self.say(format!("[{name}]"));
            self.undecoded.push(name);
        }
    }

    /// Says what was held back, unless `layer` implies it (true: transport, false: network).
    fn settle(&mut self, layer: Option<bool>) {
        if let Some((text, is_transport)) = self.implied.take()
            && layer != Some(is_transport)
        {
            self.words.push(text);
        }
    }

    fn say(&mut self, words: impl Into<String>) {
        self.settle(None);
        self.words.push(words.into());
    }

    fn load(&mut self, register: Option<u32>, held: Held) -> Option<()> {
        *self.registers.get_mut(slot(register?)?)? = Some(held);
        Some(())
    }

    fn held(&self, register: Option<u32>) -> Option<&Held> {
        self.registers.get(slot(register?)?)?.as_ref()
    }

    fn payload(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let (base, offset, length) = (number(2)?, number(3)?, number(4)?);
        let (what, kind) = self.field(base, offset, length);
        match base {
            1 | 2 if !what.starts_with('@') => self.settle(Some(base == 2)),
            _ => self.settle(None),
        }
        if let Some(source) = number(5) {
            let value = self.constant(Some(source), kind);
            self.say(format!("{what} set {value}"));
            return Some(());
        }
        self.load(number(1), Held { what, kind, value: None, mask: None, bytes: length as usize })
    }

    /// The words for a piece of a header.
    fn field(&self, base: u32, offset: u32, length: u32) -> (String, Kind) {
        let network = self.network.or(match self.family {
            IPV4 | IPV6 => Some(self.family),
            _ => None,
        });
        let known = match (base, network, offset, length) {
            (0, _, 0, 6) => Some(("ether daddr", Kind::Mac)),
            (0, _, 6, 6) => Some(("ether saddr", Kind::Mac)),
            (0, _, 12, 2) => Some(("ether type", Kind::EtherType)),
            (1, Some(IPV6), 8, 1..=16) => Some(("ip6 saddr", Kind::Ip6)),
            (1, Some(IPV6), 24, 1..=16) => Some(("ip6 daddr", Kind::Ip6)),
            (1, Some(IPV6), 6, 1) => Some(("ip6 nexthdr", Kind::Protocol)),
            (1, Some(IPV6), 7, 1) => Some(("ip6 hoplimit", Kind::Number)),
            (1, Some(IPV6), 4, 2) => Some(("ip6 length", Kind::Number)),
            (1, Some(IPV4), 12, 1..=4) => Some(("ip saddr", Kind::Ip4)),
            (1, Some(IPV4), 16, 1..=4) => Some(("ip daddr", Kind::Ip4)),
            (1, Some(IPV4), 9, 1) => Some(("ip protocol", Kind::Protocol)),
            (1, Some(IPV4), 8, 1) => Some(("ip ttl", Kind::Number)),
            (1, Some(IPV4), 2, 2) => Some(("ip length", Kind::Number)),
            (1, Some(IPV4), 4, 2) => Some(("ip id", Kind::Number)),
            _ => None,
        };
        if let Some((what, kind)) = known {
            return (what.to_owned(), kind);
        }
        let transport = self.transport.map_or_else(|| "th".into(), protocol_name);
        match (base, self.transport, offset, length) {
            (2, Some(1 | 58), 0, 1) => (format!("{transport} type"), Kind::IcmpType),
            (2, Some(1 | 58), 1, 1) => (format!("{transport} code"), Kind::Number),
            (2, Some(6), 13, 1) => ("tcp flags".to_owned(), Kind::TcpFlags),
            (2, None | Some(6 | 17 | 33 | 132 | 136), 0, 2) => (format!("{transport} sport"), Kind::Port),
            (2, None | Some(6 | 17 | 33 | 132 | 136), 2, 2) => (format!("{transport} dport"), Kind::Port),
            _ => {
                let base = ["ll", "nh", "th", "ih"].get(base as usize).unwrap_or(&"?");
                let (offset, length) = (u64::from(offset) * 8, u64::from(length) * 8);
                (format!("@{base},{offset},{length}"), Kind::Bytes)
            }
        }
    }

    fn meta(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let &(name, kind) = META_KEYS.get(number(2)? as usize)?;
        // nft(8) leaves the word out where there is no other meaning.
        let is_alone = name.starts_with("iif") || name.starts_with("oif");
        let what = if is_alone { name.to_owned() } else { format!("meta {name}") };
        self.load_or_set(number(1), number(3), what, kind)
    }

    fn ct(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let &(name, kind) = CT_KEYS.get(number(2)? as usize)?;
        let direction = match attribute(data, 3).and_then(|value| value.first()) {
            Some(0) => "original ",
            Some(_) => "reply ",
            None => "",
        };
        self.load_or_set(number(1), number(4), format!("ct {direction}{name}"), kind)
    }

    fn load_or_set(&mut self, into: Option<u32>, from: Option<u32>, what: String, kind: Kind) -> Option<()> {
        match from {
            Some(source) => {
                let value = self.constant(Some(source), kind);
                self.say(format!("{what} set {value}"));
                Some(())
            }
            None => self.load(into, Held { what, kind, value: None, mask: None, bytes: kind.bytes().max(4) }),
        }
    }

    fn named_load(&mut self, data: &[u8], into: u16, key: u16, of: &str, names: &[&str]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let name = names.get(number(key)? as usize)?;
        let what = format!("{of} {name}");
        self.load(number(into), Held { what, kind: Kind::Bytes, value: None, mask: None, bytes: 4 })
    }

    fn fib(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let flags = number(3)?;
        let parts = ["saddr", "daddr", "mark", "iif", "oif"];
        let parts: Vec<&str> =
            parts.iter().enumerate().filter(|(bit, _)| flags & (1 << bit) != 0).map(|(_, part)| *part).collect();
        let (result, kind) = match number(2)? {
            1 => ("oif", Kind::HostNumber),
            2 => ("oifname", Kind::Interface),
            _ => ("type", Kind::AddressType),
        };
        let what = format!("fib {} {result}", parts.join(" . "));
        self.load(number(1), Held { what, kind, value: None, mask: None, bytes: 4 })
    }

    fn exthdr(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let of = match number(6).unwrap_or(0) {
            0 => "exthdr",
            1 => "tcp option",
            2 => "ip option",
            _ => "chunk",
        };
        let kind = attribute(data, 2)?.first()?;
        let what = format!("{of} {kind}");
        let bytes = number(4).unwrap_or(0) as usize;
        let Some(source) = number(7) else {
            return self.load(number(1), Held { what, kind: Kind::Number, value: None, mask: None, bytes });
        };
        let value = self.constant(Some(source), Kind::Number);
        self.say(format!("{what} set {value}"));
        Some(())
    }

    fn immediate(&mut self, data: &[u8]) -> Option<()> {
        let into = attribute(data, 1).and_then(u32_be)?;
        let value = attribute(data, 2)?;
        if let Some(verdict) = attribute(value, 2) {
            let (name, text) = verdict_of(verdict)?;
            self.verdict = Some(name.to_owned());
            self.say(text);
            return Some(());
        }
        let value = attribute(value, 1)?;
        let held =
            Held { what: hex(value), kind: Kind::Bytes, value: Some(value.to_vec()), mask: None, bytes: value.len() };
        self.load(Some(into), held)
    }

    fn bitwise(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let mut held = self.held(number(1))?.clone();
        if number(6).unwrap_or(0) != 0 {
            held.what = format!("({} shifted)", held.what);
            held.kind = Kind::Bytes;
            return self.load(number(2), held);
        }
        let mask = attribute(data, 4).and_then(|value| attribute(value, 1));
        let xor = attribute(data, 5).and_then(|value| attribute(value, 1));
        let (Some(mask), Some(xor)) = (mask, xor) else {
            held.what = format!("({} combined)", held.what);
            held.kind = Kind::Bytes;
            return self.load(number(2), held);
        };
        if xor.iter().any(|byte| *byte != 0) {
            held.what = format!("({} & {} ^ {})", held.what, held.kind.show(mask), held.kind.show(xor));
            held.mask = None;
        } else {
            held.mask = Some(mask.to_vec());
        }
        self.load(number(2), held)
    }

    fn cmp(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let operator = number(2)?;
        let value = attribute(data, 3).and_then(|value| attribute(value, 1))?;
        let held = self.held(number(1))?.clone();
        let sign = *["", "!= ", "< ", "<= ", "> ", ">= "].get(operator as usize)?;
        let shown = match &held.mask {
            // `flags & bits != 0`: any of the bits.
            Some(mask) if held.kind.is_of_bits() && value.iter().all(|byte| *byte == 0) => {
                let sign = if operator == 1 { "" } else { "!= " };
                format!("{sign}{}", held.kind.show(mask))
            }
            Some(mask) => match prefix_of(mask) {
                Some(length) if matches!(held.kind, Kind::Ip4 | Kind::Ip6) => {
                    format!("{sign}{}/{length}", held.kind.show(value))
                }
                _ => {
                    let sign = if sign.is_empty() { "== " } else { sign };
                    format!("& {} {sign}{}", held.kind.show(mask), held.kind.show(value))
                }
            },
            None => format!("{sign}{}", held.kind.show(value)),
        };
        let mut text = format!("{} {shown}", held.what);
        // A range is two comparisons of one register.
        let begun = format!("{} >= ", held.what);
        if operator == 3
            && held.mask.is_none()
            && let Some(first) = self.words.last().and_then(|words| words.strip_prefix(&begun))
        {
            text = format!("{} {first}-{}", held.what, held.kind.show(value));
            self.words.pop();
        }
        if operator == 0 && held.mask.is_none() && self.layer(&held, value, &text) {
            return Some(());
        }
        self.say(text);
        Some(())
    }

    /// Notes what a comparison settles about the packet. True when its text is held back.
    fn layer(&mut self, held: &Held, value: &[u8], text: &str) -> bool {
        let is_transport = match (held.what.as_str(), held.kind) {
            ("meta nfproto", _) => {
                self.network = value.first().copied();
                false
            }
            ("meta protocol" | "ether type", _) => {
                self.network = match value {
                    [0x08, 0x00, ..] => Some(IPV4),
                    [0x86, 0xdd, ..] => Some(IPV6),
                    _ => return false,
                };
                false
            }
            (_, Kind::Protocol) => {
                self.transport = value.first().copied();
                true
            }
            _ => return false,
        };
        // What is held back is said when nothing follows that implies it; two layers are held back one after the other.
        let held_back = self.implied.take();
        if let Some((earlier, _)) = held_back {
            self.words.push(earlier);
        }
        self.implied = Some((text.to_owned(), is_transport));
        true
    }

    fn range(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let value = |kind| attribute(data, kind).and_then(|value| attribute(value, 1));
        let held = self.held(number(1))?;
        let sign = if number(2)? == 0 { "" } else { "!= " };
        let text = format!("{} {sign}{}-{}", held.what, held.kind.show(value(3)?), held.kind.show(value(4)?));
        self.say(text);
        Some(())
    }

    /// The words for a key that begins in a register: `ip saddr . tcp dport` for one of several parts.
    fn key(&self, register: Option<u32>, bytes: usize) -> Option<String> {
        let first = slot(register?)?;
        let mut parts = Vec::new();
        let mut taken = 0;
        while taken < bytes.max(1) {
            let Some(held) = self.registers.get(first + taken / 4).and_then(Option::as_ref) else { break };
            let mask = match &held.mask {
                Some(mask) => format!(" & {}", held.kind.show(mask)),
                None => String::new(),
            };
            parts.push(format!("{}{mask}", held.what));
            taken += held.bytes.max(1).next_multiple_of(4);
        }
        (!parts.is_empty()).then(|| parts.join(" . "))
    }

    fn set_text(&self, name: &[u8]) -> String {
        match self.sets.get(name) {
            Some(set) if set.is_anonymous => format!("{{ {} }}", set.elements),
            _ => format!("@{}", String::from_utf8_lossy(name)),
        }
    }

    fn lookup(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let name = text_of(attribute(data, 1)?);
        let bytes = self.sets.get(name).map_or(1, |set| set.key_bytes);
        let key = self.key(number(2), bytes)?;
        let set = self.set_text(name);
        match number(3) {
            Some(0) => {
                self.verdict = Some("vmap".to_owned());
                self.say(format!("{key} vmap {set}"));
            }
            Some(into) => {
                let held =
                    Held { what: format!("{key} map {set}"), kind: Kind::Bytes, value: None, mask: None, bytes: 4 };
                return self.load(Some(into), held);
            }
            None => {
                let sign = if number(5).unwrap_or(0) & 1 != 0 { "!= " } else { "" };
                self.say(format!("{key} {sign}{set}"));
            }
        }
        Some(())
    }

    fn dynset(&mut self, data: &[u8], depth: u8) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let name = text_of(attribute(data, 1)?);
        let operation = ["add", "update", "delete"].get(number(3)? as usize)?;
        let bytes = self.sets.get(name).map_or(1, |set| set.key_bytes);
        let key = self.key(number(4), bytes)?;
        let mut inner = Machine::new(self.sets);
        if let Some(expression) = attribute(data, 7) {
            inner.expression(expression, depth + 1);
        }
        if let Some(list) = attribute(data, 10) {
            inner.list(list, depth + 1);
        }
        let timeout = match attribute(data, 6).and_then(u64_be) {
            Some(ms) if ms > 0 => format!(" timeout {ms}ms"),
            _ => String::new(),
        };
        let inner = inner.finish();
        let with = if inner.text.is_empty() { String::new() } else { format!(" {}", inner.text) };
        self.undecoded.extend(inner.undecoded);
        self.say(format!("{operation} @{} {{ {key}{timeout}{with} }}", String::from_utf8_lossy(name)));
        Some(())
    }

    /// What a register holds, for a statement that uses it.
    fn constant(&self, register: Option<u32>, kind: Kind) -> String {
        match self.held(register) {
            Some(Held { value: Some(value), .. }) => kind.show(value),
            Some(Held { what, mask: Some(mask), kind, .. }) => format!("{what} & {}", kind.show(mask)),
            Some(held) => held.what.clone(),
            None => "?".to_owned(),
        }
    }

    fn between(&self, first: Option<u32>, last: Option<u32>, kind: Kind) -> Option<String> {
        first?;
        let from = self.constant(first, kind);
        let to = if last.is_some() { self.constant(last, kind) } else { from.clone() };
        Some(if from == to { from } else { format!("{from}-{to}") })
    }

    fn nat(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let name = if number(1)? == 0 { "snat" } else { "dnat" };
        let family = number(2)?;
        let (of, kind) = if family == u32::from(IPV6) { ("ip6", Kind::Ip6) } else { ("ip", Kind::Ip4) };
        let of = if self.family == super::INET { format!(" {of}") } else { String::new() };
        let address = self.between(number(3), number(4), kind).unwrap_or_default();
        let port = self.between(number(5), number(6), Kind::Port);
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        self.say(format!("{name}{of} to {address}{port}"));
        self.verdict = Some(name.to_owned());
        Some(())
    }

    fn ported(&mut self, name: &'static str, data: &[u8], first: u16, last: u16) {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let to = self.between(number(first), number(last), Kind::Port);
        let to = to.map_or_else(String::new, |port| format!(" to :{port}"));
        self.say(format!("{name}{to}"));
        self.verdict = Some(name.to_owned());
    }

    fn tproxy(&mut self, data: &[u8]) -> Option<()> {
        let number = |kind| attribute(data, kind).and_then(u32_be);
        let kind = if number(1)? == u32::from(IPV6) { Kind::Ip6 } else { Kind::Ip4 };
        let address = self.between(number(2), None, kind).unwrap_or_default();
        let port = self.between(number(3), None, Kind::Port);
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        self.say(format!("tproxy to {address}{port}"));
        Some(())
    }

    /// A match or a target of iptables inside a rule (nft_compat): name, revision and the same structure.
    fn xt(&mut self, data: &[u8], is_target: bool) -> Option<()> {
        let name = text_of(attribute(data, 1)?);
        let revision = attribute(data, 2).and_then(u32_be).unwrap_or(0);
        let info = attribute(data, 3).unwrap_or_default();
        let revision = u8::try_from(revision).unwrap_or(u8::MAX);
        let family = if self.family == IPV6 { IPV6 } else { IPV4 };
        let decoded = if is_target {
            xtables::target_text(family, name, revision, info)
        } else {
            xtables::match_text(name, revision, info)
        };
        if is_target {
            self.verdict = Some(String::from_utf8_lossy(name).into_owned());
        }
        match decoded {
            Some(text) => self.say(text),
            None => {
                let name = String::from_utf8_lossy(name).into_owned();
                let what = if is_target { "target" } else { "match" };
                self.say(format!("xt {what} {name}"));
                self.undecoded.push(format!("{what} {name}"));
            }
        }
        Some(())
    }
}

/// Where a register of the interface lies: NFT_REG_1 to NFT_REG_4 have 16 bytes each, NFT_REG32_00 and on have four.
fn slot(register: u32) -> Option<usize> {
    match register {
        1..=4 => Some((register as usize - 1) * 4),
        8..=23 => Some(register as usize - 8),
        _ => None,
    }
}

/// A verdict (NFTA_DATA_VERDICT) as its name, and as text with the chain that it leads to.
pub fn verdict_of(verdict: &[u8]) -> Option<(&'static str, String)> {
    let code = attribute(verdict, 1).and_then(u32_be)?;
    let name = match code.cast_signed() {
        -1 => "continue",
        -2 => "break",
        -3 => "jump",
        -4 => "goto",
        -5 => "return",
        // The queue's number stands in the upper half.
        other => match other & 0xff {
            0 => "drop",
            1 => "accept",
            2 => "stolen",
            3 => "queue",
            4 => "repeat",
            _ => return None,
        },
    };
    let text = match attribute(verdict, 2) {
        Some(chain) => format!("{name} {}", String::from_utf8_lossy(text_of(chain))),
        None => name.to_owned(),
    };
    Some((name, text))
}

/// Statements that use no register; also the contents of stateful objects.
pub fn plain(name: &[u8], data: &[u8]) -> Option<String> {
    let number = |kind| attribute(data, kind).and_then(u32_be);
    let long = |kind| attribute(data, kind).and_then(u64_be);
    Some(match name {
        b"counter" => format!("counter packets {} bytes {}", long(2)?, long(1)?),
        b"log" => log(data),
        b"limit" => {
            let unit = match long(2)? {
                1 => "second",
                60 => "minute",
                3600 => "hour",
                86_400 => "day",
                604_800 => "week",
                _ => "?",
            };
            let over = if number(5).unwrap_or(0) & 1 != 0 { "over " } else { "" };
            let of = if number(4) == Some(1) { " bytes" } else { "" };
            format!("limit rate {over}{}{of}/{unit} burst {}", long(1)?, number(3).unwrap_or(0))
        }
        b"quota" => {
            let over = if number(2).unwrap_or(0) & 1 != 0 { "over " } else { "" };
            format!("quota {over}{} bytes used {} bytes", long(1)?, long(4).unwrap_or(0))
        }
        b"connlimit" => {
            let over = if number(2).unwrap_or(0) & 1 != 0 { "over " } else { "" };
            format!("ct count {over}{}", number(1)?)
        }
        b"reject" => match number(1)? {
            1 => "reject with tcp reset".to_owned(),
            kind => {
                let of = if kind == 0 { "icmp" } else { "icmpx" };
                let code = attribute(data, 2).and_then(|value| value.first()).copied().unwrap_or(0);
                format!("reject with {of} code {code}")
            }
        },
        b"notrack" => "notrack".to_owned(),
        b"queue" => {
            let half = |kind| attribute(data, kind).and_then(super::super::netlink::u16_be);
            let bypass = if half(3).unwrap_or(0) & 1 != 0 { " bypass" } else { "" };
            match (half(1), half(2)) {
                (Some(from), Some(total @ 2..)) => {
                    format!("queue to {from}-{}{bypass}", from.saturating_add(total - 1))
                }
                (Some(from), _) => format!("queue to {from}{bypass}"),
                _ => return None,
            }
        }
        b"objref" => match (number(1), attribute(data, 2), attribute(data, 4)) {
            (Some(kind), Some(name), _) => {
                format!("{} name {}", object_name(kind), quoted(text_of(name), ""))
            }
            (_, _, Some(set)) => format!("object map @{}", String::from_utf8_lossy(text_of(set))),
            _ => return None,
        },
        b"flow_offload" => format!("flow add @{}", String::from_utf8_lossy(text_of(attribute(data, 1)?))),
        b"synproxy" => "synproxy".to_owned(),
        b"dup" => "dup".to_owned(),
        b"fwd" => "fwd".to_owned(),
        b"last" => match long(2) {
            Some(ms) => format!("last used {ms}ms"),
            None => "last used never".to_owned(),
        },
        b"secmark" => format!("secmark {}", quoted(text_of(attribute(data, 1)?), "")),
        b"cthelper" => format!("ct helper {}", quoted(text_of(attribute(data, 1)?), "")),
        _ => return None,
    })
}

fn log(data: &[u8]) -> String {
    const LEVELS: [&str; 9] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"];
    let mut text = "log".to_owned();
    if let Some(prefix) = attribute(data, 2) {
        let _ = write!(text, " prefix {}", quoted(text_of(prefix), ""));
    }
    if let Some(group) = attribute(data, 1).and_then(super::super::netlink::u16_be) {
        let _ = write!(text, " group {group}");
    } else if let Some(level) = attribute(data, 5).and_then(u32_be)
        && let Some(level) = LEVELS.get(level as usize)
    {
        let _ = write!(text, " level {level}");
    }
    text
}

/// NFT_OBJECT_*.
pub fn object_name(kind: u32) -> &'static str {
    const NAMES: [&str; 11] = [
        "unspec",
        "counter",
        "quota",
        "ct helper",
        "limit",
        "connlimit",
        "tunnel",
        "ct timeout",
        "secmark",
        "ct expectation",
        "synproxy",
    ];
    NAMES.get(kind as usize).unwrap_or(&"unknown")
}

/// An element's data or a map's value: a verdict, or bytes.
pub fn data_text(kind: Kind, data: &[u8]) -> Option<String> {
    match (attribute(data, 1), attribute(data, 2)) {
        (_, Some(verdict)) => verdict_of(verdict).map(|(_, text)| text),
        (Some(value), _) if kind == Kind::Bytes => Some(address(value)),
        (Some(value), _) => Some(kind.show(value)),
        _ => None,
    }
}

const META_KEYS: [(&str, Kind); 34] = [
    ("length", Kind::HostNumber),
    ("protocol", Kind::EtherType),
    ("priority", Kind::Mark),
    ("mark", Kind::Mark),
    ("iif", Kind::HostNumber),
    ("oif", Kind::HostNumber),
    ("iifname", Kind::Interface),
    ("oifname", Kind::Interface),
    ("iiftype", Kind::Bytes),
    ("oiftype", Kind::Bytes),
    ("skuid", Kind::HostNumber),
    ("skgid", Kind::HostNumber),
    ("nftrace", Kind::Bytes),
    ("rtclassid", Kind::HostNumber),
    ("secmark", Kind::Mark),
    ("nfproto", Kind::NfProto),
    ("l4proto", Kind::Protocol),
    ("ibrname", Kind::Interface),
    ("obrname", Kind::Interface),
    ("pkttype", Kind::PacketType),
    ("cpu", Kind::HostNumber),
    ("iifgroup", Kind::HostNumber),
    ("oifgroup", Kind::HostNumber),
    ("cgroup", Kind::HostNumber),
    ("random", Kind::HostNumber),
    ("ipsec", Kind::Number),
    ("iifkind", Kind::Interface),
    ("oifkind", Kind::Interface),
    ("ibrpvid", Kind::Bytes),
    ("ibrvproto", Kind::EtherType),
    ("time", Kind::Bytes),
    ("day", Kind::Number),
    ("hour", Kind::HostNumber),
    ("sdif", Kind::HostNumber),
];

const CT_KEYS: [(&str, Kind); 24] = [
    ("state", Kind::CtState),
    ("direction", Kind::CtDirection),
    ("status", Kind::CtStatus),
    ("mark", Kind::Mark),
    ("secmark", Kind::Mark),
    ("expiration", Kind::HostNumber),
    ("helper", Kind::Interface),
    ("l3proto", Kind::NfProto),
    ("saddr", Kind::Ip4),
    ("daddr", Kind::Ip4),
    ("protocol", Kind::Protocol),
    ("proto-src", Kind::Port),
    ("proto-dst", Kind::Port),
    ("label", Kind::Bytes),
    ("packets", Kind::Bytes),
    ("bytes", Kind::Bytes),
    ("avgpkt", Kind::Bytes),
    ("zone", Kind::Bytes),
    ("event", Kind::Bytes),
    ("ip saddr", Kind::Ip4),
    ("ip daddr", Kind::Ip4),
    ("ip6 saddr", Kind::Ip6),
    ("ip6 daddr", Kind::Ip6),
    ("id", Kind::Number),
];

const RT_KEYS: [&str; 5] = ["classid", "ip nexthop", "ip6 nexthop", "mtu", "ipsec"];
const SOCKET_KEYS: [&str; 4] = ["transparent", "mark", "wildcard", "cgroupv2"];
