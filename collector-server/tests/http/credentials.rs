//! Tokens, sessions, certificates.

use server::app::{Actor, tokens};
use server::store::Change;
use server::store::Store as _;
use wire::api::Role;

use super::harness::{NOW, Server, With};

const ME: &str = "/api/v1/me";

async fn me(server: &Server, with: &With) -> u16 {
    server.send("GET", ME, with, &[], vec![]).await.status.as_u16()
}

#[tokio::test]
async fn a_withdrawn_or_ended_token_lets_nobody_in_at_once() {
    let server = Server::start().await;
    let made = tokens::add(&*server.store, NOW, &Actor::Server, "eve", Role::Analyst, Some(1)).await.unwrap();
    let with = With::Token(made.text.clone());
    assert_eq!(me(&server, &with).await, 200);
    let stored = server.store.token(&made.record.token).await.unwrap().unwrap();
    assert!(stored.hash.starts_with("$argon2id$"));
    let secret = &made.text[20..];
    assert!(!stored.hash.contains(secret));
    server.clock.pass(86_399);
    assert_eq!(me(&server, &with).await, 200);
    server.clock.pass(1);
    assert_eq!(me(&server, &with).await, 401);

    let made = tokens::add(&*server.store, NOW, &Actor::Server, "eve", Role::Analyst, None).await.unwrap();
    let with = With::Token(made.text);
    assert_eq!(me(&server, &with).await, 200);
    // Another process does it: `token revoke` opens the same file.
    let other = server::store::sql::Database::in_file(&server.database()).await.unwrap();
    tokens::revoke(&other, NOW, &Actor::Server, &made.record.token).await.unwrap();
    other.close().await;
    let refused = server.send("GET", ME, &with, &[], vec![]).await.is(401);
    assert!(refused.text().contains("withdrawn"));
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    // And this one goes on with the log that the other has written.
    tokens::add(&*server.store, NOW, &Actor::Server, "mal", Role::Source, None).await.unwrap();
    let leaves = server.store.leaves(None, 0, 100).await.unwrap();
    let events: Vec<_> = leaves.iter().map(|stored| stored.leaf.event.as_str()).collect();
    assert_eq!(events[3..], ["token_added", "token_added", "token_revoked", "token_added"]);
}

#[tokio::test]
async fn wrong_secrets_make_an_id_wait_but_not_who_is_in() {
    let server = Server::start().await;
    let With::Token(good) = &server.analyst else { unreachable!() };
    let wrong = With::Token(format!("{}{}", &good[..20], "x".repeat(43)));
    assert_eq!(me(&server, &server.analyst).await, 200);
    for _ in 0..5 {
        assert_eq!(me(&server, &wrong).await, 401);
    }
    assert_eq!(me(&server, &wrong).await, 429);
    assert_eq!(me(&server, &server.analyst).await, 200);
    assert_eq!(me(&server, &server.responder).await, 200);
    server.clock.pass(61);
    assert_eq!(me(&server, &wrong).await, 401);
}

#[tokio::test]
async fn a_browser_signs_in_and_out() {
    let server = Server::start().await;
    let With::Token(token) = &server.responder else { unreachable!() };
    let form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "https://server:8443")];
    let sign_in = async |headers: &[(&str, &str)], body: String| {
        server.send("POST", "/sign-in", &With::Nothing, headers, body.into_bytes()).await
    };
    sign_in(&form[..1], format!("token={token}")).await.is(403);
    sign_in(&form, "token=hf_no".to_owned()).await.is(401);
    let With::Token(source) = &server.source else { unreachable!() };
    sign_in(&form, format!("token={source}")).await.is(403);
    let signed_in = sign_in(&form, format!("token={token}&back=%2Fincidents%2FINC-2026-0001")).await.is(303);
    assert_eq!(signed_in.header("location"), "/incidents/INC-2026-0001");
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let with = With::Cookie(format!("theme=dark; {cookie}"));
    assert_eq!(me(&server, &with).await, 200);

    let json = [("content-type", "application/json")];
    let ticket = async |headers: &[(&str, &str)]| {
        server.send("POST", "/api/v1/hosts/tickets", &with, headers, b"{}".to_vec()).await
    };
    ticket(&json).await.is(403);
    ticket(&[json[0], ("origin", "https://evil.example")]).await.is(403);
    ticket(&[json[0], form[1]]).await.is(200);

    server.send("POST", "/sign-out", &with, &[form[1]], vec![]).await.is(303);
    assert_eq!(me(&server, &with).await, 401);
    let again = sign_in(&form, format!("token={token}")).await.is(303);
    let with = With::Cookie(again.header("set-cookie").split(';').next().unwrap().to_owned());
    assert_eq!(me(&server, &with).await, 200);
    server.clock.pass(12 * 3600);
    assert_eq!(me(&server, &with).await, 401);
}

#[tokio::test]
async fn a_certificate_must_be_one_that_was_given_and_not_taken_back() {
    let server = Server::start().await;
    let (agent, with) = server.enrol("web-1", 1).await;
    let asked = async |with: &With| server.send("GET", ME, with, &[], vec![]).await;
    // It is let in as an agent, who is no person.
    assert!(asked(&with).await.is(403).text().contains(&agent.to_string()));
    let With::Certificate(mut other) = with.clone() else { unreachable!() };
    other.serial = "ff".into();
    asked(&With::Certificate(other)).await.is(401);
    let mut record = server.store.host(&agent).await.unwrap().unwrap();
    record.revoked = Some(NOW);
    server.store.commit(vec![Change::PutHost(Box::new(record))], vec![]).await.unwrap();
    assert!(asked(&with).await.is(401).text().contains("shut out"));
}

#[tokio::test]
async fn a_ticket_is_shown_once_and_lets_nobody_read() {
    let server = Server::start().await;
    let body = serde_json::json!({ "host": "db-1" });
    let made = server.post("/api/v1/hosts/tickets", &server.responder, &body).await.is(200).json();
    let ticket: wire::ticket::Ticket = made["ticket"].as_str().unwrap().parse().unwrap();
    assert_eq!(ticket.servers, ["https://127.0.0.1:8443"]);
    assert_eq!(ticket.kind, wire::ticket::TicketKind::Enroll);
    assert_eq!(me(&server, &With::Token(ticket.secret)).await, 401);
    server
        .post("/api/v1/hosts/tickets", &server.responder, &serde_json::json!({ "valid_secs": 604_801 }))
        .await
        .is(400);
    server.post("/api/v1/hosts/tickets", &server.responder, &serde_json::json!({ "host": "a\nb" })).await.is(400);
    server.post("/api/v1/incidents/INC-2026-0001/tickets", &server.responder, &body).await.is(404);
}
