//! One agent of the fleet.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::sign::{SigningKey, open};
use bundle::time::Clock as _;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use server::process::SystemClock;
use wire::agent_api::{CheckpointsReply, EnrollReply, EnrollRequest, HostFacts, OrdersReply};
use wire::order::{Order, OrderEvent};
use wire::receipt::Receipt;
use wire::signed::namespace;
use wire::{AgentId, BundleId, OrderId, Sha256};

use super::bundles::{Made, make};
use super::{ADDRESSES, Known, PATIENCE, Passed};

/// As an agent that was not answered waits.
const PAUSE: Duration = Duration::from_millis(200);

/// See the module.
pub struct Agent {
    client: Client,
    pub id: AgentId,
    key: SigningKey,
    known: Arc<Known>,
}

/// What an agent is answered.
struct Answer {
    location: Option<String>,
    offset: Option<u64>,
    status: StatusCode,
    text: String,
}

impl Agent {
    /// Lets it in with a ticket. Ed25519 keys cost nothing to make.
    pub async fn enrol(known: Arc<Known>, number: usize, secret: String) -> Self {
        let seed: [u8; 32] = server::app::random().unwrap();
        let (key, tls) = (SigningKey::from_seed(&seed), KeyPair::generate_for(&PKCS_ED25519).unwrap());
        let csr_pem = CertificateParams::default().serialize_request(&tls).unwrap().pem().unwrap();
        let host = HostFacts { name: format!("fleet-{number}"), kernel: "6.1".into(), ..HostFacts::default() };
        let proof_ssh = key.sign(namespace::ENROLL, csr_pem.as_bytes()).unwrap();
        let request = EnrollRequest { csr_pem, host: host.clone(), proof_ssh, secret, signer: key.public_line() };
        let last = u8::try_from(number % ADDRESSES + 2).unwrap();
        let from = Ipv4Addr::new(127, 0, 0, last);
        let stranger = known.client(None, from);
        let id = "unknown".parse().unwrap();
        let mut agent = Self { client: stranger, id, key, known };
        let answer = agent.send(Method::POST, "/agent/v1/enroll", &[], json!(request).to_string().into_bytes()).await;
        let reply: EnrollReply = serde_json::from_str(&answer.expect("it is answered").text).unwrap();
        let identity = format!("{}{}", reply.certificate_pem, tls.serialize_pem());
        agent.client = agent.known.client(Some(&identity), from);
        agent.id = reply.agent;
        let facts = json!(host).to_string().into_bytes();
        agent.surely(Method::PUT, "/agent/v1/host", &[], &facts).await;
        agent
    }

    /// Waits for one order, and runs it.
    pub async fn run_one(self) -> Passed {
        let (order, order_sha256) = self.await_order().await;
        let delivered = Instant::now();
        let bundle =
            BundleId::new(u64::try_from(SystemClock.realtime().0 / 1_000_000).unwrap(), server::app::random().unwrap());
        for event in [OrderEvent::Accepted, OrderEvent::Started { bundle }] {
            self.tell(order.order, &event).await;
        }
        let (key, id, incident) = (self.key.clone(), self.id.clone(), order.incident.clone());
        let made = tokio::task::spawn_blocking(move || make(&key, &id, bundle, incident, order_sha256)).await.unwrap();
        self.bring(&made, bundle, order.order).await;
        let (bytes, sha256) = (made.bytes.len() as u64, Sha256::of(&made.bytes));
        self.tell(order.order, &OrderEvent::Completed { bytes, exit: 0, items: made.items, sha256 }).await;
        let completed = Instant::now();
        self.known.completed.fetch_add(1, Ordering::Relaxed);
        // The server has heard of it: it must not come again.
        let again = self.surely(Method::GET, "/agent/v1/orders?wait_secs=0", &[], &[]).await;
        let again: OrdersReply = serde_json::from_str(&again.text).unwrap();
        self.known.handed_over_again.fetch_add(again.orders.len(), Ordering::Relaxed);
        Passed { bundle, completed, delivered, order: order.order }
    }

    /// The first order that comes, once its signature is checked, and the digest of its bytes.
    async fn await_order(&self) -> (Order, Sha256) {
        loop {
            let answer = self.surely(Method::GET, "/agent/v1/orders?wait_secs=50", &[], &[]).await;
            let reply: OrdersReply = serde_json::from_str(&answer.text).unwrap();
            let Some(delivery) = reply.orders.into_iter().next() else { continue };
            let now = SystemClock.realtime();
            let message = open(&delivery.envelope, &self.known.signers, namespace::COLLECT, now).unwrap();
            let order: Order = serde_json::from_slice(&message).unwrap();
            assert_eq!((&order.agent, order.order), (&self.id, delivery.order), "an order of another agent");
            return (order, Sha256::of(&message));
        }
    }

