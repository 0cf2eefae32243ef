//! Several servers over one database of PostgreSQL and one folder of objects: to agents and people they are one, and one
//! of them may die.

use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use harness::{Lab, Postgres, Replica, S3, Setup, Site, until};
use reqwest::blocking::RequestBuilder;
use rustix::process::Signal;
use serde_json::{Value, json};
use wire::BundleId;

use super::path_broken::{get, in_the_files_tier, incident, slow, verified};
use super::{incident as incidents, orders, path};

const SOON: Duration = Duration::from_mins(2);
/// What a long poll would take without being woken is 55 seconds.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A site with two servers; nothing where there is no PostgreSQL.
fn two() -> Option<(Site, Replica)> {
    let site = Site::on_postgres()?;
    let replica = site.replica();
    Some((site, replica))
}

/// The same with their objects in a bucket.
fn two_over_a_bucket(s3: &S3) -> Option<(Site, Replica)> {
    let database = Postgres::shared()?.database();
    let serve = vec!["--objects".to_owned(), s3.url("site")];
    let site = Site::with(Setup { database: Some(database), serve, variables: s3.variables(), ..Setup::default() });
    let replica = site.replica();
    Some((site, replica))
}

#[test]
fn from_two_alerts_to_evidence_over_postgresql() {
    let Some(site) = Site::on_postgres() else { return };
    path::from_alerts_to_evidence(&site);
}

#[test]
fn what_no_responder_ordered_is_refused_over_postgresql() {
    let Some(site) = Site::on_postgres() else { return };
    orders::refused_by_name(site);
}

#[test]
fn an_incident_is_worked_on_over_postgresql() {
    let Some(site) = Site::on_postgres() else { return };
    incidents::worked_on_from_the_first_alert_to_the_last_note(&site);
}

#[test]
fn an_order_wakes_the_agent_that_waits_at_the_other_server() {
    let Some((site, replica)) = two() else { return };
    let host = site.enroll("web-1");
    site.cable.plug(replica.address());
    let daemon = host.daemon();
    // To the one that gives the order, an agent of the other counts as connected.
    until("the agent waits", SOON, || {
        let hosts = site.api("hosts");
        (site.cable.open() > 0 && hosts["items"][0]["connected"] == json!(true)).then_some(())
    });
    let incident = incident(&site);
    for _ in 0..2 {
        let given = Instant::now();
        let order = host.dispatch(&site, &incident, "triage");
        until("the agent has it", AT_ONCE, || {
            (site.api(&format!("orders/{order}"))["state"] != "queued").then_some(())
        });
        println!("the agent had the order after {:?}", given.elapsed());
        site.await_order(&order, "completed", SOON);
    }
    assert_eq!(
        site.api_at(&replica.url(), &format!("evidence?incident={incident}"))["items"].as_array().unwrap().len(),
        2
    );
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);
}

#[test]
fn an_upload_goes_from_server_to_server_and_outlives_one_of_them() {
    let Some((site, replica)) = two() else { return };
    goes_from_server_to_server(&site, replica);
}

#[test]
fn an_upload_goes_from_server_to_server_over_a_bucket() {
    let Some(s3) = S3::start() else { return };
    let Some((site, replica)) = two_over_a_bucket(&s3) else { return };
    goes_from_server_to_server(&site, replica);
    assert!(!site.data().join("objects").exists());
}

fn goes_from_server_to_server(site: &Site, mut replica: Replica) {
    let lab = Lab::new();
    let profile = slow(&lab, 40, "4MiB");
    let host = site.enroll("web-1");
    site.cable.plug(replica.address());
    let daemon = host.daemon();
    let incident = incident(site);
    let order = host.dispatch(site, &incident, &profile);
    in_the_files_tier(site, &incident, 5 << 20);
    site.cable.plug(site.address());
    in_the_files_tier(site, &incident, 14 << 20);
    site.cable.plug(replica.address());
    let before = in_the_files_tier(site, &incident, 23 << 20);
    replica.kill();
    let after = site.api(&format!("evidence?incident={incident}"))["items"][0].clone();
    assert!(after["bytes"].as_u64() >= before["bytes"].as_u64(), "{before} {after}");
    assert!(after["receipts"].as_array().unwrap().len() >= before["receipts"].as_array().unwrap().len());
    site.cable.plug(site.address());
    site.await_order(&order, "completed", SOON);
    let bundle = verified(site, &incident);
    assert_eq!(bundle["state"], "sealed", "{bundle}");
    let length = std::fs::metadata(get(site, &bundle, 0)).unwrap().len();
    assert_eq!(bundle["bytes"], length);
    site.holdfast(&["custody", "verify"]).expect_code(0);
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);
}

#[test]
fn the_database_restarts_in_the_middle() {
    // Of its own: others have tests under way.
    let Some(postgres) = Postgres::start() else { return };
    let site = Site::over(postgres.database());
    let lab = Lab::new();
    let profile = slow(&lab, 30, "4MiB");
    let host = site.enroll("web-1");
    let daemon = host.daemon();
    let incident = incident(&site);
    let order = host.dispatch(&site, &incident, &profile);
    let before = in_the_files_tier(&site, &incident, 9 << 20);
    postgres.restart();
    let after = until("the server answers again", SOON, || {
        let client = site.client().get(format!("{}/api/v1/evidence?incident={incident}", site.url()));
        let text = client.bearer_auth(site.responder_token()).send().ok()?.text().ok()?;
        serde_json::from_str::<Value>(&text).ok()?["items"].get(0).cloned()
    });
    assert!(after["bytes"].as_u64() >= before["bytes"].as_u64(), "{before} {after}");
    site.await_order(&order, "completed", SOON);
    let bundle = verified(&site, &incident);
    assert_eq!(bundle["state"], "sealed", "{bundle}");
    get(&site, &bundle, 0);
    site.holdfast(&["custody", "verify"]).expect_code(0);
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);
}

