//! A bundle is usable and verifiable up to whatever point arrived.

use std::fs;
use std::path::PathBuf;

use harness::{Collected, Lab, Random};
use serde_json::Value;

/// Where nothing is signed yet, and where everything is there.
struct Bounds {
    first_signature_ends: u64,
    whole: u64,
}

/// From the ZIP's own directory, read by the `zip` crate.
fn bounds(sealed: &Collected) -> Bounds {
    let mut archive = zip::ZipArchive::new(fs::File::open(&sealed.path).unwrap()).unwrap();
    let signature = archive.by_name("checkpoints/000001/checkpoint.json.sig").unwrap();
    let first_signature_ends = signature.data_start().unwrap() + signature.compressed_size();
    drop(signature);
    Bounds { first_signature_ends, whole: sealed.bytes().len() as u64 }
}

/// A copy that ends at `at`, with the transport checkpoints that had been sent until then.
fn cut(lab: &Lab, sealed: &Collected, at: u64) -> (PathBuf, PathBuf) {
    let bytes = sealed.bytes();
    let path = lab.path("cut").join(format!("{at}.evidence.zip"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &bytes[..usize::try_from(at).unwrap()]).unwrap();
    let stream = lab.path("cut").join(format!("{at}.jsonl"));
    let text = fs::read_to_string(&sealed.stream).unwrap();
    let sent =
        text.lines().filter(|line| serde_json::from_str::<Value>(line).unwrap()["offset"].as_u64().unwrap() <= at);
    fs::write(&stream, sent.flat_map(|line| [line, "\n"]).collect::<String>()).unwrap();
    (path, stream)
}

#[test]
fn cut_anywhere_it_is_partial_and_never_tampered() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let Bounds { first_signature_ends, whole } = bounds(&sealed);
    let mut random = Random::seeded();
    let mut places: Vec<u64> = (0..30).map(|_| random.below(whole)).collect();
    places.extend([0, 100, first_signature_ends - 1, first_signature_ends, whole - 22, whole - 1]);
    for at in places {
        let (path, stream) = cut(&lab, &sealed, at);
        let code = if at >= first_signature_ends { 3 } else { 65 };
        lab.verify(&path).signers(&sealed.signers).run().expect_code(code);
        lab.verify(&path).signers(&sealed.signers).stream(&stream).run().expect_code(code);
    }
}

#[test]
fn the_verifier_in_python_says_the_same() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let Bounds { first_signature_ends, whole } = bounds(&sealed);
    let mut random = Random::seeded();
    for at in [random.below(whole - first_signature_ends) + first_signature_ends, first_signature_ends, whole - 1] {
        let (path, stream) = cut(&lab, &sealed, at);
        lab.verify_py(&path).signers(&sealed.signers).run().expect_code(3);
        lab.verify_py(&path).signers(&sealed.signers).stream(&stream).run().expect_code(3);
    }
    let (path, _) = cut(&lab, &sealed, first_signature_ends - 1);
    lab.verify_py(&path).signers(&sealed.signers).run().expect_code(65);
}

#[test]
fn cut_back_although_the_signer_had_come_further_it_is_tampered() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let Bounds { first_signature_ends, whole } = bounds(&sealed);
    let at = Random::seeded().below(whole - first_signature_ends) + first_signature_ends;
    let (path, _) = cut(&lab, &sealed, at);
    for verdict in [lab.verify(&path), lab.verify_py(&path)] {
        let said = verdict.signers(&sealed.signers).stream(&sealed.stream).run().expect_code(1).said();
        assert!(said.contains("truncated"), "{said}");
    }
}

#[test]
fn a_partial_bundle_says_which_prefix_is_an_ordinary_zip() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let boundaries: Vec<u64> = sealed
        .checkpoints()
        .iter()
        .filter(|line| line["zip_boundary"] == true)
        .map(|line| line["offset"].as_u64().unwrap())
        .collect();
    let whole = sealed.bytes().len() as u64;
    assert_eq!(boundaries.last(), Some(&whole));
    assert!(boundaries.len() >= 3, "one for each tier and the end: {boundaries:?}");
    // One byte before a boundary the one before it counts; at a boundary it counts itself.
    for pair in boundaries.windows(2) {
        for (at, boundary) in [(pair[0], pair[0]), (pair[1] - 1, pair[0])] {
            let (path, _) = cut(&lab, &sealed, at);
            let said = lab.verify(&path).signers(&sealed.signers).arg("--json").run().expect_code(3).stdout;
            let told: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(told["boundary"], boundary, "cut at {at}");
            let prefix = fs::read(&path).unwrap()[..usize::try_from(boundary).unwrap()].to_vec();
            let mut archive = zip::ZipArchive::new(std::io::Cursor::new(prefix)).unwrap();
            assert!(archive.by_name("data/volatile/processes.jsonl").is_ok());
        }
    }
}
