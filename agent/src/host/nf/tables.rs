//! What nf_tables holds, as rows: tables, chains, rules, sets and their elements, stateful objects, flowtables
//! (include/uapi/linux/netfilter/nf_tables.h; nft(8)).

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::netlink::{attribute, attributes, text_of, u32_be, u64_be};
use super::expression::{self, Decoded, KnownSet, KnownSets};
use super::value::{self, Kind};
use super::{body, family_name};

/// NFT_MSG_GETTABLE.
pub const GET_TABLE: u16 = 1;
/// NFT_MSG_GETCHAIN.
pub const GET_CHAIN: u16 = 4;
/// NFT_MSG_GETRULE.
pub const GET_RULE: u16 = 7;
/// NFT_MSG_GETSET.
pub const GET_SET: u16 = 10;
/// NFT_MSG_GETSETELEM.
pub const GET_ELEMENT: u16 = 13;
/// NFT_MSG_GETOBJ.
pub const GET_OBJECT: u16 = 19;
/// NFT_MSG_GETFLOWTABLE.
pub const GET_FLOWTABLE: u16 = 23;

/// NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET: what a request for elements names.
pub const ELEMENTS_OF_TABLE: u16 = 1;
/// See [`ELEMENTS_OF_TABLE`].
pub const ELEMENTS_OF_SET: u16 = 2;

/// Elements of an anonymous set that are written into a rule's text.
const INLINE_MAX: usize = 64;
/// Raw expressions of one rule that are kept in its row; all of them are in the raw dump.
const EXPRESSIONS_BYTES_MAX: usize = 64 << 10;

/// A table of nf_tables.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TableRow {
    /// inet, ip, ip6, arp, bridge, netdev.
    pub family: Cow<'static, str>,
    /// dormant, owner, persist.
    pub flags: Vec<&'static str>,
    /// The kernel's number for it.
    pub handle: Option<u64>,
    /// Its name.
    pub name: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Netlink port of the process that owns it, which is usually its pid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_port: Option<u32>,
    /// `nft_table`.
    pub record: &'static str,
}

/// A chain of nf_tables.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ChainRow {
    /// Bytes that fell to its policy, where it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Interfaces that it hangs on (netdev).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Family of its table.
    pub family: Cow<'static, str>,
    /// The kernel's number for it.
    pub handle: Option<u64>,
    /// prerouting, input, forward, output, postrouting, ingress, egress; absent for a chain that rules jump to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Option<Cow<'static, str>>,
    /// Its name.
    pub name: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Packets that fell to its policy, where it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// accept or drop: what happens at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Cow<'static, str>>,
    /// Its place at the hook: the smaller is asked first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// `nft_chain`.
    pub record: &'static str,
    /// Its table.
    pub table: String,
    /// filter, nat, route.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub chain_type: Option<String>,
}

/// A rule of nf_tables.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct RuleRow {
    /// Its chain.
    pub chain: String,
    /// The comment that whoever made it gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The expressions as the kernel gave them (NFTA_RULE_EXPRESSIONS).
    pub expressions_b64: String,
    /// Family of its table.
    pub family: Cow<'static, str>,
    /// The kernel's number for it.
    pub handle: Option<u64>,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Its place in the chain, from 1.
    pub number: u64,
    /// `nft_rule`.
    pub record: &'static str,
    /// Its table.
    pub table: String,
    /// What it says, in the words of nft(8): `tcp dport 31337 counter packets 0 bytes 0 accept`.
    pub text: String,
    /// Expressions that `text` only names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undecoded: Vec<String>,
    /// accept, drop, reject, jump, goto, return, queue, snat, dnat, masquerade, redirect, vmap; absent where a rule only
    /// counts, logs or sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
}

