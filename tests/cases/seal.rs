//! A bundle is sealed, and anyone can check it, whole or cut.

use harness::{Lab, Opened, Random};

#[test]
fn a_sealed_bundle_is_trusted_by_both_verifiers() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    for verdict in [lab.verify(&sealed.path), lab.verify_py(&sealed.path)] {
        verdict.signers(&sealed.signers).stream(&sealed.stream).run().expect_code(0);
    }
    let mut bundle = Opened::at(&sealed.path);
    assert_eq!(bundle.names()[..3], ["bagit.txt", "uac.log", "bundle.json"]);
    let items = bundle.items();
    assert_eq!(sealed.told["items"], items.len());
    assert!(items.iter().any(|item| item["path"].as_str().unwrap().ends_with("/d/7.txt") && item["status"] == "ok"));
    let _ = Random::seeded();
}
