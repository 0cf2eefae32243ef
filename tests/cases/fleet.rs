//! Fifty agents at once lose no order and run none twice, also when the server is killed among them; and what people do
//! with a fleet: labels, hunts, hosts that leave.

use std::time::Duration;

use harness::{Site, until};
use serde_json::json;

use crate::simulated::{Fleet, part};

const AGENTS: usize = 50;
const SOON: Duration = Duration::from_mins(3);

#[test]
fn a_fleet_loses_no_order_and_runs_none_twice_though_the_server_is_killed() {
    let mut site = Site::new();
    let fleet = Fleet::enrol(&site, AGENTS);
    let told = fleet.run(&mut site, |site| {
        site.kill_server();
        site.start_server();
    });
    assert_eq!((told.agents, told.delivered.len(), told.completed.len()), (AGENTS, AGENTS, AGENTS));
    assert!(part(&told.delivered, 50) <= part(&told.completed, 99) && told.took >= part(&told.completed, 50));
    assert!(!told.enrolled.is_zero());
}

/// What people set about a host, a hunt over those with a label, and a host that leaves: the real programs.
#[test]
fn a_hunt_goes_to_the_hosts_with_its_label_and_one_that_leaves_is_let_in_no_more() {
    let site = Site::new();
    let incident = site.alert("fleet", &json!({"event_type": "malware", "host": "db-1", "details": "a hunt"}));
    let (labelled, other) = (site.enroll("labelled"), site.enroll("other"));
    let (daemon, beside) = (labelled.daemon(), other.daemon());
    let id = labelled.agent();
    let told = site.ask(&["host", "label", &id, "env=prod", "tier=db"]);
    assert_eq!(told["marks"]["labels"]["tier"], "db", "{told}");
    site.holdfast(&["host", "protect", &id, "--because", "the only one"]).expect_code(0);
    let shown = site.holdfast(&["host", "show", &id]).expect_code(0).stdout;
    assert!(shown.contains("the only one") && shown.contains("env=prod"), "{shown}");
    site.holdfast(&["hunt", "triage", "--label", "env=test", "--incident", &incident]).expect_code(65);

    let begun = site.ask(&["hunt", "triage", "--label", "env=prod", "--incident", &incident, "--expires", "30m"]);
    let hunt = begun["hunt"].as_str().unwrap().to_owned();
    let over = until("the hunt is through", SOON, || {
        let view = site.api(&format!("hunts/{hunt}"));
        (view["state"] != "running" && view["state"] != "gathering").then_some(view)
    });
    let hosts = over["hosts"].as_array().unwrap();
    assert_eq!((&over["state"], hosts.len(), &hosts[0]["agent"]), (&json!("done"), 1, &json!(id)), "{over}");
    let orders = hosts[0]["orders"].as_array().unwrap();
    assert!(orders.iter().all(|order| order["state"] == "completed" && order["bundle"].is_string()), "{over}");
    let waves: Vec<u64> = orders.iter().map(|order| order["wave"].as_u64().unwrap()).collect();
    assert_eq!(waves, [1, 2], "what is gone first, and the rest");
    assert!(site.holdfast(&["hunt", "show", &hunt]).expect_code(0).stdout.contains("completed"));

    // Each question has its number, over restarts.
    let beat = || std::fs::read_to_string(labelled.state().join("beat")).unwrap().trim().parse::<u64>().unwrap();
    assert!(beat() > 1);
    drop((daemon, beside));
    labelled.run(&["leave"]).expect_code(0);
    assert!(site.api(&format!("hosts/{id}"))["gone"].is_string());
    assert!(!site.api("hosts").to_string().contains(&id));
    labelled.run(&["run"]).expect_code(69);
}
