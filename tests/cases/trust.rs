//! Keys come and go, and what was proven stays proven: certificates are renewed, the CA is replaced, hosts are shut out,
//! and a server that rewrites what it has signed is caught by what lies elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{Ended, Host, Lab, Running, Setup, Site, Tsa, path_text, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::path_broken::slow;

const SOON: Duration = Duration::from_mins(2);

fn quick(lab: &Lab) -> String {
    path_text(&lab.profile("name: quick\nsummary: A test.\ncollect:\n  - collect: host_facts\n")).to_owned()
}

fn serving(words: &[&str]) -> Site {
    Site::with(Setup { serve: words.iter().map(|word| (*word).to_owned()).collect(), ..Setup::default() })
}

fn incident(site: &Site) -> String {
    site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}))
}

fn bundles(site: &Site, incident: &str) -> Vec<Value> {
    site.api(&format!("evidence?incident={incident}"))["items"].as_array().unwrap().clone()
}

/// The newest bundle, once it is in one of these states.
fn newest(site: &Site, incident: &str, states: &[&str]) -> Value {
    until(&format!("the bundle is {states:?}"), SOON, || {
        let bundle = bundles(site, incident).into_iter().next()?;
        states.contains(&bundle["state"].as_str()?).then_some(bundle)
    })
}

fn on_its_way(site: &Site, incident: &str, bytes: u64) {
    until("some of the bundle is there", SOON, || {
        bundles(site, incident).first().and_then(|bundle| bundle["bytes"].as_u64()).filter(|there| *there >= bytes)
    });
}

fn get(site: &Site, bundle: &Value, code: i32) -> PathBuf {
    let folder = site.path(&format!("got-{}", bundle["bundle"].as_str().unwrap()));
    let id = bundle["bundle"].as_str().unwrap();
    site.holdfast(&["evidence", "get", id, "--output", path_text(&folder)]).expect_code(code);
    folder.join(bundle["name"].as_str().unwrap())
}

fn custody(site: &Site, event: &str) -> Vec<Value> {
    let all = site.ask(&["custody", "show"]);
    let leaves = all["items"].as_array().unwrap().iter();
    leaves.filter(|leaf| leaf["event"] == event).cloned().collect()
}

/// A host whose daemon has brought a bundle.
fn with_a_bundle(site: &Site, lab: &Lab) -> (Host, Running, String, Value) {
    let host = site.enroll("web-1");
    let daemon = host.daemon();
    let incident = incident(site);
    let order = host.dispatch(site, &incident, &quick(lab));
    site.await_order(&order, "completed", SOON);
    let bundle = newest(site, &incident, &["sealed"]);
    (host, daemon, incident, bundle)
}

/// One leaf more.
fn grow(site: &Site) -> u64 {
    site.holdfast(&["custody", "export"]).expect_code(0).stdout.lines().count() as u64 - 1
}

fn status(host: &Host) -> Value {
    serde_json::from_str(&host.run(&["status", "--json"]).expect_code(0).stdout).unwrap()
}

fn end(daemon: Running) {
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);
}

fn openssl(words: &[&str]) -> Ended {
    Running::start(Command::new("openssl").args(words)).wait(SOON)
}

#[test]
fn a_certificate_is_renewed_under_an_upload_and_a_long_poll_and_nothing_is_lost() {
    let (site, lab) = (serving(&["--certificate-secs", "15"]), Lab::new());
    let host = site.enroll("web-1");
    let daemon = host.daemon();
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &slow(&lab, 60, "3MiB"));
    on_its_way(&site, &incident, 1 << 20);
    let before = custody(&site, "certificate_renewed").len();
    site.await_order(&order, "completed", SOON);
    let bundle = newest(&site, &incident, &["sealed"]);
    get(&site, &bundle, 0);
    let renewed = custody(&site, "certificate_renewed").len() - before;
    assert!(renewed >= 2, "the certificate was renewed {renewed} times while the upload went on");
    // The poll that waits is answered, whatever was renewed meanwhile.
    let order = host.dispatch(&site, &incident, &quick(&lab));
    site.await_order(&order, "completed", SOON);
    let token = fs::read_to_string(site.path("responder.token")).unwrap();
    let metrics = site.client().get(format!("{}/metrics", site.url())).bearer_auth(token.trim()).send().unwrap();
    let refused = |line: &&str| line.starts_with("holdfast_requests_total") && line.contains("status=\"401\"");
    let text = metrics.text().unwrap();
    assert_eq!(
        text.lines().filter(refused).collect::<Vec<_>>(),
        Vec::<&str>::new(),
        "no request came with an ended one"
    );
    end(daemon);
}

