//! `holdfast-agent collect`

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bundle::coverage::Outcome;
use bundle::encryption::Recipient;
use bundle::write::{PartLimits, WriteError};
use clap::{ArgGroup, Args};
use serde_json::json;
use wire::{BundleId, ByteSize, IncidentId};

use super::asked::{Asked, Chosen};
use super::recipients::Recipients;
use super::ticket::Ticketed;
use super::via::Via;
use super::{Refusal, exit, print};
use crate::collection::{Collection, Mandate, Plan};
use crate::daemon::stop::flag_on_signals;
use crate::host::Host;
use crate::host::identity::identity;
use crate::log::Log;
use crate::orders::journal;
use crate::run::Finished;
use crate::run::progress::{Lines, Progress, Silent};
use crate::state::{self, Identity};
use crate::transport::output::{Opened, Parts, Target, leave_signer};

/// See [`super::Cli`].
#[derive(Args)]
#[command(group(ArgGroup::new("asked").required(true).multiple(true).args(["profile", "path", "pid", "ticket"])))]
pub struct Collect {
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    recipients: Recipients,
    /// Send it to the server of an upload ticket, which is read from this file or standard input (-)
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["output", "stream", "incident"])]
    ticket: Option<String>,
    #[command(flatten)]
    via: Via,
    /// A folder, a file ending in .zip (.zip.age when it is encrypted), or - for standard output
    #[arg(long, default_value = ".", value_name = "DIR|FILE|-")]
    output: String,
    /// The file for the transport checkpoints, where it is not to lie beside the bundle
    #[arg(long, value_name = "FILE")]
    stream: Option<PathBuf>,
    /// Seal a part before it grows beyond this, and go on in another
    #[arg(long, value_name = "SIZE", conflicts_with = "ticket")]
    part_bytes_max: Option<ByteSize>,
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
        if let Some(ticket) = &self.ticket {
            let Self { asked, json, quiet, recipients, via, .. } = &self;
            return Ticketed { asked, json: *json, quiet: *quiet, recipients, via }.run(ticket, log);
        }
        if self.via.is_given() {
            let message = "--proxy is the way to a server, and there is none without --ticket".to_owned();
            return Err(Refusal { code: exit::USAGE, message, hint: None });
        }
        let target = Target::parse(&self.output);
        if target == Target::Stdout && self.json {
            let message = "--json and --output - both want standard output".to_owned();
            return Err(Refusal { code: exit::USAGE, message, hint: Some("write the bundle to a folder".into()) });
        }
        if target == Target::Stdout && self.part_bytes_max.is_some() {
            let message = "standard output takes one bundle, and parts are several".to_owned();
            return Err(Refusal {
                code: exit::USAGE,
                message,
                hint: Some("write them to a folder: --output DIR".into()),
            });
        }
        let Chosen { profile, version, values, steps } = self.asked.choose(None)?;
        let recipients = self.recipients.all()?;
        target.fits(!recipients.is_empty()).map_err(|why| Refusal {
            code: exit::USAGE,
            message: why.into(),
            hint: None,
        })?;
        let host = Arc::new(self.asked.host()?);
        let who = identity(&host);
        // An image has no key: whoever examines it seals.
        let here = if host.is_live() { who.name.clone() } else { identity(&Host::live()).name };
        let agent = state::identity(&state::folder(), &here)?;
        let interrupted = flag_on_signals().map_err(|error| Refusal::new(exit::IO, &error))?;
        let plan = Plan::of(&profile, version, steps, values);
        let last_receipt = journal::last_receipt(&state::folder()).map(|kept| kept.receipt);
        let (incident, recipients_of) = (self.incident, recipients.clone());
        let mandate = Mandate { incident, last_receipt, recipients: recipients_of, ..Mandate::default() };
        let mut collection = Collection::new(&host, who, &agent, plan, mandate, (interrupted, log.clone()))?;
        if target == Target::Stdout {
            collection.leave_out_sibling("its bundle is one of its own, and standard output takes one: give a folder");
        }
        let sibling = collection.take_sibling();
        let opened = target.open(&collection.name, self.stream.as_deref()).map_err(|error| {
            Refusal::new(exit::IO, &error).hint("choose a folder that can be written, with --output")
        })?;
        let bundle = collection.bundle;
        let Opened { out, sidecar, path, stream_path } = opened;
        let limits = PartLimits { bytes_max: self.part_bytes_max.map(|size| size.0), ..PartLimits::default() };
        let mut parts = target.parts(&collection.name, limits);
        let mut lines: Box<dyn Progress> = if self.quiet { Box::new(Silent) } else { Box::new(Lines::new()) };
        let (finished, beside) = match sibling {
            None => (collection.run(out, sidecar, &mut parts, &mut *lines), None),
            Some(sibling) => {
                let opened =
                    target.beside().open(&sibling.name, None).map_err(|error| Refusal::new(exit::IO, &error))?;
                let beside = target.beside().parts(&sibling.name, limits);
                run_beside(sibling, (opened, beside), || collection.run(out, sidecar, &mut parts, &mut *lines))
            }
        };
        let finished = finished.map_err(|error| unsealed(&error, path.as_deref()))?;
        let signer = format!("{} namespaces=\"holdfast-bundle\" {}", agent.id.principal(), agent.key.public_line());
        let signers = path.as_deref().and_then(|path| {
            leave_signer(path, &signer)
                .inspect_err(|error| tracing::warn!(%error, "allowed_signers could not be left beside the bundle"))
                .ok()
        });
        let code =
            beside.iter().map(Beside::exit_code).chain([finished.exit_code()]).max_by_key(|code| (*code == 1, *code));
        let code = code.unwrap_or_default();
        let (finished, server) = (&finished, None);
        let recipients = &recipients[..];
        let parts = parts.paths;
        let told = Told {
            agent: &agent,
            beside,
            bundle,
            code,
            finished,
            parts,
            path,
            recipients,
            server,
            signers,
            stream_path,
        };
        if self.json {
            told.as_json();
        } else {
            told.to_people();
        }
        Ok(code.into())
    }
}

