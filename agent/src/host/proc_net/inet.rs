//! `/proc/net/{tcp,tcp6,udp,udp6,udplite,udplite6,raw,raw6,icmp,icmp6}`: one format with tails of their own
//! (net/ipv4/tcp_ipv4.c get_tcp4_sock, net/ipv4/udp.c udp4_format_sock, net/ipv6/datagram.c; proc_net_tcp.rst).
//!
//! ```text
//!   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//!    0: 0100007F:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1611 1 … 100 0 0 10 0
//! ```

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Each, Socket, below_header, hand_over, names, not_zero, text};
use crate::host::tokens::{Words, decimal, hex, split_at};
use crate::run::session::Stopped;

pub fn parse(protocol: &'static str, table: &[u8], each: Each<'_>) -> Result<(), Stopped> {
    for line in below_header(table) {
        hand_over(protocol, line, socket(protocol, line), each)?;
    }
    Ok(())
}

fn socket<'a>(protocol: &'static str, line: &'a [u8]) -> Option<Socket<'a>> {
    let mut words = Words::of(line);
    let slot = decimal(words.next()?.strip_suffix(b":")?)?;
    let (local_address, local_port, local_mapped) = end(words.next()?)?;
    let (remote_address, remote_port, remote_mapped) = end(words.next()?)?;
    let state = words.hex()?;
    let (tx_queue, rx_queue) = words.pair()?;
    let (timer, timer_ticks) = words.pair()?;
    let retransmits = words.hex()?;
    let uid = words.decimal()?;
    let probes = words.decimal()?;
    let inode = words.decimal()?;
    let references = words.decimal()?;
    let sk = words.next().map(|word| text(word).0);
    let mut socket = Socket {
        inode,
        local_address: Some(local_address),
        local_port: Some(local_port),
        references: Some(references),
        remote_address: Some(remote_address),
        remote_port: Some(remote_port),
        retransmits: not_zero(retransmits),
        rx_queue: Some(hex(rx_queue)?),
        sk,
        slot: Some(slot),
        state: names::tcp_state(state),
        state_number: names::tcp_state(state).is_none().then_some(state),
        timer: timer_name(hex(timer)?),
        timer_ticks: not_zero(hex(timer_ticks)?),
        tx_queue: Some(hex(tx_queue)?),
        uid: Some(uid),
        unanswered_probes: not_zero(probes),
        v4_mapped: local_mapped || remote_mapped,
        ..Socket::of(protocol)
    };
    if protocol.starts_with("tcp") {
        // Connections that are being opened or that wait out their time have no tail.
        socket.retransmit_timeout_ticks = words.decimal();
        socket.ack_timeout_ticks = words.decimal();
        socket.ack_quick = words.decimal();
        socket.congestion_window = words.decimal();
        socket.slow_start_threshold = words.signed();
    } else {
        socket.drops = words.decimal();
    }
    Some(socket)
}

/// `tr`, the kind of the running timer.
fn timer_name(number: u64) -> Option<Cow<'static, str>> {
    Some(Cow::Borrowed(match number {
        0 => return None,
        1 => "retransmit",
        2 => "keepalive",
        3 => "time_wait",
        4 => "probe",
        other => return Some(Cow::Owned(other.to_string())),
    }))
}

/// `ADDRESS:PORT`, and whether it is IPv4 in IPv6. The kernel prints each 32-bit word of the address, which is in network
/// order in memory, as a number of its own byte order; the port is a plain number.
fn end(word: &[u8]) -> Option<(IpAddr, u16, bool)> {
    let (address, port) = split_at(word, b':')?;
    let port = u16::try_from(hex(port)?).ok()?;
    match address.len() {
        8 => Some((Ipv4Addr::from(host_word(address)?).into(), port, false)),
        32 => {
            let mut bytes = [0; 16];
            for (into, from) in bytes.chunks_exact_mut(4).zip(address.chunks_exact(8)) {
                into.copy_from_slice(&host_word(from)?);
            }
            let address = Ipv6Addr::from(bytes);
            Some(match address.to_ipv4_mapped() {
                Some(mapped) => (mapped.into(), port, true),
                None => (address.into(), port, false),
            })
        }
        _ => None,
    }
}

