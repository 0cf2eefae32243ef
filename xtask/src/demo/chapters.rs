//! The chapters between the build and the end.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::story::Story;

const BUNDLE: &str = "bundle.evidence.zip";

/// What the agent said of the bundle.
pub struct Sealed {
    principal: String,
    bytes: u64,
}

/// Takes the evidence.
pub fn collect(story: &mut Story) -> anyhow::Result<Sealed> {
    story.chapter("Collect");
    story.tell("What vanishes first is taken first. Each tier is signed before the next one starts.");
    story.tell("The agent asks the kernel itself: it starts no program and changes nothing.");
    if !nix::unistd::geteuid().is_root() {
        story.tell("You are not root: what belongs to others is denied. The bundle says so, item by item.");
    }
    let words = ["collect", "--profile", "triage", "--output", BUNDLE, "--json"];
    // 3: sealed, and a step met a limit; the table says which.
    let told: Value = serde_json::from_str(&story.run("holdfast-agent", &words, &[0, 3])?)?;
    story.tell("");
    story.tell(&format!("{:<9} {:>9} {:>9} {:>9} {:>7}  collectors", "tier", "asked", "got", "denied", "seconds"));
    let steps = told["coverage"].as_array().context("the agent names what it covered")?;
    for (tier, steps) in by_tier(steps) {
        let sum = |key: &str| steps.iter().map(|step| step[key].as_u64().unwrap_or(0)).sum::<u64>();
        let names: Vec<&str> = steps.iter().filter_map(|step| step["collector"].as_str()).collect();
        let lines = wrapped(&names, 50);
        let seconds = seconds_of(&steps).map_or_else(String::new, |seconds| format!("{seconds:.1}"));
        let head = format!("{tier:<9} {:>9} {:>9} {:>9} {seconds:>7}  ", sum("asked"), sum("got"), sum("denied"));
        for (number, line) in lines.iter().enumerate() {
            story.tell(&format!("{:<49}{line}", if number == 0 { head.as_str() } else { "" }));
        }
    }
    for step in steps.iter().filter(|step| step["outcome"] != "completed") {
        let said = |key: &str| step[key].as_str().unwrap_or("?").to_owned();
        story.tell(&format!("{} was not completed ({}): {}", said("collector"), said("outcome"), said("reason")));
    }
    let bytes = told["bytes"].as_u64().context("the agent says how long the bundle is")?;
    story.tell("");
    story.tell(&format!("{BUNDLE:<36} {} items in {} entries, {bytes} bytes", told["items"], told["entries"]));
    story.tell(&format!("{BUNDLE}.stream.jsonl     what a server gets beside it: signed digests of each prefix"));
    story.tell(&format!("{:<36} the public key of this host, for you to pass on", "allowed_signers"));
    let principal = told["principal"].as_str().context("the agent names its signer")?.to_owned();
    Ok(Sealed { principal, bytes })
}

/// Verifies it with our own program.
pub fn verify(story: &mut Story) -> anyhow::Result<()> {
    story.chapter("Verify");
    story.tell("Every byte is held against signatures. The last three lines say what that proves, and what not.");
    let words = ["verify", BUNDLE, "--signers", "allowed_signers"];
    let said = story.run("holdfast", &words, &[0])?;
    story.show(&said);
    Ok(())
}

