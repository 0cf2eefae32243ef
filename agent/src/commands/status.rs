//! `holdfast-agent status`: from the state folder alone, whether the daemon runs or not.

use std::fmt::Write as _;
use std::process::ExitCode;

use bundle::time::Clock as _;
use clap::Args;
use serde_json::json;
use wire::ByteSize;

use super::{Refusal, print};
use crate::daemon::status::Note;
use crate::enrolment::Enrolment;
use crate::host::SystemClock;
use crate::orders::journal;
use crate::state;

/// See [`super::Cli`].
#[derive(Args)]
pub struct Status {
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> Result<ExitCode, Refusal> {
        let folder = state::folder();
        let (enrolment, tls) = Enrolment::load(&folder)?;
        let until = tls.validity().map(|(_, until)| until).ok();
        let note = Note::read(&folder);
        let running = journal::running(&folder);
        let receipt = journal::last_receipt(&folder);
        // The lock is let go by the kernel, whatever became of its holder; a pid file would outlive it.
        let is_up = journal::is_held(&folder);
        if self.json {
            let receipt = receipt.map(|kept| {
                json!({ "bundle": kept.bundle, "offset": kept.offset, "receipt": kept.receipt, "time": kept.time })
            });
            let told = json!({
                "agent": enrolment.agent, "cas": enrolment.cas(), "certificate_until": until, "enrolled": true,
                "error": note.as_ref().and_then(|note| note.error.clone()),
                "last_contact": note.as_ref().and_then(|note| note.last_contact),
                "last_receipt": receipt, "running": running, "servers": enrolment.servers, "up": is_up,
            });
            print(&told.to_string());
            return Ok(ExitCode::SUCCESS);
        }
        let mut text =
            format!("{} is enrolled; the daemon is {}\n", enrolment.agent, if is_up { "up" } else { "not up" });
        let _ = writeln!(text, "  server       {}", enrolment.servers.join(", "));
        if let Some(until) = until {
            let is_over = until <= SystemClock.realtime();
            let _ = writeln!(
                text,
                "  certificate  until {until}{}",
                if is_over { ": it is over, enrol again" } else { "" }
            );
        }
        match note.as_ref().and_then(|note| note.last_contact) {
            Some(at) => writeln!(text, "  last contact {at}"),
            None => writeln!(text, "  last contact never"),
        }
        .unwrap_or_default();
        if let Some(error) = note.and_then(|note| note.error) {
            let _ = writeln!(text, "  since then   {error}");
        }
        if let Some(running) = running {
            let how = if is_up { "runs since" } else { "was interrupted; begun at" };
            let _ =
                writeln!(text, "  order        {} {how} {}, bundle {}", running.order, running.started, running.bundle);
        }
        if let Some(kept) = receipt {
            let _ =
                writeln!(text, "  last receipt {} of bundle {} at {}", ByteSize(kept.offset), kept.bundle, kept.time);
        }
        print(text.trim_end());
        Ok(ExitCode::SUCCESS)
    }
}
