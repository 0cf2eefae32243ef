//! Containment, rehearsed: whom it would touch, who has to agree, and what the host says to that.
//!
//! Nothing of this machine changes, unless that is asked for (`--contain`): then the way to one address is blocked for
//! some minutes, an address that is nobody's (RFC 5737), and opened again. Both the rehearsal and the order that the host
//! refuses go the whole way, from a person's key to the host's policy.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::story::Story;

/// The control server in the story's alert: an address for documentation, to which nothing leads.
const CONTROL_SERVER: &str = "203.0.113.77";
/// The configuration of the second person.
const SECOND: &str = "HOLDFAST_CONFIG_DIR=config-ada bin/holdfast";

/// Whether an order may change this host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Rehearsals only: what changes something is refused by the host's policy.
    Unchanged,
    /// The way to [`CONTROL_SERVER`] may be blocked.
    Changed,
}

impl Host {
    /// What the host lets people order. An isolation is only rehearsed in the story; whoever orders one afterwards needs
    /// two keys, and is back after ten minutes.
    pub fn policy(self) -> &'static str {
        match self {
            Self::Unchanged => {
                "[contain]\nactions = [\"isolate_network\"]\napprovals = { isolate_network = 2 }\nlease_secs_max = 600\n"
            }
            Self::Changed => {
                "[contain]\nactions = [\"isolate_network\", \"block_egress\"]\n\
                 approvals = { isolate_network = 2, block_egress = 2 }\nlease_secs_max = 600\n"
            }
        }
    }
}

/// A second person signs in and makes a key; the line for it goes to `signers`.
pub fn second_person(story: &mut Story, url: &str, ca: &str) -> anyhow::Result<()> {
    story.tell("");
    story.tell("And Ada, with a configuration of her own: she is asked where two people must agree.");
    for line in [
        format!("{SECOND} login {url} --ca-sha256 {ca} --token ada.token"),
        format!("{SECOND} keys new --file ada_key"),
        format!("{SECOND} keys use ada_key --principal ada@example.org"),
        format!("{SECOND} keys show >> signers"),
    ] {
        story.shell(&line, &[0])?;
    }
    Ok(())
}

/// What triage proposes is rehearsed at this host.
pub fn rehearsal(story: &mut Story, incident: &str, agent: &str) -> anyhow::Result<()> {
    story.chapter("Containment, rehearsed");
    let shown = story.ask(&["incident", "show", incident, "--json"])?;
    let proposed = shown["assessment"]["containment"].as_array().context("triage proposes containment")?;
    let proposed: Vec<&str> = proposed.iter().filter_map(|one| one["action"].as_str()).collect();
    ensure!(proposed.contains(&"isolate_network"), "triage proposes isolation: {proposed:?}");
    story.tell(&format!("Triage proposes: {}.", proposed.join(", ").replace('_', " ")));
    story.tell(
        "A rehearsal reads the host as it is now, says what would be done and whom it would touch, and does nothing.",
    );
    let words = ["contain", incident, "--host", agent, "isolate_network", "--rehearse", "--follow"];
    let said = story.run("holdfast", &words, &[0])?;
    story.show(&said);
    let said = story.run("holdfast-agent", &["status"], &[0])?;
    ensure!(said.contains("contained    no"), "a rehearsal contains nothing:\n{said}");
    story.show(&said);
    nothing_in_the_kernel(story)
}

/// Two people order it, and the host has the last word.
pub fn two_people(story: &mut Story, incident: &str, agent: &str, host: Host) -> anyhow::Result<()> {
    story.chapter("Two people, and the host's own word");
    story.tell("What others depend on takes a second person.");
    let said = story.run("holdfast", &["host", "protect", agent, "--because", "the shop runs here"], &[0])?;
    story.show(&said);
    let words =
        ["contain", incident, "--host", agent, "block_egress", CONTROL_SERVER, "--lease", "5m", "--reason", "beacon"];
    let said = story.run("holdfast", &words, &[0])?;
    story.show(&said);
    let order = waiting(story, incident)?;
    story.tell("");
    story.tell("It waits, and no agent has it. Ada sees the bytes that she signs, and what the rehearsal said:");
    let said = story.shell(&format!("{SECOND} approve {order} --yes"), &[0])?;
    story.show(&said);
    match host {
        Host::Unchanged => {
            let said = story.run("holdfast", &["follow", &order], &[77])?;
            story.show(&said);
            story.tell("");
            story.tell(
                "Two people agreed, and the host still says no: it was enrolled with this policy, which no server",
            );
            story.tell("and no order can change. (`cargo xtask demo --contain` gives it one that allows the block.)");
            let said = story.shell("cat policy.toml", &[0])?;
            story.show(&said);
        }
        Host::Changed => held(story, incident, &order)?,
    }
    nothing_in_the_kernel(story)
}

/// It is in force, holds on, and is taken back.
fn held(story: &Story, incident: &str, order: &str) -> anyhow::Result<()> {
    story.until("the containment holds", || {
        let shown = story.ask(&["incident", "show", incident, "--json"]).ok()?;
        let found = shown["orders"].as_array()?.iter().find(|one| one["order"] == order)?;
        (found["state"] == "holding").then_some(())
    })?;
    let said = story.run("holdfast-agent", &["status"], &[0])?;
    story.show(&said);
    if crate::setup::is_there("nft") {
        let said = story.shell("nft list tables | grep holdfast_", &[0, 1])?;
        story.show(&said);
    }
    story.tell("");
    story.tell("The host keeps the lease by itself, whatever becomes of the server. A person may have it hold on:");
    for words in [&["renew", order, "--lease", "10m", "--follow"][..], &["release", order, "--follow"]] {
        let said = story.run("holdfast", words, &[0])?;
        story.show(&said);
    }
    Ok(())
}

/// The order that waits for the second person.
fn waiting(story: &Story, incident: &str) -> anyhow::Result<String> {
    let shown = story.ask(&["incident", "show", incident, "--json"])?;
    let waits = |order: &&Value| order["state"] == "awaiting_approval";
    let order = shown["orders"].as_array().and_then(|orders| orders.iter().find(waits));
    let order = order.and_then(|order| order["order"].as_str()).context("an order waits for a second person")?;
    Ok(order.to_owned())
}

/// Says that no table of ours is in the kernel, where somebody may look and has the program for it.
fn nothing_in_the_kernel(story: &Story) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() || !crate::setup::is_there("nft") {
        return Ok(());
    }
    let said = story.shell("nft list tables | grep -c holdfast_", &[1])?;
    story.show(&said);
    Ok(())
}

/// Writes the policy of this host.
///
/// # Errors
/// Where the host has one already: what the story says of its own would not hold.
pub fn policy(story: &Story, host: Host) -> anyhow::Result<()> {
    let site = Path::new("/etc/holdfast/policy.toml");
    ensure!(!site.exists(), "{} comes before any other policy: the demo is for hosts without one", site.display());
    Ok(fs::write(story.path("policy.toml"), host.policy())?)
}
