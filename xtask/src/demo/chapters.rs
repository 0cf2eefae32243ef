//! The chapters between the build and the end.

use std::fs;
use std::net::{TcpListener, TcpStream};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::containment::{self, Host};
use super::story::Story;
use crate::shell::root;

/// The alerts of the story: the product, and the project's own example of what it sends. They name a host `web-1`.
const ALERTS: [(&str, &str); 2] = [
    ("falco", "triage/fixtures/falco-fileless-execution.json"),
    ("guardduty", "triage/fixtures/guardduty-command-and-control.json"),
];
/// Where the server is usually found.
const PORT: u16 = 8443;

/// The bundle of the story.
pub struct Evidence {
    /// `got/<name>`.
    file: String,
    principal: String,
    bytes: u64,
}

/// Starts a server in the story's folder, and returns its address.
pub fn server(story: &mut Story) -> anyhow::Result<String> {
    story.chapter("A server");
    story.tell("On loopback, with a CA, keys and a database that it makes now. Nothing is open without a token.");
    let port = TcpListener::bind(("127.0.0.1", PORT)).or_else(|_| TcpListener::bind("127.0.0.1:0"))?;
    let address = port.local_addr()?.to_string();
    drop(port);
    story.start("holdfast-server", &["serve", "--data", "server", "--listen", &address])?;
    story.until("the server answers", || TcpStream::connect(&address).ok())?;
    for (name, role) in [("responder", "responder"), ("ada", "responder"), ("falco", "source"), ("guardduty", "source")]
    {
        story
            .shell(&format!("bin/holdfast-server token add {name} --role {role} --data server > {name}.token"), &[0])?;
    }
    Ok(format!("https://{address}"))
}

/// Two responders sign in, each with a key.
pub fn responders(story: &mut Story, url: &str) -> anyhow::Result<()> {
    story.chapter("Two responders");
    story.tell("Orders are signed with the responder's own SSH key, which the server never sees.");
    let shown: Value =
        serde_json::from_str(&story.run("holdfast-server", &["ca", "show", "--json", "--data", "server"], &[0])?)?;
    let ca = shown["sha256"].as_str().context("the server shows its CA")?;
    let said = story.run("holdfast", &["login", url, "--ca-sha256", ca, "--token", "responder.token"], &[0])?;
    story.show(&said);
    story.run("holdfast", &["keys", "new", "--file", "responder_key"], &[0])?;
    story.run("holdfast", &["keys", "use", "responder_key", "--principal", "you@example.org"], &[0])?;
    let said = story.shell("bin/holdfast keys show | tee signers", &[0])?;
    story.show(&said);
    containment::second_person(story, url, ca)
}

/// This host is enrolled; returns its agent's id.
pub fn enroll(story: &mut Story, this_host: Host) -> anyhow::Result<String> {
    story.chapter("This host gets an agent");
    story.tell("A one-time ticket names the server and its CA. Whose orders the agent obeys, the ticket cannot say:");
    story.tell("that is the file `signers`, and `policy.toml` says how far. Both come from you.");
    containment::policy(story, this_host)?;
    story.shell("bin/holdfast host enroll-ticket > enroll.ticket", &[0])?;
    let words = ["enroll", "--token", "enroll.ticket", "--signers", "signers", "--policy", "policy.toml"];
    let said = story.run("holdfast-agent", &words, &[0])?;
    story.show(&said);
    story.start("holdfast-agent", &["run"])?;
    let agent = fs::read_to_string(story.path("state/agent_id"))?.trim().to_owned();
    story.until("the agent waits for orders", || {
        let hosts = story.ask(&["host", "list", "--json"]).ok()?;
        hosts["items"].as_array()?.iter().any(|host| host["connected"] == true).then_some(())
    })?;
    let said = story.run("holdfast", &["host", "list"], &[0])?;
    story.show(&said);
    Ok(agent)
}