#[test]
fn what_happens_at_one_server_is_heard_and_holds_at_the_other() {
    let Some((site, replica)) = two() else { return };
    let incident = incident(&site);
    let url = format!("{}/api/v1/incidents/{incident}/events", replica.url());
    let stream = site.client().get(url).bearer_auth(site.responder_token()).send().unwrap();
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
    });
    // From this line on, nothing is missed.
    assert!(lines.recv_timeout(SOON).unwrap().contains("listening"));
    assert_eq!(site.alert("edr", &json!({"event_type": "ransomware", "host": "web-1", "details": "two"})), incident);
    let heard: Vec<String> = std::iter::from_fn(|| lines.recv_timeout(AT_ONCE).ok())
        .take_while(|line| !line.starts_with("event: alert"))
        .collect();
    assert!(heard.len() < 20, "{heard:?}");

    let token = site.token("eve", "analyst");
    let status = |url: &str| {
        let answer = site.client().get(format!("{url}/api/v1/incidents")).bearer_auth(&token).send().unwrap();
        answer.status().as_u16()
    };
    assert_eq!([status(&site.url()), status(&replica.url())], [200, 200]);
    site.server(&["token", "revoke", &token]).expect_code(0);
    assert_eq!([status(&site.url()), status(&replica.url())], [401, 401]);
}

#[test]
fn of_two_that_write_at_once_exactly_one_wins() {
    let Some((site, replica)) = two() else { return };
    let (incident, bundle) = (incident(&site), BundleId::new(1_795_283_148_123, [7; 10]));
    let tus = |request: RequestBuilder| request.bearer_auth(site.responder_token()).header("tus-resumable", "1.0.0");
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let metadata = format!("bundle {},incident {}", encode(&bundle.to_string()), encode(&incident));
    let begun = tus(site.client().post(format!("{}/api/v1/uploads", site.url())))
        .header("upload-defer-length", 1)
        .header("upload-metadata", metadata)
        .send()
        .unwrap();
    assert_eq!(begun.status(), 201);
    let location = begun.headers()["location"].to_str().unwrap().to_owned();
    let at = |url: &str| {
        if location.starts_with('/') { format!("{url}{location}") } else { location.replace(&site.url(), url) }
    };
    let urls = [at(&site.url()), at(&replica.url())];
    let mut kept = Vec::new();
    for round in 0..20_u8 {
        let pieces = [0, 1].map(|side| vec![2 * round + side; 1000 + 100 * usize::from(side)]);
        let statuses = std::thread::scope(|scope| {
            let sent = [0, 1].map(|side| {
                let patch = tus(site.client().patch(&urls[side]))
                    .header("content-type", "application/offset+octet-stream")
                    .header("upload-offset", kept.len())
                    .body(pieces[side].clone());
                scope.spawn(move || patch.send().unwrap().status().as_u16())
            });
            sent.map(|sent| sent.join().unwrap())
        });
        let won: Vec<usize> = (0..2).filter(|side| statuses[*side] == 204).collect();
        assert_eq!(won.len(), 1, "{statuses:?} in round {round}");
        kept.extend_from_slice(&pieces[won[0]]);
        for url in &urls {
            let offset = tus(site.client().head(url)).send().unwrap().headers()["upload-offset"].clone();
            assert_eq!(offset, kept.len().to_string());
        }
    }
    for server in [site.url(), replica.url()] {
        let content = site.client().get(format!("{server}/api/v1/evidence/{bundle}/content"));
        let content = content.bearer_auth(site.responder_token()).send().unwrap().bytes().unwrap();
        assert_eq!(content, kept, "at {server}");
    }
}

#[test]
fn when_the_leader_dies_another_leads() {
    let Some((mut site, replica)) = two() else { return };
    let leads = |url: &str| {
        let answer = site.client().get(format!("{url}/metrics")).bearer_auth(site.responder_token()).send().unwrap();
        answer.text().unwrap().lines().any(|line| line == "holdfast_leads 1")
    };
    // The first that came.
    until("the first leads", SOON, || leads(&site.url()).then_some(()));
    assert!(!leads(&replica.url()));
    let client = site.client();
    let token = site.responder_token();
    site.kill_server();
    until("the other leads", AT_ONCE, || {
        let answer = client.get(format!("{}/metrics", replica.url())).bearer_auth(&token).send().unwrap();
        answer.text().unwrap().lines().any(|line| line == "holdfast_leads 1").then_some(())
    });
}

#[test]
fn a_server_with_other_keys_is_refused() {
    let Some(site) = Site::on_postgres() else { return };
    let replica = Replica::prepared(&site.data(), site.path("stranger"), site.database().unwrap());
    std::fs::remove_file(replica.data().join("server_key")).unwrap();
    let said = replica.refused().expect_code(69).stderr;
    assert!(said.contains("server_key") && said.contains("hint"), "{said}");
    for key in ["ca.pem", "ca.key"] {
        std::fs::remove_file(replica.data().join(key)).unwrap();
    }
    let said = replica.refused().expect_code(69).stderr;
    assert!(said.contains("ca*.pem") && said.contains("hint"), "{said}");
}

#[test]
fn a_password_on_the_command_line_is_refused() {
    let site = Site::new();
    let said = site.server(&["token", "list", "--database", "postgres://ada:secret@db/x"]).expect_code(64).stderr;
    assert!(said.contains("pgpass") && !said.contains("secret"), "{said}");
}