/// A set or a map of nf_tables.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct SetRow {
    /// How many elements it had when it was listed.
    pub elements: u64,
    /// Family of its table.
    pub family: Cow<'static, str>,
    /// anonymous, constant, interval, map, timeout, dynamic, object, concatenation, expression.
    pub flags: Vec<&'static str>,
    /// The kernel's number for it.
    pub handle: Option<u64>,
    /// Length of a key.
    pub key_bytes: u32,
    /// nft's number for the type of its keys.
    pub key_type: u32,
    /// Its name.
    pub name: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// `nft_set`.
    pub record: &'static str,
    /// Its table.
    pub table: String,
    /// After so long an element goes, if it has no time of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// An element of a set or a map of nf_tables.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ElementRow {
    /// The comment that whoever made it gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// In so long it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Family of its table.
    pub family: Cow<'static, str>,
    /// The key: an address, a port, a prefix, a range.
    pub key: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// `nft_element`.
    pub record: &'static str,
    /// Its set.
    pub set: String,
    /// Its table.
    pub table: String,
    /// After so long it goes, from when it was last renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What a map gives for it: a verdict, an address, an object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A stateful object of nf_tables: a counter, a quota, a helper of connection tracking.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ObjectRow {
    /// Family of its table.
    pub family: Cow<'static, str>,
    /// Its name.
    pub name: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// `nft_object`.
    pub record: &'static str,
    /// Its table.
    pub table: String,
    /// What it holds, as far as that is decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// counter, quota, limit, ct helper …
    #[serde(rename = "type")]
    pub object_type: &'static str,
}

/// A flowtable of nf_tables: connections that go past the rules.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FlowtableRow {
    /// Interfaces that it hangs on.
    pub devices: Vec<String>,
    /// Family of its table.
    pub family: Cow<'static, str>,
    /// Its name.
    pub name: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Its place at the hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// `nft_flowtable`.
    pub record: &'static str,
    /// Its table.
    pub table: String,
}

fn text(value: Option<&[u8]>) -> String {
    String::from_utf8_lossy(text_of(value.unwrap_or_default())).into_owned()
}

