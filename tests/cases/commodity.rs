//! A bundle is verified without any software of ours: unzip, sha256sum, ssh-keygen, python.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{Collected, Ended, Lab, Running};

fn run(program: &str, words: &[&str], folder: &Path) -> Ended {
    Running::start(Command::new(program).args(words).current_dir(folder)).wait(Duration::from_mins(1))
}

/// `ssh-keygen -Y verify`, whose message comes on standard input.
fn signature_holds(sealed: &Collected, signature: &Path, message: &Path) -> bool {
    let mut verify = Command::new("ssh-keygen");
    verify.args(["-Y", "verify", "-n", "holdfast-bundle", "-I", &sealed.principal, "-f"]).arg(&sealed.signers);
    verify.arg("-s").arg(signature).stdin(File::open(message).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
    verify.status().unwrap().success()
}

#[test]
fn unzip_sha256sum_and_ssh_keygen_are_enough() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let bundle = sealed.path.to_str().unwrap();
    let folder = lab.path("unpacked");
    fs::create_dir(&folder).unwrap();
    run("unzip", &["-tq", bundle], &folder).expect_code(0);
    run("python3", &["-m", "zipfile", "-t", bundle], &folder).expect_code(0);
    run("unzip", &["-q", bundle], &folder).expect_code(0);
    let manifests = ["-c", "--quiet", "--strict", "manifest-sha256.txt", "tagmanifest-sha256.txt"];
    run("sha256sum", &manifests, &folder).expect_code(0);
    let seal = folder.join("tagmanifest-sha256.txt");
    assert!(signature_holds(&sealed, &folder.join("tagmanifest-sha256.txt.sig"), &seal));
    let mut checkpoints = 0;
    for checkpoint in fs::read_dir(folder.join("checkpoints")).unwrap() {
        let checkpoint = checkpoint.unwrap().path();
        let json = checkpoint.join("checkpoint.json");
        assert!(signature_holds(&sealed, &checkpoint.join("checkpoint.json.sig"), &json), "{}", json.display());
        let manifest = checkpoint.join("manifest-sha256.txt");
        run("sha256sum", &["-c", "--quiet", "--strict", manifest.to_str().unwrap()], &folder).expect_code(0);
        checkpoints += 1;
    }
    assert_eq!(sealed.told["checkpoints"], checkpoints);
    // The tools can say no.
    fs::write(&seal, fs::read_to_string(&seal).unwrap() + "x").unwrap();
    assert!(!signature_holds(&sealed, &folder.join("tagmanifest-sha256.txt.sig"), &seal));
    fs::write(folder.join("bundle.json"), "{}").unwrap();
    let said = run("sha256sum", &["-c", "--quiet", "tagmanifest-sha256.txt"], &folder).expect_code(1).said();
    assert!(said.contains("bundle.json: FAILED"), "{said}");
}

#[test]
fn every_boundary_is_a_zip_that_unzip_tests() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let bytes = sealed.bytes();
    for line in sealed.checkpoints().iter().filter(|line| line["zip_boundary"] == true) {
        let prefix = lab.path("prefix.zip");
        fs::write(&prefix, &bytes[..usize::try_from(line["offset"].as_u64().unwrap()).unwrap()]).unwrap();
        run("unzip", &["-tq", prefix.to_str().unwrap()], &lab.path("")).expect_code(0);
    }
}

#[test]
fn the_transport_checkpoints_verify_by_hand() {
    let lab = Lab::new();
    let sealed = lab.sealed();
    let bytes = sealed.bytes();
    let (message, signature, prefix) = (lab.path("sc.json"), lab.path("sc.sig"), lab.path("prefix"));
    let lines = sealed.checkpoints();
    assert_eq!(lines.last().unwrap()["final"], true);
    for line in &lines {
        let encoded = lab.path("encoded");
        fs::write(&encoded, line["signed_b64"].as_str().unwrap()).unwrap();
        let decoded = run("base64", &["-d", encoded.to_str().unwrap()], &lab.path("")).expect_code(0);
        fs::write(&message, &decoded.stdout_bytes).unwrap();
        fs::write(&signature, line["sig_ssh"].as_str().unwrap()).unwrap();
        assert!(signature_holds(&sealed, &signature, &message), "{line}");
        let signed: serde_json::Value = serde_json::from_slice(&decoded.stdout_bytes).unwrap();
        fs::write(&prefix, &bytes[..usize::try_from(signed["offset"].as_u64().unwrap()).unwrap()]).unwrap();
        let digest = run("sha256sum", &[prefix.to_str().unwrap()], &lab.path("")).expect_code(0).stdout;
        assert_eq!(digest.split(' ').next(), signed["sha256"].as_str());
    }
}