/// Two products raise an alert about this host; returns the incident's id.
pub fn alerts(story: &mut Story, url: &str, agent: &str) -> anyhow::Result<String> {
    story.chapter("Two alerts");
    story.tell("Two products, each with a token of its own, say something about this host.");
    let hosts = story.ask(&["host", "list", "--json"])?;
    let host = hosts["items"].as_array().and_then(|hosts| hosts.iter().find(|host| host["agent"] == agent));
    let host = host.and_then(|host| host["facts"]["name"].as_str()).context("the host has a name")?.to_owned();
    let mut incident = None;
    for (product, example) in ALERTS {
        let alert = fs::read_to_string(root().join(example)).with_context(|| example.to_owned())?;
        fs::write(story.path(&format!("{product}.json")), alert.replace("web-1", &host))?;
        let token = fs::read_to_string(story.path(&format!("{product}.token")))?;
        fs::write(story.path(&format!("{product}.header")), format!("Authorization: Bearer {token}"))?;
        let line = format!(
            "curl -sS --cacert server/ca.pem -H @{product}.header --json @{product}.json {url}/api/v1/alerts?source={product}"
        );
        let said = story.shell(&line, &[0])?;
        story.show(&said);
        let said: Value = serde_json::from_str(&said).context("the server answers with JSON")?;
        let belongs = said["alerts"][0]["incident"].as_str().map(str::to_owned);
        ensure!(belongs.is_some(), "the alert opened no incident: {said}");
        ensure!(incident.is_none() || incident == belongs, "the second alert belongs to the same incident: {said}");
        incident = belongs;
    }
    incident.context("there is an incident")
}

/// What triage makes of it.
pub fn triage(story: &mut Story, incident: &str) -> anyhow::Result<()> {
    story.chapter("A triaged incident");
    let said = story.run("holdfast", &["incident", "show", incident], &[0])?;
    story.show(&said);
    let shown = story.ask(&["incident", "show", incident, "--json"])?;
    ensure!(shown["assessment"]["severity"] == "SEV1", "two independent sources make it SEV1: {}", shown["assessment"]);
    Ok(())
}

/// Somebody takes it on.
pub fn answer(story: &mut Story, incident: &str) -> anyhow::Result<()> {
    story.chapter("Somebody has it");
    story.tell("Answering stops the next in line from being woken. What people decide is kept with who, when and why.");
    for words in [
        &["incident", "ack", incident][..],
        &["incident", "note", incident, "--update", "Taking the volatile evidence first."],
        &["incident", "anchor", incident, "aware_at", "--reason", "both alerts were read"],
    ] {
        let said = story.run("holdfast", words, &[0])?;
        story.show(&said);
    }
    story.tell("Awareness starts notification clocks (guidance, not legal advice):");
    let shown = story.ask(&["incident", "show", incident, "--json"])?;
    let clocks = shown["clocks"].as_array().context("an incident has clocks")?;
    let stages = clocks.iter().flat_map(|clock| {
        let stages = clock["stages"].as_array().into_iter().flatten();
        stages.filter_map(|stage| Some(format!("{}: {}", clock["regime"].as_str()?, stage["due_at"].as_str()?)))
    });
    let running: Vec<String> = stages.take(4).collect();
    ensure!(!running.is_empty(), "awareness starts clocks: {clocks:?}");
    for line in &running {
        story.show(line);
    }
    Ok(())
}

/// What happened, in words.
pub fn timeline(story: &mut Story, incident: &str) -> anyhow::Result<()> {
    story.chapter("The timeline");
    let said = story.run("holdfast", &["incident", "timeline", incident], &[0])?;
    story.show(&said);
    Ok(())
}

/// A signed order, followed live.
pub fn dispatch(story: &mut Story, incident: &str, agent: &str) -> anyhow::Result<()> {
    story.chapter("Dispatch");
    story.tell("The order is signed here, checked by the agent, and names what may be taken, for whom, until when.");
    story.tell(
        "What vanishes first is taken first; each tier is on the server, with a receipt, before the next starts.",
    );
    if !nix::unistd::geteuid().is_root() {
        story.tell("You are not root: what belongs to others is denied. The bundle says so, item by item.");
    }
    let words = ["dispatch", incident, "--host", agent, "--profile", "triage", "--purpose", "demo", "--follow"];
    let said = story.run("holdfast", &words, &[0])?;
    story.show(&said);
    Ok(())
}