fn flags(number: u32, names: &[&'static str]) -> Vec<&'static str> {
    names.iter().enumerate().filter(|&(bit, _)| number & (1 << bit) != 0).map(|(_, name)| *name).collect()
}

/// The row of a NFT_MSG_NEWTABLE.
pub fn table(netns: u64, payload: &[u8]) -> Option<TableRow> {
    let (family, list) = body(payload)?;
    Some(TableRow {
        family: family_name(family),
        flags: flags(attribute(list, 2).and_then(u32_be).unwrap_or(0), &["dormant", "owner", "persist"]),
        handle: attribute(list, 4).and_then(u64_be),
        name: text(Some(attribute(list, 1)?)),
        netns,
        owner_port: attribute(list, 7).and_then(u32_be),
        record: "nft_table",
    })
}

/// The row of a NFT_MSG_NEWCHAIN.
pub fn chain(netns: u64, payload: &[u8]) -> Option<ChainRow> {
    let (family, list) = body(payload)?;
    let hook = attribute(list, 4);
    let counters = attribute(list, 8);
    let devices = within(hook, 3).into_iter().map(|name| text(Some(name)));
    let listed = attributes(within(hook, 4).unwrap_or_default()).map(|(_, name)| text(Some(name)));
    Some(ChainRow {
        bytes: within(counters, 1).and_then(u64_be),
        devices: devices.chain(listed).collect(),
        family: family_name(family),
        handle: attribute(list, 2).and_then(u64_be),
        hook: within(hook, 1).and_then(u32_be).map(|number| hook_name(family, number)),
        name: text(Some(attribute(list, 3)?)),
        netns,
        packets: within(counters, 2).and_then(u64_be),
        policy: attribute(list, 5).and_then(u32_be).map(|number| match number {
            0 => Cow::Borrowed("drop"),
            1 => Cow::Borrowed("accept"),
            other => Cow::Owned(other.to_string()),
        }),
        priority: within(hook, 2).and_then(u32_be).map(u32::cast_signed),
        record: "nft_chain",
        table: text(attribute(list, 1)),
        chain_type: attribute(list, 7).map(|name| text(Some(name))),
    })
}

/// An attribute of a list that may be missing.
fn within(list: Option<&[u8]>, kind: u16) -> Option<&[u8]> {
    attribute(list?, kind)
}

fn hook_name(family: u8, number: u32) -> Cow<'static, str> {
    Cow::Borrowed(match (family, number) {
        (5, 0) | (_, 5) => "ingress",
        (5, 1) => "egress",
        (3, 1) | (_, 3) => "output",
        (3, 0) | (_, 1) => "input",
        (_, 0) => "prerouting",
        (_, 2) => "forward",
        (_, 4) => "postrouting",
        (_, other) => return Cow::Owned(other.to_string()),
    })
}

/// The row of a NFT_MSG_NEWRULE; its `number` is for the caller to set.
pub fn rule(netns: u64, payload: &[u8], sets: &Sets) -> Option<RuleRow> {
    let (family, list) = body(payload)?;
    let table = text_of(attribute(list, 1)?);
    let expressions = attribute(list, 4).unwrap_or_default();
    let none = KnownSets::new();
    let known = sets.known.get(&(family, table.to_vec())).unwrap_or(&none);
    let Decoded { text: words, undecoded, verdict } = expression::decode(family, expressions, known);
    let kept = expressions.get(..EXPRESSIONS_BYTES_MAX).unwrap_or(expressions);
    Some(RuleRow {
        chain: text(attribute(list, 2)),
        comment: comment(attribute(list, 7), 0),
        expressions_b64: BASE64_STANDARD.encode(kept),
        family: family_name(family),
        handle: attribute(list, 3).and_then(u64_be),
        netns,
        number: 0,
        record: "nft_rule",
        table: text(Some(table)),
        text: words,
        undecoded,
        verdict,
    })
}

/// What nft(8) leaves in the kernel for itself: entries of type, length, value.
fn comment(userdata: Option<&[u8]>, kind: u8) -> Option<String> {
    let mut rest = userdata?;
    while let [found, length, after @ ..] = rest {
        let value = after.get(..usize::from(*length))?;
        if *found == kind {
            return Some(text(Some(value)));
        }
        rest = after.get(usize::from(*length)..)?;
    }
    None
}

/// The row of a NFT_MSG_NEWOBJ.
pub fn object(netns: u64, payload: &[u8]) -> Option<ObjectRow> {
    let (family, list) = body(payload)?;
    let kind = attribute(list, 3).and_then(u32_be)?;
    let data = attribute(list, 4).unwrap_or_default();
    let words: &[u8] = match kind {
        1 => b"counter",
        2 => b"quota",
        3 => b"cthelper",
        4 => b"limit",
        5 => b"connlimit",
        8 => b"secmark",
        _ => b"",
    };
    Some(ObjectRow {
        family: family_name(family),
        name: text(attribute(list, 2)),
        netns,
        record: "nft_object",
        table: text(attribute(list, 1)),
        text: expression::plain(words, data),
        object_type: expression::object_name(kind),
    })
}

/// The row of a NFT_MSG_NEWFLOWTABLE.
pub fn flowtable(netns: u64, payload: &[u8]) -> Option<FlowtableRow> {
    let (family, list) = body(payload)?;
    let hook = attribute(list, 3).unwrap_or_default();
    let devices = attributes(attribute(hook, 3).unwrap_or_default()).map(|(_, name)| text(Some(name)));
    Some(FlowtableRow {
        devices: devices.collect(),
        family: family_name(family),
        name: text(attribute(list, 2)),
        netns,
        priority: attribute(hook, 2).and_then(u32_be).map(u32::cast_signed),
        record: "nft_flowtable",
        table: text(attribute(list, 1)),
    })
}

const SET_FLAGS: [&str; 9] =
    ["anonymous", "constant", "interval", "map", "timeout", "dynamic", "object", "concatenation", "expression"];
const INTERVAL: u32 = 4;

/// A set as it was listed, with what its elements are to be read by.
#[derive(Debug)]
pub struct Set {
    /// The row; its count of elements is added with them.
    pub row: SetRow,
    /// Its family by number.
    pub family: u8,
    /// The exact names, for the request that asks for its elements.
    pub table: Vec<u8>,
    /// See `table`.
    pub name: Vec<u8>,
    flags: u32,
    data_type: u32,
}

/// The set of a NFT_MSG_NEWSET.
pub fn set(netns: u64, payload: &[u8]) -> Option<Set> {
    let (family, list) = body(payload)?;
    let number = |kind| attribute(list, kind).and_then(u32_be);
    let bits = number(3).unwrap_or(0);
    let table = text_of(attribute(list, 1)?).to_vec();
    let name = text_of(attribute(list, 2)?).to_vec();
    let row = SetRow {
        elements: 0,
        family: family_name(family),
        flags: flags(bits, &SET_FLAGS),
        handle: attribute(list, 16).and_then(u64_be),
        key_bytes: number(5).unwrap_or(0),
        key_type: number(4).unwrap_or(0),
        name: text(Some(&name)),
        netns,
        record: "nft_set",
        table: text(Some(&table)),
        timeout_ms: attribute(list, 11).and_then(u64_be),
    };
    Some(Set { row, family, table, name, flags: bits, data_type: number(6).unwrap_or(0) })
}

/// All sets of a namespace, for the rules that name them.
#[derive(Debug, Default)]
pub struct Sets {
    known: BTreeMap<(u8, Vec<u8>), KnownSets>,
}

impl Sets {
    /// Remembers a set and its elements.
    pub fn add(&mut self, set: &Set, elements: &[ElementRow]) {
        let shown = elements.iter().take(INLINE_MAX).map(|element| match &element.value {
            Some(value) => format!("{} : {value}", element.key),
            None => element.key.clone(),
        });
        let mut text = shown.collect::<Vec<_>>().join(", ");
        if elements.len() > INLINE_MAX {
            text.push_str(", …");
        }
        let known =
            KnownSet { is_anonymous: set.flags & 1 != 0, elements: text, key_bytes: set.row.key_bytes as usize };
        self.known.entry((set.family, set.table.clone())).or_default().insert(set.name.clone(), known);
    }
}

/// An element as the kernel lists it.
struct Raw<'a> {
    key: &'a [u8],
    key_end: Option<&'a [u8]>,
    is_end: bool,
    is_catchall: bool,
    list: &'a [u8],
}

