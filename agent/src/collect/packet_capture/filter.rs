//! Which packets are taken, as a program of classic BPF that the kernel runs before it queues one (bpf(4), socket(7),
//! Documentation/networking/filter.rst).
//!
//! Offsets are relative to the network header (SKF_NET_OFF), so one program serves Ethernet, tunnels and loopback.
//! Known limits: IPv6 packets whose ports stand behind extension headers, and fragments other than the first, have no
//! ports here; a filter by port leaves them out.

use std::net::IpAddr;

use crate::host::sys::net::Instruction;

/// SKF_NET_OFF.
const NET: u32 = 0x1_0000_u32.wrapping_mul(16).wrapping_neg();
/// SKF_AD_OFF + SKF_AD_PROTOCOL, + SKF_AD_IFINDEX.
const PROTOCOL: u32 = 0x1000_u32.wrapping_neg();
const INTERFACE: u32 = 0x1000_u32.wrapping_neg() + 8;

const LD_W: u16 = 0x20;
const LD_H: u16 = 0x28;
const LD_B: u16 = 0x30;
const LD_H_X: u16 = 0x48;
const LDX_HEADER: u16 = 0xb1;
const AND: u16 = 0x54;
const JA: u16 = 0x05;
const JEQ: u16 = 0x15;
const JSET: u16 = 0x45;
const RET: u16 = 0x06;

const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
/// Protocols that begin with two ports.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

/// What is asked for. Everything that is not empty must hold.
#[derive(Debug, Default)]
pub struct Filter {
    /// Addresses, either end; each with the length of its prefix.
    pub hosts: Vec<(IpAddr, u8)>,
    /// Ports, either end.
    pub ports: Vec<u16>,
    /// IP protocols by number.
    pub protocols: Vec<u8>,
    /// True when ARP is taken too.
    pub arp: bool,
    /// Interfaces by index.
    pub interfaces: Vec<u32>,
    /// Connections that are left out.
    pub without: Vec<Connection>,
}

/// A connection of TCP, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Port here.
    pub local_port: u16,
    /// The other end.
    pub remote: IpAddr,
    /// Its port.
    pub remote_port: u16,
}

/// Where a jump leads.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Label(usize);

/// A program in the making: jumps name labels until it is finished.
#[derive(Default)]
struct Program {
    instructions: Vec<(u16, u8, u8, u32)>,
    jumps: Vec<(usize, Label)>,
    places: Vec<Option<usize>>,
}

impl Program {
    fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    fn here(&mut self, label: Label) {
        let at = self.instructions.len();
        if let Some(place) = self.places.get_mut(label.0) {
            *place = Some(at);
        }
    }

    fn put(&mut self, code: u16, operand: u32) {
        self.instructions.push((code, 0, 0, operand));
    }

    fn jump(&mut self, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.put(JA, 0);
    }

    /// A comparison's own jumps reach 255 instructions; those of JA reach everywhere.
    fn jump_if(&mut self, code: u16, operand: u32, to: Label) {
        self.instructions.push((code, 0, 1, operand));
        self.jump(to);
    }

    fn jump_unless(&mut self, code: u16, operand: u32, to: Label) {
        self.instructions.push((code, 1, 0, operand));
        self.jump(to);
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            let place = self.places.get(label.0).copied().flatten().unwrap_or(at + 1);
            if let Some(instruction) = self.instructions.get_mut(at) {
                instruction.3 = u32::try_from(place.saturating_sub(at + 1)).unwrap_or(0);
            }
        }
        let finished = self.instructions.into_iter();
        finished
            .map(|(code, jump_true, jump_false, operand)| Instruction { code, jump_true, jump_false, operand })
            .collect()
    }
}

impl Filter {
    /// True when every packet is taken.
    pub fn takes_all(&self) -> bool {
        self.hosts.is_empty()
            && self.ports.is_empty()
            && self.protocols.is_empty()
            && !self.arp
            && self.interfaces.is_empty()
            && self.without.is_empty()
    }

    /// The program. It answers `bytes_max` for a packet that is taken, and 0 for one that is not.
    pub fn compile(&self, bytes_max: u32) -> Vec<Instruction> {
        let mut program = Program::default();
        let (take, leave) = (program.label(), program.label());
        let (ipv4, ipv6) = (program.label(), program.label());
        if !self.interfaces.is_empty() {
            let known = program.label();
            program.put(LD_W, INTERFACE);
            for index in &self.interfaces {
                program.jump_if(JEQ, *index, known);
            }
            program.jump(leave);
            program.here(known);
        }
        program.put(LD_H, PROTOCOL);
        program.jump_if(JEQ, IPV4, ipv4);
        program.jump_if(JEQ, IPV6, ipv6);
        if self.arp && self.hosts.is_empty() && self.ports.is_empty() {
            program.jump_if(JEQ, 0x0806, take);
        }
        let asks = !self.hosts.is_empty() || !self.ports.is_empty() || !self.protocols.is_empty() || self.arp;
        program.jump(if asks { leave } else { take });
        program.here(ipv4);
        self.of_family(&mut program, false, take, leave);
        program.here(ipv6);
        self.of_family(&mut program, true, take, leave);
        program.here(take);
        program.put(RET, bytes_max);
        program.here(leave);
        program.put(RET, 0);
        program.finish()
    }

