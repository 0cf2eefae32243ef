//! The whole story on this host: two alerts, a triaged incident, a signed order, evidence on the server, and the proof
//! of it with commodity tools; then containment, rehearsed. Every command can be typed again.

mod chapters;
mod containment;
mod story;

use std::time::Instant;

use anyhow::bail;

use crate::programs::{self, Build, size};
use crate::setup::{CURL, MUSL_GCC, SSH_KEYGEN, UNZIP, prepare};
use crate::{only, shell};
use containment::Host;
use story::Story;

/// See `cargo xtask --help`.
pub const SUMMARY: &str = "from two alerts to verified evidence of this host, on a server of its own on loopback";

/// See the module.
///
/// # Errors
/// The first step that does not come out as it is told.
pub fn run(options: &[String]) -> anyhow::Result<()> {
    only(options, &["--contain", "--exit", "--open"])?;
    let is_asked = |option: &str| options.iter().any(|given| given == option);
    let this_host = if is_asked("--contain") { Host::Changed } else { Host::Unchanged };
    if this_host == Host::Changed && !nix::unistd::geteuid().is_root() {
        bail!("--contain blocks the way to one address on this host for some minutes: only root can");
    }
    let mut story = Story::begin()?;
    story.chapter("Build");
    story.tell("The first build takes some minutes, later ones seconds.");
    let started = Instant::now();
    prepare(&[MUSL_GCC, UNZIP, SSH_KEYGEN, CURL])?;
    let agent = programs::agent(Build::Dev)?;
    let holdfast = programs::holdfast(Build::Dev)?;
    let server = programs::server(Build::Dev)?;
    story.tell(&format!("holdfast-agent   {}, one static file for the host under examination", size(&agent)));
    story.tell(&format!("holdfast-server  {}, where evidence arrives", size(&server)));
    story.tell(&format!("holdfast         {}, for the people who respond", size(&holdfast)));
    story.tell(&format!("built in {} s", started.elapsed().as_secs()));
    story.programs(&[("holdfast-agent", &agent), ("holdfast", &holdfast), ("holdfast-server", &server)])?;

    let url = chapters::server(&mut story)?;
    chapters::responders(&mut story, &url)?;
    let host = chapters::enroll(&mut story, this_host)?;
    let incident = chapters::alerts(&mut story, &url, &host)?;
    chapters::triage(&mut story, &incident)?;
    chapters::answer(&mut story, &incident)?;
    chapters::dispatch(&mut story, &incident, &host)?;
    let evidence = chapters::evidence(&mut story, &incident)?;
    chapters::verify(&mut story, &evidence)?;
    chapters::verify_by_hand(&mut story, &evidence)?;
    chapters::somebody_changes_a_byte(&mut story, &evidence)?;
    containment::rehearsal(&mut story, &incident, &host)?;
    containment::two_people(&mut story, &incident, &host, this_host)?;
    chapters::timeline(&mut story, &incident)?;
    chapters::custody(&mut story)?;

    story.chapter("In the browser");
    let page = format!("{url}/incidents/{incident}");
    story.tell(&page);
    story.tell(&format!("Sign in with the token in {}.", story.path("responder.token").display()));
    story.tell("The certificate is the server's own, so the browser warns once.");
    story.tell("The page has the rehearsal, who agreed, and what the host said to it.");
    story.tell(match this_host {
        Host::Unchanged => "Nothing on this host was changed.",
        Host::Changed => "What was changed on this host is taken back.",
    });
    story.tell(&format!("All of it lies in {}", story.folder().display()));
    if is_asked("--open") {
        open(&page);
    }
    if !is_asked("--exit") {
        things_to_try(&story, &incident, &host);
        story.tell("");
        story.tell("The server and the agent run until you press Ctrl-C.");
        story.wait()?;
    }
    Ok(())
}

/// In the browser of whoever sits here; without one, the address above is enough.
fn open(page: &str) {
    let _ = std::process::Command::new("xdg-open").arg(page).stderr(std::process::Stdio::null()).spawn();
}

fn things_to_try(story: &Story, incident: &str, host: &str) {
    story.tell("");
    story.tell("Things to try:");
    let dispatch = format!("bin/holdfast dispatch {incident} --host {host} --profile intrusion --follow");
    for (command, why) in [
        (format!("cd {}", story.folder().display()), "where the commands above work"),
        ("export HOLDFAST_CONFIG_DIR=$PWD/config".into(), "signed in as the responder of the story"),
        ("export HOLDFAST_STATE_DIR=$PWD/state".into(), "where this host's agent has its state"),
        (dispatch, "all that the intrusion profile takes"),
        ("bin/holdfast-agent plan --profile intrusion".into(), "what that would read"),
        (
            "bin/holdfast-agent contain isolate_network --rehearse".into(),
            "the same rehearsal, at the host's console (root)",
        ),
        ("head -3 unpacked/data/volatile/processes.jsonl".into(), "records are plain lines of JSON"),
    ] {
        story.tell(&format!("  {command}"));
        story.tell(&format!("      {why}"));
    }
    story.tell(&format!("The format is told in {}.", shell::root().join("bundle/FORMAT.md").display()));
}
