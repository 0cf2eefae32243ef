//! Nobody at all: two products say that a host is being encrypted, and it is isolated once its volatile evidence is on the
//! server, seen to hold from both sides, told of, and released on an order. One product alone isolates nothing.

use std::time::Duration;

use harness::{Automated, is_root_or_skipped};
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
