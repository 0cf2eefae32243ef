//! How packets are routed beyond what `network_state` holds, in every network namespace: objects of next hops, multicast
//! and MPLS routes and the rules that choose among them, VLANs of bridges, IPsec and WireGuard.
//!
//! Routes of all tables, neighbours, forwarding tables of bridges and the rules of IPv4 and IPv6 are rows of
//! `network_state` and are not asked for twice. Keys are never handed over: of IPsec and of WireGuard no raw messages are
//! kept, because the kernel puts the keys into them.
//!
//! Rows: `nexthop`, `route`, `rule`, `bridge_vlan`, `xfrm_state`, `xfrm_policy`, `wireguard_device`, `wireguard_peer`.
//! Raw: `netns-<inode>/rtnetlink.bin`, the messages of the dumps of routing as they came.

use std::io;
use std::os::fd::OwnedFd;

use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::Tier;

use super::netlink_dumps::Dumps;
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::kernel_part::Part;
use crate::host::net_census::namespaces;
use crate::host::netlink::{self, Message};
use crate::host::netns::{Door, NetNamespace};
use crate::host::rtnetlink::{self, BRIDGE, IP6MR, IPMR, MPLS};
use crate::host::{wireguard, xfrm};
use crate::run::session::{Session, Stopped};

/// Interfaces of WireGuard that are asked, of one namespace.
const DEVICES_MAX: usize = 1000;

/// What is asked of routing: name, message, and the family's own header.
const DUMPS: [(&str, u16, u8, usize); 6] = [
    ("RTM_GETNEXTHOP", rtnetlink::GET_NEXTHOP, 0, 8),
    ("RTM_GETROUTE ipmr", rtnetlink::GET_ROUTE, IPMR, 12),
    ("RTM_GETROUTE ip6mr", rtnetlink::GET_ROUTE, IP6MR, 12),
    ("RTM_GETROUTE mpls", rtnetlink::GET_ROUTE, MPLS, 12),
    ("RTM_GETRULE ipmr", rtnetlink::GET_RULE, IPMR, 12),
    ("RTM_GETRULE ip6mr", rtnetlink::GET_RULE, IP6MR, 12),
];

/// The collector `routing_rules`; it has no arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutingRules {}

