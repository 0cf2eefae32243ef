//! For a kernel without nf_tables: rules of policy routing (ip-rule(8)) that prohibit every route but those to the
//! exceptions.
//!
//! A packet that is answered needs a route, so that connections are cut both ways; so is what is forwarded. What they do
//! not cover stands in [`super::Tables`]'s fallbacks: what comes in and wants no answer, and packet sockets. A host's own
//! addresses are found in the table `local`, before these rules are asked.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use wire::containment::Endpoint;

use super::rule::{TCP, UDP};
use super::ruleset::Rules;
use crate::host::netlink::{self, ACK, CREATE, EXCL, attribute, write_attribute};
use crate::host::rtnetlink::{GET_RULE, INET, INET6};

const NEW_RULE: u16 = 32;
const DEL_RULE: u16 = 33;
const TO_TABLE: u8 = 1;
const PROHIBIT: u8 = 8;
const MAIN: u8 = 254;
/// What stands as FRA_PROTOCOL in our rules: a number that nobody has registered.
const OURS: u8 = 217;

/// Adds the rules that are not there yet.
///
/// # Errors
/// As the kernel answers.
pub fn put(route: &OwnedFd, rules: &Rules) -> io::Result<()> {
    for body in bodies(rules) {
        change(route, NEW_RULE, CREATE | EXCL, &body, &[Errno::EXIST])?;
    }
    Ok(())
}

/// Removes them, what prohibits first.
///
/// # Errors
/// As the kernel answers.
pub fn remove(route: &OwnedFd, rules: &Rules) -> io::Result<()> {
    if count(route)? == 0 {
        return Ok(());
    }
    for body in bodies(rules).iter().rev() {
        change(route, DEL_RULE, 0, body, &[Errno::NOENT])?;
    }
    Ok(())
}

/// True when none of them is missing.
///
/// # Errors
/// As the kernel answers.
pub fn are_there(route: &OwnedFd, rules: &Rules) -> io::Result<bool> {
    Ok(count(route)? >= bodies(rules).len())
}

fn count(route: &OwnedFd) -> io::Result<usize> {
    let dump = netlink::dump(route, GET_RULE, 1, &[0; 12]);
    if let Some(error) = dump.error {
        return Err(error);
    }
    let ours = netlink::messages(&dump.bytes)
        .filter(|message| message.kind == NEW_RULE)
        .filter(|message| message.payload.get(12..).and_then(|list| attribute(list, 21)) == Some(&[OURS]));
    Ok(ours.count())
}

fn change(route: &OwnedFd, kind: u16, flags: u16, body: &[u8], ignored: &[Errno]) -> io::Result<()> {
    let message = netlink::request(kind, flags | ACK, 7, body);
    match netlink::change(route, &message, 7) {
        Ok(()) => Ok(()),
        // A kernel without IPv6 has no rules of it, and nothing that they would cut.
        Err(error)
            if ignored
                .iter()
                .chain(&[Errno::OPNOTSUPP, Errno::AFNOSUPPORT])
                .any(|errno| error.source.raw_os_error() == Some(errno.raw_os_error())) =>
        {
            Ok(())
        }
        Err(error) => Err(error.source),
    }
}

fn bodies(rules: &Rules) -> Vec<Vec<u8>> {
    match rules {
        Rules::Isolate { allow, resolvers, servers } => {
            let resolvers = resolvers.iter().map(|ip| Endpoint { port: Some(53), ..Endpoint::of(*ip) });
            let peers = servers.iter().chain(allow).copied().chain(resolvers);
            let mut bodies: Vec<_> = peers.flat_map(|peer| to(peer, TO_TABLE, 1)).collect();
            bodies.extend([INET, INET6].map(|family| rule(family, None, None, PROHIBIT, 2)));
            bodies
        }
        Rules::Block { to: blocked } => blocked.iter().flat_map(|peer| to(*peer, PROHIBIT, 1)).collect(),
    }
}

fn to(peer: Endpoint, action: u8, priority: u32) -> Vec<Vec<u8>> {
    let family = if peer.address.is_ipv4() { INET } else { INET6 };
    let network = Some((peer.address, peer.prefix));
    match peer.port {
        None => vec![rule(family, network, None, action, priority)],
        Some(port) => {
            [TCP, UDP].map(|protocol| rule(family, network, Some((protocol, port)), action, priority)).to_vec()
        }
    }
}

/// `struct fib_rule_hdr` and attributes (include/uapi/linux/fib_rules.h).
fn rule(family: u8, network: Option<(IpAddr, u8)>, port: Option<(u8, u16)>, action: u8, priority: u32) -> Vec<u8> {
    let table = if action == TO_TABLE { MAIN } else { 0 };
    let bits = network.map_or(0, |(_, prefix)| prefix);
    let mut body = vec![family, bits, 0, 0, table, 0, 0, action, 0, 0, 0, 0];
    match network {
        Some((IpAddr::V4(v4), 1..)) => write_attribute(&mut body, 1, &v4.octets()),
        Some((IpAddr::V6(v6), 1..)) => write_attribute(&mut body, 1, &v6.octets()),
        _ => {}
    }
    write_attribute(&mut body, 6, &priority.to_ne_bytes());
    write_attribute(&mut body, 21, &[OURS]);
    if let Some((protocol, port)) = port {
        write_attribute(&mut body, 22, &[protocol]);
        write_attribute(&mut body, 24, &[port.to_ne_bytes(), port.to_ne_bytes()].concat());
    }
    body
}

#[cfg(test)]
mod tests {
    use super::super::place::Place;
    use super::*;

    /// Runs it in a network namespace of its own; says why where that cannot be.
    fn in_a_namespace(work: impl FnOnce(&Place) + Send + 'static) {
        let thread = std::thread::spawn(|| match nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            Ok(()) => work(&Place::here().unwrap()),
            Err(error) => eprintln!("left out: no network namespace can be made: {error}"),
        });
        thread.join().unwrap();
    }

    #[test]
    fn rules_are_put_once_found_and_removed() {
        in_a_namespace(|place| {
            let isolate = Rules::Isolate {
                allow: vec!["10.0.0.5".parse().unwrap(), "[fd00::/8]:443".parse().unwrap()],
                resolvers: vec!["10.0.0.53".parse().unwrap()],
                servers: vec!["10.0.0.7:8443".parse().unwrap()],
            };
            let block = Rules::Block { to: vec!["169.254.169.254".parse().unwrap()] };
            for rules in [isolate, block] {
                assert!(!are_there(&place.route, &rules).unwrap());
                put(&place.route, &rules).unwrap();
                put(&place.route, &rules).unwrap();
                assert!(are_there(&place.route, &rules).unwrap());
                assert_eq!(count(&place.route).unwrap(), bodies(&rules).len());
                remove(&place.route, &rules).unwrap();
                remove(&place.route, &rules).unwrap();
                assert_eq!(count(&place.route).unwrap(), 0);
            }
        });
    }
}
