//! The daemon over the real protocol, against a server that is in the enemy's hands: it has the automation key, and brings
//! orders that it signed itself, and old ones of people.

use std::path::Path;
use std::time::Duration;

use bundle::sign::SigningKey;
use serde_json::json;
use wire::agent_api::Delivery;
use wire::containment::{Action, CONTAINMENT_TYPE, ContainmentEvent, ContainmentOrder, Directive, ReleaseCause};
use wire::order::{ORDER_TYPE, Order, RefusalReason};
use wire::profile::{Values, shipped};
use wire::signed::namespace;

use super::*;
use crate::contain::testing::Children;
use crate::orders::seen::Automatic;
use crate::state;
use crate::transport::client::install_provider;
use crate::transport::testing::TestServer;

const LONG: Duration = Duration::from_mins(2);
const SECOND: i128 = 1_000_000_000;
const POLICY: &str = "[collect]\nprofiles = [\"triage\", \"intrusion\"]\n\
    [contain]\nactions = [\"isolate_network\", \"freeze_process\"]\nallow = [\"10.0.0.0/24\"]\n\
    [automation]\nprincipals = [\"automation\"]\nprofiles = [\"triage\"]\nactions = [\"isolate_network\"]\n";

fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(&[u8::try_from(name.len()).unwrap(); 32])
}

/// A state folder of a host that is enrolled at `server`, and who it is.
fn enrolled(folder: &Path, server: &str) -> Identity {
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let me = state::identity(folder, "web-1").unwrap();
    let tls = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&tls).unwrap().pem();
    let enrolment = json!({
        "agent": me.id,
        "ca_pem": certificate,
        "server_signer": key("server").public_line(),
        "servers": [server],
        "v": 1,
    });
    let signers: String = ["ada", "automation"]
        .map(|name| format!("{name} namespaces=\"holdfast-co*\" {}\n", key(name).public_line()))
        .concat();
    let put = |name: &str, text: &str| state::file::put(folder, name, text.as_bytes(), false).unwrap();
    put("enrolment.json", &enrolment.to_string());
    put("tls.pem", &format!("{certificate}\n{}", tls.serialize_pem()));
    put(trust::SIGNERS_FILE, &signers);
    put(trust::POLICY_FILE, POLICY);
    me
}

fn contains(me: &Identity, number: u8, directive: Directive) -> ContainmentOrder {
    let now = SystemClock.realtime();
    ContainmentOrder {
        agent: me.id.clone(),
        directive,
        evidence: None,
        expires: Instant(now.0 + 3600 * SECOND),
        incident: "INC-2026-0001".parse().unwrap(),
        issued: Instant(now.0 - SECOND),
        nonce: format!("{number:032x}"),
        order: OrderId::new(u64::from(number), [number; 10]),
        reason: None,
        kind: CONTAINMENT_TYPE.into(),
        v: 1,
    }
}

fn collects(me: &Identity, number: u8, profile: &str) -> Order {
    let now = SystemClock.realtime();
    Order {
        agent: me.id.clone(),
        approved_sensitive: Vec::new(),
        expires: Instant(now.0 + 3600 * SECOND),
        incident: "INC-2026-0001".parse().unwrap(),
        issued: Instant(now.0 - SECOND),
        legal_basis: None,
        nonce: format!("{number:032x}"),
        order: OrderId::new(u64::from(number), [number; 10]),
        profile: shipped::find(profile).unwrap().unwrap(),
        profile_version: "test".into(),
        purpose: None,
        supersedes: None,
        kind: ORDER_TYPE.into(),
        v: 1,
        values: Values::default(),
    }
}

fn delivery(by: &str, namespace: &str, id: OrderId, order: &impl serde::Serialize) -> Delivery {
    let envelope = key(by).envelope(by, namespace, &serde_json::to_vec(order).unwrap()).unwrap();
    Delivery { approvals: Vec::new(), envelope, order: id }
}

fn containment(by: &str, order: &ContainmentOrder) -> Delivery {
    delivery(by, namespace::CONTAIN, order.order, order)
}

fn collection(by: &str, order: &Order) -> Delivery {
    delivery(by, namespace::COLLECT, order.order, order)
}

fn isolate(allow: &[&str]) -> Directive {
    let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
    Directive::Apply { action: Action::IsolateNetwork { allow, resolvers: Vec::new() }, lease_secs: 60 }
}

/// Runs the daemon until the server has been told what is waited for.
fn run_until(folder: &Path, me: Identity, server: &TestServer, is_told: impl Fn(&[(OrderId, OrderReport)]) -> bool) {
    install_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let daemon = Daemon::new(folder, me, Log::default(), Stop::listen().unwrap()).unwrap();
        let told = async {
            while !is_told(&server.seen().told) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = daemon.run() => panic!("the daemon has ended"),
            told = tokio::time::timeout(LONG, told) => told.unwrap(),
        }
    });
}