/// The bundle beside the run's.
pub(super) struct Beside {
    bundle: BundleId,
    finished: Result<Finished, WriteError>,
    path: Option<PathBuf>,
    stream_path: Option<PathBuf>,
}

impl Beside {
    fn exit_code(&self) -> u8 {
        self.finished.as_ref().map_or(exit::UNSEALED, Finished::exit_code)
    }

    fn as_json(&self) -> serde_json::Value {
        let Self { bundle, finished, path, stream_path } = self;
        match finished {
            Ok(Finished { sealed, coverage, .. }) => json!({
                "bundle": bundle,
                "bytes": sealed.bytes,
                "coverage": coverage.collectors,
                "path": path,
                "sha256": sealed.sha256,
                "state": "sealed",
                "stream": stream_path,
            }),
            Err(error) => json!({
                "bundle": bundle,
                "error": crate::causes::with_causes(error),
                "path": path,
                "state": "partial",
                "stream": stream_path,
            }),
        }
    }

    fn to_people(&self, text: &mut String) {
        let place = self.path.as_deref().unwrap_or_else(|| std::path::Path::new("")).display();
        let _ = match &self.finished {
            Ok(Finished { sealed, .. }) => {
                writeln!(text, "  beside   {place}\n           bundle {}, {}", self.bundle, ByteSize(sealed.bytes))
            }
            Err(error) => {
                writeln!(text, "  beside   {place}\n           not sealed: {}", crate::causes::with_causes(error))
            }
        };
        if let Ok(finished) = &self.finished {
            text.push_str(&not_completed(&finished.coverage).concat());
        }
    }
}

