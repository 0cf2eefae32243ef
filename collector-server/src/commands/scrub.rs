//! `holdfast-server scrub`: everything that is held is read and compared with what was written down of it.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use bundle::time::Clock;

use super::place::{Place, bytes_in_words};
use super::{Failure, ORPHANS, WRONG};
use crate::data_dir::DataDir;
use crate::holdings::scrub::{Level, Report, Scrub as Work};
use crate::store::sql::OpenError;

/// Read everything and compare it with what was written down of it, while the server serves. Ends with 0 when all is well,
/// with 1 when something was lost or changed, and with 3 when there are only objects that no record names
#[derive(clap::Args)]
pub struct Scrub {
    /// See [`Place`].
    #[command(flatten)]
    place: Place,
    /// Read no faster than this
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    read_bytes_per_sec: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Scrub {
    /// Does it. Nothing is changed.
    ///
    /// # Errors
    /// [`Failure`]: it could not be done.
    pub async fn run(self, clock: &dyn Clock) -> Result<ExitCode, Failure> {
        let signer = DataDir::signer_in(&self.place.data)?.public();
        let held = match self.place.open().await {
            Err(failure) if matches!(failure.error.downcast_ref(), Some(OpenError::Log { .. })) => {
                writeln!(std::io::stderr(), "{failure}")?;
                return Ok(WRONG.into());
            }
            held => held?,
        };
        let heads = held.data.join("custody-heads.jsonl");
        let now = clock.realtime();
        let work = Work { heads: &heads, now, objects: &held.objects, store: &held.records, signer };
        let report = work.run(self.read_bytes_per_sec).await;
        held.records.close().await;
        let report = report.context("the records cannot be read")?;
        print(&report, self.json)?;
        Ok(match (report.is_sound(), report.levels.contains_key(&Level::Orphan)) {
            (false, _) => WRONG.into(),
            (true, true) => ORPHANS.into(),
            (true, false) => ExitCode::SUCCESS,
        })
    }
}

/// The report, on standard output.
///
/// # Errors
/// When it cannot be written.
pub fn print(report: &Report, as_json: bool) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    if as_json {
        let text = serde_json::to_string(report).context("the report cannot be written")?;
        return Ok(writeln!(out, "{text}")?);
    }
    for finding in &report.findings {
        let level = match finding.level {
            Level::Wrong => "WRONG",
            Level::Orphan => "orphan",
            Level::Note => "note",
        };
        writeln!(out, "{level:<8} {}: {}", finding.subject, finding.what)?;
    }
    let checked = &report.checked;
    writeln!(
        out,
        "read       {}: {} bundles in {} segments, {} alerts, {} dead letters",
        bytes_in_words(checked.bytes),
        checked.bundles,
        checked.segments,
        checked.alerts,
        checked.dead_letters
    )?;
    writeln!(
        out,
        "compared   {} custody leaves, {} signed heads, {} receipts, {} objects in the store",
        checked.leaves, checked.heads, checked.receipts, checked.objects
    )?;
    let count = |level| report.levels.get(&level).copied().unwrap_or(0);
    writeln!(out, "found      {} wrong, {} orphans", count(Level::Wrong), count(Level::Orphan))?;
    Ok(())
}
