//! A fleet of agents in one process: each has keys and a certificate of its own, enrols with a ticket, waits for orders in
//! a long poll, checks their signatures, writes a small bundle with the real writer, brings it over tus, checks the
//! receipts, and tells how it ended. What is simulated is the host: there are no rows but a few, and no policy.
//!
//! No order may be lost and none run twice, whatever becomes of the server meanwhile; an agent that is not answered asks
//! again, as the real one does.

#![allow(clippy::missing_panics_doc, reason = "a panic is how a test says that it failed")]

mod agent;
mod bundles;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bundle::sign::{AllowedSigners, SigningKey};
use bundle::time::Clock as _;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use harness::{Site, until};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use server::process::SystemClock;
use wire::order::{ORDER_TYPE, Order};
use wire::signed::{Signed, namespace};
use wire::ticket::Ticket;
use wire::{OrderId, Sha256};

use agent::Agent;

/// Agents that are enrolled, and orders that are dispatched, at the same time.
const AT_ONCE: usize = 32;
/// Agents share these many addresses, so that none takes more than its share of the server's places.
const ADDRESSES: usize = 16;
const PATIENCE: Duration = Duration::from_mins(10);
const PRINCIPAL: &str = "ada@example.org";

/// What all agents of a fleet know.
struct Known {
    ca_pem: String,
    completed: AtomicUsize,
    /// Orders that came again after the server had heard of them: there must be none.
    handed_over_again: AtomicUsize,
    incident: String,
    responder: SigningKey,
    server_signers: AllowedSigners,
    signers: AllowedSigners,
    token: String,
    url: String,
}

/// When an order was dispatched, and what became of it.
#[derive(Clone, Copy, Debug)]
struct Passed {
    bundle: wire::BundleId,
    completed: Instant,
    delivered: Instant,
    order: OrderId,
}

/// What a fleet went through, in numbers.
#[derive(Debug)]
pub struct Told {
    pub agents: usize,
    pub enrolled: Duration,
    /// From the first order to the last end.
    pub took: Duration,
    /// From the dispatch of each order until its agent had it, sorted.
    pub delivered: Vec<Duration>,
    /// … until the server had heard that it is completed, sorted.
    pub completed: Vec<Duration>,
}

/// The time below which so many of a hundred are.
pub fn part(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// See the module. It is enrolled, and waits.
pub struct Fleet {
    agents: Vec<Agent>,
    enrolled: Duration,
    known: Arc<Known>,
    runtime: tokio::runtime::Runtime,
}

impl Fleet {
    /// So many agents, enrolled at the server of the site.
    pub fn enrol(site: &Site, count: usize) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // An incident of its own: alerts of one host would find that of an earlier fleet.
        let host = format!("fleet-{}", u32::from_be_bytes(server::app::random().unwrap()));
        let incident = site.alert("fleet", &json!({"event_type": "malware", "host": host, "details": "a fleet"}));
        let responder = SigningKey::from_seed(&[7; 32]);
        let signers = format!("{PRINCIPAL} namespaces=\"{}\" {}\n", namespace::COLLECT, responder.public_line());
        let me = site.api("me");
        let server = format!("server {}\n", me["server_signer"].as_str().unwrap());
        let known = Arc::new(Known {
            ca_pem: site.client().get(format!("{}/ca.pem", site.url())).send().unwrap().text().unwrap(),
            completed: AtomicUsize::new(0),
            handed_over_again: AtomicUsize::new(0),
            incident,
            responder,
            server_signers: AllowedSigners::parse(&server).unwrap(),
            signers: AllowedSigners::parse(&signers).unwrap(),
            token: site.responder_token(),
            url: site.url(),
        });
        // Few threads: the server shares this machine.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).max_blocking_threads(2).enable_all().build().unwrap();
        let started = Instant::now();
        let agents = runtime.block_on(async {
            let person = known.client(None, Ipv4Addr::LOCALHOST);
            let enrolling = stream::iter(0..count).map(|number| {
                let (known, person) = (Arc::clone(&known), person.clone());
                async move {
                    let made = known.ask(&person, "/api/v1/hosts/tickets", &json!({})).await;
                    let ticket: Ticket = made["ticket"].as_str().unwrap().parse().unwrap();
                    Agent::enrol(known, number, ticket.secret).await
                }
            });
            enrolling.buffer_unordered(AT_ONCE).collect::<Vec<Agent>>().await
        });
        Self { agents, enrolled: started.elapsed(), known, runtime }
    }

    /// Has every agent wait, dispatches an order to each, and waits until all are through. `meanwhile` is called when half
    /// of them are.
    pub fn run(self, site: &mut Site, meanwhile: impl FnOnce(&mut Site)) -> Told {
        let Self { agents, enrolled, known, runtime } = self;
        let count = agents.len();
        let ids: Vec<wire::AgentId> = agents.iter().map(|agent| agent.id.clone()).collect();
        let running: Vec<_> = agents.into_iter().map(|agent| runtime.spawn(agent.run_one())).collect();
        let wanted: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
        until("every agent waits for orders", PATIENCE, || (connected(site, &wanted) == count).then_some(()));
        let started = Instant::now();
        let dispatched: BTreeMap<OrderId, Instant> = runtime.block_on(async {
            let person = known.client(None, Ipv4Addr::LOCALHOST);
            let dispatching = stream::iter(ids).map(|agent| {
                let (known, person) = (Arc::clone(&known), person.clone());
                async move {
                    let (order, signed) = known.order(agent);
                    let at = Instant::now();
                    known.ask(&person, "/api/v1/orders", &json!(signed)).await;
                    (order, at)
                }
            });
            dispatching.buffer_unordered(AT_ONCE).collect().await
        });
        until("half of the fleet is through", PATIENCE, || {
            (known.completed.load(Ordering::Relaxed) * 2 >= count).then_some(())
        });
        meanwhile(site);
        let passed = runtime.block_on(async {
            let all = tokio::time::timeout(PATIENCE, join_all(running)).await.expect("the fleet is through in time");
            all.into_iter().map(|one| one.unwrap()).collect::<Vec<Passed>>()
        });
        let took = started.elapsed();
        assert_eq!(known.handed_over_again.load(Ordering::Relaxed), 0, "an order came again after it was told of");
        check(site, &known.incident, &passed);
        let times = |of: fn(&Passed) -> Instant| {
            let mut times: Vec<Duration> = passed.iter().map(|one| of(one) - dispatched[&one.order]).collect();
            times.sort_unstable();
            times
        };
        let (delivered, completed) = (times(|one| one.delivered), times(|one| one.completed));
        Told { agents: count, enrolled, took, delivered, completed }
    }
}

