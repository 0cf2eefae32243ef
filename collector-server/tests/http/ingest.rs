//! Alerts under load: bounded, fair, and none lost.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use super::harness::{Answer, Server, With};

const ALERTS: &str = "/api/v1/alerts";

/// Made up by its product to show what a finding looks like: closed by itself, so that a test is not about incidents.
fn sample(n: usize) -> Value {
    json!({
        "schemaVersion": "2.0", "accountId": "000000000000", "region": "eu-west-1", "id": format!("finding-{n}"),
        "type": "Recon:EC2/PortProbeUnprotectedPort", "severity": 2, "title": "[SAMPLE] a probed port",
        "createdAt": "2026-11-21T17:40:00.000Z", "updatedAt": "2026-11-21T17:40:00.000Z",
        "resource": { "resourceType": "Instance", "instanceDetails": { "instanceId": "i-99999999" } },
        "service": { "count": 1, "additionalInfo": { "sample": true } },
    })
}

async fn send(server: &Server, with: &With, body: Vec<u8>) -> Answer {
    server.send("POST", ALERTS, with, &[], body).await
}

#[tokio::test]
async fn of_two_thousand_senders_at_once_each_is_answered_and_none_is_lost() {
    let server = Server::start().await;
    let mut waiting: Vec<usize> = (0..2000).collect();
    let mut refused = 0;
    while !waiting.is_empty() {
        let sends =
            waiting.iter().map(async |n| (*n, send(&server, &server.source, sample(*n).to_string().into()).await));
        let mut again = Vec::new();
        for (n, answer) in join_all(sends).await {
            match answer.status.as_u16() {
                200 => assert_eq!(answer.json()["alerts"][0]["duplicate"], false),
                429 | 503 => {
                    let secs: u64 = answer.header("retry-after").parse().unwrap();
                    assert!((1..60).contains(&secs), "{secs}");
                    again.push(n);
                }
                other => panic!("{other}: {}", answer.text()),
            }
        }
        assert!(again.len() < waiting.len(), "nobody got in");
        refused += again.len();
        waiting = again;
        server.clock.pass(10);
    }
    assert!(refused > 0, "there was no bound");
    let again = send(&server, &server.source, sample(1999).to_string().into()).await.is(200).json();
    assert_eq!(again["alerts"][0]["duplicate"], true);
}

#[tokio::test]
async fn a_source_that_floods_waits_behind_itself() {
    let server = Server::start().await;
    let quiet = server.another_source().await;
    // As many as one source may have under way, each of a whole commit.
    let floods = 32;
    let bodies = (0..floods).map(|flood| {
        let lines = (0..64).map(|n| format!("{}\n", sample(flood * 64 + n)));
        lines.collect::<String>().into_bytes()
    });
    let answered = AtomicUsize::new(0);
    let flood = join_all(bodies.map(async |body| {
        send(&server, &server.source, body).await.is(200);
        answered.fetch_add(1, Ordering::Relaxed);
    }));
    let one = async {
        while answered.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        send(&server, &quiet, sample(9_999_999).to_string().into()).await.is(200);
        answered.load(Ordering::Relaxed)
    };
    let (_, before_it) = join(flood, one).await;
    assert!(before_it < floods / 2, "{before_it} of {floods} of the flood came before it");
}

#[tokio::test]
async fn a_source_beyond_its_rate_is_told_when_to_come_again() {
    let server = Server::start().await;
    let most = 10 * server.app.limits.alert_requests_of_source_per_sec + 1;
    // The rate is of requests, whatever they hold.
    for _ in 0..most {
        send(&server, &server.source, b"[]".to_vec()).await.is(200);
    }
    let refused = send(&server, &server.source, b"[]".to_vec()).await.is(429);
    assert_eq!(refused.header("retry-after"), "1");
    send(&server, &server.responder, b"[]".to_vec()).await.is(200);
    server.clock.pass(1);
    send(&server, &server.source, b"[]".to_vec()).await.is(200);
}
