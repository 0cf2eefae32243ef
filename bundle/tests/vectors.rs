//! The named vectors: they are what the composer makes, and the verifier says of each what it must.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod compose;

use std::collections::BTreeSet;
use std::path::Path;

use bundle::sign::AllowedSigners;
use bundle::verify::{Against, NotVerified, Sidecar, State, Trust, check};

fn dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors"))
}

#[test]
fn making_the_vectors_again_changes_nothing() {
    let files = compose::files::all();
    for (name, bytes) in &files {
        assert!(
            std::fs::read(dir().join(name)).is_ok_and(|there| there == *bytes),
            "{name}: run the example `vectors`"
        );
        assert!(bytes.len() < 15_000, "{name} has {} bytes", bytes.len());
    }
    let names: BTreeSet<_> = files.iter().map(|(name, _)| name.clone()).collect();
    for entry in std::fs::read_dir(dir()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "{name} is left over");
    }
    assert!(files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 800_000);
}

#[test]
fn each_vector_breaks_exactly_its_rule() {
    let signers = std::fs::read_to_string(dir().join("allowed_signers")).unwrap();
    let signers = AllowedSigners::parse(&signers).unwrap();
    let mut wrong = Vec::new();
    for vector in compose::vectors::all() {
        let sidecar = vector.sidecar.as_deref().map(|bytes| Sidecar::read(bytes).unwrap());
        let against = Against { signers: Some(&signers), sidecar: sidecar.as_ref() };
        let none = Vec::new();
        let (exit, state, findings) = match check(&vector.bundle[..], against) {
            Ok(verified) => {
                assert!(matches!(verified.trust(), Trust::Trusted { .. }), "{}", vector.name);
                if verified.state() == State::Sealed { (0, "sealed", none) } else { (3, "partial", none) }
            }
            Err(NotVerified::Rejected(report)) => (1, "tampered", report.findings.counts().keys().copied().collect()),
            Err(NotVerified::Unverified(_)) => (65, "unverified", none),
            Err(_) => (65, "error", none),
        };
        if (exit, state, &findings[..]) != (vector.exit, vector.state, vector.findings) {
            wrong.push(format!(
                "{}: {exit} {state} {findings:?}, wanted {} {} {:?}",
                vector.name, vector.exit, vector.state, vector.findings
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_unknown_signer_is_not_trusted() {
    let (bundle, _) = compose::compose(true, &[]);
    let nobody = AllowedSigners::default();
    for signers in [None, Some(&nobody)] {
        let verified = check(&bundle[..], Against { signers, sidecar: None }).unwrap();
        assert_eq!(verified.trust(), &Trust::Unknown);
    }
}
