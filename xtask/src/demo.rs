//! The story of one bundle: taken from this host, verified, cut, tampered with. Every command can be typed again.

mod chapters;
mod story;

use std::time::Instant;

use crate::programs::{self, Build, size};
use crate::setup::{MUSL_GCC, SSH_KEYGEN, UNZIP, prepare};
use crate::{only, shell};
use story::Story;

/// See `cargo xtask --help`.
pub const SUMMARY: &str = "takes the evidence of this host, verifies it with commodity tools, cuts it, tampers with it";

/// See the module.
///
/// # Errors
/// The first step that does not come out as it is told.
pub fn run(options: &[String]) -> anyhow::Result<()> {
    only(options, &["--exit"])?;
    let mut story = Story::begin()?;
    story.chapter("Build");
    story.tell("The agent is one static program. The first build takes some minutes, later ones seconds.");
    let started = Instant::now();
    prepare(&[MUSL_GCC, UNZIP, SSH_KEYGEN])?;
    let agent = programs::agent(Build::Dev)?;
    let holdfast = programs::holdfast(Build::Dev)?;
    story.tell(&format!("holdfast-agent  {}, for the host under examination", size(&agent)));
    story.tell(&format!("holdfast        {}, for the people who respond", size(&holdfast)));
    story.tell(&format!("built in {} s", started.elapsed().as_secs()));
    story.programs(&agent, &holdfast)?;

    let sealed = chapters::collect(&mut story)?;
    chapters::verify(&mut story)?;
    chapters::verify_by_hand(&mut story, &sealed)?;
    chapters::the_host_dies(&mut story, &sealed)?;
    chapters::somebody_changes_a_byte(&mut story, &sealed)?;

    story.chapter("What you have");
    story.tell("A sealed bundle of this host, and four ways to check it. All of it lies in");
    story.tell(&format!("  {}", story.folder().display()));
    if !options.iter().any(|option| option == "--exit") {
        things_to_try(&story);
    }
    Ok(())
}

fn things_to_try(story: &Story) {
    story.tell("");
    story.tell("Things to try:");
    for (command, why) in [
        (format!("cd {}", story.folder().display()), "where the commands above work"),
        ("bin/holdfast-agent collectors".into(), "what can be taken"),
        ("bin/holdfast-agent plan --profile intrusion".into(), "what a profile would read"),
        ("sudo bin/holdfast-agent collect --profile intrusion --output .".into(), "the whole of it"),
        ("head -3 unpacked/data/volatile/processes.jsonl".into(), "records are plain lines of JSON"),
        (format!("rm -r {}", story.folder().display()), "when you are done"),
    ] {
        story.tell(&format!("  {command}"));
        story.tell(&format!("      {why}"));
    }
    story.tell(&format!("The format is told in {}.", shell::root().join("bundle/FORMAT.md").display()));
}
