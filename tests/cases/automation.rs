//! Nobody at all: two products say that a host is being encrypted, and it is isolated once its volatile evidence is on the
//! server, seen to hold from both sides, told of, and released on an order. One product alone isolates nothing.

use std::time::Duration;

use harness::{Automated, is_at, is_root_or_skipped};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

/// The numbers of the leaves of this event, in the order in which they were written.
fn leaves(of: &Automated, incident: &str, event: &str) -> Vec<u64> {
    let custody = of.site.api(&format!("custody?incident={incident}&limit=500"));
    let all = custody["items"].as_array().unwrap().iter().filter(|leaf| leaf["event"] == event);
    all.map(|leaf| leaf["seq"].as_u64().unwrap()).collect()
}

fn purposes(of: &Automated, incident: &str) -> Vec<String> {
    let view = of.site.api(&format!("incidents/{incident}"));
    view["pages"].as_array().unwrap().iter().map(|page| page["purpose"].as_str().unwrap().to_owned()).collect()
}

/// From which sides it was seen to hold.
fn sides(order: &Value) -> Vec<&str> {
    let events = order["events"].as_array().unwrap().iter();
    let validated = events.filter(|event| event["containment"] == "validated" && event["holds"] == true);
    validated.filter_map(|event| event["checks"][0]["side"].as_str()).collect()
}

#[test]
fn two_signals_isolate_a_host_and_an_order_releases_it() {
    if !is_root_or_skipped("automation isolates a host in a namespace") {
        return;
    }
    let Some(automated) = Automated::start(0) else { return };
    let site = &automated.site;
    let incident = automated.alert("falco");
    automated.await_stage(&incident, "waiting");
    assert!(automated.is_open(), "one signal isolates nothing");
    assert_eq!(automated.alert("guardduty"), incident);
    let holding = automated.await_stage(&incident, "holding");
    assert!(!automated.is_open());
    let id = holding["order"].as_str().unwrap();
    let order = site.api(&format!("orders/{id}"));
    let seen = sides(&order);
    assert!(seen.contains(&"host") && seen.contains(&"server"), "{order}");
    harness::until("somebody is told", SOON, || {
        purposes(&automated, &incident).contains(&format!("containment_applied:{id}")).then_some(())
    });

    site.holdfast_within(&["release", id, "--reason", "a drill", "--follow"], SOON).expect_code(0);
    automated.await_stage(&incident, "ended");
    harness::until("the host takes connections again", SOON, || automated.is_open().then_some(()));
    let first = |event: &str| *leaves(&automated, &incident, event).first().unwrap_or_else(|| panic!("no {event}"));
    let steps =
        ["receipted", "automation_ordered", "containment_applied", "automation_holding", "containment_released"];
    let at: Vec<u64> = steps.iter().map(|step| first(step)).collect();
    assert!(at.is_sorted(), "{steps:?}: {at:?}");

    automated.at_the_console(&["contain", "isolate_network", "--lease", "1h"]).expect_code(0);
    assert!(!automated.is_open());
    automated.at_the_console(&["release", "--all"]).expect_code(0);
    harness::until("nothing is left to keep", SOON, || (!automated.is_kept()).then_some(()));
    harness::until("the host takes connections again", SOON, || automated.is_open().then_some(()));
}

#[test]
fn one_signal_takes_evidence_and_waits_for_a_person() {
    if !is_root_or_skipped("automation asks before it isolates a host in a namespace") {
        return;
    }
    let Some(automated) = Automated::start(0) else { return };
    let site = &automated.site;
    let incident = automated.alert("falco");
    let waiting = automated.await_stage(&incident, "waiting");
    assert!(!leaves(&automated, &incident, "receipted").is_empty());
    assert!(automated.is_open() && leaves(&automated, &incident, "containment_applied").is_empty());
    let id = waiting["order"].as_str().unwrap();
    harness::until("somebody is told", SOON, || {
        purposes(&automated, &incident).contains(&format!("containment_approval:{id}")).then_some(())
    });
    let said = site.holdfast(&["approve", id]).expect_code(64).said();
    assert!(said.contains("isolate_network") && said.contains("the bytes that are signed"), "{said}");
    let approved = site.ask(&["approve", id, "--yes"]);
    assert_eq!(approved["approvals"][0]["principal"], json!(harness::RESPONDER));
    automated.await_stage(&incident, "holding");
    assert!(!automated.is_open());
    site.holdfast_within(&["release", id, "--follow"], SOON).expect_code(0);
    harness::until("the host takes connections again", SOON, || automated.is_open().then_some(()));
}