#[test]
fn the_ca_is_replaced_under_an_upload_and_who_missed_it_is_told_what_to_do() {
    let (site, lab) = (Site::new(), Lab::new());
    let (host, offline) = (site.enroll("web-1"), site.enroll("web-2"));
    let old = site.ca_sha256();
    let from_before = site.holdfast(&["host", "enroll-ticket"]).expect_code(0).stdout;
    let daemon = host.daemon();
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &slow(&lab, 30, "3MiB"));
    on_its_way(&site, &incident, 1 << 20);
    let new = site.server(&["ca", "roll"]).expect_code(0).stdout.trim().to_owned();
    site.server(&["ca", "roll"]).expect_code(65);
    site.hang_up_server();
    site.await_order(&order, "completed", SOON);
    newest(&site, &incident, &["sealed"]);
    let show =
        || -> Value { serde_json::from_str(&site.server(&["ca", "show", "--json"]).expect_code(0).stdout).unwrap() };
    let shown =
        until("the host that is on line has followed", SOON, || Some(show()).filter(|it| it["hosts_followed"] == 1));
    assert_eq!((&shown["sha256"], &shown["replaces"]), (&json!(new), &json!(old)));
    assert_eq!(shown["hosts_left"], json!([offline.agent()]));
    assert_eq!(status(&host)["cas"], json!([new, old]));

    // OpenSSL follows the word too, from the old CA's certificate alone.
    let pem = site.client().get(format!("{}/ca.pem", site.url())).send().unwrap().text().unwrap();
    let blocks: Vec<String> = pem.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect();
    let [root, word, before] = &blocks[..] else { panic!("{pem}") };
    let (root, word, before) =
        (site.write("new.pem", root), site.write("word.pem", word), site.write("old.pem", before));
    let leaf = site.data().join("server.pem");
    let (root, word, before, leaf) = (path_text(&root), path_text(&word), path_text(&before), path_text(&leaf));
    openssl(&["verify", "-CAfile", before, "-untrusted", word, leaf]).expect_code(0);
    openssl(&["verify", "-CAfile", root, leaf]).expect_code(0);
    assert_ne!(openssl(&["verify", "-CAfile", before, leaf]).code(), Some(0));

    // People: those who are logged in follow by themselves, and new logins take either digest.
    let known = || fs::read_to_string(site.path("config/ca.pem")).unwrap().matches("BEGIN").count();
    site.holdfast(&["host", "list"]).expect_code(0);
    assert_eq!(known(), 2);
    let token = site.text("responder.token");
    for digest in [&old, &new] {
        let mut login = Command::new(harness::holdfast());
        login.args(["login", &site.url(), "--ca-sha256", digest, "--token", &token]);
        login.env("HOLDFAST_CONFIG_DIR", site.path("other"));
        Running::start(&mut login).wait(SOON).expect_code(0);
    }
    // A ticket from before lets in, and its host follows.
    let third = site.host("web-3");
    let (ticket, signers) = (site.write("before.ticket", from_before), site.text("signers"));
    third.run(&["enroll", "--token", path_text(&ticket), "--signers", &signers]).expect_code(0);
    assert_eq!(status(&third)["cas"], json!([old]));
    let third_daemon = third.daemon();
    until("it has followed", SOON, || (status(&third)["cas"] == json!([new, old])).then_some(()));

    site.server(&["ca", "retire"]).expect_code(65);
    site.server(&["ca", "retire", "--force"]).expect_code(0);
    site.hang_up_server();
    until("the old one is forgotten", SOON, || (status(&host)["cas"] == json!([new])).then_some(()));
    let order = host.dispatch(&site, &incident, &quick(&lab));
    site.await_order(&order, "completed", SOON);
    site.holdfast(&["host", "list"]).expect_code(0);
    assert_eq!(site.ca_sha256(), new);
    // Who was off meanwhile is told, and comes back with a new ticket.
    let late = offline.daemon();
    until("it says what to do", SOON, || {
        status(&offline)["error"].as_str().filter(|error| error.contains("enrol it again")).map(|_| ())
    });
    end(late);
    let offline = site.enroll("web-2");
    let late = offline.daemon();
    let order = offline.dispatch(&site, &incident, &quick(&lab));
    site.await_order(&order, "completed", SOON);
    assert_eq!((custody(&site, "ca_rolled").len(), custody(&site, "ca_retired").len()), (1, 1));
    site.holdfast(&["custody", "verify"]).expect_code(0);
    for daemon in [daemon, third_daemon, late] {
        end(daemon);
    }
}

