//! Any bytes as the kernel's answers: messages, attributes, and every reader of a payload. The first byte says whose.
#![no_main]

use agent::host::netlink::{Dump, attributes, messages};
use agent::host::nf::{conntrack, ipset, tables, xtables};
use agent::host::rtnetlink::{NextHopObject, row, vlans};
use agent::host::{sock_diag, wireguard, xfrm};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    match which % 8 {
        0 => {
            for message in messages(bytes) {
                let _ = row(1, message.kind, message.payload);
                attributes(message.payload).for_each(drop);
            }
        }
        1 => {
            for kind in [16, 20, 24, 28, 32] {
                let _ = serde_json::to_string(&row(1, kind, bytes).map(|row| format!("{row:?}")));
            }
            let _ = (NextHopObject::read(1, bytes), vlans(1, bytes));
        }
        2 => {
            let dump = Dump { bytes: bytes.to_vec(), interrupted: false, truncated: false, error: None };
            for family in sock_diag::FAMILIES {
                family.sockets(&dump).for_each(drop);
            }
        }
        3 => {
            let _ = (tables::table(1, bytes), tables::chain(1, bytes), tables::object(1, bytes));
            let _ = (tables::flowtable(1, bytes), tables::rule(1, bytes, &tables::Sets::default()));
            if let Some(set) = tables::set(1, bytes) {
                let elements = tables::elements(&set, bytes.chunks(64));
                tables::Sets::default().add(&set, &elements);
            }
        }
        4 => drop((conntrack::read(1, bytes), conntrack::read_line(1, bytes))),
        5 => drop(ipset::read(1, bytes)),
        6 => {
            let (info, table) = bytes.split_at(bytes.len().min(84));
            if let Some(info) = xtables::Info::read(info) {
                let _ = xtables::read(1, which / 8, "filter", &info, table);
            }
            let (name, data) = bytes.split_at(bytes.len().min(12));
            let _ = (xtables::match_text(name, which / 8, data), xtables::target_text(2, name, which / 8, data));
        }
        _ => {
            let _ = (xfrm::state(1, bytes), xfrm::policy(1, bytes));
            let _ = (wireguard::family(bytes), wireguard::is_of_kind(bytes), wireguard::read(1, bytes));
        }
    }
});
