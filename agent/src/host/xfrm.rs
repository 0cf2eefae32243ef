//! IPsec as rows: security associations without their keys, and policies (include/uapi/linux/xfrm.h; ip-xfrm(8)).

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::netlink::{attribute, text_of, u16_at, u16_be, u32_at, u32_be, u64_at};
use super::rtnetlink::{INET6, ip};

/// XFRM_MSG_GETSA.
pub const GET_STATE: u16 = 18;
/// XFRM_MSG_GETPOLICY.
pub const GET_POLICY: u16 = 21;

const SELECTOR_BYTES: usize = 56;

/// A security association. Its keys are never handed over.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StateRow {
    /// When it was made, in seconds since the epoch.
    pub added_secs: Option<u64>,
    /// Names of its algorithms: encryption, authentication, compression.
    pub algorithms: Vec<String>,
    /// Bytes that went through.
    pub bytes: Option<u64>,
    /// The other end.
    pub destination: Option<IpAddr>,
    /// UDP port that it is wrapped into, source and destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encapsulation_ports: Option<(u16, u16)>,
    /// Mark that packets must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// transport, tunnel, route_optimization, in_trigger, beet.
    pub mode: &'static str,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Packets that went through.
    pub packets: Option<u64>,
    /// esp, ah, comp.
    pub protocol: &'static str,
    /// `xfrm_state`.
    pub record: &'static str,
    /// Number that ties it to policies.
    pub request_id: u32,
    /// This end.
    pub source: Option<IpAddr>,
    /// Security parameters index.
    pub spi: u32,
    /// When it was last used, in seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_secs: Option<u64>,
}

/// A policy: which packets are wrapped, or must have been.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyRow {
    /// allow or block.
    pub action: &'static str,
    /// Destination of the packets that it is for.
    pub destination: Option<IpAddr>,
    /// Length of its prefix in bits.
    pub destination_prefix_len: u8,
    /// in, out, fwd.
    pub direction: &'static str,
    /// Index of the interface that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_index: Option<u32>,
    /// Inode of its network namespace.
    pub netns: u64,
    /// Its place: the smaller is asked first.
    pub priority: u32,
    /// `xfrm_policy`.
    pub record: &'static str,
    /// Source of the packets that it is for.
    pub source: Option<IpAddr>,
    /// Length of its prefix in bits.
    pub source_prefix_len: u8,
    /// Other ends of the tunnels that it wraps packets into.
    pub tunnel_destinations: Vec<IpAddr>,
    /// This end of them.
    pub tunnel_sources: Vec<IpAddr>,
}

fn address(bytes: &[u8], at: usize, family: u16) -> Option<IpAddr> {
    let length = if family == u16::from(INET6) { 16 } else { 4 };
    ip(bytes.get(at..at + length)?)
}

/// The row of a XFRM_MSG_NEWSA.
pub fn state(netns: u64, payload: &[u8]) -> Option<StateRow> {
    // `struct xfrm_usersa_info`: selector, id, source, two lifetimes, statistics, seq, reqid, family, mode …
    const BYTES: usize = 224;
    let list = payload.get(BYTES..)?;
    let family = u16_at(payload, 212)?;
    let algorithms = [18, 2, 20, 1, 3].iter().filter_map(|kind| attribute(list, *kind));
    let mut names: Vec<String> = algorithms
        .map(|algorithm| String::from_utf8_lossy(text_of(algorithm.get(..64).unwrap_or_default())).into_owned())
        .collect();
    names.dedup();
    let ports = attribute(list, 4).and_then(|value| u16_be(value.get(2..)?).zip(u16_be(value.get(4..)?)));
    Some(StateRow {
        added_secs: u64_at(payload, 176),
        algorithms: names,
        bytes: u64_at(payload, 160),
        destination: address(payload, SELECTOR_BYTES, family),
        encapsulation_ports: ports,
        mark: attribute(list, 21).and_then(|value| u32_at(value, 0)),
        mode: ["transport", "tunnel", "route_optimization", "in_trigger", "beet"]
            .get(usize::from(*payload.get(214)?))
            .unwrap_or(&"unknown"),
        netns,
        packets: u64_at(payload, 168),
        protocol: match payload.get(76)? {
            50 => "esp",
            51 => "ah",
            108 => "comp",
            _ => "unknown",
        },
        record: "xfrm_state",
        request_id: u32_at(payload, 208)?,
        source: address(payload, 80, family),
        spi: u32_be(payload.get(72..)?)?,
        used_secs: u64_at(payload, 184).filter(|secs| *secs != 0),
    })
}

/// The row of a XFRM_MSG_NEWPOLICY.
pub fn policy(netns: u64, payload: &[u8]) -> Option<PolicyRow> {
    // `struct xfrm_userpolicy_info`: selector, two lifetimes, priority, index, direction, action …
    const BYTES: usize = 168;
    let list = payload.get(BYTES..)?;
    let family = u16_at(payload, 40)?;
    // `struct xfrm_user_tmpl` has 64 bytes: the other end, …, its family at 24, this end at 28.
    let templates = attribute(list, 5).unwrap_or_default().chunks_exact(64);
    let ends = |at: usize| {
        templates
            .clone()
            .filter_map(|one| address(one, at, u16_at(one, 24)?))
            .filter(|ip| !ip.is_unspecified())
            .collect()
    };
    Some(PolicyRow {
        action: if *payload.get(161)? == 0 { "allow" } else { "block" },
        destination: address(payload, 0, family),
        destination_prefix_len: *payload.get(42)?,
        direction: ["in", "out", "fwd"].get(usize::from(*payload.get(160)?)).unwrap_or(&"socket"),
        interface_index: u32_at(payload, 48).filter(|index| *index != 0),
        netns,
        priority: u32_at(payload, 152)?,
        record: "xfrm_policy",
        source: address(payload, 16, family),
        source_prefix_len: *payload.get(43)?,
        tunnel_destinations: ends(0),
        tunnel_sources: ends(28),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::write_attribute;

    #[test]
    fn a_state_has_no_key() {
        let mut payload = vec![0; 224];
        payload[56..60].copy_from_slice(&[192, 0, 2, 1]);
        payload[72..76].copy_from_slice(&0x1000u32.to_be_bytes());
        payload[76] = 50;
        payload[80..84].copy_from_slice(&[192, 0, 2, 2]);
        payload[212] = 2;
        payload[214] = 1;
        let mut algorithm = vec![0; 72];
        algorithm[..8].copy_from_slice(b"cbc(aes)");
        algorithm.extend(b"KEYKEYKEYKEYKEY!");
        write_attribute(&mut payload, 2, &algorithm);
        let row = state(1, &payload).unwrap();
        assert_eq!((row.algorithms.as_slice(), row.spi, row.mode), (&["cbc(aes)".to_owned()][..], 0x1000, "tunnel"));
        assert!(!serde_json::to_string(&row).unwrap().contains("KEY"));
        for length in 0..payload.len() {
            let _ = (state(1, &payload[..length]), policy(1, &payload[..length]));
        }
    }
}