    fn of_family(&self, program: &mut Program, is_ipv6: bool, take: Label, leave: Label) {
        let (protocol_at, source_at, destination_at) = if is_ipv6 { (6, 8, 24) } else { (9, 12, 16) };
        if !self.protocols.is_empty() || self.arp {
            let known = program.label();
            program.put(LD_B, NET + protocol_at);
            for protocol in &self.protocols {
                program.jump_if(JEQ, u32::from(*protocol), known);
            }
            program.jump(leave);
            program.here(known);
        }
        if !self.hosts.is_empty() {
            let known = program.label();
            for (address, length) in self.hosts.iter().filter(|(address, _)| address.is_ipv6() == is_ipv6) {
                for at in [source_at, destination_at] {
                    let next = program.label();
                    address_is(program, *address, *length, at, next);
                    program.jump(known);
                    program.here(next);
                }
            }
            program.jump(leave);
            program.here(known);
        }
        if !self.ports.is_empty() {
            let (known, next) = (program.label(), program.label());
            program.put(LD_B, NET + protocol_at);
            for protocol in WITH_PORTS {
                program.jump_if(JEQ, u32::from(protocol), next);
            }
            program.jump(leave);
            program.here(next);
            ports_in_x(program, is_ipv6, leave);
            for at in [0, 2] {
                load_port(program, is_ipv6, at);
                for port in &self.ports {
                    program.jump_if(JEQ, u32::from(*port), known);
                }
            }
            program.jump(leave);
            program.here(known);
        }
        for one in self.without.iter().filter(|one| one.remote.is_ipv6() == is_ipv6) {
            // A packet goes out to the other end, or comes from it.
            for (remote_at, remote_port_at, local_port_at) in [(source_at, 0, 2), (destination_at, 2, 0)] {
                let next = program.label();
                program.put(LD_B, NET + protocol_at);
                program.jump_unless(JEQ, 6, next);
                address_is(program, one.remote, if is_ipv6 { 128 } else { 32 }, remote_at, next);
                ports_in_x(program, is_ipv6, next);
                for (port, at) in [(one.remote_port, remote_port_at), (one.local_port, local_port_at)] {
                    load_port(program, is_ipv6, at);
                    program.jump_unless(JEQ, u32::from(port), next);
                }
                program.jump(leave);
                program.here(next);
            }
        }
        program.jump(take);
    }
}

/// Goes to `otherwise` unless the address at `at` of the header is of that prefix.
fn address_is(program: &mut Program, address: IpAddr, length: u8, at: u32, otherwise: Label) {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut left = u32::from(length);
    for (offset, word) in (0..).step_by(4).zip(bytes.as_chunks::<4>().0) {
        if left == 0 {
            break;
        }
        let mask = u32::MAX << (32 - left.min(32));
        program.put(LD_W, NET + at + offset);
        if mask != u32::MAX {
            program.put(AND, mask);
        }
        program.jump_unless(JEQ, u32::from_be_bytes(*word) & mask, otherwise);
        left = left.saturating_sub(32);
    }
}

/// Makes ports ready to be loaded: the length of an IPv4 header into X; a later fragment has none.
fn ports_in_x(program: &mut Program, is_ipv6: bool, none: Label) {
    if !is_ipv6 {
        program.put(LD_H, NET + 6);
        program.jump_if(JSET, 0x1fff, none);
        program.put(LDX_HEADER, NET);
    }
}

