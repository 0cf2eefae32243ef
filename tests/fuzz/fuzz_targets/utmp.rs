//! Any bytes as login records, of both layouts, and as what follows from them.
#![no_main]

use agent::host::utmp::{Layout, kind_name, last_login, record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for layout in [Layout::NARROW, Layout::WIDE] {
        for piece in input.chunks(layout.record_bytes) {
            let taken = record(layout, piece);
            assert_eq!(taken.is_some(), piece.len() == layout.record_bytes);
            if let Some(taken) = taken {
                let _ = kind_name(taken.kind);
                assert!(!taken.line.contains(&0) && !taken.user.contains(&0) && !taken.host.contains(&0));
            }
        }
        for piece in input.chunks(layout.lastlog_bytes) {
            let _ = last_login(layout, piece);
        }
    }
});