/// Runs both at the same time; answers what came of `run` and of the sibling.
fn run_beside<T>(
    sibling: Collection,
    (opened, mut parts): (Opened, Parts),
    run: impl FnOnce() -> T,
) -> (T, Option<Beside>) {
    let bundle = sibling.bundle;
    let Opened { out, sidecar, path, stream_path } = opened;
    std::thread::scope(|scope| {
        let beside = std::thread::Builder::new()
            .name("sibling".to_owned())
            .spawn_scoped(scope, move || sibling.run(out, sidecar, &mut parts, &mut Silent));
        let ran = run();
        let finished = match beside {
            Ok(beside) => {
                beside.join().unwrap_or_else(|_| Err(WriteError::Output(std::io::Error::other("it fell over"))))
            }
            Err(error) => Err(WriteError::Output(error)),
        };
        (ran, Some(Beside { bundle, finished, path, stream_path }))
    })
}

/// A line for each step that did not go through everything.
fn not_completed(coverage: &bundle::coverage::Coverage) -> Vec<String> {
    let steps = coverage.collectors.iter().filter(|step| step.outcome != Outcome::Completed);
    steps
        .map(|step| {
            let reason = step.reason.as_deref().unwrap_or("no reason was given");
            format!("  {:<16} {:?}: {reason}\n", step.collector, step.outcome)
        })
        .collect()
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
pub(super) struct Told<'a> {
    pub(super) agent: &'a Identity,
    pub(super) beside: Option<Beside>,
    pub(super) bundle: BundleId,
    pub(super) code: u8,
    pub(super) finished: &'a Finished,
    /// The files of the parts after the first.
    pub(super) parts: Vec<PathBuf>,
    pub(super) path: Option<PathBuf>,
    /// Who can read it; nobody, where it is not encrypted.
    pub(super) recipients: &'a [Recipient],
    /// The address of the server that has it.
    pub(super) server: Option<&'a str>,
    pub(super) signers: Option<PathBuf>,
    pub(super) stream_path: Option<PathBuf>,
}

impl Told<'_> {
    pub(super) fn as_json(&self) {
        let Finished { sealed, coverage, interrupted, earlier } = self.finished;
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
            "parts": self.parts,
            "parts_sealed_before": earlier.iter().map(|part| {
                json!({"bundle": part.bundle, "bytes": part.sealed.bytes, "items": part.sealed.items,
                    "sha256": part.sealed.sha256})
            }).collect::<Vec<_>>(),
            "path": self.path,
            "principal": self.agent.id.principal(),
            "recipients": self.recipients.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "server": self.server,
            "sha256": sealed.sha256,
            "sibling": self.beside.as_ref().map(Beside::as_json),
            "state": "sealed",
            "stream": self.stream_path,
        });
        print(&told.to_string());
    }

    /// To standard error where standard output is the bundle.
    pub(super) fn to_people(&self) {
        let Finished { sealed, coverage, interrupted, earlier } = self.finished;
        let mut text = String::new();
        let how = if *interrupted { "sealed, interrupted" } else { "sealed" };
        let place = match (&self.path, self.server) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(server)) => server.to_owned(),
            (None, None) => "standard output".to_owned(),
        };
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
        if !self.recipients.is_empty() {
            let _ = writeln!(text, "  readable by {} recipients alone: it is encrypted", self.recipients.len());
        }
        if !earlier.is_empty() {
            let (items, bytes, entries) = self.finished.totals();
            let _ = writeln!(
                text,
                "  parts    {}, this is the last: {items} items in {entries} entries, {}",
                earlier.len() + 1,
                ByteSize(bytes)
            );
        }
        for path in &self.parts {
            let _ = writeln!(text, "           {}", path.display());
        }
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
        text.push_str(&not_completed(coverage).concat());
        if let Some(beside) = &self.beside {
            beside.to_people(&mut text);
        }
        if let (Some(path), Some(signers)) = (&self.path, &self.signers) {
            let _ = write!(text, "verify it: holdfast verify {}", path.display());
            for part in &self.parts {
                let _ = write!(text, " {}", part.display());
            }
            let _ = write!(text, " --signers {}", signers.display());
            if !self.recipients.is_empty() {
                text.push_str(" --identity KEY");
            }
        }
        if self.path.is_some() || self.server.is_some() {
            print(&text);
        } else {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
        }
    }
}
