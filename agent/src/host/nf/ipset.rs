//! IP sets as rows (include/uapi/linux/netfilter/ipset/ip_set.h; ipset(8)).

use schemars::JsonSchema;
use serde::Serialize;

use super::super::netlink::{attribute, attributes, text_of, u16_be, u32_be, u64_be, write_attribute};
use super::value::{Kind, address, quoted};
use super::{body, header, protocol_name};

/// IPSET_CMD_LIST.
pub const LIST: u16 = 7;
/// The oldest version of the protocol that every kernel since 2011 speaks.
const PROTOCOL: u8 = 6;

/// What asks for all sets.
pub fn request() -> Vec<u8> {
    let mut bytes = header(super::UNSPEC);
    write_attribute(&mut bytes, 1, &[PROTOCOL]);
    bytes
}

/// An IP set.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SetRow {
    /// How many elements the kernel says that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elements: Option<u32>,
    /// inet or inet6; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<&'static str>,
    /// Memory that it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u32>,
    /// Its name.
    pub name: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// `ipset`.
    pub record: &'static str,
    /// Rules and lists that name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<u32>,
    /// After so long an element goes, if it has no time of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u32>,
    /// hash:ip, hash:net,port, list:set …
    #[serde(rename = "type")]
    pub set_type: String,
}

/// An element of an IP set.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ElementRow {
    /// Bytes that it matched, where the set counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The comment that whoever made it gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// It in the words of ipset(8): `192.0.2.7,tcp:80`.
    pub element: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Packets that it matched, where the set counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// `ipset_element`.
    pub record: &'static str,
    /// Its set.
    pub set: String,
    /// In so long it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u32>,
}

/// What one message of the list holds: the set when it is the first of it, and elements.
pub fn read(netns: u64, payload: &[u8]) -> Option<(Option<SetRow>, Vec<ElementRow>)> {
    let (_, list) = body(payload)?;
    let name = String::from_utf8_lossy(text_of(attribute(list, 2)?)).into_owned();
    let number = |kind| attribute(list, 7).and_then(|data| attribute(data, kind)).and_then(u32_be);
    let set = attribute(list, 3).map(|kind| SetRow {
        elements: number(24),
        family: match attribute(list, 5).and_then(|value| value.first()) {
            Some(2) => Some("inet"),
            Some(10) => Some("inet6"),
            _ => None,
        },
        memory_bytes: number(26),
        name: name.clone(),
        netns,
        record: "ipset",
        references: number(25),
        timeout_secs: number(6),
        set_type: String::from_utf8_lossy(text_of(kind)).into_owned(),
    });
    let elements = attributes(attribute(list, 8).unwrap_or_default());
    let elements = elements.map(|(_, data)| {
        let long = |kind| attribute(data, kind).and_then(u64_be);
        ElementRow {
            bytes: long(24),
            comment: attribute(data, 26).map(|text| String::from_utf8_lossy(text_of(text)).into_owned()),
            element: element(data),
            netns,
            packets: long(25),
            record: "ipset_element",
            set: name.clone(),
            timeout_secs: attribute(data, 6).and_then(u32_be),
        }
    });
    Some((set, elements.collect()))
}

/// An element's parts by commas, in the order in which the types of ipset(8) name them.
fn element(data: &[u8]) -> String {
    let ip = |kind| attribute(data, kind).and_then(value_of_address);
    let byte = |kind| attribute(data, kind).and_then(|value| value.first()).copied();
    let mut parts = Vec::new();
    let network = |address: String, to: Option<String>, cidr: Option<u8>| match (to, cidr) {
        (Some(to), _) if to != address => format!("{address}-{to}"),
        (_, Some(cidr)) => format!("{address}/{cidr}"),
        _ => address,
    };
    if let Some(address) = ip(1) {
        parts.push(network(address, ip(2), byte(3)));
    }
    if let Some(mac) = attribute(data, 17) {
        parts.push(Kind::Mac.show(mac));
    }
    if let Some(mark) = attribute(data, 10).and_then(u32_be) {
        parts.push(format!("{mark:#010x}"));
    }
    if let Some(port) = attribute(data, 4).and_then(u16_be) {
        let to = attribute(data, 5).and_then(u16_be).filter(|to| *to != port);
        let protocol = byte(7).map_or_else(String::new, |number| format!("{}:", protocol_name(number)));
        parts.push(to.map_or_else(|| format!("{protocol}{port}"), |to| format!("{protocol}{port}-{to}")));
    }
    if let Some(address) = ip(20) {
        parts.push(network(address, ip(22), byte(21)));
    }
    if let Some(interface) = attribute(data, 23) {
        parts.push(text_of(interface).escape_ascii().to_string());
    }
    if let Some(name) = attribute(data, 18) {
        parts.push(quoted(text_of(name), ""));
    }
    parts.join(",")
}

/// IPSET_ATTR_IPADDR_IPV4 or _IPV6, nested.
fn value_of_address(value: &[u8]) -> Option<String> {
    attributes(value).next().map(|(_, value)| address(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_their_elements() {
        let mut ip = Vec::new();
        write_attribute(&mut ip, 1, &[192, 0, 2, 7]);
        let mut data = Vec::new();
        write_attribute(&mut data, 1, &ip);
        write_attribute(&mut data, 4, &80u16.to_be_bytes());
        write_attribute(&mut data, 7, &[6]);
        let mut elements = Vec::new();
        write_attribute(&mut elements, 7, &data);
        let mut payload = header(2);
        write_attribute(&mut payload, 2, b"s\0");
        write_attribute(&mut payload, 3, b"hash:ip,port\0");
        write_attribute(&mut payload, 5, &[2]);
        write_attribute(&mut payload, 8, &elements);
        let (set, elements) = read(1, &payload).unwrap();
        assert_eq!(set.unwrap().set_type, "hash:ip,port");
        assert_eq!(elements[0].element, "192.0.2.7,tcp:80");
        for length in 0..payload.len() {
            let _ = read(1, &payload[..length]);
        }
    }
}
