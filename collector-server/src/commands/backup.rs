//! `holdfast-server backup`: a copy of everything, while the server serves.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use bundle::time::Clock;

use super::Failure;
use super::place::{Place, bytes_in_words};
use crate::holdings::backup::Source;

/// Copy everything that the server holds, while it serves
#[derive(clap::Args)]
pub struct Backup {
    /// See [`Place`].
    #[command(flatten)]
    place: Place,
    /// The folder of backups: empty, or with earlier ones, whose objects are not copied again
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Print the backup's manifest as JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// Does it. Nothing is overwritten: each backup has a folder of its own.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, clock: &dyn Clock) -> Result<(), Failure> {
        let held = self.place.open().await?;
        let source = Source { data: &held.data, objects: &held.objects, records: &held.records };
        let made = source.backup(&self.output, clock.realtime()).await;
        held.records.close().await;
        let made = made.with_context(|| format!("no backup was made in {}", self.output.display()))?;
        let mut out = std::io::stdout();
        for letter in &made.went {
            writeln!(std::io::stderr(), "note: {letter} was replayed and taken away meanwhile")?;
        }
        let manifest = &made.manifest;
        if self.json {
            let text = serde_json::to_string(manifest).context("the manifest cannot be written")?;
            return Ok(writeln!(out, "{text}")?);
        }
        let rows: u64 = manifest.tables.values().map(|table| table.rows).sum();
        let (count_new, bytes_new) = made.new;
        writeln!(out, "backup     {}", made.snapshot.display())?;
        writeln!(out, "records    {rows} rows")?;
        writeln!(
            out,
            "objects    {} ({}), of which {count_new} ({}) are new",
            manifest.objects.count,
            bytes_in_words(manifest.objects.bytes),
            bytes_in_words(bytes_new)
        )?;
        writeln!(out, "custody    {} leaves, root {}", manifest.custody.size, manifest.custody.root)?;
        writeln!(out, "manifest   sha256 {}", made.manifest_sha256)?;
        Ok(())
    }
}