/// The elements in NFT_MSG_NEWSETELEM messages of one set. A set of intervals lists where each begins and where it ends;
/// here an interval is one row.
pub fn elements<'a>(set: &Set, payloads: impl Iterator<Item = &'a [u8]>) -> Vec<ElementRow> {
    let mut raw: Vec<Raw<'_>> = Vec::new();
    for payload in payloads {
        let Some((_, list)) = body(payload) else { continue };
        for (_, element) in attributes(attribute(list, 3).unwrap_or_default()) {
            let bits = attribute(element, 3).and_then(u32_be).unwrap_or(0);
            raw.push(Raw {
                key: attribute(element, 1).and_then(|key| attribute(key, 1)).unwrap_or_default(),
                key_end: attribute(element, 10).and_then(|key| attribute(key, 1)),
                is_end: bits & 1 != 0,
                is_catchall: bits & 2 != 0,
                list: element,
            });
        }
    }
    raw.sort_by(|a, b| (a.key, !a.is_end).cmp(&(b.key, !b.is_end)));
    let mut rows = Vec::new();
    for (at, element) in raw.iter().enumerate() {
        if element.is_end {
            continue;
        }
        let end = match element.key_end {
            None if set.flags & INTERVAL != 0 => match raw.get(at + 1) {
                Some(next) => Some(value::before(next.key)),
                None => Some(vec![0xff; element.key.len()]),
            },
            end => end.map(<[u8]>::to_vec),
        };
        rows.push(row(set, element, end.as_deref()));
    }
    rows
}

fn row(set: &Set, element: &Raw<'_>, end: Option<&[u8]>) -> ElementRow {
    let long = |kind| attribute(element.list, kind).and_then(u64_be);
    let data = attribute(element.list, 2);
    let object = attribute(element.list, 9).map(|name| text(Some(name)));
    ElementRow {
        comment: comment(attribute(element.list, 6), 0),
        expires_ms: long(5),
        family: family_name(set.family),
        key: if element.is_catchall { "*".to_owned() } else { key_text(set.row.key_type, element.key, end) },
        netns: set.row.netns,
        record: "nft_element",
        set: set.row.name.clone(),
        table: set.row.table.clone(),
        timeout_ms: long(4),
        value: data.and_then(|data| expression::data_text(Kind::of_nft(set.data_type), data)).or(object),
    }
}

