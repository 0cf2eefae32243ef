//! Requests whose alerts could not be taken in.

use server::store::Store as _;

use super::harness::{Server, With};

const LETTERS: &str = "/api/v1/dead-letters";

async fn send(server: &Server, body: &[u8]) -> super::harness::Answer {
    server.send("POST", "/api/v1/alerts?source=acme", &server.source, &[], body.to_vec()).await
}

async fn letters(server: &Server) -> Vec<serde_json::Value> {
    let page = server.send("GET", LETTERS, &server.responder, &[], vec![]).await.is(200).json();
    page["items"].as_array().unwrap().clone()
}

fn too_many(n: usize) -> Vec<u8> {
    format!("{{\"event_type\":\"x\",\"n\":{n}}}\n").repeat(1001).into_bytes()
}

#[tokio::test]
async fn what_is_too_much_is_kept_once_and_the_sender_is_told() {
    let server = Server::start().await;
    let refused = send(&server, &too_many(1)).await.is(413).json();
    assert!(refused["hint"].as_str().unwrap().starts_with("it was kept as it came"), "{refused}");
    send(&server, &too_many(1)).await.is(413);
    let kept = letters(&server).await;
    assert_eq!(kept.len(), 1);
    let letter = kept[0]["letter"].as_str().unwrap();
    assert!(refused["hint"].as_str().unwrap().contains(letter));
    assert_eq!((kept[0]["sent_by"].as_str(), kept[0]["source"].as_str()), (Some("source:falco"), Some("acme")));
    assert_eq!(kept[0]["bytes"], too_many(1).len());
    let stored = server.app.objects.read(&format!("dead-letters/{letter}"), 1 << 20).await.unwrap();
    assert_eq!(stored, too_many(1));
    let leaves = server.store.leaves(None, 0, 100).await.unwrap();
    let leaf = &leaves.last().unwrap().leaf;
    assert_eq!(
        (leaf.event.as_str(), leaf.details["sha256"].as_str()),
        ("dead_letter_kept", kept[0]["sha256"].as_str())
    );
    // It holds too much still, and stays.
    server.send("POST", &format!("{LETTERS}/{letter}/replay"), &server.responder, &[], vec![]).await.is(413);
    assert_eq!(letters(&server).await, kept);
}

#[tokio::test]
async fn what_came_while_the_records_failed_is_taken_in_later_as_its_senders() {
    let server = Server::start().await;
    let alert = br#"{"event_type":"ransomware","host":"web-1"}"#;
    // Another process holds the table back: every commit of an alert fails.
    let broken = "CREATE TRIGGER broken BEFORE INSERT ON alerts BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END";
    server.sql(broken).await;
    let refused = send(&server, alert).await.is(500).json();
    assert!(refused["hint"].as_str().unwrap().starts_with("it was kept as it came"), "{refused}");
    server.sql("DROP TRIGGER broken").await;
    let kept = letters(&server).await;
    let path = format!("{LETTERS}/{}/replay", kept[0]["letter"].as_str().unwrap());
    let replayed = server.send("POST", &path, &server.responder, &[], vec![]).await.is(200).json();
    let alert: wire::AlertId = replayed["alerts"][0]["alert"].as_str().unwrap().parse().unwrap();
    let record = server.store.alert(alert).await.unwrap().unwrap();
    assert_eq!(record.sent_by, "source:falco");
    let With::Token(token) = &server.source else { unreachable!() };
    assert_eq!(record.normalised["ingest_token"], token[3..19]);
    assert!(letters(&server).await[0]["replayed"].is_string());
    server.send("POST", &path, &server.responder, &[], vec![]).await.is(409);
    let leaves = server.store.leaves(None, 0, 100).await.unwrap();
    let leaf = &leaves.last().unwrap().leaf;
    assert_eq!((leaf.event.as_str(), leaf.actor.as_str()), ("dead_letter_replayed", "user:zoe"));
}

#[tokio::test]
async fn what_could_not_even_be_written_down_is_found_again() {
    let server = Server::start().await;
    server.app.adopt_letters().await.unwrap();
    server.sql("CREATE TRIGGER broken BEFORE INSERT ON dead_letters BEGIN SELECT RAISE(ABORT, 'no'); END").await;
    let refused = send(&server, &too_many(2)).await.is(413).json();
    assert!(refused["hint"].as_str().unwrap().starts_with("it was kept as it came"), "{refused}");
    assert!(letters(&server).await.is_empty());
    server.app.adopt_letters().await.unwrap_err();
    server.sql("DROP TRIGGER broken").await;
    // A server that was started meanwhile knows the bytes alone.
    let other = server.beside().await;
    server.app.adopt_letters().await.unwrap();
    let kept = letters(&server).await;
    assert_eq!((kept.len(), kept[0]["sent_by"].as_str()), (1, Some("source:falco")));
    other.app.adopt_letters().await.unwrap();
    assert_eq!(letters(&server).await, kept);
    let orphan = "dead-letters/01980000-0000-7000-8000-000000000000";
    other.app.objects.put_new(orphan, "{}".into()).await.unwrap();
    let third = server.beside().await;
    third.app.adopt_letters().await.unwrap();
    let kept = letters(&server).await;
    assert!(kept.len() == 2 && kept.iter().any(|letter| letter["sent_by"] == "unknown"), "{kept:?}");
}

#[tokio::test]
async fn the_list_ends_and_what_was_replayed_makes_room() {
    let server = Server::start().await;
    // 64 of a mebibyte each.
    let body = |n: usize| {
        let mut body = too_many(n);
        body.resize(1 << 20, b' ');
        body
    };
    for n in 0..64 {
        let kept = send(&server, &body(n)).await.is(413).json();
        assert!(kept["hint"].as_str().unwrap().starts_with("it was kept"), "{n}: {kept}");
    }
    let refused = send(&server, &body(64)).await.is(413).json();
    assert!(refused["hint"].as_str().unwrap().contains("NOT kept (the list of dead letters is full)"), "{refused}");
    let oldest = letters(&server).await[63].clone();
    server
        .sql(&format!("UPDATE dead_letters SET replayed = 1 WHERE letter = '{}'", oldest["letter"].as_str().unwrap()))
        .await;
    let kept = send(&server, &body(64)).await.is(413).json();
    assert!(kept["hint"].as_str().unwrap().starts_with("it was kept"), "{kept}");
    let there = letters(&server).await;
    assert_eq!((there.len(), there.contains(&oldest)), (64, false));
    let gone = format!("dead-letters/{}", oldest["letter"].as_str().unwrap());
    server.app.objects.read(&gone, 1 << 20).await.unwrap_err();
}