fn host_word(digits: &[u8]) -> Option<[u8; 4]> {
    Some(u32::try_from(hex(digits)?).ok()?.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::testing::rows;
    use serde_json::json;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    #[test]
    fn tcp_established_with_a_timer() {
        let line = "   1: 020200C0:8F66 507100CB:01BB 01 0000000A:00000002 01:00000014 00000003  1000        4 14724 2 \
            00000000ea6a2887 20 4 21 22 -1                    \n";
        assert_eq!(
            rows("tcp", format!("{HEADER}{line}").as_bytes()),
            [json!({
                "ack_quick": 21, "ack_timeout_ticks": 4, "congestion_window": 22, "inode": 14724,
                "local_address": "192.0.2.2", "local_port": 36710, "netns": 0, "owners": [], "protocol": "tcp",
                "record": "socket", "references": 2, "remote_address": "203.0.113.80", "remote_port": 443,
                "retransmit_timeout_ticks": 20, "retransmits": 3, "rx_queue": 2, "sk": "00000000ea6a2887", "slot": 1,
                "slow_start_threshold": -1, "state": "ESTABLISHED", "timer": "retransmit", "timer_ticks": 20,
                "tx_queue": 10, "uid": 1000, "unanswered_probes": 4,
            })]
        );
    }

    #[test]
    fn time_wait_has_no_tail() {
        let line = "   0: 0100007F:1F90 0100007F:D431 06 00000000:00000000 03:000016A0 00000000     0        0 0 3 \
            0000000011223344                                      \n";
        let row = &rows("tcp", format!("{HEADER}{line}").as_bytes())[0];
        assert_eq!(
            (&row["state"], &row["timer"], &row["timer_ticks"]),
            (&json!("TIME_WAIT"), &json!("time_wait"), &json!(5792))
        );
        assert!(row.get("congestion_window").is_none());
    }

    #[test]
    fn six_and_four_in_six() {
        let lines = "   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 \
            00:00000000 00000000     0        0 99 1 0000000000000000 100 0 0 10 0\n   \
            1: 0000000000000000FFFF0000020200C0:0016 0000000000000000FFFF0000070200C0:C001 01 00000000:00000000 \
            02:00000000 00000000     0        0 98 1 0000000000000000 100 0 0 10 0\n   \
            2: B80D0120000000000000000001000000:0035 00000000000000000000000000000000:0000 1F 00000000:00000000 \
            07:00000000 00000000     0        0 97 1 0000000000000000\n";
        let rows = rows("tcp6", format!("{HEADER}{lines}").as_bytes());
        assert_eq!((&rows[0]["local_address"], &rows[0]["state"]), (&json!("::1"), &json!("LISTEN")));
        assert_eq!((&rows[1]["remote_address"], &rows[1]["v4_mapped"]), (&json!("192.0.2.7"), &json!(true)));
        assert_eq!((&rows[2]["local_address"], &rows[2]["state_number"]), (&json!("2001:db8::1"), &json!(31)));
        assert_eq!(rows[2]["timer"], "7");
    }

    #[test]
    fn udp_and_raw_have_drops() {
        let line = " 1041: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 812 2 \
            0000000000000000 5\n";
        for table in ["udp", "raw", "icmp", "udplite"] {
            let row = &rows(table, format!("{HEADER}{line}").as_bytes())[0];
            assert_eq!((&row["drops"], &row["local_port"], &row["slot"]), (&json!(5), &json!(68), &json!(1041)));
            assert_eq!(row["protocol"], table);
        }
    }

    #[test]
    fn what_is_no_socket_is_kept_as_it_stands() {
        let rows = rows("tcp", format!("{HEADER}   0: nonsense\n").as_bytes());
        assert_eq!(rows[0]["unparsed"], "   0: nonsense");
    }
}