    async fn tell(&self, order: OrderId, event: &OrderEvent) {
        let mut body = json!(event);
        body["time"] = json!(SystemClock.realtime());
        let (path, body) = (format!("/agent/v1/orders/{order}/events"), body.to_string().into_bytes());
        self.surely(Method::POST, &path, &[], &body).await;
    }

    /// Uploads the bundle piece by piece: each checkpoint is brought when its bytes are there, and receipted.
    async fn bring(&self, made: &Made, bundle: BundleId, order: OrderId) {
        let pairs = [
            ("bundle", bundle.to_string()),
            ("name", format!("{}.evidence.zip", self.id)),
            ("order", order.to_string()),
            ("signer", self.key.public_line()),
        ];
        let metadata = pairs.map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).join(",");
        let length = made.bytes.len().to_string();
        let headers = [("upload-length", length.as_str()), ("upload-metadata", metadata.as_str())];
        let begun = self.surely(Method::POST, "/api/v1/uploads", &headers, &[]).await;
        let upload = begun.location.expect("an upload has a place");
        let mut held = begun.offset.unwrap_or(0);
        for (offset, line) in &made.lines {
            while held < *offset {
                held = self.piece(&upload, held, made, *offset).await;
            }
            let (path, body) = (format!("{upload}/checkpoints"), format!("{line}\n").into_bytes());
            let answer = self.surely(Method::POST, &path, &[("content-type", "application/x-ndjson")], &body).await;
            let reply: CheckpointsReply = serde_json::from_str(&answer.text).unwrap();
            let now = SystemClock.realtime();
            let receipt = open(&reply.receipts[0], &self.known.server_signers, namespace::RECEIPT, now).unwrap();
            let receipt: Receipt = serde_json::from_slice(&receipt).unwrap();
            let so_far = &made.bytes[..usize::try_from(*offset).unwrap()];
            assert_eq!((receipt.bundle, receipt.offset, receipt.sha256), (bundle, *offset, Sha256::of(so_far)));
        }
        let end = made.bytes.len() as u64;
        while held < end {
            held = self.piece(&upload, held, made, end).await;
        }
    }

    /// One piece; how far the upload is then.
    async fn piece(&self, upload: &str, from: u64, made: &Made, to: u64) -> u64 {
        let place = |offset: u64| usize::try_from(offset).unwrap();
        let bytes = made.bytes[place(from)..place(to)].to_vec();
        let checksum = format!("sha256 {}", BASE64_STANDARD.encode(Sha256::of(&bytes).0));
        let offset = from.to_string();
        let headers = [
            ("content-type", "application/offset+octet-stream"),
            ("upload-offset", offset.as_str()),
            ("upload-checksum", checksum.as_str()),
        ];
        if let Some(Answer { offset: Some(held), status: StatusCode::NO_CONTENT, .. }) =
            self.send(Method::PATCH, upload, &headers, bytes).await
        {
            return held;
        }
        // Not answered, or another one: how far is it?
        let held = self.surely(Method::HEAD, upload, &[], &[]).await;
        let held = held.offset.expect("an upload has an offset");
        assert!(held >= from, "{from} bytes were acknowledged, and {held} are held");
        held
    }

    /// Asks until it is answered well.
    async fn surely(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let started = Instant::now();
        loop {
            let said = match self.send(method.clone(), path, headers, body.to_vec()).await {
                Some(answer) if answer.status.is_success() => return answer,
                Some(answer) => {
                    let may_pass = answer.status.is_server_error() || answer.status == StatusCode::LOCKED;
                    assert!(may_pass, "{}: {method} {path}: {}: {}", self.id, answer.status, answer.text);
                    answer.text
                }
                None => "no answer".to_owned(),
            };
            assert!(started.elapsed() < PATIENCE, "{}: {method} {path}: {said}", self.id);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Option<Answer> {
        let mut request =
            self.client.request(method, format!("{}{path}", self.known.url)).header("tus-resumable", "1.0.0");
        let has_type = headers.iter().any(|(name, _)| *name == "content-type");
        if !has_type && !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body).send().await.ok()?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (location, offset, status) = (header("location"), header("upload-offset"), answer.status());
        Some(Answer {
            location,
            offset: offset.and_then(|offset| offset.parse().ok()),
            status,
            text: answer.text().await.ok()?,
        })
    }
}

/// The offset that a line of transport checkpoints speaks of.
pub fn offset_of(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).unwrap()["offset"].as_u64().unwrap()
}
