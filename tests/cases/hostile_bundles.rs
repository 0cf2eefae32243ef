//! Bundles that are made to harm whoever reads them: bombs, paths that lead out, sizes and lists that lie, endless lines.
//! Both verifiers and the server name what is wrong, in bounded time and memory, and go on with the next one.

mod corpus;

use std::fs;
use std::process::Command;
use std::time::Duration;

use harness::{Courier, Ended, Lab, Parcel, Running, Site, holdfast, root, until, verify_py};
use serde_json::json;

use corpus::{Broken, corpus};

/// A busy machine is slow; a bomb that goes off takes hours.
const DEADLINE: Duration = Duration::from_mins(3);
const SOON: Duration = Duration::from_mins(2);
/// What a verifier may hold: a fixed amount, and for each entry a record of a quarter of a kilobyte.
const PEAK_KIB_MAX: u64 = 320 << 10;
/// verify.py takes a set of items or a manifest into memory, twice, up to its own bound; a bomb of half a gigabyte is one.
const PYTHON_PEAK_KIB_MAX: u64 = 1280 << 10;
/// What the server may hold more than before: four bodies, and what two verifications hold.
const SERVER_KIB_MAX: u64 = 384 << 10;

/// `VmHWM` of proc_pid_status(5).
fn peak_kib(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Runs it to its end; the most that it held, as far as it was seen.
fn measured(command: &mut Command) -> (Ended, u64) {
    let running = Running::start(command);
    let mut peak = 0;
    until("it has ended", DEADLINE, || {
        peak = peak_kib(running.pid().as_raw_nonzero().get()).unwrap_or(0).max(peak);
        running.is_over().then_some(())
    });
    (running.wait(DEADLINE), peak)
}

fn verify(mut command: Command, broken: &Broken) -> (Ended, u64) {
    command.arg(&broken.path).arg("--signers").arg(root().join("bundle/vectors/allowed_signers"));
    if let Some(stream) = &broken.stream {
        command.arg("--stream").arg(stream);
    }
    measured(&mut command)
}

#[test]
fn both_verifiers_name_what_is_wrong_in_bounded_time_and_memory() {
    let lab = Lab::new();
    let mut wrong = Vec::new();
    for broken in corpus(&lab.path("")) {
        let mut ours = Command::new(holdfast());
        ours.arg("verify");
        let mut verifiers = vec![("holdfast verify", ours, PEAK_KIB_MAX)];
        if broken.is_for_python {
            let mut python = Command::new("python3");
            python.arg(verify_py());
            verifiers.push(("verify.py", python, PYTHON_PEAK_KIB_MAX));
        }
        for (verifier, command, peak_max) in verifiers {
            let (ended, peak) = verify(command, &broken);
            let said = ended.said();
            let is_right = ended.code() == Some(broken.code)
                && said.contains(broken.named)
                && !said.contains("panicked")
                && !said.contains("Traceback")
                && peak <= peak_max;
            if !is_right {
                let (what, code, named, took) = (broken.what, ended.code(), broken.named, ended.took);
                wrong.push(format!("{verifier}, {what}: {code:?}, {peak} KiB, {took:?}, named {named}?: {said}"));
            }
        }
        broken.remove();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_server_takes_them_judges_them_and_takes_the_next() {
    let (site, lab) = (Site::new(), Lab::new());
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    let sealed = Parcel::of(&lab.sealed());
    let pid = site.server_process().unwrap().pid().as_raw_nonzero().get();
    let before = peak_kib(pid).unwrap();
    let mut brought = Vec::new();
    for (n, broken) in corpus(&lab.path("")).into_iter().filter(|broken| broken.is_for_upload).enumerate() {
        let parcel = Parcel {
            bundle: format!("019abcde-0000-7000-8000-{n:012}"),
            signer: sealed.signer.clone(),
            // A name that leads out is made plain.
            name: format!("../../{}.evidence.zip", broken.what),
            bytes: fs::read(&broken.path).unwrap(),
            lines: Vec::new(),
        };
        Courier::to(site.url(), site.responder_token()).bring(&parcel, &incident, SOON);
        brought.push((broken.what, parcel.bundle));
        broken.remove();
    }
    // While they are judged, a good one comes.
    Courier::over_cable(&site).bring(&sealed, &incident, SOON);
    for (what, bundle) in brought.iter().map(|(what, bundle)| (*what, bundle)).chain([("good", &sealed.bundle)]) {
        let evidence = until(&format!("{what} is judged"), DEADLINE, || {
            let evidence = site.api(&format!("evidence/{bundle}"));
            (evidence["state"] != "receiving").then_some(evidence)
        });
        let state = evidence["state"].as_str().unwrap();
        if what == "good" {
            assert_eq!(state, "sealed", "{evidence}");
        } else {
            assert!(state == "rejected" || state == "unverified", "{what}: {evidence}");
            assert!(!evidence["findings"].as_array().unwrap().is_empty(), "{what}: it does not say why");
            assert!(!evidence["name"].as_str().unwrap().contains('/'), "{evidence}");
        }
    }
    let peak = peak_kib(pid).unwrap();
    assert!(peak <= before + SERVER_KIB_MAX, "the server held {before} KiB before and {peak} KiB then");
    site.holdfast(&["custody", "verify"]).expect_code(0);
}

#[test]
fn what_is_no_bundle_is_not_brought() {
    let (site, lab) = (Site::new(), Lab::new());
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    for broken in corpus(&lab.path("")).into_iter().filter(|broken| broken.is_no_bundle) {
        let path = broken.path.to_str().unwrap();
        let said = site.holdfast_within(&["evidence", "add", &incident, path], DEADLINE).expect_code(65).said();
        assert!(said.contains("hint:") && !said.contains("panicked"), "{}: {said}", broken.what);
        broken.remove();
    }
    let bundles = site.api(&format!("evidence?incident={incident}"));
    assert_eq!(bundles["items"], json!([]), "nothing was sent");
}
