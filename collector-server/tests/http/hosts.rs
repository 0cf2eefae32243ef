//! What people set about hosts, and what triage makes of it.

use futures_util::future::join_all;
use serde_json::{Value, json};
use server::app::Actor;
use server::store::Store as _;
use wire::agent_api::HostFacts;

use super::cases::{act, plain, send, view};
use super::harness::Server;

async fn mark(server: &Server, agent: &impl std::fmt::Display, mark: Value) -> Value {
    server.post(&format!("/api/v1/hosts/{agent}/marks"), &server.responder, &mark).await.is(200).json()
}

async fn names(server: &Server, query: &str) -> Vec<String> {
    let page = server.get(&format!("/api/v1/hosts{query}")).await.is(200).json();
    page["items"].as_array().unwrap().iter().map(|host| host["facts"]["name"].as_str().unwrap().to_owned()).collect()
}

async fn told(server: &Server, event: &str) -> Vec<Value> {
    let leaves = server.store.leaves(None, 0, 1_000).await.unwrap();
    leaves.into_iter().filter(|leaf| leaf.leaf.event == event).map(|leaf| json!(leaf.leaf)).collect()
}

#[tokio::test]
async fn labels_are_set_asked_for_and_each_change_is_in_custody() {
    let server = Server::start().await;
    let (web, _) = server.enrol("web-1", 1).await;
    let (db, _) = server.enrol("db-1", 2).await;
    let path = format!("/api/v1/hosts/{web}/marks");
    let both = json!({"mark": "label", "set": ["env=prod", "tier=web"]});
    server.post(&path, &server.analyst, &both).await.is(403);
    let view = mark(&server, &web, both.clone()).await;
    assert_eq!(view["marks"], json!({"labels": {"env": "prod", "tier": "web"}}));
    mark(&server, &db, json!({"mark": "label", "set": ["env=prod"]})).await;
    assert_eq!(names(&server, "").await.len(), 2);
    assert_eq!(names(&server, "?label=env=prod").await.len(), 2);
    assert_eq!(names(&server, "?label=env%3Dprod%2Ctier%3Dweb").await, ["web-1"]);
    assert!(names(&server, "?label=env=test").await.is_empty());
    for bad in ["?label=env", "?label=ENV=x", "?label=a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1"] {
        server.get(&format!("/api/v1/hosts{bad}")).await.is(400);
    }
    // The page is the same list.
    let page = server.get("/hosts?label=env=prod,tier=web").await.is(200).text();
    assert!(page.contains(web.as_str()) && !page.contains(db.as_str()));
    let page = server.get(&format!("/hosts/{web}")).await.is(200).text();
    assert!(page.contains("env=prod") && page.contains("tier=web"));
    server.get("/hosts/web-9").await.is(404);

    // Said again it is no news.
    mark(&server, &web, both).await;
    mark(&server, &web, json!({"mark": "label", "remove": ["tier", "never"]})).await;
    assert_eq!(names(&server, "?label=tier=web").await, [] as [&str; 0]);
    let leaves = told(&server, "host_labelled").await;
    assert_eq!(leaves.len(), 3);
    assert_eq!((&leaves[0]["actor"], &leaves[0]["subject"]), (&json!("user:zoe"), &json!(format!("host:{web}"))));
    assert_eq!(leaves[2]["details"]["labels"], json!({"env": "prod"}));
    for (bad, status) in [
        (json!({"mark": "label"}), 400),
        (json!({"mark": "label", "set": ["env"]}), 400),
        (json!({"mark": "label", "set": (0..40).map(|n| format!("k{n}=v")).collect::<Vec<_>>()}), 507),
        (json!({"mark": "protect", "because": ""}), 400),
        (json!({"mark": "own"}), 400),
    ] {
        let answer = server.post(&path, &server.responder, &bad).await;
        assert_eq!(answer.status.as_u16(), status, "{bad}: {}", answer.text());
    }
}