/// The evidence is attached, and downloaded.
pub fn evidence(story: &mut Story, incident: &str) -> anyhow::Result<Evidence> {
    story.chapter("Evidence");
    let said = story.run("holdfast", &["evidence", "list", incident], &[0])?;
    story.show(&said);
    let listed = story.ask(&["evidence", "list", incident, "--json"])?;
    let bundle = &listed["items"][0];
    ensure!(bundle["state"] == "sealed", "the evidence is sealed: {bundle}");
    let field = |key: &str| bundle[key].as_str().map(str::to_owned).with_context(|| format!("evidence has a {key}"));
    let said = story.run("holdfast", &["evidence", "get", &field("bundle")?, "--output", "got"], &[0])?;
    story.show(&said);
    let bytes = bundle["bytes"].as_u64().context("evidence has a length")?;
    Ok(Evidence { file: format!("got/{}", field("name")?), principal: field("signer_principal")?, bytes })
}

/// Verifies it with our own program.
pub fn verify(story: &mut Story, evidence: &Evidence) -> anyhow::Result<()> {
    story.chapter("Verify");
    story.tell("Every byte is held against signatures. The last three lines say what that proves, and what not.");
    let receipts = format!("{}.receipts.jsonl", evidence.file);
    let words = ["verify", &evidence.file, "--signers", "got/allowed_signers", "--receipts", &receipts];
    let said = story.run("holdfast", &words, &[0])?;
    story.show(&said);
    Ok(())
}

/// Verifies it with what every Linux has.
pub fn verify_by_hand(story: &mut Story, evidence: &Evidence) -> anyhow::Result<()> {
    story.chapter("Verify without any software of ours");
    story.tell("It is an ordinary ZIP file, with ordinary checksums and OpenSSH signatures in it.");
    let Evidence { file, principal, .. } = evidence;
    let said = story.shell(&format!("unzip -tq {file}"), &[0])?;
    story.show(&said);
    story.shell(&format!("unzip -q {file} -d unpacked"), &[0])?;
    let said = story.shell(
        &format!(
            "ssh-keygen -Y verify -f got/allowed_signers -I {principal} -n holdfast-bundle \
             -s unpacked/tagmanifest-sha256.txt.sig < unpacked/tagmanifest-sha256.txt"
        ),
        &[0],
    )?;
    story.show(&said);
    story.shell("cd unpacked && sha256sum -c --quiet --strict manifest-sha256.txt tagmanifest-sha256.txt", &[0])?;
    let mut files = 0;
    for manifest in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        files += fs::read_to_string(story.path("unpacked").join(manifest))?.lines().count();
    }
    story.tell(&format!("Silence means yes: all {files} files have the content that was signed."));
    Ok(())
}

/// One bit of the content is turned over.
pub fn somebody_changes_a_byte(story: &mut Story, evidence: &Evidence) -> anyhow::Result<()> {
    story.chapter("Somebody changes one bit");
    let mut bytes = fs::read(story.path(&evidence.file))?;
    let at = usize::try_from(evidence.bytes / 2)?;
    *bytes.get_mut(at).context("the bundle is as long as the server says")? ^= 1;
    fs::write(story.path("changed.evidence.zip"), bytes)?;
    story.tell(&format!("A copy, changed.evidence.zip, in which the lowest bit of byte {at} is another."));
    let words = ["verify", "changed.evidence.zip", "--signers", "got/allowed_signers"];
    let said = story.run("holdfast", &words, &[1])?;
    let findings: Vec<&str> = said.lines().filter(|line| line.starts_with("finding:")).collect();
    ensure!(!findings.is_empty(), "a bundle that was changed is rejected with the reason:\n{said}");
    story.show(said.lines().next().unwrap_or_default());
    for finding in findings.iter().take(4) {
        story.show(finding);
    }
    story.tell("");
    story.tell("Exit code 1: tampered with, and where.");
    Ok(())
}

/// Everything that was decided is in one log, which is verified offline.
pub fn custody(story: &mut Story) -> anyhow::Result<()> {
    story.chapter("Chain of custody");
    story.tell("Every decision above is a leaf of one append-only tree, whose heads the server signs.");
    let said = story.run("holdfast", &["custody", "verify"], &[0])?;
    story.show(&said);
    Ok(())
}
