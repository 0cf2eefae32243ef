//! `holdfast-agent collect`

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bundle::coverage::Outcome;
use bundle::write::WriteError;
use clap::Args;
use serde_json::json;
use signal_hook::consts::TERM_SIGNALS;
use wire::{BundleId, ByteSize, IncidentId};

use super::{Refusal, exit, print};
use crate::collection::{Collection, Mandate, Plan};
use crate::host::Host;
use crate::host::identity::identity;
use crate::log::Log;
use crate::profiles;
use crate::run::Finished;
use crate::run::bind::bind;
use crate::run::progress::{Lines, Progress, Silent};
use crate::state::{self, Identity, StateError};
use crate::transport::output::{Opened, Target, leave_signer};

/// See [`super::Cli`].
#[derive(Args)]
pub struct Collect {
    /// The profile: a name that `holdfast-agent profiles` lists, or a YAML file
    #[arg(long)]
    profile: String,
    /// A folder, a file ending in .zip, or - for standard output
    #[arg(long, default_value = ".", value_name = "DIR|FILE|-")]
    output: String,
    /// The file for the transport checkpoints, where it is not to lie beside the bundle
    #[arg(long, value_name = "FILE")]
    stream: Option<PathBuf>,
    /// The incident that the evidence belongs to
    #[arg(long, value_name = "ID")]
    incident: Option<IncidentId>,
    /// Say nothing while it runs
    #[arg(long, short)]
    quiet: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

impl Collect {
    pub(super) fn run(self, log: &Log) -> Result<ExitCode, Refusal> {
        let target = Target::parse(&self.output);
        if target == Target::Stdout && self.json {
            let message = "--json and --output - both want standard output".to_owned();
            return Err(Refusal { code: exit::USAGE, message, hint: Some("write the bundle to a folder".into()) });
        }
        let found = profiles::find(&self.profile)?;
        let steps = bind(&found.profile).map_err(|mistakes| Refusal::new(exit::INPUT, &mistakes))?;
        let host = Arc::new(Host::live());
        let who = identity(&host);
        let agent = state::identity(&state::folder(), &who.name).map_err(|error| refuse_state(&error))?;
        let interrupted = end_on_signals()?;
        let plan = Plan::of(&found.profile, found.version, steps);
        let mandate = Mandate { incident: self.incident.clone(), ..Mandate::default() };
        let collection = Collection::new(&host, who, &agent, plan, mandate, (interrupted, log.clone()))
            .map_err(|error| refuse_state(&error))?;
        let opened = target.open(&collection.name, self.stream.as_deref()).map_err(|error| {
            Refusal::new(exit::IO, &error).hint("choose a folder that can be written, with --output")
        })?;
        let bundle = collection.bundle;
        let Opened { out, sidecar, path, stream_path } = opened;
        let mut lines: Box<dyn Progress> = if self.quiet { Box::new(Silent) } else { Box::new(Lines::new()) };
        let finished = collection.run(out, sidecar, &mut *lines);
        let finished = finished.map_err(|error| unsealed(&error, path.as_deref()))?;
        let signer = format!("{} namespaces=\"holdfast-bundle\" {}", agent.id.principal(), agent.key.public_line());
        let signers = path.as_deref().and_then(|path| {
            leave_signer(path, &signer)
                .inspect_err(|error| tracing::warn!(%error, "allowed_signers could not be left beside the bundle"))
                .ok()
        });
        let code = if finished.is_complete() { 0 } else { exit::INCOMPLETE };
        let told = Told { bundle, finished: &finished, agent: &agent, path, stream_path, signers, code };
        if self.json {
            told.as_json();
        } else {
            told.to_people();
        }
        Ok(code.into())
    }
}

/// The first signal ends the run with a seal, the second one at once.
fn end_on_signals() -> Result<Arc<AtomicBool>, Refusal> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        signal_hook::flag::register_conditional_shutdown(*signal, 128 + 2, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(*signal, Arc::clone(&interrupted)))
            .map_err(|error| Refusal::new(exit::IO, &error))?;
    }
    Ok(interrupted)
}

fn refuse_state(error: &StateError) -> Refusal {
    let hint = match error {
        StateError::Exposed { path, .. } => {
            format!("look who touched it, then: chmod go= {0}; or move it away", path.display())
        }
        StateError::BadKey { path, .. } => format!("move {} away: a new key is then made", path.display()),
        StateError::NoRandom => "the kernel's random device is not ready".to_owned(),
    };
    Refusal::new(exit::REFUSED, error).hint(hint)
}

fn unsealed(error: &WriteError, path: Option<&std::path::Path>) -> Refusal {
    let refusal = Refusal::new(exit::UNSEALED, error);
    match path {
        Some(path) => refusal.hint(format!(
            "{} is a partial bundle: what it holds up to its last checkpoint stays verifiable (holdfast verify)",
            path.display()
        )),
        None => refusal.hint("what was received up to the last checkpoint stays verifiable (holdfast verify)"),
    }
}

/// The result, for people and for machines.
struct Told<'a> {
    bundle: BundleId,
    finished: &'a Finished,
    agent: &'a Identity,
    path: Option<PathBuf>,
    stream_path: Option<PathBuf>,
    signers: Option<PathBuf>,
    code: u8,
}

impl Told<'_> {
    fn as_json(&self) {
        let Finished { sealed, coverage, interrupted } = self.finished;
        let told = json!({
            "allowed_signers": self.signers,
            "bundle": self.bundle,
            "bytes": sealed.bytes,
            "checkpoints": sealed.checkpoints,
            "coverage": coverage.collectors,
            "entries": sealed.entries,
            "exit": self.code,
            "interrupted": interrupted,
            "items": sealed.items,
            "path": self.path,
            "principal": self.agent.id.principal(),
            "sha256": sealed.sha256,
            "state": "sealed",
            "stream": self.stream_path,
        });
        print(&told.to_string());
    }

    /// To standard error where standard output is the bundle.
    fn to_people(&self) {
        let Finished { sealed, coverage, interrupted } = self.finished;
        let mut text = String::new();
        let how = if *interrupted { "sealed, interrupted" } else { "sealed" };
        let place = self.path.as_ref().map_or_else(|| "standard output".into(), |path| path.display().to_string());
        let _ = writeln!(text, "{how}: {place}");
        let _ = writeln!(
            text,
            "  bundle   {}\n  size     {} in {} entries\n  sha256   {}\n  signer   {}",
            self.bundle,
            ByteSize(sealed.bytes),
            sealed.entries,
            sealed.sha256,
            self.agent.id.principal(),
        );
        let sum = |of: fn(&bundle::coverage::Collected) -> u64| coverage.collectors.iter().map(of).sum::<u64>();
        let _ = writeln!(
            text,
            "  things   {} asked, {} got, {} denied, {} vanished, {} timed out",
            sum(|c| c.asked),
            sum(|c| c.got),
            sum(|c| c.denied),
            sum(|c| c.vanished),
            sum(|c| c.timed_out),
        );
        for step in coverage.collectors.iter().filter(|step| step.outcome != Outcome::Completed) {
            let reason = step.reason.as_deref().unwrap_or("no reason was given");
            let _ = writeln!(text, "  {:<16} {:?}: {reason}", step.collector, step.outcome);
        }
        if let (Some(path), Some(signers)) = (&self.path, &self.signers) {
            let _ = write!(text, "verify it: holdfast verify {} --signers {}", path.display(), signers.display());
        }
        if self.path.is_some() {
            print(&text);
        } else {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
        }
    }
}