#[test]
fn what_a_server_in_the_enemys_hands_orders_is_refused_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(key("server"), &[]);
    let me = enrolled(folder.path(), &server.address);
    // Automation has isolated this host an hour ago, by an order that people know of.
    let earlier = contains(&me, 1, isolate(&[]));
    let at = Instant(SystemClock.realtime().0 - 3600 * SECOND);
    let automatic = Automatic { at, isolates: true, order: earlier.order };
    let mut journal = Journal::open(folder.path()).unwrap();
    journal.take(&earlier, Some(automatic), at).unwrap();
    journal.handed_over(earlier.order).unwrap();
    drop(journal);

    let mut widened = collects(&me, 3, "triage");
    let memory = shipped::find("memory").unwrap().unwrap();
    widened.profile.collect.extend(memory.collect.into_iter().find(|step| step.collect == "process_memory"));
    let renew = Directive::Renew { contains: earlier.order, lease_secs: 60 };
    let orders = vec![
        (collection("automation", &collects(&me, 2, "intrusion")), "`intrusion` is not among those"),
        (collection("automation", &widened), "is not one of this host's own profile"),
        (containment("automation", &contains(&me, 4, isolate(&["0.0.0.0/0"]))), "0.0.0.0/0 is wider"),
        (containment("ada", &contains(&me, 5, isolate(&["10.0.0.0/23"]))), "10.0.0.0/23 is wider"),
        (containment("automation", &contains(&me, 6, isolate(&[]))), "isolated this host 1 times within 24 hours"),
        (containment("automation", &contains(&me, 7, renew)), "never by automation"),
        (containment("ada", &contains(&me, 1, isolate(&[]))), "was taken before"),
    ];
    let expected: Vec<(OrderId, &str)> = orders.iter().map(|(delivery, said)| (delivery.order, *said)).collect();
    server.seen().orders = orders.into_iter().map(|(delivery, _)| delivery).collect();
    let count = expected.len();
    let refusals = |told: &[(OrderId, OrderReport)]| {
        told.iter().filter(|(_, report)| matches!(report.event, OrderEvent::Refused { .. })).count()
    };
    run_until(folder.path(), me, &server, |told| refusals(told) >= count);

    let told = server.seen().told.clone();
    for (order, said) in expected {
        let report =
            told.iter().find(|(of, report)| *of == order && matches!(report.event, OrderEvent::Refused { .. }));
        let Some((_, OrderReport { event: OrderEvent::Refused { message, reason }, .. })) = report else {
            panic!("nothing was told of {order}: {told:?}");
        };
        assert!(message.contains(said), "{message} and not: {said}");
        assert!(matches!(reason, RefusalReason::Policy | RefusalReason::Replayed), "{reason:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("contain/journal")).unwrap().count(), 0, "nothing was done");
}

#[test]
fn a_containment_is_told_in_its_order_and_released_on_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start(key("server"), &[]);
    let me = enrolled(folder.path(), &server.address);
    let children = Children::tree();
    let freeze = Action::FreezeProcess { process: children.process() };
    let first = contains(&me, 1, Directive::Apply { action: freeze.clone(), lease_secs: 600 });
    let rehearsal = contains(&me, 2, Directive::Rehearse { action: freeze });
    server.seen().orders = vec![containment("ada", &rehearsal), containment("ada", &first)];
    let id = first.order;
    let names = |told: &[(OrderId, OrderReport)], order: OrderId| -> Vec<&'static str> {
        let of = told.iter().filter(|(of, _)| *of == order).map(|(_, report)| match &report.event {
            OrderEvent::Accepted => "accepted",
            OrderEvent::Containment { told, .. } => told.name(),
            other => panic!("{other:?}"),
        });
        let mut names: Vec<_> = of.collect();
        // What was told when the daemon was ended is told again.
        names.dedup();
        names
    };
    let again = state::identity(folder.path(), "web-1").unwrap();
    run_until(folder.path(), me, &server, |told| names(told, id).contains(&"validated"));
    assert_eq!(names(&server.seen().told, id), ["accepted", "planned", "applied", "validated"]);
    assert_eq!(names(&server.seen().told, rehearsal.order), ["accepted", "planned"]);
    assert!(children.stand_still());

    // After a restart, the same.
    let release = contains(&again, 3, Directive::Release { contains: id });
    server.seen().orders = vec![containment("ada", &release)];
    let is_over = |told: &[(OrderId, OrderReport)]| {
        names(told, id).contains(&"released") && names(told, release.order).contains(&"released")
    };
    run_until(folder.path(), again, &server, is_over);
    assert!(children.go_on());
    let told = server.seen().told.clone();
    let last = told.iter().rfind(|(of, _)| *of == id).map(|(_, report)| report.event.clone());
    let released = ContainmentEvent::Released { cause: ReleaseCause::Order, left: Vec::new() };
    assert_eq!(last, Some(OrderEvent::Containment { told: released, rehearsed: false }));
}
