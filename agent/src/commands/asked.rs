//! What a person at the console asks to be collected: a profile, single things, and what is known of the incident.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use wire::profile::{Limits, Place, Profile, Step, Values};

use super::{Refusal, exit};
use crate::host::Host;
use crate::profiles;
use crate::run::bind::{BoundStep, bind};

/// A collection of single things that names no limit of time ends after this.
const AD_HOC_WALL_SECS: u64 = 3600;

/// See the module.
#[derive(Args)]
pub struct Asked {
    /// The profile: a name that `holdfast-agent profiles` lists, or a YAML file
    #[arg(long)]
    profile: Option<String>,
    /// Take these files (again for more): a path or a glob such as `/var/log/**` or `~/.ssh/*`
    #[arg(long, value_name = "GLOB")]
    path: Vec<String>,
    /// Take this process: its memory, and what is volatile (again for more)
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Something known of the incident, which narrows the profile (again for more): from, until, accounts, addresses,
    /// hashes, paths, pids
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Examine the file system that is mounted here, instead of this host
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// A profile whose steps are bound.
pub(super) struct Chosen {
    pub(super) profile: Profile,
    pub(super) version: &'static str,
    pub(super) values: Values,
    pub(super) steps: Vec<BoundStep>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, for instance from=2026-11-07T00:00:00Z")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Asked {
    /// True when nothing is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.profile.is_none() && self.path.is_empty() && self.pid.is_empty()
    }

    /// The host that is to be examined.
    pub(super) fn host(&self) -> Result<Host, Refusal> {
        match &self.root {
            None => Ok(Host::live()),
            Some(root) => Host::image(root).map_err(|error| {
                let message = format!("{} cannot be examined: {error}", root.display());
                Refusal {
                    code: exit::INPUT,
                    message,
                    hint: Some("mount the image read-only, and name the folder".into()),
                }
            }),
        }
    }

    /// What is asked, bound; `otherwise` is the profile when none is named.
    pub(super) fn choose(&self, otherwise: Option<&str>) -> Result<Chosen, Refusal> {
        let mut values = Values::default();
        let pids = self.pid.iter().map(|pid| ("pids".to_owned(), pid.to_string()));
        for (name, text) in self.set.iter().cloned().chain(pids) {
            values.add(&name, &text).map_err(|error| Refusal {
                code: exit::USAGE,
                message: format!("--set {name}: {error}"),
                hint: error.hint.clone(),
            })?;
        }
        let (mut profile, version) = match self.profile.as_deref().or(otherwise) {
            Some(name) => {
                let found = profiles::find(name)?;
                (found.profile, found.version)
            }
            None => (ad_hoc(), env!("CARGO_PKG_VERSION")),
        };
        profile.collect.extend(self.single_things());
        let steps = bind(&profile, &values).map_err(|mistakes| Refusal::new(exit::INPUT, &mistakes))?;
        Ok(Chosen { profile, version, values, steps })
    }

    fn single_things(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut add = |collect: &str, with: serde_json::Value| {
            let place = Place { file: "the command line".to_owned(), ..Place::default() };
            steps.push(Step {
                collect: collect.to_owned(),
                with: with.as_object().cloned().unwrap_or_default(),
                limits: Limits::default(),
                sensitive: None,
                when: None,
                place,
            });
        };
        if !self.pid.is_empty() {
            for volatile in ["host_facts", "processes", "memory_maps", "open_files", "sockets"] {
                add(volatile, json!({}));
            }
            add("process_memory", json!({ "pids": self.pid, "select": "all" }));
        }
        if !self.path.is_empty() {
            add("files", json!({ "paths": self.path }));
        }
        steps
    }
}

fn ad_hoc() -> Profile {
    Profile {
        name: "ad_hoc".to_owned(),
        summary: "Single things that were named on the command line.".to_owned(),
        incident_types: Vec::new(),
        limits: Limits { wall_secs_max: Some(AD_HOC_WALL_SECS), ..Limits::default() },
        tiers: BTreeMap::new(),
        collect: Vec::new(),
        contain: Vec::new(),
    }
}
