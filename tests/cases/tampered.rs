//! Whatever somebody without the key changes, both verifiers reject it and name it, with and without the sidecar.

use std::fs;

use harness::{Lab, Random, Verdict, tamper};

#[test]
fn every_tampered_copy_is_rejected_and_what_was_touched_is_named() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    for copy in tamper(&sealed.path, &lab.path("tampered")) {
        for sidecar in [false, true] {
            let verdicts: [(&str, Verdict); 2] =
                [("holdfast verify", lab.verify(&copy.path)), ("verify.py", lab.verify_py(&copy.path))];
            for (verifier, verdict) in verdicts {
                let verdict = verdict.signers(&sealed.signers);
                let verdict = if sidecar { verdict.stream(&sealed.stream) } else { verdict };
                let ended = verdict.run();
                let said = ended.said();
                assert_eq!(ended.code(), Some(1), "{verifier}, {}, sidecar {sidecar}: {said}", copy.what);
                assert!(said.contains(&copy.named), "{verifier} does not name {} of {}: {said}", copy.named, copy.what);
            }
        }
    }
}

#[test]
fn any_bit_of_the_file_that_is_turned_over_is_found() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let mut bytes = sealed.bytes();
    let mut random = Random::seeded();
    let path = lab.path("flipped.evidence.zip");
    for _ in 0..40 {
        let (at, bit) = (usize::try_from(random.below(bytes.len() as u64)).unwrap(), random.below(8));
        bytes[at] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();
        let ended = lab.verify(&path).signers(&sealed.signers).run();
        assert_eq!(ended.code(), Some(1), "bit {bit} of byte {at}: {}", ended.said());
        bytes[at] ^= 1 << bit;
    }
    fs::write(&path, &bytes).unwrap();
    lab.verify(&path).signers(&sealed.signers).run().expect_code(0);
}

#[test]
fn the_sidecar_of_another_bundle_is_rejected() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let other = lab.collect(lab.path("profile.yaml")).output(lab.path("other")).sealed();
    for verdict in [lab.verify(&sealed.path), lab.verify_py(&sealed.path)] {
        let said = verdict.signers(&sealed.signers).stream(&other.stream).run().expect_code(1).said();
        assert!(said.contains("sidecar_mismatch"), "{said}");
    }
}

#[test]
fn a_sidecar_line_that_was_changed_is_rejected() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let text = fs::read_to_string(&sealed.stream).unwrap();
    let changed = lab.path("changed.jsonl");
    fs::write(&changed, text.replacen("\"phase\":\"", "\"phase\":\"x", 1)).unwrap();
    for verdict in [lab.verify(&sealed.path), lab.verify_py(&sealed.path)] {
        verdict.signers(&sealed.signers).stream(&changed).run().expect_code(1);
    }
}