/// Verifies it with what every Linux has.
pub fn verify_by_hand(story: &mut Story, sealed: &Sealed) -> anyhow::Result<()> {
    story.chapter("Verify without any software of ours");
    story.tell("It is an ordinary ZIP file, with ordinary checksums and OpenSSH signatures in it.");
    let said = story.shell(&format!("unzip -tq {BUNDLE}"), &[0])?;
    story.show(&said);
    story.shell(&format!("unzip -q {BUNDLE} -d unpacked"), &[0])?;
    let principal = &sealed.principal;
    let said = story.shell(
        &format!(
            "ssh-keygen -Y verify -f allowed_signers -I {principal} -n holdfast-bundle \
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

/// The stream breaks off, as when a host is wiped while it is examined.
pub fn the_host_dies(story: &mut Story, sealed: &Sealed) -> anyhow::Result<()> {
    story.chapter("The host dies at 60 %");
    story.tell("Had this been a stream to a server, this is what would have arrived:");
    let lines = fs::read_to_string(story.path(&format!("{BUNDLE}.stream.jsonl")))?;
    let lines: Vec<(u64, bool, &str)> = lines.lines().filter_map(transport_checkpoint).collect();
    let boundary = lines.iter().find(|line| line.1).context("the bundle has a ZIP boundary")?.0;
    // A bundle of little more than its volatile tier is cut behind that, where the story begins.
    let cut = (sealed.bytes / 5 * 3).max(boundary + 1);
    story.shell(&format!("head -c {cut} {BUNDLE} > cut.evidence.zip"), &[0])?;
    let sent = lines.iter().filter(|line| line.0 <= cut).map(|line| format!("{}\n", line.2));
    fs::write(story.path("cut.evidence.zip.stream.jsonl"), sent.collect::<String>())?;
    let words = ["verify", "cut.evidence.zip", "--signers", "allowed_signers"];
    let said = story.run("holdfast", &words, &[3])?;
    story.show(&said);
    let boundary = said
        .lines()
        .find_map(|line| line.strip_prefix("usable:")?.trim().strip_prefix("head -c ")?.split(' ').next())
        .context("a partial bundle says which prefix of it is a ZIP file")?;
    story.tell("");
    story.tell("Exit code 3: partial. Up to its last index it is an ordinary ZIP file all the same:");
    let said = story
        .shell(&format!("head -c {boundary} cut.evidence.zip > prefix.zip && unzip -l prefix.zip | tail -1"), &[0])?;
    story.show(said.trim_end());
    Ok(())
}

/// One bit of the content is turned over.
pub fn somebody_changes_a_byte(story: &mut Story, sealed: &Sealed) -> anyhow::Result<()> {
    story.chapter("Somebody changes one bit");
    let mut bytes = fs::read(story.path(BUNDLE))?;
    let at = usize::try_from(sealed.bytes / 2)?;
    *bytes.get_mut(at).context("the bundle is as long as the agent says")? ^= 1;
    fs::write(story.path("changed.evidence.zip"), bytes)?;
    story.tell(&format!("A copy, changed.evidence.zip, in which the lowest bit of byte {at} is another."));
    let words = ["verify", "changed.evidence.zip", "--signers", "allowed_signers"];
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

fn by_tier(steps: &[Value]) -> Vec<(&str, Vec<&Value>)> {
    let mut order = Vec::new();
    let mut tiers: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for step in steps {
        let tier = step["tier"].as_str().unwrap_or("?");
        if !order.contains(&tier) {
            order.push(tier);
        }
        tiers.entry(tier).or_default().push(step);
    }
    order.into_iter().map(|tier| (tier, tiers.remove(tier).unwrap_or_default())).collect()
}

/// From the start of the first step to the end of the last; RFC 3339 with a fixed length, so the seconds of one hour
/// are enough for a run of minutes.
fn seconds_of(steps: &[&Value]) -> Option<f64> {
    let of_hour =
        |text: &str| Some(text.get(14..16)?.parse::<f64>().ok()? * 60.0 + text.get(17..29)?.parse::<f64>().ok()?);
    let begin = of_hour(steps.first()?["started"].as_str()?)?;
    let end = of_hour(steps.last()?["ended"].as_str()?)?;
    Some(if end < begin { end + 3600.0 - begin } else { end - begin })
}

/// Offset, whether a ZIP file ends there, and the line.
fn transport_checkpoint(line: &str) -> Option<(u64, bool, &str)> {
    let value: Value = serde_json::from_str(line).ok()?;
    Some((value["offset"].as_u64()?, value["zip_boundary"].as_bool()?, line))
}

fn wrapped(words: &[&str], width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > width {
            lines.push((*word).to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_wrap() {
        assert_eq!(wrapped(&["one", "two", "three"], 7), ["one two", "three"]);
        assert_eq!(wrapped(&[], 7), [""]);
    }

    #[test]
    fn a_tier_takes_from_its_first_start_to_its_last_end() {
        let step = |started: &str, ended: &str| json!({"started": started, "ended": ended});
        let first = step("2026-11-21T18:59:59.000000000Z", "2026-11-21T18:59:59.500000000Z");
        let last = step("2026-11-21T18:59:59.500000000Z", "2026-11-21T19:00:01.250000000Z");
        assert_eq!(seconds_of(&[&first, &last]), Some(2.25));
    }
}
