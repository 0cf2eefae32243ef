//! The named vectors: they are what the composer makes, and the verifier says of each what it must.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod compose;

use std::collections::BTreeSet;
use std::path::Path;

use bundle::checkpoint::Layer;
use bundle::encryption::Keys;
use bundle::sign::AllowedSigners;
use bundle::verify::{
    Against, Announced, Findings, NotVerified, Sidecar, State, Trust, check, check_encrypted, check_parts,
    check_transport, layer_of,
};

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
        let bytes_max = if name.ends_with(".age") { 75_000 } else { 20_000 };
        assert!(bytes.len() < bytes_max, "{name} has {} bytes", bytes.len());
    }
    let names: BTreeSet<_> = files.iter().map(|(name, _)| name.clone()).collect();
    for entry in std::fs::read_dir(dir()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "{name} is left over");
    }
    assert!(files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 1_200_000);
}

#[test]
fn each_vector_breaks_exactly_its_rule() {
    let signers = std::fs::read_to_string(dir().join("allowed_signers")).unwrap();
    let signers = AllowedSigners::parse(&signers).unwrap();
    let keys = Keys::parse(compose::encrypted::KEY, || None).unwrap();
    let mut wrong = Vec::new();
    for vector in compose::vectors::all() {
        let sidecar = vector.sidecar.as_deref().map(|bytes| Sidecar::read(bytes).unwrap());
        let against = Against { signers: Some(&signers), sidecar: sidecar.as_ref() };
        let mut compare = |how: &str, said: Said, wanted: (u8, &str, &[&str])| {
            let (exit, state, findings) = &said;
            if (*exit, *state, &findings[..]) != wanted {
                wrong.push(format!("{}{how}: {said:?}, wanted {wanted:?}", vector.name));
            }
        };
        let wanted = (vector.exit, vector.state, vector.findings);
        match (layer_of(&vector.bundle), &sidecar) {
            (Layer::Age, Some(sidecar)) => {
                let checked = check_transport(&vector.bundle[..], sidecar, Announced::default(), Some(&signers));
                let checked = checked.map(|verified| (verified.state(), verified.trust().clone()));
                compare("", said(checked, |report| &report.findings), wanted);
            }
            _ => {
                let checked = check(&vector.bundle[..], against);
                let checked = checked.map(|verified| (verified.state(), verified.trust().clone()));
                compare("", said(checked, |report| &report.findings), wanted);
            }
        }
        if let Some(wanted) = vector.age.and_then(|age| age.opened) {
            let checked = check_encrypted(&vector.bundle[..], &keys, against, &mut std::io::sink());
            let checked = checked.map(|verified| (verified.state(), verified.trust().clone()));
            compare(", opened", said(checked, |report| &report.findings), wanted);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

type Said = (u8, &'static str, Vec<&'static str>);

fn said<R: std::fmt::Debug>(
    checked: Result<(State, Trust), NotVerified<R>>,
    findings: impl Fn(&R) -> &Findings,
) -> Said {
    let none = Vec::new();
    match checked {
        Ok((state, trust)) => {
            assert!(matches!(trust, Trust::Trusted { .. }));
            if state == State::Sealed { (0, "sealed", none) } else { (3, "partial", none) }
        }
        Err(NotVerified::Rejected(report)) => (1, "tampered", findings(&report).counts().keys().copied().collect()),
        Err(NotVerified::Unverified(_)) => (65, "unverified", none),
        Err(_) => (65, "error", none),
    }
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

#[test]
fn each_run_of_parts_is_judged_as_one() {
    let signers = std::fs::read_to_string(dir().join("allowed_signers")).unwrap();
    let signers = AllowedSigners::parse(&signers).unwrap();
    let parts = compose::parts::all();
    for run in compose::parts::RUNS {
        let verified: Vec<_> = run
            .parts
            .iter()
            .map(|name| {
                let bytes = &parts.iter().find(|(there, _)| there == name).unwrap().1;
                check(&bytes[..], Against { signers: Some(&signers), sidecar: None }).unwrap()
            })
            .collect();
        assert!(verified.iter().all(|part| part.state() == State::Sealed), "{}", run.name);
        let findings = check_parts(&verified.iter().collect::<Vec<_>>());
        assert_eq!(findings.counts().keys().copied().collect::<Vec<_>>(), run.findings, "{}", run.name);
    }
}
