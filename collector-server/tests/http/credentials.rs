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
    record.version += 1;
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

#[tokio::test]
async fn a_withdrawn_token_ends_what_it_listens_to() {
    use futures_util::StreamExt as _;
    let server = Server::start().await;
    let alert = serde_json::json!({"event_type": "malware", "host": "web-1"});
    let told = server.post("/api/v1/alerts", &server.source, &alert).await.is(200).json();
    let incident = told["alerts"][0]["incident"].as_str().unwrap().to_owned();
    let made = tokens::add(&*server.store, NOW, &Actor::Server, "eve", Role::Analyst, None).await.unwrap();
    let path = format!("/api/v1/incidents/{incident}/events");
    let mut stream =
        server.open("GET", &path, &With::Token(made.text), &[], vec![]).await.into_body().into_data_stream();
    assert!(stream.next().await.is_some(), "listening");
    let other = server::store::sql::Database::in_file(&server.database()).await.unwrap();
    tokens::revoke(&other, NOW, &Actor::Server, &made.record.token).await.unwrap();
    other.close().await;
    let ended = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(std::time::Duration::from_mins(1), ended).await.expect("the stream ends");
}

#[tokio::test]
async fn a_rotated_token_goes_on_in_another_one() {
    let server = Server::start().await;
    let made = tokens::add(&*server.store, NOW, &Actor::Server, "eve", Role::Analyst, Some(7)).await.unwrap();
    let new = tokens::rotate(&*server.store, NOW, &Actor::Server, &made.record.token).await.unwrap();
    assert_eq!(
        (&new.record.name, new.record.role, new.record.expires),
        (&made.record.name, Role::Analyst, made.record.expires)
    );
    assert_eq!((me(&server, &With::Token(made.text)).await, me(&server, &With::Token(new.text)).await), (401, 200));
    assert!(tokens::rotate(&*server.store, NOW, &Actor::Server, &made.record.token).await.is_err());
}

#[tokio::test]
async fn a_host_that_is_shut_out_is_refused_at_every_door_and_its_old_evidence_stays_good() {
    let server = Server::start().await;
    let (agent, with) = server.enrol("web-1", 1).await;
    let path = format!("/api/v1/hosts/{agent}/revoke");
    let why = serde_json::json!({"reason": "the key was copied"});
    assert_eq!(server.post(&path, &server.analyst, &why).await.status.as_u16(), 403);
    server.post(&path, &server.responder, &serde_json::json!({"reason": ""})).await.is(400);
    server.post("/api/v1/hosts/web-9/revoke", &server.responder, &why).await.is(404);
    server.clock.pass(3600);
    let told = server.post(&path, &server.responder, &why).await.is(200).json();
    assert_eq!(told["revoked"], "2026-11-21T18:45:48.000000000Z");
    server.post(&path, &server.responder, &why).await.is(409);
    for (method, path) in [
        ("GET", "/agent/v1/orders?wait_secs=0"),
        ("POST", "/agent/v1/renew"),
        ("PUT", "/agent/v1/host"),
        ("POST", "/agent/v1/orders/01980000-0000-7000-8000-000000000000/events"),
        ("POST", "/api/v1/uploads"),
        ("PATCH", "/api/v1/uploads/01980000-0000-7000-8000-000000000000"),
        ("POST", "/api/v1/uploads/01980000-0000-7000-8000-000000000000/checkpoints"),
    ] {
        server.send(method, path, &with, &[], vec![]).await.is(401);
    }
    assert!(server.get("/api/v1/hosts").await.json()["items"].as_array().unwrap().is_empty());
    let signers = bundle::sign::AllowedSigners::parse(&server.get("/api/v1/signers").await.text()).unwrap();
    let key = bundle::sign::SigningKey::from_seed(&[1; 32]).public();
    let allows = |secs: i128| {
        let at = wire::Instant(NOW.0 + secs * 1_000_000_000);
        signers.allow(&key, &agent.principal(), wire::signed::namespace::BUNDLE, at)
    };
    assert!(allows(-23 * 3600) && allows(3599));
    assert!(!allows(-25 * 3600) && !allows(3600));
    let leaves = server.store.leaves(None, 0, 100).await.unwrap();
    let leaf = leaves.iter().find(|stored| stored.leaf.event == "host_revoked").unwrap();
    assert_eq!((leaf.leaf.actor.as_str(), &leaf.leaf.details["reason"]), ("user:zoe", &why["reason"]));
}

#[tokio::test]
async fn a_ticket_is_ended_before_its_time() {
    let server = Server::start().await;
    let made = server.post("/api/v1/hosts/tickets", &server.responder, &serde_json::json!({})).await.is(200).json();
    let ticket: wire::ticket::Ticket = made["ticket"].as_str().unwrap().parse().unwrap();
    let id = wire::Sha256::of(ticket.secret.as_bytes());
    let path = format!("/api/v1/tickets/{id}/revoke");
    let why = serde_json::json!({"reason": "sent to the wrong list"});
    assert_eq!(server.post(&path, &server.analyst, &why).await.status.as_u16(), 403);
    server.post(&path, &server.responder, &why).await.is(204);
    server.post(&path, &server.responder, &why).await.is(409);
    assert_eq!(server.store.ticket(id).await.unwrap().unwrap().expires, NOW);
    server.post(&format!("/api/v1/tickets/{}/revoke", "0".repeat(64)), &server.responder, &why).await.is(404);
}
