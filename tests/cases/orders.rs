//! A server in the enemy's hands: orders that no responder gave to this agent now are refused by it, and both sides
//! record it. The modified server is the real one with orders put into its records behind its back.

use std::fs;
use std::time::Duration;

use bundle::sign::SigningKey;
use harness::{Host, RESPONDER, Site};
use rustix::process::Signal;
use serde_json::{Value, json};
use server::store::sql::Database;
use server::store::{Change, OrderRecord, Store as _};
use wire::order::{ORDER_TYPE, Order, OrderState};
use wire::profile::shipped;
use wire::signed::{Signed, namespace};
use wire::{Instant, OrderId};

const SOON: Duration = Duration::from_mins(1);
const HOUR: i128 = 3_600_000_000_000;

fn now() -> Instant {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Instant(since.as_nanos().try_into().unwrap())
}

/// An order that would be taken, but for what a case changes.
fn good(host: &Host, incident: &str, number: u8) -> Order {
    let now = now();
    Order {
        agent: host.agent().parse().unwrap(),
        approved_sensitive: Vec::new(),
        expires: Instant(now.0 + HOUR),
        incident: incident.parse().unwrap(),
        issued: now,
        legal_basis: None,
        nonce: format!("{number:032x}"),
        order: OrderId::new(u64::from(number), [number; 10]),
        profile: shipped::find("triage").unwrap().unwrap(),
        profile_version: "test".into(),
        purpose: None,
        supersedes: None,
        kind: ORDER_TYPE.into(),
        v: 1,
        values: wire::profile::Values::default(),
    }
}

fn envelope(key: &SigningKey, order: &impl serde::Serialize) -> Signed {
    let message = serde_json::to_vec(order).unwrap();
    key.envelope(RESPONDER, namespace::COLLECT, &message).unwrap()
}

/// Puts the envelopes into the server's records as if it had taken them, and returns the orders' ids.
fn put(site: &Site, orders: Vec<(Order, Signed)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = match site.database() {
            Some(address) => Database::at(&address.parse().unwrap()).await.unwrap(),
            None => Database::in_file(&site.data().join("holdfast.db")).await.unwrap(),
        };
        for (order, envelope) in orders {
            let host = site.path("web-1");
            let agent = fs::read_to_string(host.join("agent_id")).unwrap();
            let record = OrderRecord {
                agent: agent.trim().parse().unwrap(),
                approvals: Vec::new(),
                approvers: 1,
                bundle: None,
                directive: None,
                sha256: envelope.sha256().unwrap(),
                envelope,
                events: Vec::new(),
                expires: Instant(now().0 + HOUR),
                incident: order.incident,
                issued: order.issued,
                nonce: format!("{:032x}", u128::from_str_radix(&order.nonce, 16).unwrap() + (1 << 64)),
                order: order.order,
                profile: order.profile.name,
                state: OrderState::Queued,
                supersedes: None,
            };
            store.commit(vec![Change::AddOrder(Box::new(record))], Vec::new()).await.unwrap();
        }
        store.close().await;
    });
}

#[test]
fn what_no_responder_ordered_is_refused_by_name() {
    refused_by_name(Site::new());
}

/// The whole of it, wherever the records are.
pub fn refused_by_name(mut site: Site) {
    let policy = site.write("policy.toml", "[collect]\nprofiles = [\"triage\"]\n");
    site.enroll_with("web-1", &["--policy", policy.to_str().unwrap()]);
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    let text = fs::read_to_string(site.path("responder_key")).unwrap();
    let (key, stranger) = (SigningKey::from_openssh(&text).unwrap(), SigningKey::from_seed(&[9; 32]));
    let host = site.host("web-1");
    let daemon = host.daemon();
    let ran = host.dispatch(&site, &incident, "triage");
    site.await_order(&ran, "completed", SOON);
    daemon.signal(Signal::TERM);
    daemon.wait(SOON).expect_code(0);

    let order = |number: u8| good(&host, &incident, number);
    let signed = |order: Order| (order.clone(), envelope(&key, &order));
    let mut cases: Vec<(&str, (Order, Signed))> = Vec::new();
    let unsigned = Signed::new(RESPONDER, &serde_json::to_vec(&order(1)).unwrap(), String::new());
    cases.push(("unsigned", (order(1), unsigned)));
    let widened = Order { expires: Instant(now().0 + 2 * HOUR), ..order(2) };
    let altered = Signed::new(RESPONDER, &serde_json::to_vec(&widened).unwrap(), envelope(&key, &order(2)).sig_ssh);
    cases.push(("signature_bad", (order(2), altered)));
    let message = serde_json::to_vec(&order(3)).unwrap();
    cases.push(("signature_bad", (order(3), key.envelope(RESPONDER, namespace::BUNDLE, &message).unwrap())));
    cases.push(("signer_unknown", (order(4), envelope(&stranger, &order(4)))));
    cases.push(("other_agent", signed(Order { agent: "db-1-00000000".parse().unwrap(), ..order(5) })));
    let (issued, expires) = (Instant(now().0 - 2 * HOUR), Instant(now().0 - HOUR));
    cases.push(("expired", signed(Order { issued, expires, ..order(6) })));
    let (issued, expires) = (Instant(now().0 + 2 * HOUR), Instant(now().0 + 3 * HOUR));
    cases.push(("not_yet_valid", signed(Order { issued, expires, ..order(7) })));
    let mut shell = serde_json::to_value(order(8)).unwrap();
    shell["shell"] = json!("id");
    cases.push(("malformed", (order(8), envelope(&key, &shell))));
    let mut intrusion = order(9);
    intrusion.profile = shipped::find("intrusion").unwrap().unwrap();
    cases.push(("policy", signed(intrusion)));
    let mut unknown = order(10);
    unknown.profile.collect[0].collect = "shell".into();
    cases.push(("profile", signed(unknown)));

    let expected: Vec<(&str, String)> =
        cases.iter().map(|(reason, (order, _))| (*reason, order.order.to_string())).collect();
    put(&site, cases.into_iter().map(|(_, order)| order).collect());
    forget_that_it_ran(&mut site, &ran);
    let daemon = host.daemon();
    for (reason, order) in expected.iter().map(|(reason, order)| (*reason, order)).chain([("replayed", &ran)]) {
        let told = site.await_order(order, "refused", SOON);
        let last = told["events"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["event"], &last["reason"]), (&json!("refused"), &json!(reason)), "{told}");
    }
    daemon.signal(Signal::TERM);
    let said = daemon.wait(SOON).expect_code(0).said();
    for (reason, _) in &expected {
        assert!(said.contains(reason), "{reason} is not in the agent's log:\n{said}");
    }
    let custody = site.api(&format!("custody?incident={incident}&limit=500"));
    let refused = custody["items"].as_array().unwrap().iter().filter(|leaf| leaf["event"] == "order_refused").count();
    assert_eq!(refused, expected.len() + 1, "{custody}");
    assert_eq!(bundles(&site, &incident), 1, "nothing ran but the one order that was given");
}

/// A server that lost, or says that it lost, what it knew of an order delivers it again.
fn forget_that_it_ran(site: &mut Site, order: &str) {
    site.stop_server();
    let sql = format!("UPDATE orders SET state = 'queued' WHERE order_id = '{order}'");
    assert_eq!(site.sql(&sql), "UPDATE 1");
    site.start_server();
}

fn bundles(site: &Site, incident: &str) -> usize {
    let told: Value = site.api(&format!("evidence?incident={incident}"));
    told["items"].as_array().unwrap().len()
}
