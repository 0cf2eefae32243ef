//! Evidence as it is listed, taken away and looked into.

use std::io::Read as _;

use bundle::checkpoint::StreamLine;
use bundle::sign::SigningKey;
use bytes::Bytes;
use serde_json::json;
use server::objects::Segment;
use server::store::{Change, CheckpointRecord, EvidenceRecord, Store as _};
use wire::api::{EvidenceState, EvidenceView};
use wire::receipt::{RECEIPT_TYPE, Receipt};
use wire::signed::namespace;
use wire::{BundleId, Sha256, UploadId};

use super::common;
use super::harness::{NOW, Server};

const GOOD: &[u8] = include_bytes!("../../../bundle/vectors/good.evidence.zip");
const GOOD_STREAM: &str = include_str!("../../../bundle/vectors/good.stream.jsonl");
/// Segments of a prime length: nothing in a bundle ends where they end.
const SEGMENT: usize = 997;

/// Puts the first bytes of the good bundle on the server, with as many of its transport checkpoints as they bear.
pub async fn hold(server: &Server, length: usize, state: EvidenceState) -> BundleId {
    hold_these(server, &GOOD[..length], GOOD_STREAM, state).await
}

async fn hold_these(server: &Server, held: &[u8], stream: &str, state: EvidenceState) -> BundleId {
    let length = held.len();
    server.post("/api/v1/alerts", &server.source, &json!({ "event_type": "x", "host": "web-1" })).await.is(200);
    let lines: Vec<StreamLine> = stream.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bundle = lines[0].checkpoint.bundle;
    let view = EvidenceView {
        brought_by: "agent:web-1".into(),
        bundle,
        bytes: 0,
        contradictions: Vec::new(),
        encrypted: false,
        findings: vec![],
        found: None,
        host: "web-1".into(),
        incident: "INC-2026-0001".parse().unwrap(),
        items: std::collections::BTreeMap::default(),
        name: "web-1_\"\r\n_x.evidence.zip".into(),
        order: None,
        part: None,
        profile: None,
        receipts: vec![],
        received: NOW,
        sha256: Some(Sha256::of(held)),
        signer: None,
        signer_principal: None,
        state,
        tiers: vec![],
        trust: None,
        verified_to: length as u64,
    };
    let record = EvidenceRecord {
        certificate_serial: None,
        last_seen: NOW,
        length: None,
        offset: 0,
        signer: None,
        upload: UploadId::new(1, [1; 10]),
        view,
    };
    server.store.commit(vec![Change::AddEvidence(Box::new(record))], vec![]).await.unwrap();
    for (n, bytes) in held.chunks(SEGMENT).enumerate() {
        let segment = Segment::of((n * SEGMENT) as u64, bytes);
        server.app.objects.put_new(&segment.path(bundle), Bytes::copy_from_slice(bytes)).await.unwrap();
        let change = Change::Advance { bundle, segment, at: NOW };
        server.store.commit(vec![change], vec![]).await.unwrap();
    }
    for (text, line) in stream.lines().zip(&lines).filter(|(_, line)| line.checkpoint.offset <= length as u64) {
        let checkpoint = &line.checkpoint;
        let receipt = Receipt {
            agent_certificate_serial: None,
            bundle,
            custody: server.store.head().await.unwrap(),
            offset: checkpoint.offset,
            phase: checkpoint.phase,
            phase_complete: checkpoint.phase_complete,
            received_at: NOW,
            seq: checkpoint.seq,
            sha256: checkpoint.sha256,
            kind: RECEIPT_TYPE.into(),
            v: 1,
        };
        let message = serde_json::to_vec(&receipt).unwrap();
        let envelope = SigningKey::from_seed(&[3; 32]).envelope("server", namespace::RECEIPT, &message).unwrap();
        let record = CheckpointRecord { bundle, envelope, line: text.into(), receipt };
        server.store.commit(vec![Change::AddCheckpoint(Box::new(record))], vec![]).await.unwrap();
    }
    bundle
}

