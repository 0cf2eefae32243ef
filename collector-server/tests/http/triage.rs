//! Triage for those who ask, and the site's rules.

use serde_json::{Value, json};
use server::store::Store as _;

use super::harness::{Answer, Server, With};

const RANSOM: &[u8] = br#"{"event_type":"ransomware","host":"prod-db-01","user":"svc_backup","details":{"ransom_note":"README_DECRYPT.txt"}}"#;
/// A type that is worth more to this site than to others.
const PHISHING: &str = "types:\n  - type: phishing_attempt\n    severity: SEV2\n";

async fn triage(server: &Server, with: &With, body: &[u8]) -> Answer {
    server.send("POST", "/api/v1/triage", with, &[], body.to_vec()).await
}

fn phishing(n: u32) -> Value {
    json!({ "event_type": "phishing", "host": format!("pc-{n}"), "details": { "subject": "your invoice", "n": n } })
}

async fn replay(server: &Server, rules: Value) -> Answer {
    server.post("/api/v1/triage/replay", &server.responder, &json!({ "rules": rules, "since": null })).await
}

#[tokio::test]
async fn an_alert_is_assessed_and_not_kept() {
    let server = Server::start().await;
    let size = server.store.head().await.unwrap().size;
    for with in [&server.source, &server.analyst, &server.responder] {
        let assessed = triage(&server, with, RANSOM).await.is(200).json();
        assert_eq!(
            (assessed[0]["incident_type"].as_str(), assessed[0]["severity"].as_str()),
            (Some("ransomware"), Some("SEV1"))
        );
    }
    let two = [RANSOM, b"\n", RANSOM].concat();
    assert_eq!(triage(&server, &server.analyst, &two).await.is(200).json().as_array().unwrap().len(), 2);
    triage(&server, &server.analyst, b"").await.is(400);
    triage(&server, &server.analyst, &"{}\n".repeat(1001).into_bytes()).await.is(413);
    assert_eq!(server.store.head().await.unwrap().size, size);
    let letters = server.send("GET", "/api/v1/dead-letters", &server.responder, &[], vec![]).await.is(200).json();
    assert_eq!(letters["items"], json!([]));
}

#[tokio::test]
async fn a_plan_is_made_for_a_type_and_a_host() {
    let server = Server::start().await;
    let plan = server.get("/api/v1/triage/plan?type=ransomware&target=web-app-02").await.is(200).json();
    assert_eq!((plan["incident_type"].as_str(), plan["target"].as_str()), (Some("ransomware"), Some("web-app-02")));
    let unknown = server.get("/api/v1/triage/plan?type=ransomwhere").await.is(400).json();
    assert!(unknown["hint"].as_str().unwrap().contains("ransomware"), "{unknown}");
    server.get("/api/v1/triage/plan").await.is(400);
}

#[tokio::test]
async fn a_sites_rules_hold_for_all_that_comes_after_and_stay_when_the_next_have_a_mistake() {
    let server = Server::start().await;
    let site = server.folder.path().join("site");
    let taxonomy = site.join("triage/taxonomy.yaml");
    std::fs::create_dir_all(taxonomy.parent().unwrap()).unwrap();
    let severity = async || {
        let assessed = triage(&server, &server.analyst, phishing(0).to_string().as_bytes()).await.is(200).json();
        assessed[0]["severity"].as_str().unwrap().to_owned()
    };
    let events = async || {
        let leaves = server.store.leaves(None, 0, 100).await.unwrap();
        leaves
            .into_iter()
            .filter(|one| one.leaf.event == "rules_changed")
            .map(|one| one.leaf.details)
            .collect::<Vec<_>>()
    };
    server.app.record_rules().await.unwrap();
    server.app.record_rules().await.unwrap();
    assert_eq!((severity().await.as_str(), events().await.len()), ("SEV4", 1));

    std::fs::write(&taxonomy, PHISHING).unwrap();
    server.app.site.load(&site).unwrap();
    server.app.record_rules().await.unwrap();
    let told = events().await;
    assert_eq!((severity().await.as_str(), told.len()), ("SEV2", 2));
    assert_ne!(told[0]["sha256"], told[1]["sha256"]);

    std::fs::write(&taxonomy, PHISHING.replace("SEV2", "SEV9")).unwrap();
    let refused = format!("{:#}", server.app.site.load(&site).unwrap_err());
    assert!(refused.contains("triage/taxonomy.yaml:3"), "{refused}");
    assert_eq!(severity().await, "SEV2");
    std::fs::rename(&taxonomy, site.join("triage/taxnomy.yaml")).unwrap();
    let refused = format!("{:#}", server.app.site.load(&site).unwrap_err());
    assert!(refused.contains("triage/taxnomy.yaml"), "{refused}");
}

#[tokio::test]
async fn a_replay_shows_what_would_be_different_and_changes_nothing() {
    let server = Server::start().await;
    for n in 0..3 {
        server.post("/api/v1/alerts", &server.source, &phishing(n)).await.is(200);
    }
    server.send("POST", "/api/v1/alerts", &server.source, &[], RANSOM.to_vec()).await.is(200);
    let size = server.store.head().await.unwrap().size;
    let same = replay(&server, json!({})).await.is(200).json();
    assert_eq!(same, json!({ "alerts": 4, "differences": [], "incidents": 4, "is_cut": false }));
    let told = replay(&server, json!({ "taxonomy.yaml": PHISHING })).await.is(200).json();
    let differences = told["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 3);
    assert!(differences.iter().all(|one| one["before"]["severity"] == "SEV4" && one["after"]["severity"] == "SEV2"));
    let wrong = replay(&server, json!({ "taxonomy.yaml": PHISHING.replace("SEV2", "SEV9") })).await.is(400).json();
    assert!(wrong["hint"].as_str().unwrap().starts_with("taxonomy.yaml:3"), "{wrong}");
    replay(&server, json!({ "../x.yaml": "" })).await.is(400);
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("sources/{n}.yaml"), json!(""))).collect();
    replay(&server, many.into()).await.is(413);
    let later = json!({ "rules": {}, "since": "2026-11-22T00:00:00.000000000Z" });
    let later = server.post("/api/v1/triage/replay", &server.responder, &later).await.is(200).json();
    assert_eq!(later["incidents"], 0);
    assert_eq!(server.store.head().await.unwrap().size, size);
}