/// A key by nft's number for its type: one of several parts has six bits of the number for each, the last one lowest.
fn key_text(key_type: u32, key: &[u8], end: Option<&[u8]>) -> String {
    let kinds: Vec<Kind> = (0..6)
        .rev()
        .map(|part| key_type >> (part * 6) & 0x3f)
        .skip_while(|kind| *kind == 0)
        .map(Kind::of_nft)
        .collect();
    if let [] | [_] = kinds[..] {
        let kind = kinds.first().copied().unwrap_or(Kind::Bytes);
        return end.map_or_else(|| kind.show(key), |end| value::range(kind, key, end));
    }
    let mut parts = Vec::new();
    let mut at = 0;
    for kind in kinds {
        // Each part is padded to four bytes; of a kind whose length is not known the rest cannot be told apart.
        let bytes = if kind.bytes() == 0 { key.len().saturating_sub(at) } else { kind.bytes() };
        let Some(part) = key.get(at..at + bytes) else { break };
        parts.push(match end.and_then(|end| end.get(at..at + bytes)) {
            Some(end) => value::range(kind, part, end),
            None => kind.show(part),
        });
        at += bytes.next_multiple_of(4);
    }
    parts.join(" . ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::write_attribute;

    fn nested(kind: u16, parts: &[(u16, &[u8])]) -> Vec<u8> {
        let mut inner = Vec::new();
        for (kind, value) in parts {
            write_attribute(&mut inner, *kind, value);
        }
        let mut bytes = Vec::new();
        write_attribute(&mut bytes, kind, &inner);
        bytes
    }

    fn expression(name: &[u8], data: &[(u16, &[u8])]) -> Vec<u8> {
        let mut inner = Vec::new();
        write_attribute(&mut inner, 1, name);
        inner.extend(nested(2, data));
        let mut bytes = Vec::new();
        write_attribute(&mut bytes, 1, &inner);
        bytes
    }

    #[test]
    fn a_rule_is_decoded_and_an_unknown_expression_is_named() {
        let number = u32::to_be_bytes;
        let value = |bytes: &[u8]| {
            let mut list = Vec::new();
            write_attribute(&mut list, 1, bytes);
            list
        };
        let list = [
            expression(b"meta\0", &[(1, &number(1)), (2, &number(16))]),
            expression(b"cmp\0", &[(1, &number(1)), (2, &number(0)), (3, &value(&[6]))]),
            expression(b"payload\0", &[(1, &number(1)), (2, &number(2)), (3, &number(2)), (4, &number(2))]),
            expression(b"cmp\0", &[(1, &number(1)), (2, &number(0)), (3, &value(&31337u16.to_be_bytes()))]),
            expression(b"counter\0", &[(1, &7u64.to_be_bytes()), (2, &1u64.to_be_bytes())]),
            expression(b"mystery\0", &[]),
        ]
        .concat();
        let mut payload = vec![1, 0, 0, 0];
        write_attribute(&mut payload, 1, b"fx_t\0");
        write_attribute(&mut payload, 2, b"c\0");
        write_attribute(&mut payload, 3, &4u64.to_be_bytes());
        write_attribute(&mut payload, 4, &list);
        write_attribute(&mut payload, 7, b"\x01\x01x\x00\x03hi\0");
        let row = rule(9, &payload, &Sets::default()).unwrap();
        assert_eq!(row.text, "tcp dport 31337 counter packets 1 bytes 7 [mystery]");
        assert_eq!((row.undecoded.as_slice(), row.comment.as_deref()), (&["mystery".to_owned()][..], Some("hi")));
        assert_eq!((row.table.as_str(), row.chain.as_str(), row.handle), ("fx_t", "c", Some(4)));
    }

    #[test]
    fn keys_of_several_parts() {
        // ipv4_addr . inet_service
        let key = [192, 0, 2, 7, 0, 80, 0, 0];
        assert_eq!(key_text(7 << 6 | 13, &key, None), "192.0.2.7 . 80");
        assert_eq!(key_text(7 << 6 | 13, &key[..5], None), "192.0.2.7");
        assert_eq!(key_text(0, &[1], None), "0x01");
    }

    #[test]
    fn damaged_messages_never_panic() {
        let mut state = 11u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        let names: [&[u8]; 12] = [
            b"payload\0",
            b"meta\0",
            b"ct\0",
            b"cmp\0",
            b"bitwise\0",
            b"lookup\0",
            b"immediate\0",
            b"nat\0",
            b"match\0",
            b"range\0",
            b"dynset\0",
            b"queue\0",
        ];
        for _ in 0..4000 {
            let mut list = Vec::new();
            for _ in 0..next() % 8 {
                let values: Vec<Vec<u8>> =
                    (0..8).map(|_| (0..next() % 12).map(|_| u8::try_from(next() & 31).unwrap()).collect()).collect();
                let data: Vec<(u16, &[u8])> = (1..).zip(values.iter().map(Vec::as_slice)).collect();
                list.extend(expression(names[next() % names.len()], &data));
            }
            let mut payload = vec![u8::try_from(next() % 12).unwrap(), 0, 0, 0];
            write_attribute(&mut payload, 1, b"t\0");
            write_attribute(&mut payload, 4, &list);
            payload.truncate(next() % (payload.len() + 1));
            let length = rule(1, &payload, &Sets::default()).map(|row| row.text.len());
            assert!(length.is_none_or(|length| length < 32 << 10));
            let _ = (table(1, &payload), chain(1, &payload), object(1, &payload), flowtable(1, &payload));
            if let Some(set) = set(1, &payload) {
                assert!(elements(&set, [payload.as_slice()].into_iter()).len() < 1000);
            }
        }
    }
}
