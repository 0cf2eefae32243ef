//! Every profile covers what it is for on every kind of host; and no glob, condition or variable of a shipped profile is
//! one that can match nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use harness::{Collected, Lab, Opened, Running, agent, path_text, synthetic_hosts};
use serde_json::Value;
use wire::profile::Condition;
use wire::profile::shipped::{PROFILES, find};

const DEADLINE: Duration = Duration::from_mins(2);

/// The groups of evidence (`tests/hosts`) that each profile takes in full.
const COVERS: &[(&str, &[&str])] = &[
    (
        "full",
        &[
            "accounts",
            "applications",
            "browsers",
            "build",
            "cloud",
            "containers",
            "executables",
            "kubernetes",
            "logs",
            "packages",
            "persistence",
            "temporary",
            "user",
            "web",
        ],
    ),
    ("triage", &["accounts", "logs"]),
    ("memory", &[]),
    ("intrusion", &["accounts", "applications", "containers", "logs", "packages", "persistence", "temporary", "user"]),
    ("ransomware", &["accounts", "logs", "persistence", "temporary"]),
    ("data_exfiltration", &["accounts", "cloud", "logs", "temporary", "user", "web"]),
    ("unauthorized_access", &["accounts", "logs", "persistence", "user"]),
    ("credential_compromise", &["accounts", "cloud", "logs", "packages", "persistence", "user"]),
    ("malware", &["accounts", "containers", "executables", "logs", "packages", "persistence", "temporary"]),
    ("rootkit", &["executables", "packages", "persistence", "temporary"]),
    ("cryptomining", &["accounts", "containers", "packages", "persistence", "temporary"]),
    ("web_shell", &["applications", "logs", "persistence", "temporary", "web"]),
    ("insider", &["accounts", "browsers", "logs", "user"]),
    ("lateral_movement", &["accounts", "logs", "persistence", "user"]),
    ("privilege_escalation", &["accounts", "executables", "logs", "packages", "persistence", "temporary"]),
    ("dos", &["logs", "web"]),
    ("supply_chain", &["build", "containers", "packages", "persistence"]),
    ("container_escape", &["accounts", "containers", "kubernetes", "logs", "persistence"]),
    ("phishing", &["accounts", "browsers", "persistence", "user"]),
    ("cloud_credential", &["accounts", "cloud", "kubernetes", "logs", "user"]),
];

/// What a run on a synthetic host brought.
struct Brought {
    paths: BTreeSet<String>,
    unmatched: BTreeSet<String>,
    skipped: BTreeSet<String>,
}

fn collect(lab: &Lab, host: &str, profile: &str, more: &[&str]) -> Brought {
    let tree = lab.path(host);
    let mut command = Command::new(agent());
    command.args(["collect", "--json", "--quiet", "--profile", profile, "--root"]).arg(&tree).args(more);
    command.arg("--output").arg(lab.out()).env("HOLDFAST_STATE_DIR", lab.path("state"));
    let ended = Running::start(&mut command).wait(DEADLINE);
    assert!(ended.status.code() == Some(0), "{profile} on {host}: {}", ended.said());
    let collected = Collected::of(&ended);
    let mut bundle = Opened::at(&collected.path);
    let items = bundle.items();
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    let was_taken =
        |item: &&Value| !matches!(item["status"].as_str(), Some("skipped" | "vanished" | "error" | "denied"));
    let is_unmatched = |item: &&Value| text(item, "reason") == "nothing matches";
    // A program or a page may be a row with its digest, its content left on the host.
    let mut rows = bundle.lines("data/system/");
    rows.extend(bundle.lines("data/files/"));
    let digested = rows.iter().filter(|row| row["sha256"].is_string()).map(|row| text(row, "path"));
    let steps = collected.told["coverage"].as_array().unwrap();
    let skipped = steps.iter().filter(|step| step["outcome"] == "skipped").map(|step| text(step, "reason"));
    std::fs::remove_file(&collected.path).unwrap();
    Brought {
        paths: items.iter().filter(was_taken).map(|item| text(item, "path")).chain(digested).collect(),
        unmatched: items.iter().filter(is_unmatched).map(|item| text(item, "path")).collect(),
        skipped: skipped.collect(),
    }
}

#[test]
fn every_profile_covers_what_it_is_for_on_every_kind_of_host() {
    let lab = Lab::new();
    let hosts = synthetic_hosts();
    for host in &hosts {
        host.plant(&lab.path(host.name));
    }
    let named: BTreeSet<&str> = COVERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, PROFILES.iter().map(|(name, _)| *name).collect(), "each shipped profile says what it covers");
    let mut missed = Vec::new();
    let mut never = BTreeMap::new();
    for (profile, groups) in COVERS {
        for host in &hosts {
            let brought = collect(&lab, host.name, profile, &["--set", "paths=/etc/hostname"]);
            for file in &host.files {
                let is_wanted = file.groups.iter().any(|group| groups.contains(&group.as_str()));
                if is_wanted && !brought.paths.contains(&file.path) {
                    missed.push(format!("{profile} on {}: {}", host.name, file.path));
                }
            }
            // A glob that matches on none of the hosts matches nowhere.
            let before: Option<&BTreeSet<String>> = never.get(profile);
            let still = before.map_or(brought.unmatched.clone(), |before| before & &brought.unmatched);
            never.insert(*profile, still);
        }
    }
    assert!(missed.is_empty(), "not collected:\n{}", missed.join("\n"));
    // A collector's own list holds every place that is known; a profile names what it is for.
    for (profile, unmatched) in &mut never {
        let steps = find(profile).unwrap().unwrap().collect;
        let named = steps.iter().filter_map(|step| step.with.get("paths").and_then(Value::as_array).cloned());
        let named: BTreeSet<String> = named.flatten().filter_map(|glob| glob.as_str().map(str::to_owned)).collect();
        unmatched.retain(|glob| named.contains(glob));
    }
    never.retain(|_, globs| !globs.is_empty());
    assert!(never.is_empty(), "these match nothing on any host: {never:#?}");
}

/// The conditions of a profile's steps that the host decides, one by one.
fn leaves<'a>(condition: &'a Condition, found: &mut Vec<&'a Condition>) {
    match condition {
        Condition::All(of) | Condition::Any(of) => of.iter().for_each(|condition| leaves(condition, found)),
        Condition::Not(not) => leaves(not, found),
        leaf => found.push(leaf),
    }
}

#[test]
fn every_condition_of_a_shipped_profile_can_hold() {
    let lab = Lab::new();
    let hosts = synthetic_hosts();
    for host in &hosts {
        host.plant(&lab.path(host.name));
    }
    let mut asked = BTreeMap::new();
    for (name, _) in PROFILES {
        let profile = find(name).unwrap().unwrap();
        for condition in profile.collect.iter().filter_map(|step| step.when.as_ref()) {
            let mut found = Vec::new();
            leaves(condition, &mut found);
            // Of the incident and of memory any value may come.
            for leaf in found.into_iter().filter(|leaf| matches!(leaf, Condition::Exists(_) | Condition::Os(_))) {
                asked.insert(leaf.to_string(), serde_json::to_string(leaf).unwrap());
            }
        }
    }
    for (said, condition) in asked {
        let yaml = format!(
            "name: x\nsummary: x\ncollect:\n  - collect: files\n    with: {{ paths: [/etc/hostname] }}\n    when: {condition}\n"
        );
        let profile = lab.profile(&yaml);
        let holds = hosts.iter().any(|host| collect(&lab, host.name, path_text(&profile), &[]).skipped.is_empty());
        assert!(holds, "`{said}` holds on no kind of host");
    }
}
