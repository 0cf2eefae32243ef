//! An analyst's way in a real browser: sign in, find the incident, watch a collection, download the bundle, verify it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use harness::{Browser, Lab, Random, Site};
use rustix::process::Signal;
use serde_json::json;

const SOON: Duration = Duration::from_mins(1);

/// A picture for whoever wants to look, when `$HOLDFAST_PICTURES` names a folder.
fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("HOLDFAST_PICTURES") {
        browser.screenshot(&Path::new(&folder).join(format!("{name}.png")));
    }
}

fn sign_in(browser: &Browser, site: &Site) {
    browser.open(&site.url());
    browser.await_text("Sign in", SOON);
    browser.fill("#token", fs::read_to_string(site.path("responder.token")).unwrap().trim());
    browser.click("button[type=submit]");
}

#[test]
fn an_analyst_watches_a_collection_and_verifies_what_was_downloaded() {
    let (site, lab) = (Site::new(), Lab::new());
    let host = site.enroll("web-1");
    let daemon = host.daemon();
    let title = "<b>README_DECRYPT</b> was written to 40 folders";
    let alert = json!({"event_type": "ransomware", "host": "web-1", "user": "svc_backup", "title": title, "details": "a ransom note"});
    let incident = site.alert("edr", &alert);

    let browser = Browser::start(1280, 900);
    sign_in(&browser, &site);
    browser.await_text(&incident, SOON);
    picture(&browser, "board");
    browser.click(&format!("a[href='/incidents/{incident}']"));
    browser.await_text("SEV1", SOON);
    browser.await_text(title, SOON);
    let page = browser.url();

    let mut random = Random::seeded();
    for number in 0..12 {
        lab.plant(&number.to_string(), random.bytes(1 << 20));
    }
    let profile = lab.profile(
        "name: watched\nsummary: A test.\nlimits: { read_bytes_per_sec_max: 4MiB }\ncollect:\n  - include: volatile\n  - collect: files\n    with: { paths: [\"TREE/**\"] }\n",
    );
    let order = host.dispatch(&site, &incident, profile.to_str().unwrap());
    browser.await_element(&format!("[data-order='{order}'] .is-running"));
    picture(&browser, "incident-live");
    site.await_order(&order, "completed", SOON);
    // The page was not loaded again: what it shows now came by itself.
    browser.await_element(&format!("[data-order='{order}'] [data-step=files].is-done"));
    browser.await_text("sealed", SOON);
    assert_eq!(browser.url(), page);
    picture(&browser, "incident");

    browser.click("#evidence a[href^='/evidence/'], #orders a[href^='/evidence/']");
    browser.await_text("All of it arrived, and nothing in it was changed", SOON);
    picture(&browser, "evidence");
    browser.click("a.button[download]");
    let bundle = browser.downloaded(".evidence.zip");
    let signers = site.write("fleet", allowed_signers(&site));
    let words = ["verify", bundle.to_str().unwrap(), "--signers", signers.to_str().unwrap()];
    site.holdfast(&words).expect_code(0);
    drop(browser);

    let phone = Browser::start(390, 844);
    sign_in(&phone, &site);
    for path in ["/", &format!("/incidents/{incident}"), "/hosts", "/custody"] {
        phone.open(&format!("{}{path}", site.url()));
        assert_eq!(phone.overflow(), 0, "{path} is wider than a phone");
        picture(&phone, &format!("phone{}", path.replace('/', "-")));
    }
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);
}

fn allowed_signers(site: &Site) -> String {
    let token = fs::read_to_string(site.path("responder.token")).unwrap();
    let answer = site.client().get(format!("{}/api/v1/signers", site.url())).bearer_auth(token.trim());
    answer.send().unwrap().text().unwrap()
}