#[test]
fn a_host_is_shut_out_and_comes_back_with_a_new_key_and_both_keys_verify_what_they_sealed() {
    let (site, lab) = (Site::new(), Lab::new());
    let (host, daemon, incident, first) = with_a_bundle(&site, &lab);
    host.dispatch(&site, &incident, &slow(&lab, 60, "2MiB"));
    until("a second one is on its way", SOON, || {
        let bundles = bundles(&site, &incident);
        (bundles.len() == 2 && bundles[0]["bytes"].as_u64() >= Some(1 << 20)).then_some(())
    });
    site.holdfast(&["host", "revoke", &host.agent(), "--reason", "the key was copied"]).expect_code(0);
    let cut = newest(&site, &incident, &["partial"]);
    let held = cut["bytes"].as_u64().unwrap();
    until("the agent is refused", SOON, || {
        status(&host)["error"].as_str().filter(|error| error.contains("401")).map(|_| ())
    });
    end(daemon);
    assert_eq!(newest(&site, &incident, &["partial"])["bytes"], held, "nothing more was taken");
    get(&site, &cut, 3);
    let old_agent = host.agent();

    // The same host with a new key: a new state folder, the same name.
    let lost = site.path("lost");
    fs::rename(host.state(), &lost).unwrap();
    let host = site.enroll("web-1");
    assert_ne!(host.agent(), old_agent);
    let daemon = host.daemon();
    let order = host.dispatch(&site, &incident, &quick(&lab));
    site.await_order(&order, "completed", SOON);
    let second = newest(&site, &incident, &["sealed"]);
    let (first, second) = (get(&site, &first, 0), get(&site, &second, 0));
    let signers = second.with_file_name("allowed_signers");
    let text = fs::read_to_string(&signers).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("agent:")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    let of_old = lines.iter().find(|line| line.contains(&old_agent)).unwrap();
    assert!(of_old.contains("valid-after=") && of_old.contains("valid-before="), "{of_old}");
    for bundle in [&first, &second] {
        lab.verify(bundle).signers(&signers).run().expect_code(0);
        lab.verify_py(bundle).signers(&signers).run().expect_code(0);
    }
    // Whoever copied the old key seals something with it now: nobody vouches for that.
    let forged = lab.collect(lab.tree_profile("")).state(&lost).sealed();
    assert_eq!(forged.principal, format!("agent:{old_agent}"));
    lab.verify(&forged.path).signers(&signers).run().expect_code(4);
    lab.verify_py(&forged.path).signers(&signers).run().expect_code(4);
    end(daemon);
}