/// All orders of an incident.
fn orders(of: &Automated, incident: &str) -> Vec<Value> {
    let view = of.site.api(&format!("incidents/{incident}"));
    view["orders"].as_array().unwrap().clone()
}

/// One capture, one isolation that was not cancelled before an agent had it, and custody whole.
fn happened_once(of: &Automated, incident: &str) {
    let orders = orders(of, incident);
    let captures = orders.iter().filter(|order| order["directive"].is_null()).count();
    let isolates = |order: &&Value| order["directive"]["directive"] == "apply" && order["state"] != "cancelled";
    assert_eq!((captures, orders.iter().filter(isolates).count()), (1, 1), "{orders:#?}");
    for event in ["containment_applied", "automation_triaged", "automation_capturing", "automation_ordered"] {
        assert_eq!(leaves(of, incident, event).len(), 1, "{event}");
    }
    of.site.holdfast(&["custody", "verify"]).expect_code(0);
}

#[test]
fn a_server_that_is_killed_at_each_stage_goes_on_to_one_isolation() {
    if !is_root_or_skipped("automation isolates a host in a namespace, its server killed at each stage") {
        return;
    }
    let Some(mut automated) = Automated::start(0) else { return };
    let told = |automated: &Automated, incident: &str, purpose: &str| {
        harness::until(purpose, SOON, || {
            purposes(automated, incident).iter().any(|one| one.starts_with(purpose)).then_some(())
        });
    };
    // A protected host is left to people when its evidence is safe: that is the stage `captured`.
    let host = automated.host.agent();
    automated.site.holdfast(&["host", "protect", &host, "--because", "payroll"]).expect_code(0);
    automated.kill_server_at("triaged", |automated| drop(automated.send_alert("falco")));
    automated.start_and_kill_server_at("capturing");
    automated.start_and_kill_server_at("captured");
    automated.site.start_server();
    let incident = automated.alert("falco");
    told(&automated, &incident, "containment_undecided:");
    automated.kill_server_at("waiting", |automated| {
        drop(automated.site.holdfast(&["host", "unprotect", &host, "--because", "it is not"]));
    });
    automated.site.start_server();
    told(&automated, &incident, "containment_approval:");
    assert!(automated.is_open());
    automated.kill_server_at("ordered", |automated| drop(automated.send_alert("guardduty")));
    automated.start_and_kill_server_at("applied");
    automated.start_and_kill_server_at("holding");
    automated.site.start_server();
    assert_eq!(automated.alert("guardduty"), incident);
    let holding = automated.await_stage(&incident, "holding");
    assert!(!automated.is_open());
    let id = holding["order"].as_str().unwrap().to_owned();
    assert!(["host", "server"].iter().all(|side| sides(&automated.site.api(&format!("orders/{id}"))).contains(side)));
    told(&automated, &incident, "containment_applied:");
    let is_released = "SELECT 1 FROM orders WHERE json_extract(directive, '$.directive') = 'release' \
                       AND state IN ('delivered', 'accepted')";
    automated.kill_server_when(is_released, |automated| {
        drop(automated.site.holdfast(&["release", &id, "--reason", "a drill"]));
    });
    automated.site.start_server();
    automated.await_stage(&incident, "ended");
    harness::until("the host takes connections again", SOON, || automated.is_open().then_some(()));
    happened_once(&automated, &incident);
    for purpose in ["containment_undecided:", "containment_approval:", "containment_applied:"] {
        told(&automated, &incident, purpose);
    }
}

