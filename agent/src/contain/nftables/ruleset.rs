//! What the tables say: the chains of an isolation and of a block, in both families.
//!
//! The inet chains are asked first (the lowest priority) and hold for sockets and for what is forwarded; the last chain,
//! behind address translation, sees where a packet really goes. The netdev chains hang on each interface but the
//! loopback: what passes no socket of the host passes them still (packet sockets, bridges, macvlan, flow tables).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use wire::containment::Endpoint;

use super::batch::{Batch, Hook, NETDEV};
use super::rule::{End, Rule, TCP, UDP};
use crate::host::nf::INET;

const IN: &str = "peers_in";
const OUT: &str = "peers_out";
/// NF_INET_LOCAL_IN, NF_INET_FORWARD, NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING; NF_NETDEV_INGRESS, NF_NETDEV_EGRESS.
const LOCAL_IN: u32 = 1;
const FORWARD: u32 = 2;
const LOCAL_OUT: u32 = 3;
const POST_ROUTING: u32 = 4;
const INGRESS: u32 = 0;
const EGRESS: u32 = 1;
/// Before and behind everybody else at a hook.
const FIRST: i32 = i32::MIN;
const LAST: i32 = i32::MAX - 1;
/// ARP, 802.1X, and what a bond's ends tell each other (LACP): without them the link itself goes down.
const LINK_PROTOCOLS: [u16; 3] = [0x0806, 0x888e, 0x8809];

/// What is let through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rules {
    /// Everything is dropped but this.
    Isolate {
        /// Exceptions both ways: with a port, that of either end.
        allow: Vec<Endpoint>,
        /// Asked for names, by UDP and TCP.
        resolvers: Vec<IpAddr>,
        /// Connections of this host to these, TCP where there is a port.
        servers: Vec<Endpoint>,
    },
    /// Nothing goes to these.
    Block {
        /// Where to.
        to: Vec<Endpoint>,
    },
}

impl Rules {
    /// What it does, in words.
    pub fn says(&self) -> String {
        let list = |endpoints: &[Endpoint]| endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Isolate { allow, resolvers, servers } => {
                let named: Vec<Endpoint> =
                    servers.iter().chain(allow).copied().chain(resolvers.iter().map(|ip| Endpoint::of(*ip))).collect();
                let but = if named.is_empty() { "nothing".to_owned() } else { list(&named) };
                format!("drops all that comes in, goes out or passes through, but {but}; the loopback stays")
            }
            Self::Block { to } => format!("drops all that goes out or passes through to {}", list(to)),
        }
    }

    /// The inet table.
    pub fn inet(&self, batch: &mut Batch, table: &str, comment: &str) {
        batch.table(INET, table, comment);
        let drops = matches!(self, Self::Isolate { .. });
        self.peers(batch, INET, table);
        let hooks: [(&str, u32, i32); 4] = [
            ("input", LOCAL_IN, FIRST),
            ("forward", FORWARD, FIRST),
            ("output", LOCAL_OUT, FIRST),
            ("postrouting", POST_ROUTING, LAST),
        ];
        for (name, number, priority) in hooks {
            if !drops && number == LOCAL_IN {
                continue;
            }
            batch.chain(INET, table, name.as_bytes(), Some(Hook { number, priority, device: None, drops }));
            let rule = || Rule::of(INET);
            let rules = match number {
                LOCAL_IN => vec![rule().in_by_loopback().accept(), rule().jump(IN)],
                FORWARD if drops => Vec::new(),
                _ => vec![rule().out_by_loopback().accept(), rule().jump(OUT)],
            };
            for rule in &rules {
                batch.rule(INET, table, name.as_bytes(), rule);
            }
        }
    }

    /// The netdev table: a chain for each interface and direction.
    pub fn netdev(&self, batch: &mut Batch, table: &str, comment: &str, devices: &[Vec<u8>]) {
        batch.table(NETDEV, table, comment);
        let drops = matches!(self, Self::Isolate { .. });
        self.peers(batch, NETDEV, table);
        if drops {
            for device in devices {
                hang(batch, table, device, (b"in_", INGRESS, FIRST, IN), drops);
            }
        }
    }

    /// The same for what leaves (Linux 5.16).
    pub fn egress(&self, batch: &mut Batch, table: &str, devices: &[Vec<u8>]) {
        let drops = matches!(self, Self::Isolate { .. });
        for device in devices {
            hang(batch, table, device, (b"out_", EGRESS, LAST, OUT), drops);
        }
    }

    /// The chains that all others jump to.
    fn peers(&self, batch: &mut Batch, family: u8, table: &str) {
        let (inwards, outwards) = self.verdicts(family);
        for (name, rules) in [(IN, inwards), (OUT, outwards)] {
            batch.chain(family, table, name.as_bytes(), None);
            for rule in &rules {
                batch.rule(family, table, name.as_bytes(), rule);
            }
        }
    }

    fn verdicts(&self, family: u8) -> (Vec<Rule>, Vec<Rule>) {
        let rule = || Rule::of(family);
        match self {
            Self::Block { to } => {
                let to = to.iter().flat_map(|to| named(family, *to, End::Destination, &[End::Destination]));
                (Vec::new(), to.map(Rule::drop).collect())
            }
            Self::Isolate { allow, resolvers, servers } => {
                let (mut inwards, mut outwards) = (Vec::new(), Vec::new());
                if family == NETDEV {
                    let link = || LINK_PROTOCOLS.iter().map(|number| rule().ether_type(*number).accept());
                    inwards.extend(link());
                    outwards.extend(link());
                }
                let ends = [End::Source, End::Destination];
                for peer in allow {
                    inwards.extend(named(family, *peer, End::Source, &ends).into_iter().map(Rule::accept));
                    outwards.extend(named(family, *peer, End::Destination, &ends).into_iter().map(Rule::accept));
                }
                let resolvers = resolvers.iter().flat_map(|ip| {
                    [
                        (Endpoint { port: Some(53), ..Endpoint::of(*ip) }, UDP),
                        (Endpoint { port: Some(53), ..Endpoint::of(*ip) }, TCP),
                    ]
                });
                for (peer, protocol) in servers.iter().map(|server| (*server, TCP)).chain(resolvers) {
                    let Endpoint { address, prefix, port } = peer;
                    let Some(port) = port else {
                        inwards.push(rule().address(End::Source, address, prefix).accept());
                        outwards.push(rule().address(End::Destination, address, prefix).accept());
                        continue;
                    };
                    let from = rule().address(End::Source, address, prefix).protocol(protocol).port(End::Source, port);
                    let to = rule().address(End::Destination, address, prefix).protocol(protocol);
                    inwards.push(if protocol == TCP { from.opens_nothing() } else { from }.accept());
                    outwards.push(to.port(End::Destination, port).accept());
                }
                keep_the_link(rule, &mut inwards, &mut outwards);
                (inwards, outwards)
            }
        }
    }
}