#[test]
fn a_signer_who_says_two_things_is_shown_everywhere_and_a_roll_back_is_named() {
    use base64::Engine as _;
    let (site, lab) = (Site::new(), Lab::new());
    let (host, daemon, incident, bundle) = with_a_bundle(&site, &lab);
    let file = get(&site, &bundle, 0);
    end(daemon);

    // Root on the host has the key and the certificate: another last checkpoint, well signed.
    let key = fs::read_to_string(host.state().join("agent_key")).unwrap();
    let key = bundle::sign::SigningKey::from_openssh(&key).unwrap();
    let stream = fs::read_to_string(file.with_file_name(format!("{}.stream.jsonl", bundle["name"].as_str().unwrap())));
    let last = stream.unwrap().lines().last().unwrap().to_owned();
    let mut said: bundle::checkpoint::StreamCheckpoint = serde_json::from_str(&last).unwrap();
    said.sha256 = wire::Sha256::of(b"another bundle");
    let signed = bundle::checkpoint::to_sorted_json(&said);
    let line = bundle::checkpoint::StreamLine {
        sig_ssh: key.sign(wire::signed::namespace::BUNDLE, signed.as_bytes()).unwrap(),
        signed_b64: base64::prelude::BASE64_STANDARD.encode(&signed),
        checkpoint: said,
    };
    let pem = fs::read(host.state().join("tls.pem")).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .identity(reqwest::Identity::from_pem(&pem).unwrap())
        .build()
        .unwrap();
    let encoded = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
    let metadata = format!(
        "bundle {},order {}",
        encoded(bundle["bundle"].as_str().unwrap()),
        encoded(bundle["order"].as_str().unwrap())
    );
    let begun = client.post(format!("{}/api/v1/uploads", site.url())).header("tus-resumable", "1.0.0");
    let begun = begun.header("upload-metadata", metadata).header("upload-defer-length", "1").send().unwrap();
    let upload = begun.headers()["location"].to_str().unwrap().to_owned();
    let upload = upload.strip_prefix(&site.url()).unwrap_or(&upload).to_owned();
    let sent =
        client.post(format!("{}{upload}/checkpoints", site.url())).header("content-type", "application/x-ndjson");
    assert_eq!(sent.body(bundle::checkpoint::to_sorted_json(&line)).send().unwrap().status().as_u16(), 409);

    let there = &bundles(&site, &incident)[0];
    assert_eq!(there["contradictions"][0]["what"], "equivocation", "{there}");
    assert_eq!(there["state"], "sealed");
    let listed = site.holdfast(&["evidence", "list", &incident]).expect_code(0).stdout;
    assert!(listed.contains("CONTRADICTED"), "{listed}");
    let timeline = site.api(&format!("incidents/{incident}/timeline?limit=500")).to_string();
    assert!(timeline.contains("The signer said two things under one number"), "{timeline}");
    let kept = custody(&site, "equivocation");
    let kept: Value = serde_json::from_str(kept[0]["details"]["line"].as_str().unwrap()).unwrap();
    assert_eq!(kept, serde_json::to_value(&line).unwrap(), "the second statement is kept whole");

    // What was there before it grew: the receipts say that there was more, and when.
    let whole = fs::read(&file).unwrap();
    let shorter = lab.path("shorter.evidence.zip");
    fs::write(&shorter, &whole[..whole.len() / 2]).unwrap();
    let receipts = file.with_file_name(format!("{}.receipts.jsonl", bundle["name"].as_str().unwrap()));
    let server_key = site.write("server.pub", site.api("me")["server_signer"].as_str().unwrap());
    let verify = |bundle: &Path| {
        lab.verify(bundle)
            .arg("--receipts")
            .arg(&receipts)
            .arg("--server-key")
            .arg(&server_key)
            .run()
            .expect_code(1)
            .said()
    };
    let said = verify(&shorter);
    let last = bundle["receipts"].as_array().unwrap().last().unwrap().clone();
    assert!(said.contains(&format!("the signer reached offset {} (receipt {}", whole.len(), last["seq"])), "{said}");
    assert!(said.contains(&format!("you hold {}", whole.len() / 2)), "{said}");
    // Another one that is as good a bundle as the first, under the same name: the receipts know it is another.
    let mut other = whole;
    let end = other.len() - 1;
    other[end] ^= 1;
    fs::write(&shorter, other).unwrap();
    assert!(verify(&shorter).contains("another version was receipted"), "{}", verify(&shorter));
}

