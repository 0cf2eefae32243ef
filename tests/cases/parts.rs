//! A run that is too large for one bundle goes on in another: each part is a bundle, and together they are the run.

use std::path::PathBuf;
use std::time::Duration;

use harness::{Lab, Opened, Random, Site, path_text, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(3);

#[test]
fn the_parts_of_a_run_lie_in_one_folder_and_are_held_against_each_other() {
    let lab = Lab::new();
    let mut random = Random::seeded();
    for number in 0..12 {
        lab.plant(&format!("{number:02}"), random.bytes(100 << 10));
    }
    std::fs::hard_link(lab.tree().join("00"), lab.tree().join("99")).unwrap();
    let profile = lab.tree_profile("");
    let ended = lab.collect(&profile).arg("--part-bytes-max").arg("400KiB").arg("--json").within(SOON).run();
    let told: Value = serde_json::from_str(&ended.expect_code(0).stdout).unwrap();
    let mut paths = vec![PathBuf::from(told["path"].as_str().unwrap())];
    paths.extend(told["parts"].as_array().unwrap().iter().map(|path| PathBuf::from(path.as_str().unwrap())));
    assert!(paths.len() >= 3, "{told}");
    let signers = told["allowed_signers"].as_str().unwrap();
    for (number, path) in paths.iter().enumerate() {
        lab.verify(path).signers(signers.as_ref()).run().expect_code(0);
        let header = Opened::at(path).json("bundle.json");
        assert_eq!(header["part"], json!(number + 1));
        assert_eq!(header["continues"].is_null(), number == 0, "{header}");
    }
    let verify = |lab: &Lab, paths: &[&PathBuf], code: i32| {
        let mut verdict = lab.verify(paths[0]).signers(signers.as_ref());
        for path in &paths[1..] {
            verdict = verdict.arg(path);
        }
        verdict.run().expect_code(code).stdout
    };
    let all: Vec<&PathBuf> = paths.iter().collect();
    assert!(verify(&lab, &all, 0).contains("sealed"));
    // In whatever order they are given; one that is missing in the middle, and the last one, are missed.
    let backwards: Vec<&PathBuf> = paths.iter().rev().collect();
    verify(&lab, &backwards, 0);
    let without_the_second: Vec<&PathBuf> = paths.iter().take(1).chain(&paths[2..]).collect();
    assert!(verify(&lab, &without_the_second, 3).contains("part_missing"));
    verify(&lab, &all[..all.len() - 1], 3);
    // The second name of a file whose content stands in the first part.
    let last = paths.last().unwrap();
    let items = paths.iter().flat_map(|path| Opened::at(path).items()).collect::<Vec<_>>();
    let link = items.iter().find(|item| item["path"].as_str().is_some_and(|path| path.ends_with("/99"))).unwrap();
    assert_eq!(link["hardlink_of"]["part"], 1, "{link}");
    let files = items.iter().filter(|item| item["kind"] == "file" && item["stored"].is_string());
    assert_eq!(files.filter(|item| item["size"] == (100 << 10)).count(), 12);
    let coverage = Opened::at(last).json("data/coverage.json");
    let of_files = coverage["collectors"].as_array().unwrap().iter().find(|step| step["collector"] == "files").unwrap();
    assert_eq!(of_files["outcome"], "completed", "the last part's coverage is the run's: {coverage}");
}

#[test]
fn an_order_brings_all_parts_to_its_incident() {
    let (site, lab) = (Site::new(), Lab::new());
    // One entry more than a part holds, however they are counted.
    for number in 0..50_100 {
        lab.plant(&format!("{}/{number}", number / 1000), "");
    }
    let profile = lab.tree_profile("");
    let host = site.enroll("web-1");
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    let daemon = host.daemon();
    let order = host.dispatch(&site, &incident, path_text(&profile));
    site.await_order(&order, "completed", SOON);
    let bundles = until("both parts are sealed", SOON, || {
        let bundles = site.api(&format!("evidence?incident={incident}"))["items"].as_array().unwrap().clone();
        (bundles.len() == 2 && bundles.iter().all(|bundle| bundle["state"] == "sealed")).then_some(bundles)
    });
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);
    let got = site.path("got");
    let mut words = vec!["verify".to_owned()];
    for bundle in &bundles {
        assert_eq!((&bundle["order"], &bundle["trust"]), (&json!(order), &json!("enrolled")), "{bundle}");
        let id = bundle["bundle"].as_str().unwrap();
        site.holdfast(&["evidence", "get", id, "--output", path_text(&got)]).expect_code(0);
        words.push(path_text(&got.join(bundle["name"].as_str().unwrap())).to_owned());
    }
    words.extend(["--signers".to_owned(), path_text(&got.join("allowed_signers")).to_owned()]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    site.holdfast_within(&words, SOON).expect_code(0);
    site.holdfast(&["custody", "verify"]).expect_code(0);
}