#[tokio::test]
async fn triage_knows_what_people_set_and_takes_it_back_with_them() {
    let server = Server::start().await;
    let (db, _) = server.enrol("db-1", 1).await;
    let severity = async |n: u32| {
        let alert =
            json!({"event_type": "unauthorized_access", "host": "DB-1", "details": format!("try {n}"), "id": n});
        server.post("/api/v1/triage", &server.analyst, &alert).await.is(200).json()[0]["severity"].clone()
    };
    assert_eq!(severity(1).await, "SEV3");
    mark(&server, &db, json!({"mark": "criticality", "level": "high"})).await;
    assert_eq!(severity(2).await, "SEV2");
    mark(&server, &db, json!({"mark": "criticality", "level": "medium"})).await;
    assert_eq!(severity(3).await, "SEV3");
    assert_eq!(told(&server, "host_criticality_set").await[1]["details"], json!({"from": "high", "to": "medium"}));

    let isolation = async |incident: &str| {
        let view = view(&server, incident).await;
        let proposed = view["assessment"]["containment"].as_array().unwrap().clone();
        let isolation = proposed.into_iter().find(|one| one["action"] == "isolate_network").unwrap();
        isolation["conditions"].to_string()
    };
    let incident = send(&server, &server.source, &plain("db-1", "apt")).await["incident"].as_str().unwrap().to_owned();
    assert!(!isolation(&incident).await.contains("stays connected"));
    let because = "the only copy of the books";
    let told_of = mark(&server, &db, json!({"mark": "protect", "because": because})).await;
    assert_eq!(told_of["marks"]["protected"]["because"], because);
    assert_eq!(server.app.is_protected(&db).await.unwrap().unwrap().by, "user:zoe");
    // Whatever assesses it next knows it: a person, or the next alert.
    act(&server, &incident, &json!({"do": "override", "severity": "SEV1", "reason": "we know them"})).await;
    assert!(isolation(&incident).await.contains("stays connected"));
    assert!(server.get(&format!("/hosts/{db}")).await.is(200).text().contains(because));
    mark(&server, &db, json!({"mark": "unprotect", "because": "there are two now"})).await;
    assert!(server.app.is_protected(&db).await.unwrap().is_none());
    act(&server, &incident, &json!({"do": "override", "severity": "SEV2", "reason": "it is contained"})).await;
    assert!(!isolation(&incident).await.contains("stays connected"));
    assert_eq!(told(&server, "host_unprotected").await[0]["details"]["was"]["because"], because);
    assert!(server.app.is_protected(&"nobody".parse().unwrap()).await.is_err());
}

/// What others write at the same time is read again: nothing that was set is lost, a revocation least of all.
#[tokio::test]
async fn two_servers_that_write_one_host_lose_nothing() {
    let server = Server::start().await;
    let other = server.beside().await;
    let by = Actor::User { name: "zoe".into(), role: wire::api::Role::Responder, token: String::new() };
    for round in 1..=10_u8 {
        let (agent, _) = server.enrol(&format!("web-{round}"), round).await;
        let labels = (0..8).map(|n| {
            let (server, mark) =
                (if n % 2 == 0 { &server } else { &other }, json!({"mark": "label", "set": [format!("k{n}=v")]}));
            let (app, by, agent) = (&server.app, &by, &agent);
            async move { app.mark_host(by, agent, serde_json::from_value(mark).unwrap()).await.map(|_| ()) }
        });
        join_all(labels).await.into_iter().for_each(|done| done.unwrap());
        assert_eq!(server.store.host(&agent).await.unwrap().unwrap().marks.labels.len(), 8);
        let facts = (0..8).map(|n| {
            let facts = HostFacts { kernel: format!("6.{n}"), ..HostFacts::default() };
            let (app, agent) = (&server.app, &agent);
            async move { app.put_facts(agent, facts).await }
        });
        let (told, revoked) = tokio::join!(join_all(facts), other.app.revoke_host(&by, &agent, "it was copied"));
        revoked.unwrap();
        let record = server.store.host(&agent).await.unwrap().unwrap();
        assert!(record.revoked.is_some(), "round {round}: {told:?}");
        assert_eq!(record.marks.labels.len(), 8);
        assert!(server.app.put_facts(&agent, HostFacts::default()).await.is_err());
    }
}