#[test]
fn custody_heads_leave_to_a_file_and_to_an_authority_and_each_is_checked() {
    let tsa = Tsa::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut site = serving(&["--heads-to", path_text(elsewhere.path()), "--timestamp-url", &tsa.url()]);
    let stamps = || -> Vec<PathBuf> {
        let entries = fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "tsr")).collect()
    };
    until("the first head is stamped", SOON, || (!stamps().is_empty()).then_some(()));
    let (token, ca) = (stamps().remove(0), tsa.ca());
    let head = token.with_extension("json");
    let words = ["ts", "-verify", "-in", path_text(&token), "-data", path_text(&head), "-CAfile", path_text(&ca)];
    openssl(&words).expect_code(0);

    // An authority that stamps something else is not believed, and that is said where an operator looks.
    tsa.lie(true);
    grow(&site);
    site.stop_server();
    assert_eq!(stamps().len(), 1, "at the stop it was asked, and lied");
    tsa.lie(false);
    site.start_server();
    grow(&site);
    site.stop_server();
    assert_eq!(stamps().len(), 2, "at the stop it was asked again");
    site.start_server();

    let folder = path_text(elsewhere.path()).to_owned();
    let verify = |more: &[&str], code: i32| {
        site.holdfast(&[&["custody", "verify", "--heads", &folder], more].concat()).expect_code(code).said()
    };
    let said = verify(&[], 0);
    assert!(said.contains("witness:     ") && said.contains("time stamps: 2, the last of 20"), "{said}");
    grow(&site);
    let said = verify(&[], 0);
    assert!(said.contains("entries behind"), "{said}");
    // A head of a log that never was, as a witness of a server that went back would hold it.
    let heads = elsewhere.path().join("custody-heads.jsonl");
    let text = fs::read_to_string(&heads).unwrap();
    let key = fs::read_to_string(site.data().join("server_key")).unwrap();
    let key = bundle::sign::SigningKey::from_openssh(&key).unwrap();
    let point = |size, of: &[u8]| wire::custody::HeadPoint { root: wire::Sha256::of(of), size };
    let with = |point| {
        let head = bundle::custody_log::sign_head(&key, point, wire::Instant(1)).unwrap();
        fs::write(&heads, format!("{text}{}\n", bundle::checkpoint::to_sorted_json(&head))).unwrap();
    };
    with(point(1_000_000, b"ahead"));
    assert!(verify(&[], 1).contains("it had 1000000 leaves before"));
    with(point(3, b"another"));
    assert!(verify(&[], 1).contains("the log was rewritten, and signed again"));
    fs::write(&heads, text).unwrap();
    fs::write(&head, "{}").unwrap();
    assert!(verify(&[], 1).contains("the time stamp of another head"));
}

#[test]
fn a_server_that_was_set_back_is_caught_by_what_the_agents_saw() {
    let (mut site, lab) = (Site::new(), Lab::new());
    let (host, daemon, incident, _) = with_a_bundle(&site, &lab);
    site.stop_server();
    let before = site.path("before");
    Running::start(Command::new("cp").arg("-a").arg(site.data()).arg(&before)).wait(SOON).expect_code(0);
    site.start_server();
    let order = host.dispatch(&site, &incident, &quick(&lab));
    site.await_order(&order, "completed", SOON);
    newest(&site, &incident, &["sealed"]);
    end(daemon);
    // A bundle that never saw the server names what its agent had seen of it.
    let collected = lab.collect(lab.tree_profile("")).state(host.state()).sealed();
    let header = harness::Opened::at(&collected.path).json("bundle.json");
    assert!(header["last_receipt"]["signed_b64"].is_string(), "{header}");
    let server_key = site.write("server.pub", site.api("me")["server_signer"].as_str().unwrap());
    let said = lab.verify(&collected.path).arg("--server-key").arg(&server_key).run().said();
    assert!(said.contains("last seen:   custody log of ") && said.contains("the server's"), "{said}");
    let words = ["custody", "verify", "--bundle", path_text(&collected.path)];
    let said = site.holdfast(&words).expect_code(0).said();
    assert!(said.contains("as the receipt of "), "{said}");
    // A log that grew beyond it is held against it at its place.
    let seen = grow(&site);
    site.holdfast(&words).expect_code(0);

    site.stop_server();
    fs::remove_dir_all(site.data()).unwrap();
    fs::rename(&before, site.data()).unwrap();
    // This machine has seen nothing yet: the bundle alone is what tells.
    fs::remove_file(site.path("config/custody_head.json")).unwrap();
    site.start_server();
    let set_back = site.holdfast(&words).expect_code(1).said();
    assert!(
        set_back.contains("leaves were removed from its end") && set_back.contains("as the receipt of"),
        "{set_back}"
    );
    while grow(&site) < seen {}
    let rewritten = site.holdfast(&words).expect_code(1).said();
    assert!(rewritten.contains("the log was rewritten, and signed again"), "{rewritten}");
}