impl Collect for RoutingRules {
    const NAME: &'static str = "routing_rules";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str =
        "Next hops, multicast routes, VLANs of bridges, IPsec and WireGuard of every namespace";
    const NEEDS: &'static [&'static str] = &["CAP_NET_ADMIN", "CAP_SYS_ADMIN"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let host = session.host().clone();
        if !host.is_live() {
            let item = session.item(Kind::Record, "netlink/route", "netlink", Status::Skipped);
            return Ok(session.note(item.because("only on a live host"))?);
        }
        let ipsec = Part::of(&host, "xfrm_user");
        if !ipsec.may_be_asked() {
            let item = session.item(Kind::Record, "netlink/xfrm", "netlink", Status::Skipped);
            session.note(item.because("xfrm_user is not loaded, and asking would load it"))?;
        }
        for namespace in namespaces(session)?.iter() {
            session.go_on()?;
            of_namespace(session, namespace, ipsec)?;
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<rtnetlink::NextHopObject>("nexthop", "include/uapi/linux/nexthop.h"),
            RowType::of::<rtnetlink::Route>("route", "rtnetlink(7), include/uapi/linux/mroute.h"),
            RowType::of::<rtnetlink::Rule<'static>>("rule", "ip-rule(8), include/uapi/linux/fib_rules.h"),
            RowType::of::<rtnetlink::VlanRow>("bridge_vlan", "bridge(8), include/uapi/linux/if_bridge.h"),
            RowType::of::<xfrm::StateRow>("xfrm_state", "ip-xfrm(8), include/uapi/linux/xfrm.h"),
            RowType::of::<xfrm::PolicyRow>("xfrm_policy", "ip-xfrm(8), include/uapi/linux/xfrm.h"),
            RowType::of::<wireguard::DeviceRow>("wireguard_device", "wg(8), include/uapi/linux/wireguard.h"),
            RowType::of::<wireguard::PeerRow>("wireguard_peer", "wg(8), include/uapi/linux/wireguard.h"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let dumps = DUMPS.iter().map(|(name, ..)| format!("netlink {name}"));
        let more = ["netlink XFRM_MSG_GETSA", "netlink XFRM_MSG_GETPOLICY", "netlink WG_CMD_GET_DEVICE"];
        Plan { reads: dumps.chain(more.map(str::to_owned)).collect(), ..Plan::default() }
    }
}

struct Opened {
    route: io::Result<OwnedFd>,
    ipsec: Option<io::Result<OwnedFd>>,
    generic: io::Result<OwnedFd>,
}

fn of_namespace(session: &mut Session, namespace: &NetNamespace, ipsec: Part) -> Result<(), Failure> {
    let host = session.host().clone();
    let netns = namespace.inode;
    let entered = namespace.enter(&host, || Opened {
        route: netlink::open(),
        ipsec: ipsec.may_be_asked().then(|| netlink::open_protocol(netlink::XFRM)),
        generic: netlink::open_protocol(netlink::GENERIC),
    });
    let opened = match entered {
        Ok(opened) => opened,
        Err(error) => {
            let path = namespace.doors.first().map_or_else(|| b"/proc".to_vec(), Door::path);
            let item = session.item(Kind::Record, path, "setns", Status::Error).failed(&error);
            return Ok(session.note(item.because(format!("network namespace {netns} was not asked")))?);
        }
    };
    match opened.route {
        Ok(socket) => routing(session, netns, &socket, opened.generic)?,
        Err(error) => session.unreadable(format!("netlink/route/{netns}"), &error)?,
    }
    match opened.ipsec {
        Some(Ok(socket)) => security(session, netns, &socket)?,
        Some(Err(error)) => session.unreadable(format!("netlink/xfrm/{netns}"), &error)?,
        None => {}
    }
    Ok(())
}

fn routing(session: &mut Session, netns: u64, socket: &OwnedFd, generic: io::Result<OwnedFd>) -> Result<(), Stopped> {
    let mut dumps = Dumps::new(socket, "route", netns);
    for (name, kind, family, header_bytes) in DUMPS {
        let mut dump = dumps.ask(session, kind, &header(family, header_bytes))?;
        let mut rows = 0;
        // A kernel that has no such family answers for all of them.
        let is_asked = |message: &Message<'_>| family == 0 || message.payload.first() == Some(&family);
        let mut is_foreign = false;
        for message in netlink::messages(&dump.bytes) {
            if message.kind == rtnetlink::GET_NEXTHOP - 2 {
                if let Some(row) = rtnetlink::NextHopObject::read(netns, message.payload) {
                    session.row(&row)?;
                    rows += 1;
                }
            } else if is_asked(&message) {
                if let Some(row) = rtnetlink::row(netns, message.kind, message.payload) {
                    session.row(&row)?;
                    rows += 1;
                }
            } else {
                is_foreign |= message.payload.len() >= header_bytes;
            }
        }
        if is_foreign && rows == 0 {
            dump.bytes.clear();
        }
        // EAFNOSUPPORT: no such family of rules.
        if dump.error.as_ref().and_then(io::Error::raw_os_error) == Some(libc::EAFNOSUPPORT) {
            dump.error = Some(rustix::io::Errno::OPNOTSUPP.into());
        }
        dumps.tell(session, name, rows, dump)?;
    }
    // IFLA_EXT_MASK with RTEXT_FILTER_BRVLAN_COMPRESSED: ranges of VLANs as ranges.
    let mut request = header(BRIDGE, 16);
    netlink::write_attribute(&mut request, 29, &4u32.to_ne_bytes());
    let dump = dumps.ask(session, rtnetlink::GET_LINK, &request)?;
    let mut rows = 0;
    for message in netlink::messages(&dump.bytes).filter(|message| message.payload.first() == Some(&BRIDGE)) {
        for row in rtnetlink::vlans(netns, message.payload) {
            session.row(&row)?;
            rows += 1;
        }
    }
    dumps.tell(session, "RTM_GETLINK bridge", rows, dump)?;
    dumps.keep(session, "rtnetlink.bin")?;
    match generic {
        Ok(generic) => tunnels(session, netns, socket, &generic),
        Err(error) => session.unreadable(format!("netlink/generic/{netns}"), &error),
    }
}

fn header(family: u8, bytes: usize) -> Vec<u8> {
    let mut header = vec![0; bytes];
    if let Some(first) = header.first_mut() {
        *first = family;
    }
    header
}

/// WireGuard's interfaces and peers, where its family is registered.
fn tunnels(session: &mut Session, netns: u64, route: &OwnedFd, generic: &OwnedFd) -> Result<(), Stopped> {
    let mut dumps = Dumps::new(generic, "generic", netns);
    let families = dumps.ask(session, wireguard::CONTROLLER, &wireguard::families())?;
    let Some(family) = wireguard::family(&families.bytes) else { return Ok(()) };
    let links = Dumps::new(route, "route", netns).ask(session, rtnetlink::GET_LINK, &header(0, 16))?;
    let devices = netlink::messages(&links.bytes).filter_map(|message| wireguard::is_of_kind(message.payload));
    for index in devices.take(DEVICES_MAX) {
        let mut dump = dumps.ask(session, family, &wireguard::request(index))?;
        let mut rows = 0;
        for message in netlink::messages(&dump.bytes).filter(|message| message.kind == family) {
            let Some((device, peers)) = wireguard::read(netns, message.payload) else { continue };
            if rows == 0 {
                session.row(&device)?;
            }
            rows += 1 + peers.len() as u64;
            for peer in &peers {
                session.row(peer)?;
            }
        }
        // They hold the private key.
        dump.bytes.clear();
        dumps.tell(session, "WG_CMD_GET_DEVICE", rows, dump)?;
    }
    Ok(())
}

/// IPsec: associations and policies.
fn security(session: &mut Session, netns: u64, socket: &OwnedFd) -> Result<(), Stopped> {
    let mut dumps = Dumps::new(socket, "xfrm", netns);
    let mut dump = dumps.ask(session, xfrm::GET_STATE, &[])?;
    let mut rows = 0;
    for row in netlink::messages(&dump.bytes).filter_map(|message| xfrm::state(netns, message.payload)) {
        session.row(&row)?;
        rows += 1;
    }
    // They hold the keys.
    dump.bytes.clear();
    dumps.tell(session, "XFRM_MSG_GETSA", rows, dump)?;
    let mut dump = dumps.ask(session, xfrm::GET_POLICY, &[])?;
    let mut rows = 0;
    for row in netlink::messages(&dump.bytes).filter_map(|message| xfrm::policy(netns, message.payload)) {
        session.row(&row)?;
        rows += 1;
    }
    dump.bytes.clear();
    dumps.tell(session, "XFRM_MSG_GETPOLICY", rows, dump)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netns::{link_inode, testing::held_namespace};
    use crate::host::regular::fd_path;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, inside, items, rows};
    use std::sync::Arc;

    #[test]
    fn next_hops_vlans_and_associations_come_back() {
        let Some((held, _listener)) = held_namespace() else {
            println!("not tested: only root may make a network namespace");
            return;
        };
        let own = link_inode(&fd_path(&held)).unwrap();
        let state = "link set lo up\n\
            nexthop add id 7 via 127.0.0.2 dev lo\n\
            xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1000 mode tunnel enc cbc(aes) 0x00112233445566778899aabbccddeeff\n\
            xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode tunnel\n";
        let is_set = inside(&held, "ip", &["-batch", "-"], state);
        let has_bridge = inside(&held, "ip", &["-batch", "-"], "link add br0 type bridge vlan_filtering 1\n");
        let messages = collect(&RoutingRules {}, Arc::new(Host::live()));
        assert_keys_sorted(&messages);
        let rows = rows(&messages);
        let of =
            |record: &str| rows.iter().filter(|row| row["record"] == record && row["netns"] == own).collect::<Vec<_>>();
        if is_set {
            assert_eq!((&of("nexthop")[0]["id"], &of("nexthop")[0]["gateway"]), (&7.into(), &"127.0.0.2".into()));
            assert_eq!(
                (&of("xfrm_state")[0]["algorithms"][0], &of("xfrm_state")[0]["spi"]),
                (&"cbc(aes)".into(), &0x1000.into())
            );
            assert_eq!(of("xfrm_policy")[0]["tunnel_destinations"][0], "192.0.2.2");
            let key = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];
            let raw = messages.iter().filter_map(|message| match message {
                Message::Raw(_, _, bytes) => Some(bytes),
                _ => None,
            });
            assert!(raw.clone().count() > 0);
            assert!(raw.into_iter().all(|bytes| !bytes.windows(8).any(|window| window == key)));
        }
        if has_bridge {
            assert_eq!(
                (&of("bridge_vlan")[0]["vlan"], &of("bridge_vlan")[0]["interface_name"]),
                (&1.into(), &"br0".into())
            );
        }
        assert!(of("route").is_empty(), "routes of other families are those of network_state");
        assert!(items(&messages).iter().any(|item| item.path == format!("netlink/route/{own}").as_bytes()));
    }
}
