//! `holdfast-agent release`: root at the host takes a containment back, whoever ordered it.

use std::process::ExitCode;

use clap::Args;
use wire::OrderId;
use wire::containment::ReleaseCause;

use super::contain::{as_json_object, in_words, refusal, root};
use super::{Refusal, exit, print};
use crate::contain::engine::Engine;
use crate::host::Host;
use crate::state;

/// See [`super::Cli`].
#[derive(Args)]
pub struct Release {
    /// The containment; may be left out when there is only one
    id: Option<OrderId>,
    /// All of them
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

impl Release {
    pub(super) fn run(self) -> Result<ExitCode, Refusal> {
        root()?;
        let engine = Engine::open(&state::folder(), Host::live())?;
        let under_way: Vec<_> = engine.journal().under_way()?.into_iter().flatten().collect();
        let ids: Vec<OrderId> = match (self.id, under_way.as_slice()) {
            (Some(id), _) => vec![id],
            (None, []) => {
                print(if self.json { "" } else { "nothing is contained on this host" }.trim_end());
                return Ok(ExitCode::SUCCESS);
            }
            (None, [one]) => vec![one.id],
            (None, all) if self.all => all.iter().map(|entry| entry.id).collect(),
            (None, all) => {
                let list: Vec<String> = all.iter().map(in_words).collect();
                let message = format!("{} containments are under way:\n  {}", all.len(), list.join("\n  "));
                return Err(refusal(exit::USAGE, message).hint("name one, or give --all"));
            }
        };
        let mut stuck = Vec::new();
        for id in ids {
            engine.release(id, ReleaseCause::Console)?;
            let entry = engine.advance(id)?;
            if self.json {
                print(&as_json_object(&entry).to_string());
            } else if entry.phase.is_over() {
                print(&format!("{id}  {}: taken back", entry.wish.action.name()));
                entry.left.iter().for_each(|left| print(&format!("    left as it is: {}", left.escape_debug())));
            }
            if !entry.phase.is_over() {
                let why = entry.untold.last().map(|untold| untold.event.to_string()).unwrap_or_default();
                stuck.push(format!("{id} cannot be taken back: {why}"));
            }
        }
        if stuck.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(refusal(exit::IO, stuck.join("; ")).hint("the keeper goes on trying; see: holdfast-agent status"))
    }
}