/// How many of them wait in a long poll.
fn connected(site: &Site, wanted: &BTreeSet<String>) -> usize {
    let hosts = all(site, "hosts?limit=500").into_iter().filter(|host| host["connected"] == true);
    hosts.filter(|host| wanted.contains(host["agent"].as_str().unwrap())).count()
}

/// All entries of a list.
fn all(site: &Site, path: &str) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = site.api(&format!("{path}{after}"));
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return found,
        }
    }
}

/// Each order ran once and is completed with the bundle of its agent, which is sealed; custody says the same.
fn check(site: &Site, incident: &str, passed: &[Passed]) {
    let bundles: BTreeMap<String, OrderId> = passed.iter().map(|one| (one.bundle.to_string(), one.order)).collect();
    assert_eq!(bundles.len(), passed.len(), "each order has a bundle of its own");
    let evidence = until("every bundle is verified", PATIENCE, || {
        let evidence = all(site, &format!("evidence?incident={incident}&limit=500"));
        evidence.iter().all(|bundle| bundle["state"] != "receiving").then_some(evidence)
    });
    assert_eq!(evidence.len(), passed.len(), "no bundle too many and none too few");
    for bundle in &evidence {
        let order = bundles[bundle["bundle"].as_str().unwrap()].to_string();
        assert_eq!(
            (bundle["state"].as_str(), bundle["order"].as_str()),
            (Some("sealed"), Some(order.as_str())),
            "{bundle}"
        );
        let order = site.api(&format!("orders/{order}"));
        assert_eq!((&order["state"], &order["bundle"]), (&json!("completed"), &bundle["bundle"]), "{order}");
    }
    let mut leaves: BTreeMap<String, usize> = BTreeMap::new();
    for leaf in all(site, &format!("custody?incident={incident}&limit=500")) {
        *leaves.entry(leaf["event"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for event in ["order_issued", "order_delivered", "order_accepted", "order_started", "order_completed"] {
        assert_eq!(leaves.get(event), Some(&passed.len()), "{event}: {leaves:?}");
    }
}

impl Known {
    /// A client that knows the server by its CA alone, and comes from this address.
    fn client(&self, identity: Option<&str>, from: Ipv4Addr) -> Client {
        let ca = reqwest::Certificate::from_pem(self.ca_pem.as_bytes()).unwrap();
        let client = Client::builder().http1_only().tls_certs_only([ca]).local_address(Some(from.into()));
        let client = client.timeout(Duration::from_mins(2)).no_proxy();
        match identity {
            Some(pem) => client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap()),
            None => client,
        }
        .build()
        .unwrap()
    }

    /// Asks as the responder.
    async fn ask(&self, person: &Client, path: &str, body: &Value) -> Value {
        let request = person.request(Method::POST, format!("{}{path}", self.url)).bearer_auth(&self.token);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// An order for this agent, under the responder's key.
    fn order(&self, agent: wire::AgentId) -> (OrderId, Signed) {
        let profile = json!({"name": "fleet", "summary": "A test.", "incident_types": [], "limits": {}, "collect": [], "contain": []});
        let now = SystemClock.realtime();
        let order = Order {
            agent,
            approved_sensitive: Vec::new(),
            expires: wire::Instant(now.0 + 3_600_000_000_000),
            incident: self.incident.parse().unwrap(),
            issued: now,
            legal_basis: None,
            nonce: Sha256::of(&server::app::random::<16>().unwrap()).to_string()[..32].to_owned(),
            order: OrderId::new(u64::try_from(now.0 / 1_000_000).unwrap(), server::app::random().unwrap()),
            profile: serde_json::from_value(profile).unwrap(),
            profile_version: "0.1.0".into(),
            purpose: None,
            supersedes: None,
            kind: ORDER_TYPE.into(),
            v: 1,
            values: wire::profile::Values::default(),
        };
        let message = serde_json::to_vec(&order).unwrap();
        (order.order, self.responder.envelope(PRINCIPAL, namespace::COLLECT, &message).unwrap())
    }
}
