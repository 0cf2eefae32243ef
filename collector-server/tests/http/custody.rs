//! The custody log as it is read and taken away.

use bundle::merkle::Tree;
use bundle::sign::AllowedSigners;
use serde_json::json;
use wire::api::CustodyLine;
use wire::custody::{Head, Leaf};
use wire::signed::namespace;

use super::harness::{NOW, Server};

#[tokio::test]
async fn an_export_is_verified_with_nothing_but_the_signers() {
    let server = Server::start().await;
    for n in 0..30 {
        server
            .post("/api/v1/alerts", &server.source, &json!({ "event_type": "x", "host": format!("h{n}") }))
            .await
            .is(200);
    }
    let export = server.get("/api/v1/custody/export").await.is(200);
    let lines: Vec<CustodyLine> = export.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (Some(CustodyLine::Head(envelope)), leaves) = (lines.last(), &lines[..lines.len() - 1]) else { panic!() };
    let signers = AllowedSigners::parse(&server.get("/api/v1/signers").await.is(200).text()).unwrap();
    let message = bundle::sign::open(envelope, &signers, namespace::CUSTODY, NOW).unwrap();
    let head: Head = serde_json::from_slice(&message).unwrap();
    let mut tree = Tree::default();
    for (seq, line) in leaves.iter().enumerate() {
        let CustodyLine::Leaf(text) = line else { panic!("a head among the leaves") };
        assert_eq!(serde_json::from_str::<Leaf>(text).unwrap().seq, seq as u64);
        tree.push(text.as_bytes());
    }
    assert_eq!((head.point.size, head.point.root), (leaves.len() as u64, tree.root()));
    assert!(export.text().contains("custody_exported"));
}

#[tokio::test]
async fn leaves_come_in_pages_and_by_incident() {
    let server = Server::start().await;
    for host in ["web-1", "db-1"] {
        server.post("/api/v1/alerts", &server.source, &json!({ "event_type": "x", "host": host })).await.is(200);
    }
    let first = server.get("/api/v1/custody?limit=4").await.is(200).json();
    let next = first["next"].as_str().unwrap();
    assert_eq!(next, "3");
    let second = server.get(&format!("/api/v1/custody?limit=4&after={next}")).await.is(200).json();
    assert_eq!(second["items"][0]["seq"], 4);
    assert_eq!(second["next"], serde_json::Value::Null);
    let one = server.get("/api/v1/custody?incident=INC-2026-0002").await.is(200).json();
    assert!(one["items"].as_array().unwrap().iter().all(|leaf| leaf["incident"] == "INC-2026-0002"));
    server.get("/api/v1/custody?incident=INC-2026-0003").await.is(404);
    server.get("/api/v1/custody?incident=a%20b").await.is(400);
}