#[test]
fn an_agent_that_is_killed_while_it_captures_and_while_it_isolates_goes_on() {
    if !is_root_or_skipped("automation isolates a host in a namespace, its agent killed meanwhile") {
        return;
    }
    let Some(mut automated) = Automated::start(0) else { return };
    let is_capturing = "SELECT 1 FROM orders WHERE directive IS NULL AND state = 'running'";
    automated.kill_agent_when(is_capturing, |automated| drop(automated.send_alert("falco")));
    let incident = automated.alert("falco");
    let waiting = automated.await_stage(&incident, "waiting");
    let capture = waiting["capture"].as_str().unwrap();
    automated.site.await_order(capture, "interrupted", SOON);
    assert!(waiting["why"][0].as_str().unwrap().contains("lost"), "{waiting}");
    automated.kill_agent_when(&is_at("applied"), |automated| drop(automated.send_alert("guardduty")));
    assert!(!automated.is_open(), "what was applied outlives the agent");
    let holding = automated.await_stage(&incident, "holding");
    harness::until("the lease is kept again", SOON, || automated.is_kept().then_some(()));
    assert!(!automated.is_open());
    let id = holding["order"].as_str().unwrap();
    automated.site.holdfast_within(&["release", id, "--follow"], SOON).expect_code(0);
    automated.await_stage(&incident, "ended");
    harness::until("the host takes connections again", SOON, || automated.is_open().then_some(()));
    happened_once(&automated, &incident);
}

/// The order by which the server tells the host that its isolation does not hold.
fn told_host(of: &Automated, incident: &str, state: &str) -> Value {
    harness::until(&format!("the host was told, and the order is {state}"), SOON, || {
        let tells = |order: &Value| order["directive"]["directive"] == "does_not_hold" && order["state"] == state;
        orders(of, incident).into_iter().find(tells)
    })
}

#[test]
fn an_isolation_that_the_server_sees_not_to_hold_is_taken_back_whoever_ordered_it() {
    if !is_root_or_skipped("a host in a namespace is isolated, and the server sees that it does not hold") {
        return;
    }
    let Some(automated) = Automated::start_with(0, "restore") else { return };
    let incident = automated.alert("falco");
    automated.await_stage(&incident, "waiting");
    let _instead = automated.answer_instead();
    let host = automated.host.agent();
    let isolation = ["contain", &incident, "--host", &host, "isolate_network", "--lease", "1h", "--reason", "a drill"];
    let order = automated.site.ask(&isolation);
    let id = order["order"].as_str().unwrap();
    let over = automated.site.await_order(id, "completed", SOON);
    let events = over["events"].as_array().unwrap();
    let find = |name: &str, key: &str, value: Value| {
        events.iter().filter(|event| event["containment"] == name && event[key] == value).count()
    };
    assert_eq!(find("released", "cause", json!("not_valid")), 1, "{over}");
    assert!(find("validated", "holds", json!(true)) > 0, "the host itself saw nothing of it: {over}");
    let told = told_host(&automated, &incident, "completed");
    assert_eq!((&told["directive"]["contains"], &told["signed_by"]), (&json!(id), &json!("automation")), "{told}");
    let at = |value: &Value| serde_json::from_value::<wire::Instant>(value.clone()).unwrap().0;
    let seen = events.iter().find(|event| event["containment"] == "validated" && event["holds"] == false).unwrap();
    assert!(at(&told["issued"]) - at(&seen["time"]) > 9_000_000_000, "never upon one look: {seen} {told}");
    harness::until("people are told", SOON, || {
        let released = format!("containment_released_without_an_order:{id}");
        purposes(&automated, &incident).contains(&released).then_some(())
    });
    automated.site.holdfast(&["custody", "verify"]).expect_code(0);
}

#[test]
fn an_isolation_that_the_server_sees_not_to_hold_stays_where_policy_says_so() {
    if !is_root_or_skipped("a host in a namespace stays isolated, though the server sees that it does not hold") {
        return;
    }
    let Some(automated) = Automated::start_with(0, "stay_closed") else { return };
    let incident = automated.alert("falco");
    automated.await_stage(&incident, "waiting");
    let _instead = automated.answer_instead();
    automated.alert("guardduty");
    let told = told_host(&automated, &incident, "refused");
    let refusal = &told["events"][0];
    assert!(refusal["message"].as_str().unwrap().contains("stays closed"), "{told}");
    let id = told["directive"]["contains"].as_str().unwrap();
    let order = automated.site.api(&format!("orders/{id}"));
    assert_eq!(order["state"], "holding", "{order}");
    assert_eq!(automated.await_stage(&incident, "applied")["order"], id);
    automated.site.holdfast_within(&["release", id, "--reason", "a drill", "--follow"], SOON).expect_code(0);
    let tells = |order: &&Value| order["directive"]["directive"] == "does_not_hold";
    assert_eq!(orders(&automated, &incident).iter().filter(tells).count(), 1, "once");
}
