//! WireGuard's interfaces and peers as rows, without their private and preshared keys
//! (include/uapi/linux/wireguard.h; wg(8)). They are asked for through generic netlink.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::Serialize;

use super::netlink::{attribute, attributes, messages, text_of, u16_at, u16_be, u32_at, u64_at, write_attribute};
use super::rtnetlink::ip;

/// GENL_ID_CTRL: the family that lists families.
pub const CONTROLLER: u16 = 16;

/// An interface of WireGuard.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeviceRow {
    /// Mark of the packets that it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// Name of the interface.
    pub name: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// UDP port that it listens on.
    pub port: Option<u16>,
    /// Its own public key, as wg(8) writes it.
    pub public_key: Option<String>,
    /// `wireguard_device`.
    pub record: &'static str,
}

/// A peer of an interface of WireGuard.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PeerRow {
    /// Addresses whose packets go to it and may come from it, `address/length`.
    pub allowed: Vec<String>,
    /// Bytes that came from it.
    pub bytes_in: Option<u64>,
    /// Bytes that went to it.
    pub bytes_out: Option<u64>,
    /// Address that it was last heard from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<IpAddr>,
    /// UDP port that it was last heard from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_port: Option<u16>,
    /// When it was last heard from, in seconds since the epoch; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake_secs: Option<u64>,
    /// Name of the interface.
    pub interface_name: String,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Its public key, as wg(8) writes it.
    pub public_key: Option<String>,
    /// `wireguard_peer`.
    pub record: &'static str,
}

/// `genlmsghdr`.
fn header(command: u8) -> Vec<u8> {
    vec![command, 1, 0, 0]
}

/// What asks for all families: CTRL_CMD_GETFAMILY.
pub fn families() -> Vec<u8> {
    header(3)
}

/// The number of the family `wireguard` in the answer.
pub fn family(dump: &[u8]) -> Option<u16> {
    messages(dump).find_map(|message| {
        let list = message.payload.get(4..)?;
        (text_of(attribute(list, 2)?) == b"wireguard").then(|| u16_at(attribute(list, 1)?, 0))?
    })
}

/// What asks for one interface: WG_CMD_GET_DEVICE.
pub fn request(index: u32) -> Vec<u8> {
    let mut bytes = header(0);
    write_attribute(&mut bytes, 1, &index.to_ne_bytes());
    bytes
}

/// The interfaces of that kind in a dump of RTM_GETLINK: index.
pub fn is_of_kind(payload: &[u8]) -> Option<u32> {
    let info = attribute(payload.get(16..)?, 18)?;
    (text_of(attribute(info, 1)?) == b"wireguard").then(|| u32_at(payload, 4))?
}

/// The rows of one answer; a long list of peers comes in several.
pub fn read(netns: u64, payload: &[u8]) -> Option<(DeviceRow, Vec<PeerRow>)> {
    let list = payload.get(4..)?;
    let name = String::from_utf8_lossy(text_of(attribute(list, 2)?)).into_owned();
    let peers = attributes(attribute(list, 8).unwrap_or_default()).map(|(_, peer)| PeerRow {
        allowed: attributes(attribute(peer, 9).unwrap_or_default()).filter_map(|(_, one)| allowed(one)).collect(),
        bytes_in: attribute(peer, 7).and_then(|value| u64_at(value, 0)),
        bytes_out: attribute(peer, 8).and_then(|value| u64_at(value, 0)),
        endpoint: attribute(peer, 4).and_then(endpoint).map(|at| at.ip()),
        endpoint_port: attribute(peer, 4).and_then(endpoint).map(|at| at.port()),
        handshake_secs: attribute(peer, 6).and_then(|value| u64_at(value, 0)).filter(|secs| *secs != 0),
        interface_name: name.clone(),
        netns,
        public_key: attribute(peer, 1).map(|key| BASE64_STANDARD.encode(key)),
        record: "wireguard_peer",
    });
    let peers = peers.collect();
    let device = DeviceRow {
        mark: attribute(list, 7).and_then(|value| u32_at(value, 0)).filter(|mark| *mark != 0),
        name,
        netns,
        port: attribute(list, 6).and_then(|value| u16_at(value, 0)),
        public_key: attribute(list, 4).map(|key| BASE64_STANDARD.encode(key)),
        record: "wireguard_device",
    };
    Some((device, peers))
}

fn allowed(one: &[u8]) -> Option<String> {
    Some(format!("{}/{}", ip(attribute(one, 2)?)?, attribute(one, 3)?.first()?))
}

/// `struct sockaddr_in` or `sockaddr_in6`.
fn endpoint(value: &[u8]) -> Option<SocketAddr> {
    let at = if u16_at(value, 0)? == 2 { 4..8 } else { 8..24 };
    Some(SocketAddr::new(ip(value.get(at)?)?, u16_be(value.get(2..)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::testing::list as nested;

    #[test]
    fn peers_without_secrets() {
        let ip = nested(&[(1, &[2, 0]), (2, &[10, 0, 0, 0]), (3, &[24])]);
        let peer = nested(&[
            (1, &[1; 32]),
            (2, b"SECRETSECRETSECRETSECRETSECRET!!"),
            (4, &[2, 0, 0x1f, 0x90, 192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 0, 0]),
            (6, &[1_700_000_000u64.to_ne_bytes(), [0; 8]].concat()),
            (9, &nested(&[(0, &ip)])),
        ]);
        let mut payload = header(0);
        payload.extend(nested(&[
            (2, b"wg0\0"),
            (3, b"SECRETSECRETSECRETSECRETSECRET!!"),
            (6, &51820u16.to_ne_bytes()),
            (8, &nested(&[(0, &peer)])),
        ]));
        let (device, peers) = read(1, &payload).unwrap();
        assert_eq!((device.name.as_str(), device.port), ("wg0", Some(51820)));
        assert_eq!((peers[0].allowed[0].as_str(), peers[0].endpoint_port), ("10.0.0.0/24", Some(8080)));
        let secret = BASE64_STANDARD.encode("SECRET");
        assert!(!serde_json::to_string(&peers).unwrap().contains(&secret[..6]));
        for length in 0..payload.len() {
            let _ = read(1, &payload[..length]);
        }
    }
}
