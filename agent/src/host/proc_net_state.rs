//! What `/proc/net` says of interfaces, addresses, routes and neighbours: the way out where netlink is refused. IPv4
//! addresses, rules and all tables but the main one are not there.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rtnetlink::{Address, Counters, INET, INET6, Link, Neighbour, Route, Row};
use super::tokens::{Words, hex, lines, split_at};

/// A file and its parser, which leaves out lines that it cannot read: the file itself is kept.
pub type Table = (&'static str, fn(u64, &[u8]) -> Vec<Row<'_>>);

/// The files, in the order in which they are read.
pub const TABLES: [Table; 5] =
    [("dev", devices), ("route", routes), ("arp", neighbours), ("if_inet6", addresses6), ("ipv6_route", routes6)];

/// `/proc/net/dev`: two lines of header, then `name: 8 numbers received, 8 sent` (net/core/net-procfs.c).
fn devices(netns: u64, text: &[u8]) -> Vec<Row<'_>> {
    let device = |line: &'_ [u8]| -> Option<(Vec<u8>, Counters)> {
        let (name, numbers) = split_at(line, b':')?;
        let name = Words::of(name).next()?.to_vec();
        let mut words = Words::of(numbers);
        let mut next = || words.decimal();
        let (rx_bytes, rx_packets, rx_errors, rx_dropped) = (next()?, next()?, next()?, next()?);
        let (_fifo, _frame, _compressed, multicast) = (next()?, next()?, next()?, next()?);
        let (tx_bytes, tx_packets, tx_errors, tx_dropped) = (next()?, next()?, next()?, next()?);
        let (_fifo, collisions) = (next()?, next()?);
        let counters = Counters {
            collisions,
            multicast,
            rx_bytes,
            rx_dropped,
            rx_errors,
            rx_packets,
            tx_bytes,
            tx_dropped,
            tx_errors,
            tx_packets,
        };
        Some((name, counters))
    };
    let rows = lines(text).skip(2).filter_map(device).map(|(name, counters)| {
        let (name, name_b64) = bundle::item::shown(&name);
        Row::Link(Box::new(Link {
            name: Cow::Owned(name),
            name_b64,
            netns,
            record: "interface",
            source: "procfs",
            stats: Some(counters),
            ..Link::default()
        }))
    });
    rows.collect()
}

/// `/proc/net/route`: Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT (net/ipv4/fib_trie.c).
fn routes(netns: u64, text: &[u8]) -> Vec<Row<'_>> {
    let route = |line: &[u8]| {
        let mut words = Words::of(line);
        let interface = String::from_utf8_lossy(words.next()?).into_owned();
        let destination = ipv4(words.next()?)?;
        let gateway = ipv4(words.next()?)?;
        let flags = u32::try_from(words.hex()?).ok()?;
        let metric = words.nth(2).and_then(super::tokens::decimal)?;
        let mask = ipv4(words.next()?)?;
        let prefix_len = u8::try_from(u32::from(mask).count_ones()).ok()?;
        Some(Row::Route(Box::new(Route {
            destination: Some(destination.into()),
            flags_number: flags,
            gateway: (!gateway.is_unspecified()).then_some(gateway.into()),
            interface_name: Some(interface),
            metric: u32::try_from(metric).ok(),
            source: "procfs",
            table: Some(Cow::Borrowed("main")),
            ..Route::new(netns, INET, prefix_len)
        })))
    };
    lines(text).skip(1).filter_map(route).collect()
}

/// `/proc/net/ipv6_route`: destination, prefix, source, prefix, next hop, metric, references, use, flags, interface.
fn routes6(netns: u64, text: &[u8]) -> Vec<Row<'_>> {
    let route = |line: &[u8]| {
        let mut words = Words::of(line);
        let destination = ipv6(words.next()?)?;
        let prefix_len = u8::try_from(words.hex()?).ok()?;
        let source = ipv6(words.next()?)?;
        let source_len = u8::try_from(words.hex()?).ok()?;
        let gateway = ipv6(words.next()?)?;
        let metric = u32::try_from(words.hex()?).ok()?;
        let flags = u32::try_from(words.nth(2).and_then(hex)?).ok()?;
        let interface = String::from_utf8_lossy(words.next()?).into_owned();
        Some(Row::Route(Box::new(Route {
            destination: Some(destination.into()),
            flags_number: flags,
            gateway: (!gateway.is_unspecified()).then_some(gateway.into()),
            interface_name: Some(interface),
            metric: Some(metric),
            source: "procfs",
            source_address: (source_len != 0).then_some(source.into()),
            source_prefix_len: (source_len != 0).then_some(source_len),
            ..Route::new(netns, INET6, prefix_len)
        })))
    };
    lines(text).filter_map(route).collect()
}