/// Asks for orders as the agent, with this number.
async fn asks(server: &Server, with: &super::harness::With, beat: u64, boot: &str) {
    // What is heard within a few seconds is written down once.
    server.app.hub.forget_written();
    let path = format!("/agent/v1/orders?wait_secs=0&beat={beat}&boot={boot}");
    server.send("GET", &path, with, &[], vec![]).await.is(200);
}

#[tokio::test]
async fn a_host_that_falls_silent_is_said_once_and_is_back_when_it_is_heard() {
    let server = Server::start().await;
    let (agent, with) = server.enrol("db-1", 1).await;
    let incident = send(&server, &server.source, &plain("DB-1", "ransomware")).await["incident"].clone();
    asks(&server, &with, 1, "a").await;
    server.app.hub.forget_polls();
    server.clock.pass(599);
    server.app.find_silent().await.unwrap();
    assert!(told(&server, "host_silent").await.is_empty());
    server.clock.pass(2);
    for _ in 0..2 {
        server.app.find_silent().await.unwrap();
    }
    // Once of the host, and once in the incident that names it.
    let leaves = told(&server, "host_silent").await;
    assert_eq!(leaves.iter().map(|leaf| leaf["incident"].clone()).collect::<Vec<_>>(), [Value::Null, incident]);
    let view = server.get(&format!("/api/v1/hosts/{agent}")).await.json();
    assert!(view["silent"].is_string());
    assert!(server.get(&format!("/hosts/{agent}")).await.text().contains("gone silent"));
    // Five questions did not reach us, and it was started anew meanwhile.
    asks(&server, &with, 7, "b").await;
    let back = told(&server, "host_back").await;
    assert_eq!((&back[0]["details"]["asked_in_vain"], &back[0]["details"]["rebooted"]), (&json!(5), &json!(true)));
    assert!(server.get(&format!("/api/v1/hosts/{agent}")).await.json()["silent"].is_null());
    assert!(told(&server, "host_went_back").await.is_empty());
}

#[tokio::test]
async fn a_count_that_goes_back_is_an_event_and_one_without_a_count_is_none() {
    let server = Server::start().await;
    let (agent, with) = server.enrol("web-1", 1).await;
    asks(&server, &with, 100, "a").await;
    for _ in 0..2 {
        // A snapshot of the host is restored; it is said once an hour at most.
        asks(&server, &with, 40, "a").await;
        asks(&server, &with, 101, "a").await;
    }
    let leaves = told(&server, "host_went_back").await;
    assert_eq!(leaves.len(), 1);
    assert_eq!(
        (&leaves[0]["details"]["before"]["count"], &leaves[0]["details"]["beat"]["count"]),
        (&json!(100), &json!(40))
    );
    assert!(server.get(&format!("/hosts/{agent}")).await.text().contains("went back"));
    // As older agents ask.
    server.app.hub.forget_written();
    server.send("GET", "/agent/v1/orders?wait_secs=0", &with, &[], vec![]).await.is(200);
    assert_eq!(server.store.host(&agent).await.unwrap().unwrap().beat.unwrap().count, 101);
}

#[tokio::test]
async fn an_agent_that_leaves_is_let_in_nowhere_and_is_not_missed() {
    let server = Server::start().await;
    let (agent, with) = server.enrol("web-1", 1).await;
    asks(&server, &with, 1, "a").await;
    server.send("POST", "/agent/v1/leave", &with, &[], vec![]).await.is(204);
    server.send("GET", "/agent/v1/orders?wait_secs=0", &with, &[], vec![]).await.is(401);
    assert_eq!(told(&server, "host_removed").await.len(), 1);
    assert!(names(&server, "").await.is_empty());
    server.app.hub.forget_polls();
    server.clock.pass(3600);
    server.app.find_silent().await.unwrap();
    assert!(told(&server, "host_silent").await.is_empty());
    assert!(server.get(&format!("/hosts/{agent}")).await.text().contains("agent removed"));
}