/// The rules for an endpoint at one end of a packet; with a port, one for TCP and one for UDP at each of the ends.
fn named(family: u8, endpoint: Endpoint, end: End, port_ends: &[End]) -> Vec<Rule> {
    let rule = || Rule::of(family).address(end, endpoint.address, endpoint.prefix);
    let Some(port) = endpoint.port else { return vec![rule()] };
    let ends = port_ends.iter().flat_map(|end| [(*end, TCP), (*end, UDP)]);
    ends.map(|(end, protocol)| rule().protocol(protocol).port(end, port)).collect()
}

/// What the host needs to keep its addresses and to reach its neighbours: DHCP by broadcast and multicast, neighbour and
/// router discovery, multicast listening, and the word of a router that a packet was too big.
///
/// Nothing of it leads beyond the link, so that it is no way out: a unicast renewal of DHCP is not let through, and the
/// client falls back to the broadcast (RFC 2131, REBINDING).
fn keep_the_link(rule: impl Fn() -> Rule, inwards: &mut Vec<Rule>, outwards: &mut Vec<Rule>) {
    let link_local = (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10);
    let multicast = (IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0)), 16);
    let any = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let broadcast = (IpAddr::V4(Ipv4Addr::BROADCAST), 32);
    let udp = |(address, prefix): (IpAddr, u8), end, from, to| {
        rule().address(end, address, prefix).protocol(UDP).port(End::Source, from).port(End::Destination, to).accept()
    };
    outwards.push(udp(broadcast, End::Destination, 68, 67));
    outwards.push(udp(multicast, End::Destination, 546, 547));
    inwards.push(udp(any, End::Source, 67, 68));
    inwards.push(udp(link_local, End::Source, 547, 546));
    // Router solicitation, neighbour solicitation and advertisement out; router advertisement and the latter two in.
    for kind in [133, 135, 136] {
        for (address, prefix) in [link_local, multicast] {
            let out = rule().icmpv6(kind).was_not_routed().address(End::Destination, address, prefix);
            outwards.push(out.accept());
        }
    }
    inwards.extend([134, 135, 136].map(|kind| rule().icmpv6(kind).was_not_routed().accept()));
    // Multicast listener reports out and queries in: a switch that snoops forwards no solicitation without them.
    let reports = [131, 132, 143].map(|kind| rule().icmpv6(kind).address(End::Destination, multicast.0, multicast.1));
    outwards.extend(reports.map(Rule::accept));
    inwards.push(rule().icmpv6(130).address(End::Source, link_local.0, link_local.1).accept());
    // Fragmentation needed; packet too big: without them uploads to the server hang.
    inwards.push(rule().icmp(3, 4).accept());
    inwards.push(rule().icmpv6(2).accept());
}

fn hang(
    batch: &mut Batch,
    table: &str,
    device: &[u8],
    (prefix, number, priority, jump): (&[u8], u32, i32, &str),
    drops: bool,
) {
    let name = [prefix, device].concat();
    batch.chain(NETDEV, table, &name, Some(Hook { number, priority, device: Some(device), drops }));
    batch.rule(NETDEV, table, &name, &Rule::of(NETDEV).jump(jump));
}
