//! Real collections over real HTTP to a server that fails on demand.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bundle::sign::SigningKey;
use bundle::time::Instant;
use serde_json::json;
use wire::profile::{Profile, Values};
use wire::{OrderId, Sha256};

use super::*;
use crate::collection::{Mandate, Plan};
use crate::host::{FixedClock, Host};
use crate::log::Log;
use crate::run::bind::bind;
use crate::run::progress::Silent;
use crate::state::Identity;
use crate::transport::client::Credential;
use crate::transport::testing::{Fault, TestServer};

/// 20 MiB that do not shrink, in four files.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    for n in 0..4 {
        let mut content = vec![0; 5 << 20];
        getrandom::fill(&mut content).unwrap();
        std::fs::write(tree.path().join(format!("file{n}")), content).unwrap();
    }
    tree
}

fn collection(tree: &Path) -> (Collection, String) {
    let profile: Profile = serde_json::from_value(json!({
        "name": "test", "summary": "", "incident_types": [], "limits": {}, "contain": [],
        "collect": [{ "collect": "processes" }, { "collect": "files", "with": { "paths": ["/*"] } }],
    }))
    .unwrap();
    let host = Arc::new(Host::at(tree, FixedClock(Instant(0))));
    let key = SigningKey::from_seed(&[3; 32]);
    let me = Identity { id: "web-1".parse().unwrap(), key, kept: true };
    let plan = Plan::of(&profile, "test", bind(&profile, &Values::default()).unwrap(), Values::default());
    let ends = (Arc::new(AtomicBool::new(false)), Log::default());
    let who = crate::host::identity::identity(&host);
    let collection = Collection::new(&host, who, &me, plan, Mandate::default(), ends).unwrap();
    (collection, me.key.public_line())
}

/// The result, and the offsets of the receipts.
async fn upload(server: &TestServer, signer: Option<&SigningKey>) -> (Result<Finished, Failure>, Vec<u64>) {
    crate::transport::client::install_provider();
    let ca = rcgen::generate_simple_self_signed(vec!["x".into()]).unwrap().cert.pem();
    let mut client = Client::new(std::slice::from_ref(&server.address), &ca, Credential::None).unwrap();
    client.away_max = Duration::from_secs(3);
    let tree = tree();
    let (collection, own) = collection(tree.path());
    let mut offsets = Vec::new();
    let receipts =
        Receipts::new(signer.map(SigningKey::public_line), Box::new(|receipt, _, _| offsets.push(receipt.offset)));
    let order = Some(OrderId::new(1, [0; 10]));
    let ended = run(collection, &client, (order, own), receipts, std::future::ready(Ok(())), Silent).await;
    (ended, offsets)
}

fn server_key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

#[tokio::test]
async fn whatever_happens_on_the_way_the_whole_arrives_once() {
    let faults = [
        Fault::None,
        Fault::Busy,
        Fault::Checksum,
        Fault::CutBody(100),
        Fault::None,
        Fault::CutAnswer,
        Fault::None,
        Fault::CutBody(1),
        Fault::CutBody(700),
        Fault::Checksum,
        Fault::CutAnswer,
    ];
    let server = TestServer::start(server_key(), &faults);
    let (ended, offsets) = upload(&server, Some(&server_key())).await;
    let finished = ended.unwrap_or_else(|error| panic!("{error:?}"));
    let seen = server.seen();
    assert_eq!(seen.complaints, Vec::<String>::new());
    assert!(seen.faults.is_empty());
    assert_eq!(seen.content.len() as u64, finished.sealed.bytes);
    assert_eq!(Sha256::of(&seen.content), finished.sealed.sha256);
    assert_eq!(seen.length, Some(finished.sealed.bytes));
    // Every checkpoint was answered with a receipt that holds, the last one for all of it.
    assert_eq!(offsets.len(), seen.lines.len());
    assert_eq!(offsets.last(), Some(&finished.sealed.bytes));
    assert!(seen.lines.last().unwrap().checkpoint.is_final);
    assert!(seen.patches.iter().all(|length| *length <= wire::agent_api::CHUNK_BYTES_MAX));
    let metadata = seen.created.join(" ");
    for key in ["bundle ", "name ", "order ", "signer "] {
        assert!(metadata.contains(key), "{metadata}");
    }
}

#[tokio::test]
async fn a_server_that_lost_what_it_had_acknowledged_ends_the_upload() {
    let server = TestServer::start(server_key(), &[Fault::None, Fault::None, Fault::Forget]);
    let (ended, _) = upload(&server, Some(&server_key())).await;
    assert!(matches!(ended, Err(Failure::Upload(UploadError::Lost { held: 0, .. }))), "{ended:?}");
}

#[tokio::test]
async fn a_server_that_keeps_nothing_is_not_sent_the_same_bytes_for_ever() {
    let server = TestServer::start(server_key(), &[Fault::KeepNothing; 64]);
    let (ended, _) = upload(&server, Some(&server_key())).await;
    assert!(matches!(ended, Err(Failure::Upload(UploadError::Stuck { .. }))), "{ended:?}");
}

#[tokio::test]
async fn a_receipt_by_another_key_is_none() {
    let server = TestServer::start(SigningKey::from_seed(&[8; 32]), &[]);
    let (ended, offsets) = upload(&server, Some(&server_key())).await;
    assert!(matches!(ended, Err(Failure::Upload(UploadError::Receipt(_)))), "{ended:?}");
    assert!(offsets.is_empty());
    // A ticket names no key: the first is held to.
    assert!(upload(&server, None).await.0.is_err_and(|error| error.to_string().contains("bytes")));
}

#[tokio::test]
async fn a_server_that_stays_away_ends_the_run() {
    let faults = [Fault::Busy; 64];
    let server = TestServer::start(server_key(), &faults);
    let (ended, _) = upload(&server, Some(&server_key())).await;
    assert!(matches!(ended, Err(Failure::Upload(UploadError::Away { .. }))), "{ended:?}");
}