fn load_port(program: &mut Program, is_ipv6: bool, at: u32) {
    if is_ipv6 {
        program.put(LD_H, NET + 40 + at);
    } else {
        program.put(LD_H_X, NET + at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with a packet: its EtherType, and what lies behind the header of the link.
    fn run(program: &[Instruction], ether_type: u32, interface: u32, packet: &[u8]) -> u32 {
        let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
        let load = |from: u32, bytes: usize| -> Option<u32> {
            let start = usize::try_from(from.wrapping_sub(NET)).ok()?;
            Some(packet.get(start..start + bytes)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
        };
        for _ in 0..10_000 {
            let one = program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { one.jump_true } else { one.jump_false });
            let loaded = match (one.code, one.operand) {
                (LD_H, PROTOCOL) => Some(ether_type),
                (LD_W, INTERFACE) => Some(interface),
                (LD_W, from) => load(from, 4),
                (LD_H, from) => load(from, 2),
                (LD_B, from) => load(from, 1),
                (LD_H_X, from) => load(from.wrapping_add(x), 2),
                (LDX_HEADER, from) => {
                    x = load(from, 1).map_or(0, |byte| (byte & 15) * 4);
                    Some(a)
                }
                (AND, mask) => Some(a & mask),
                (JEQ, value) => {
                    at += jump(a == value);
                    Some(a)
                }
                (JSET, value) => {
                    at += jump(a & value != 0);
                    Some(a)
                }
                (JA, by) => {
                    at += by as usize;
                    Some(a)
                }
                (RET, value) => return value,
                other => panic!("{other:?}"),
            };
            // A load past the end takes no packet.
            let Some(loaded) = loaded else { return 0 };
            a = loaded;
        }
        panic!("no end");
    }

    fn v4(protocol: u8, source: [u8; 4], destination: [u8; 4], ports: [u16; 2]) -> Vec<u8> {
        let mut packet = vec![0x46, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet.extend(source.into_iter().chain(destination).chain([0; 4]));
        packet.extend(ports.into_iter().flat_map(u16::to_be_bytes));
        packet
    }

    #[test]
    fn hosts_ports_and_protocols_must_all_hold() {
        let filter = Filter {
            hosts: vec![("192.0.2.0".parse().unwrap(), 24), ("2001:db8::1".parse().unwrap(), 128)],
            ports: vec![53, 31337],
            protocols: vec![17],
            ..Filter::default()
        };
        let program = filter.compile(100);
        let takes = |packet: &[u8]| run(&program, IPV4, 1, packet) == 100;
        assert!(takes(&v4(17, [192, 0, 2, 9], [10, 0, 0, 1], [40000, 53])));
        assert!(takes(&v4(17, [10, 0, 0, 1], [192, 0, 2, 9], [31337, 1])));
        assert!(!takes(&v4(6, [192, 0, 2, 9], [10, 0, 0, 1], [40000, 53])), "another protocol");
        assert!(!takes(&v4(17, [192, 0, 3, 9], [10, 0, 0, 1], [40000, 53])), "another host");
        assert!(!takes(&v4(17, [192, 0, 2, 9], [10, 0, 0, 1], [40000, 54])), "another port");
        let mut fragment = v4(17, [192, 0, 2, 9], [10, 0, 0, 1], [40000, 53]);
        fragment[7] = 1;
        assert!(!takes(&fragment) && !takes(&fragment[..10]));
        assert!(run(&program, 0x0806, 1, &[0; 40]) == 0);
        let mut v6 = vec![0; 44];
        v6[6] = 17;
        v6[24..40].copy_from_slice(&"2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        v6[42..44].copy_from_slice(&53u16.to_be_bytes());
        assert_eq!(run(&program, IPV6, 1, &v6), 100);
        v6[39] = 2;
        assert_eq!(run(&program, IPV6, 1, &v6), 0);
    }

    #[test]
    fn a_connection_is_left_out_in_both_directions_and_nothing_else_is() {
        let own = Connection { local_port: 5000, remote: "192.0.2.1".parse().unwrap(), remote_port: 443 };
        let program = Filter { without: vec![own], ..Filter::default() }.compile(9);
        let (here, there) = ([10, 0, 0, 1], [192, 0, 2, 1]);
        assert_eq!(run(&program, IPV4, 1, &v4(6, here, there, [5000, 443])), 0);
        assert_eq!(run(&program, IPV4, 1, &v4(6, there, here, [443, 5000])), 0);
        assert_eq!(run(&program, IPV4, 1, &v4(6, here, there, [5001, 443])), 9);
        assert_eq!(run(&program, IPV4, 1, &v4(6, there, here, [5000, 443])), 9);
        assert_eq!(run(&program, IPV4, 1, &v4(17, here, there, [5000, 443])), 9);
        assert_eq!(run(&program, 0x0806, 1, &[]), 9);
    }

    #[test]
    fn interfaces_and_arp() {
        let program = Filter { interfaces: vec![3], arp: true, ..Filter::default() }.compile(9);
        assert_eq!(
            [run(&program, 0x0806, 3, &[]), run(&program, 0x0806, 2, &[]), run(&program, 0x88cc, 3, &[])],
            [9, 0, 0]
        );
        assert_eq!(run(&program, IPV4, 3, &v4(6, [0; 4], [0; 4], [1, 1])), 0);
    }

    #[test]
    fn the_longest_filter_is_one_that_the_kernel_takes() {
        let filter = Filter {
            hosts: vec![("2001:db8::1".parse().unwrap(), 127); super::super::HOSTS_MAX],
            ports: (1..=u16::try_from(super::super::PORTS_MAX).unwrap()).collect(),
            protocols: vec![6; 8],
            interfaces: vec![1; super::super::INTERFACES_MAX],
            without: vec![
                Connection { local_port: 1, remote: "2001:db8::1".parse().unwrap(), remote_port: 1 };
                super::super::OWN_MAX
            ],
            arp: true,
        };
        // BPF_MAXINSNS.
        let length = filter.compile(1).len();
        assert!(length <= 4096, "{length}");
    }
}
