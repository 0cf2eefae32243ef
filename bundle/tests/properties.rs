//! What holds for every bundle: no bit of it is free, and wherever it is cut, it is not called tampered with.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod common;
mod compose;

use bundle::verify::{Against, NotVerified, Sidecar, State, check, code};
use common::small_bundle;

fn sidecar(bytes: &[u8]) -> Sidecar {
    Sidecar::read(bytes).unwrap()
}

/// True when `bytes` are refused because something in them was changed.
fn is_found(bytes: &[u8], sidecar: Option<&Sidecar>) -> bool {
    match check(bytes, Against { signers: None, sidecar }) {
        Err(NotVerified::Rejected(report)) => !report.findings.is_empty(),
        // The first four bytes and the format's name say that it is a bundle at all.
        Err(NotVerified::NotABundle(_) | NotVerified::Unsupported(_)) => true,
        _ => false,
    }
}

#[test]
fn the_writer_and_the_verifier_agree() {
    let (bytes, stream, sealed) = small_bundle();
    let sidecar = sidecar(&stream);
    for sidecar in [None, Some(&sidecar)] {
        let verified = match check(&bytes[..], Against { signers: None, sidecar }) {
            Ok(verified) => verified,
            Err(NotVerified::Rejected(report)) => panic!("{:#?}", report.findings.kept()),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(verified.state(), State::Sealed);
        assert_eq!(verified.entries().len() as u64, sealed.entries);
        assert_eq!(verified.report().checkpoints.len() as u64, sealed.checkpoints);
        assert_eq!(verified.report().items.values().sum::<u64>(), sealed.items);
        assert_eq!(verified.report().boundary, Some(sealed.bytes));
    }
}

#[test]
fn every_flipped_byte_of_the_file_is_found() {
    let (bytes, stream) = compose::compose(true, &[]);
    let sidecar = sidecar(&stream);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        // With the transport checkpoints every change of a byte shows in a digest; without them it must show by itself.
        let sidecar = (at % 16 == 0).then_some(&sidecar);
        assert!(is_found(&changed, sidecar), "byte {at}");
    }
}

#[test]
fn flipped_bytes_of_what_the_writer_writes_are_found() {
    let (bytes, ..) = small_bundle();
    for at in (0..bytes.len()).step_by(11) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at / 11 % 8);
        assert!(is_found(&changed, None), "byte {at}");
    }
}

#[test]
fn every_flipped_byte_of_the_transport_checkpoints_is_found() {
    let (bytes, stream) = compose::compose(false, &[]);
    for at in 0..stream.len() {
        for flip in [1, 3] {
            let mut changed = stream.clone();
            changed[at] ^= flip;
            assert!(is_found(&bytes, Some(&sidecar(&changed))), "byte {at} ^ {flip}");
        }
    }
}

#[test]
fn no_cut_is_called_tampering() {
    let (bytes, stream) = compose::compose(true, &[]);
    let full = sidecar(&stream);
    let mut verified_to = 0;
    for end in 1..bytes.len() {
        match check(&bytes[..end], Against::default()) {
            Ok(verified) => {
                let report = verified.report();
                assert_eq!(report.state, State::Partial, "cut at {end}");
                assert!(report.verified_to <= end as u64 && report.verified_to >= verified_to, "cut at {end}");
                assert!(report.boundary.is_none_or(|boundary| boundary <= report.verified_to));
                verified_to = report.verified_to;
            }
            Err(NotVerified::Unverified(report)) => {
                assert_eq!((report.state, report.verified_to, verified_to), (State::Unverified, 0, 0), "cut at {end}");
            }
            Err(NotVerified::Rejected(report)) => panic!("cut at {end}: {:#?}", report.findings.kept()),
            Err(other) => panic!("cut at {end}: {other}"),
        }
        if end % 97 == 0 && verified_to > 0 {
            // The transport checkpoints say that the signer had come further.
            let Err(NotVerified::Rejected(report)) =
                check(&bytes[..end], Against { signers: None, sidecar: Some(&full) })
            else {
                panic!("cut at {end} is not found")
            };
            assert!(report.findings.has(code::TRUNCATED));
            assert!(report.findings.kept()[0].message.contains(&bytes.len().to_string()));
        }
    }
    assert!(verified_to > bytes.len() as u64 / 3);
}

#[test]
fn zeros_at_the_end_are_not_called_tampering() {
    let (bytes, _) = compose::compose(true, &[]);
    let (written, ..) = small_bundle();
    for (bytes, step) in [(&bytes, 3), (&written, 211)] {
        let mut verified_to = 0;
        for (end, zeros) in (1..bytes.len() - 22).step_by(step).flat_map(|end| [(end, 1), (end, 700), (end, 70_000)]) {
            let torn = [&bytes[..end], &vec![0; zeros][..]].concat();
            let cut = check(&bytes[..end], Against::default()).map_or(0, |cut| cut.report().verified_to);
            match check(&torn[..], Against::default()) {
                // Zeros that belong to what was cut make up for what is missing.
                Ok(verified) => {
                    let report = verified.report();
                    assert_eq!(report.state, State::Partial, "{zeros} zeros from {end}");
                    assert!(report.verified_to >= cut && report.verified_to <= end as u64 + 8);
                    verified_to = verified_to.max(report.verified_to);
                }
                Err(NotVerified::Unverified(report)) => assert_eq!((report.verified_to, cut), (0, 0)),
                Err(NotVerified::Rejected(report)) => panic!("{zeros} zeros from {end}: {:#?}", report.findings.kept()),
                Err(NotVerified::NotABundle(_)) if end < 4 => {}
                Err(other) => panic!("{zeros} zeros from {end}: {other}"),
            }
        }
        assert!(verified_to > bytes.len() as u64 / 3);
    }
}

#[test]
fn zeros_that_others_follow_are_tampering() {
    let (bytes, _) = compose::compose(true, &[]);
    for at in (0..bytes.len() - 200).step_by(31) {
        let mut changed = bytes.clone();
        changed[at..at + 60].fill(0);
        assert!(is_found(&changed, None), "zeros at {at}");
    }
}

#[test]
fn a_sidecar_cut_in_a_line_is_borne() {
    let (bytes, stream) = compose::compose(true, &[]);
    for end in 0..stream.len() {
        let verified = check(&bytes[..], Against { signers: None, sidecar: Some(&sidecar(&stream[..end])) });
        let summary = verified.unwrap().report().sidecar.clone().unwrap();
        assert_eq!(summary.cut_in_line, end > 0 && stream[end - 1] != b'\n' && stream[end] != b'\n', "cut at {end}");
    }
}
