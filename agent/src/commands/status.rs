//! `holdfast-agent status`: from the state folder alone, whether the daemon runs or not.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use bundle::time::Clock as _;
use clap::Args;
use serde_json::json;
use wire::ByteSize;

use super::contain::{as_json_object, in_words};
use super::{Refusal, print};
use crate::contain::journal::{Entry, Journal};
use crate::daemon::status::Note;
use crate::enrolment::{Enrolment, EnrolmentError};
use crate::host::SystemClock;
use crate::orders::journal;
use crate::state;
use crate::transport::proxy::Proxy;
use crate::transport::spool::{About, Waiting, waiting_in};

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
        let contained = contained(&folder);
        let (enrolment, tls) = match Enrolment::load(&folder) {
            Err(EnrolmentError::Missing) if !contained.is_empty() => {
                unenrolled(&contained, self.json);
                return Ok(ExitCode::SUCCESS);
            }
            loaded => loaded?,
        };
        let until = tls.validity().map(|(_, until)| until).ok();
        let note = Note::read(&folder);
        let running = journal::running(&folder);
        let receipt = journal::last_receipt(&folder);
        // The lock is let go by the kernel, whatever became of its holder; a pid file would outlive it.
        let is_up = journal::is_held(&folder);
        let waiting = waiting_in(&folder);
        if self.json {
            let receipt = receipt.map(|kept| {
                json!({ "bundle": kept.bundle, "offset": kept.offset, "receipt": kept.receipt, "time": kept.time })
            });
            let told = json!({
                "agent": enrolment.agent, "cas": enrolment.cas(), "certificate_until": until,
                "containments": contained.iter().map(as_json_object).collect::<Vec<_>>(), "enrolled": true,
                "error": note.as_ref().and_then(|note| note.error.clone()),
                "last_contact": note.as_ref().and_then(|note| note.last_contact),
                "last_receipt": receipt,
                "passed_over": note.as_ref().map(|note| note.passed_over.clone()).unwrap_or_default(),
                "proxy": enrolment.proxy.as_ref().map(Proxy::url), "running": running, "servers": enrolment.servers,
                "spool": waiting.iter().map(as_json).collect::<Vec<_>>(),
                "spool_recipient": enrolment.spool_recipient, "up": is_up,
            });
            print(&told.to_string());
            return Ok(ExitCode::SUCCESS);
        }
        let mut text =
            format!("{} is enrolled; the daemon is {}\n", enrolment.agent, if is_up { "up" } else { "not up" });
        let _ = writeln!(text, "  server       {}", enrolment.servers.join(", "));
        if let Some(proxy) = &enrolment.proxy {
            let _ = writeln!(text, "  through      {}", proxy.url());
        }
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
        for (server, why) in note.iter().flat_map(|note| &note.passed_over) {
            let _ = writeln!(text, "  passed over  {server}: {why}");
        }
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
        if contained.is_empty() {
            let _ = writeln!(text, "  contained    no");
        }
        for entry in &contained {
            let _ = writeln!(text, "  contained    {}", in_words(entry));
        }
        to_people(&waiting, enrolment.spool_recipient.is_some(), &mut text);
        print(text.trim_end());
        Ok(ExitCode::SUCCESS)
    }
}

/// The containments that are under way.
fn contained(folder: &Path) -> Vec<Entry> {
    // Without the folder there never was one, and asking makes none.
    if !folder.join("contain").is_dir() {
        return Vec::new();
    }
    let under_way = Journal::open(folder).and_then(|journal| journal.under_way());
    under_way.unwrap_or_default().into_iter().flatten().collect()
}

/// A host that is not enrolled, and contained at its console.
fn unenrolled(contained: &[Entry], as_one_object: bool) {
    if as_one_object {
        let containments: Vec<_> = contained.iter().map(as_json_object).collect();
        return print(&json!({ "containments": containments, "enrolled": false }).to_string());
    }
    let mut text = "this host is not enrolled\n".to_owned();
    for entry in contained {
        let _ = writeln!(text, "  contained    {}", in_words(entry));
    }
    print(text.trim_end());
}

fn as_json(waiting: &Waiting) -> serde_json::Value {
    let About { bundle, full, order, reason, refused, since, .. } = &waiting.about;
    let bytes = waiting.bytes();
    json!({
        "bundle": bundle, "bytes": bytes, "full": full, "order": order, "reason": reason, "refused": refused,
        "since": since,
    })
}

/// What waits for the server. It can be counted here, and not read.
fn to_people(waiting: &[Waiting], has_recipient: bool, text: &mut String) {
    let Some(oldest) = waiting.first() else {
        let spool = if has_recipient { "empty" } else { "none: the server has not named a recipient for it yet" };
        let _ = writeln!(text, "  spool        {spool}");
        return;
    };
    let bytes = ByteSize(waiting.iter().map(Waiting::bytes).sum());
    let count = waiting.len();
    let bundles = if count == 1 { "bundle" } else { "bundles" };
    let since = oldest.about.since;
    let _ = writeln!(text, "  spool        {bytes} of {count} {bundles} wait for the server, since {since}");
    for waiting in waiting {
        let About { bundle, full, reason, refused, .. } = &waiting.about;
        let _ = writeln!(text, "    {bundle}  {}: {reason}", ByteSize(waiting.bytes()));
        if let Some(full) = full {
            let _ = writeln!(text, "      full: {full}; what came after this was not kept");
        }
        if let Some(refused) = refused {
            let _ = writeln!(text, "      not taken: {refused}");
        }
    }
}