/// `/proc/net/if_inet6`: address, index, prefix, scope, flags, name; numbers in hexadecimal (net/ipv6/addrconf.c).
fn addresses6(netns: u64, text: &[u8]) -> Vec<Row<'_>> {
    let address = |line: &[u8]| {
        let mut words = Words::of(line);
        let address = ipv6(words.next()?)?;
        let index = u32::try_from(words.hex()?).ok()?;
        let prefix_len = u8::try_from(words.hex()?).ok()?;
        // IPV6_ADDR_LOOPBACK, _LINKLOCAL, _SITELOCAL.
        let scope = match words.hex()? & 0xf0 {
            0x10 => 254,
            0x20 => 253,
            0x40 => 200,
            _ => 0,
        };
        let flags = u32::try_from(words.hex()?).ok()?;
        let mut row = Address {
            address: Some(address.into()),
            index,
            label: words.next().map(|name| Cow::Owned(String::from_utf8_lossy(name).into_owned())),
            source: "procfs",
            ..Address::new(netns, INET6, prefix_len, scope)
        };
        row.set_flags(flags);
        Some(Row::Address(Box::new(row)))
    };
    lines(text).filter_map(address).collect()
}

/// `/proc/net/arp`: address, type, flags, link-layer address, mask, device (net/ipv4/arp.c).
fn neighbours(netns: u64, text: &[u8]) -> Vec<Row<'_>> {
    let neighbour = |line: &[u8]| {
        let mut words = Words::of(line);
        let address: IpAddr = str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let flags = hex(words.nth(1)?.strip_prefix(b"0x")?)?;
        let mac = String::from_utf8_lossy(words.next()?).into_owned();
        let interface = String::from_utf8_lossy(words.nth(1)?).into_owned();
        // ATF_COM, ATF_PERM.
        let state = match flags & 6 {
            0 => "incomplete",
            2 => "reachable",
            _ => "permanent",
        };
        Some(Row::Neighbour(Box::new(Neighbour {
            address: Some(address),
            flags_number: u32::try_from(flags).ok()?,
            interface_name: Some(interface),
            mac: Some(mac),
            source: "procfs",
            state: vec![state],
            ..Neighbour::new(netns, INET)
        })))
    };
    lines(text).skip(1).filter_map(neighbour).collect()
}

/// Eight digits: the address as a number of the machine's byte order.
fn ipv4(digits: &[u8]) -> Option<Ipv4Addr> {
    if digits.len() != 8 {
        return None;
    }
    Some(Ipv4Addr::from(u32::try_from(hex(digits)?).ok()?.to_ne_bytes()))
}

/// Thirty-two digits in the order of the address.
fn ipv6(digits: &[u8]) -> Option<Ipv6Addr> {
    let (high, low) = digits.split_at_checked(16).filter(|(_, low)| low.len() == 16)?;
    Some(Ipv6Addr::from(u128::from(hex(high)?) << 64 | u128::from(hex(low)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(file: &str, text: &[u8]) -> serde_json::Value {
        let (_, read) = TABLES.iter().find(|table| table.0 == file).unwrap();
        serde_json::to_value(read(1, text)).unwrap()
    }

    #[test]
    fn every_table() {
        let dev = b"Inter-|   Receive                                                |  Transmit\n face |bytes\n    \
            lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        let row = &rows("dev", dev)[0];
        assert_eq!(
            (&row["name"], &row["stats"]["tx_bytes"], &row["stats"]["collisions"]),
            (&json!("lo"), &json!(9), &json!(14))
        );

        let route = b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let routes = rows("route", route);
        assert_eq!((&routes[0]["gateway"], &routes[0]["metric"]), (&json!("192.0.2.1"), &json!(100)));
        assert_eq!((&routes[1]["destination"], &routes[1]["prefix_len"]), (&json!("192.0.2.0"), &json!(24)));

        let inet6 = b"00000000000000000000000000000001 01 80 10 80       lo\n";
        let row = &rows("if_inet6", inet6)[0];
        assert_eq!(
            (&row["address"], &row["scope"], &row["flags"]),
            (&json!("::1"), &json!("host"), &json!(["permanent"]))
        );

        let route6 = b"fe800000000000000000000000000000 40 00000000000000000000000000000000 00 \
            00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n";
        let row = &rows("ipv6_route", route6)[0];
        assert_eq!(
            (&row["destination"], &row["prefix_len"], &row["metric"]),
            (&json!("fe80::"), &json!(64), &json!(256))
        );
        assert_eq!(row["interface_name"], "eth0");
    }

    #[test]
    fn damaged_lines_are_left_out() {
        for (file, _) in TABLES {
            assert_eq!(rows(file, b"x\ny\n\xff\xff: 1\nz 1 2 3 4 5 6 7 8 9\n"), json!([]));
        }
    }
}