#[tokio::test]
async fn a_bundle_is_taken_away_as_it_came_and_custody_knows() {
    let server = Server::start().await;
    let bundle = hold(&server, GOOD.len(), EvidenceState::Sealed).await;
    let content = format!("/api/v1/evidence/{bundle}/content");
    let before = server.store.head().await.unwrap().size;
    let head = server.send("HEAD", &content, &server.analyst, &[], vec![]).await.is(200);
    assert_eq!(head.header("content-length"), GOOD.len().to_string());
    assert_eq!(server.store.head().await.unwrap().size, before);
    let all = server.get(&content).await.is(200);
    assert_eq!(all.body, GOOD);
    assert_eq!(all.header("content-disposition"), "attachment; filename=\"web-1_____x.evidence.zip\"");
    assert_eq!(all.header("accept-ranges"), "bytes");

    let range = async |range| server.send("GET", &content, &server.analyst, &[("range", range)], vec![]).await;
    let part = range("bytes=990-1010").await.is(206);
    assert_eq!(part.body, &GOOD[990..=1010]);
    assert_eq!(part.header("content-range"), format!("bytes 990-1010/{}", GOOD.len()));
    assert_eq!(range("bytes=-7").await.is(206).body, &GOOD[GOOD.len() - 7..]);
    assert_eq!(range("bytes=0-1,5-6").await.is(200).body, GOOD);
    let beyond = range(&format!("bytes={}-", GOOD.len())).await.is(416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", GOOD.len()));
    assert_eq!(beyond.json()["code"], "range_not_satisfiable");

    let leaves = server.store.leaves(Some(&"INC-2026-0001".parse().unwrap()), 0, 100).await.unwrap();
    let told: Vec<_> = leaves.iter().filter(|stored| stored.leaf.event == "evidence_downloaded").collect();
    assert_eq!(told.len(), 4);
    assert_eq!(told[1].leaf.actor, "user:ada");
    assert_eq!((&told[1].leaf.details["from"], &told[1].leaf.details["to"]), (&json!(990), &json!(1011)));
    server.send("GET", &format!("{content}?view=all"), &server.analyst, &[], vec![]).await.is(400);
}

#[tokio::test]
async fn what_lies_beside_a_bundle_is_there_too() {
    let server = Server::start().await;
    let bundle = hold(&server, GOOD.len(), EvidenceState::Sealed).await;
    let path = format!("/api/v1/evidence/{bundle}");
    let stream = server.get(&format!("{path}/stream")).await.is(200);
    assert_eq!(stream.text(), GOOD_STREAM);
    assert!(stream.header("content-disposition").ends_with(".evidence.zip.stream.jsonl\""));
    let receipts = server.get(&format!("{path}/receipts")).await.is(200).text();
    assert_eq!(receipts.lines().count(), GOOD_STREAM.lines().count());
    let view = server.get(&path).await.is(200).json();
    assert_eq!(view["receipts"].as_array().unwrap().len(), GOOD_STREAM.lines().count());
    assert_eq!(view["bytes"], GOOD.len());
    let list = server.get("/api/v1/evidence?incident=INC-2026-0001").await.is(200).json();
    assert_eq!(list["items"][0], view);
    assert_eq!(server.get("/api/v1/incidents/INC-2026-0001").await.is(200).json()["evidence"][0], view);
}

#[tokio::test]
async fn the_bounded_view_of_a_partial_bundle_is_an_ordinary_zip() {
    let server = Server::start().await;
    let bundle = hold(&server, GOOD.len() - 100, EvidenceState::Partial).await;
    let content = format!("/api/v1/evidence/{bundle}/content");
    assert_eq!(server.get(&content).await.is(200).body, &GOOD[..GOOD.len() - 100]);
    let bounded = server.get(&format!("{content}?view=bounded")).await.is(200);
    assert!(bounded.header("content-disposition").ends_with("_x.partial.evidence.zip\""));
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bounded.body)).unwrap();
    let mut text = String::new();
    zip.by_name("bundle.json").unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("evidence-bundle"));
    assert!(
        !server.get(&format!("/api/v1/evidence/{bundle}/items")).await.is(200).json()["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    let server = Server::start().await;
    let bundle = hold(&server, GOOD.len(), EvidenceState::Rejected).await;
    server.get(&format!("/api/v1/evidence/{bundle}/content?view=bounded")).await.is(409);
    server.get(&format!("/api/v1/evidence/{bundle}/items")).await.is(409);
    server.get(&format!("/api/v1/evidence/{bundle}/content")).await.is(200);
}

#[tokio::test]
async fn items_are_searched_and_come_in_pages() {
    let server = Server::start().await;
    let bundle = hold(&server, GOOD.len(), EvidenceState::Sealed).await;
    let items =
        async |query: &str| server.get(&format!("/api/v1/evidence/{bundle}/items?{query}")).await.is(200).json();
    let all = items("").await;
    let records = all["items"].as_array().unwrap();
    assert!(records.len() > 3, "{all}");
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record["id"], n + 1);
    }
    let mut paged = vec![];
    let mut after = 0;
    loop {
        let page = items(&format!("limit=2&after={after}")).await;
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = next.parse::<u64>().unwrap(),
            None => break,
        }
    }
    assert_eq!(&paged, records);
    let path = records.last().unwrap()["path"].as_str().unwrap().to_uppercase();
    let found = items(&format!("q={path}")).await;
    assert!(
        found["items"].as_array().unwrap().iter().all(|one| one["path"]
            .as_str()
            .unwrap()
            .to_uppercase()
            .contains(&path))
    );
    assert!(found["items"].as_array().unwrap().len() < records.len());
    let status = records[0]["status"].as_str().unwrap();
    assert!(
        items(&format!("status={status}")).await["items"].as_array().unwrap().iter().all(|one| one["status"] == status)
    );
    assert_eq!(items("q=no%20such%20thing").await["items"], json!([]));
    server.get(&format!("/api/v1/evidence/{bundle}/items?status=bad")).await.is(400);
    server.get(&format!("/api/v1/evidence/{bundle}/items?q={}", "x".repeat(201))).await.is(400);
}

#[tokio::test]
async fn a_bundle_says_what_it_asked_and_what_it_cost() {
    let server = Server::start().await;
    let (bytes, stream, sealed) = common::small_bundle();
    let stream = String::from_utf8(stream).unwrap();
    let bundle = hold_these(&server, &bytes, &stream, EvidenceState::Sealed).await;
    let summary = server.app.evidence_summary(bundle).await.unwrap();
    assert!(!summary.coverage.unwrap().collectors.is_empty());
    assert!(summary.footprint.is_some());
    let items = server.get(&format!("/api/v1/evidence/{bundle}/items")).await.is(200).json();
    assert_eq!(items["items"].as_array().unwrap().len() as u64, sealed.items);
}
