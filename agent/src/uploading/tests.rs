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
use crate::transport::spool::{Spool, Waiting, waiting_in};
use crate::transport::testing::{Fault, TestServer};
use crate::transport::upload::{Step, Upload};

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
    let mut client = Client::new(std::slice::from_ref(&server.address), &ca, Credential::None, None).unwrap();
    client.away_max = Duration::from_secs(3);
    let tree = tree();
    let (collection, own) = collection(tree.path());
    let mut offsets = Vec::new();
    let receipts =
        Receipts::new(signer.map(SigningKey::public_line), Box::new(|receipt, _, _| offsets.push(receipt.offset)));
    let order = Some(OrderId::new(1, [0; 10]));
    let ready = std::future::ready(Ok(()));
    let ended = run(collection, &client, (order, own), receipts, ready, Otherwise::Nowhere("a test"), Silent).await;
    (ended, offsets)
}

/// A server that goes away after so many PATCHes, and a host with a spool.
struct Outage {
    server: TestServer,
    client: Client,
    state: tempfile::TempDir,
    tree: tempfile::TempDir,
}

impl Outage {
    fn after(patches: usize) -> Self {
        crate::transport::client::install_provider();
        let ca = rcgen::generate_simple_self_signed(vec!["x".into()]).unwrap().cert.pem();
        let server = TestServer::start(server_key(), &[]);
        let mut client = Client::new(std::slice::from_ref(&server.address), &ca, Credential::None, None).unwrap();
        client.away_max = Duration::from_millis(500);
        server.seen().away_after = Some(patches);
        server.seen().spool_key = Some(age::x25519::Identity::generate());
        Self { server, client, state: tempfile::tempdir().unwrap(), tree: tree() }
    }

    async fn collect(&self, bytes_max: Option<u64>) -> Result<Finished, Failure> {
        let recipient = self.server.seen().spool_key.as_ref().unwrap().to_public().to_string();
        let mut spool = Spool::new(self.state.path(), &recipient, bytes_max).unwrap();
        spool.after = Duration::from_millis(100);
        let (collection, own) = collection(self.tree.path());
        let receipts = Receipts::new(Some(server_key().public_line()), Box::new(|_, _, _| {}));
        let otherwise = Otherwise::Spool(Arc::new(spool));
        run(collection, &self.client, (None, own), receipts, std::future::ready(Ok(())), otherwise, Silent).await
    }

    fn waiting(&self) -> Waiting {
        waiting_in(self.state.path()).pop().unwrap()
    }

    /// The server is back, and is sent what waits.
    async fn drain(&self) -> u64 {
        self.server.seen().away_after = None;
        let waiting = self.waiting();
        let receipts = Receipts::new(Some(server_key().public_line()), Box::new(|_, _, _| {}));
        let mut upload = Upload::new(&self.client, waiting.about.subject(), receipts, Duration::ZERO);
        while upload.oldest(&waiting).await.unwrap() == Step::Sent {}
        assert_eq!(waiting.entries().unwrap(), []);
        upload.offset()
    }
}

#[tokio::test]
async fn what_the_server_is_away_for_waits_and_comes_later() {
    for patches in [0, 2] {
        let outage = Outage::after(patches);
        let finished = outage.collect(None).await.unwrap_or_else(|error| panic!("{error:?}"));
        assert!(outage.server.seen().lines.len() < 4);
        assert!(outage.waiting().bytes() > 8 << 20, "{}", outage.waiting().bytes());
        assert_eq!(outage.drain().await, finished.sealed.bytes);
        let seen = outage.server.seen();
        assert_eq!(seen.complaints, Vec::<String>::new());
        assert_eq!(Sha256::of(&seen.content), finished.sealed.sha256);
        assert!(seen.lines.last().unwrap().checkpoint.is_final);
        // In the order of the stream.
        assert!(!seen.spooled.is_empty() && seen.spooled.is_sorted());
    }
}

#[tokio::test]
async fn a_full_spool_ends_the_bundle_and_keeps_its_beginning() {
    let outage = Outage::after(1);
    let ended = outage.collect(Some(12 << 20)).await;
    assert!(matches!(ended, Err(Failure::Upload(UploadError::NoRoom { .. }))), "{ended:?}");
    let waiting = outage.waiting();
    assert!(waiting.about.full.as_deref().unwrap().contains("the spool is full"), "{:?}", waiting.about);
    let offset = outage.drain().await;
    let seen = outage.server.seen();
    let last = &seen.lines.last().unwrap().checkpoint;
    assert_eq!(seen.content.len() as u64, offset);
    assert_eq!((last.offset, last.sha256), (offset, Sha256::of(&seen.content)));
    assert!(!last.is_final && offset < 12 << 20);
}

#[tokio::test]
async fn a_server_that_comes_back_in_the_run_gets_the_rest_live() {
    let outage = Outage::after(1);
    let back = async {
        while waiting_in(outage.state.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        outage.server.seen().away_after = None;
    };
    let (ended, ()) = tokio::join!(outage.collect(None), back);
    let finished = ended.unwrap_or_else(|error| panic!("{error:?}"));
    if !waiting_in(outage.state.path()).is_empty() {
        outage.drain().await;
    }
    let seen = outage.server.seen();
    assert_eq!(Sha256::of(&seen.content), finished.sealed.sha256);
    assert!(!seen.spooled.is_empty());
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
