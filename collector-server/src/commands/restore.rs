//! `holdfast-server restore`: a backup is brought back and read through.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bundle::time::Clock;
use wire::api::EvidenceState;

use super::place::{Place, bytes_in_words};
use super::scrub::print;
use super::{Failure, INPUT};
use crate::data_dir::DataDir;
use crate::holdings::manifest::{self, Manifest};
use crate::holdings::restore::{check, restore};
use crate::holdings::scrub::Scrub;
use crate::process::open_objects;
use crate::store::Store as _;
use crate::store::sql::Database;

/// Bring a backup back, into an empty place
#[derive(clap::Args)]
pub struct Restore {
    /// The folder of backups
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Which of them; the last one when absent
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
    /// See [`Place`].
    #[command(flatten)]
    place: Place,
}

fn input(error: anyhow::Error, hint: &str) -> Failure {
    Failure { code: INPUT, error, hint: Some(hint.to_owned()) }
}

impl Restore {
    /// Does it. The digests of the backup are compared first, and what was brought back is scrubbed after.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, clock: &dyn Clock) -> Result<(), Failure> {
        let snapshot = self.which()?;
        let manifest = check(&snapshot).context("this backup cannot be used")?;
        let Place { data, objects, records } = self.place;
        if std::fs::read_dir(&data).is_ok_and(|mut there| there.next().is_some()) {
            let error = anyhow!("{} is not empty", data.display());
            return Err(input(error, "a backup is brought back into a new place only; nothing is overwritten"));
        }
        let address = records.address()?;
        let dir = DataDir::open(&data).context("the data directory cannot be made")?;
        let opened = match &address {
            Some(address) => Database::at(address).await,
            None => Database::in_file(&dir.database()).await,
        };
        let records = opened.context("the records cannot be opened")?;
        let objects = open_objects(&dir.objects(), objects.as_ref()).await?;
        let moved = restore(&self.from, (&snapshot, &manifest), &dir, &records, &objects).await;
        let moved = moved.context("the backup was not brought back; clear the place before you try again")?;
        let mut out = std::io::stdout();
        writeln!(out, "restored   {}", snapshot.display())?;
        writeln!(out, "objects    {} ({})", moved.moved.len(), bytes_in_words(moved.bytes()))?;
        let heads = dir.custody_heads();
        let (now, signer) = (clock.realtime(), dir.signer()?.public());
        let scrub = Scrub { heads: &heads, now, objects: &objects, store: &records, signer };
        let report = scrub.run(None).await.context("what was restored cannot be read")?;
        print(&report, false)?;
        tell_what_is_missing(&records, &manifest).await?;
        records.close().await;
        if report.is_sound() {
            return Ok(());
        }
        let error = anyhow!("what was restored is not what was acknowledged");
        Err(Failure { code: super::WRONG, error, hint: Some("try an earlier backup: --snapshot NAME".to_owned()) })
    }

    fn which(&self) -> Result<PathBuf, Failure> {
        let there = manifest::snapshots(&self.from);
        let there = there.with_context(|| format!("{} cannot be read", self.from.display()))?;
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let found = match &self.snapshot {
            None => there.last(),
            Some(wanted) => there.iter().find(|path| name(path) == *wanted),
        };
        found.cloned().ok_or_else(|| {
            let names: Vec<String> = there.iter().map(|path| name(path)).collect();
            let hint =
                if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(" ")) };
            input(anyhow!("{} has no such backup", self.from.display()), &hint)
        })
    }
}

/// Evidence that was acknowledged after the backup is not in it.
async fn tell_what_is_missing(records: &Database, manifest: &Manifest) -> Result<(), Failure> {
    let mut err = std::io::stderr();
    let made = manifest.made;
    writeln!(
        err,
        "note: what was acknowledged after {made} is not in this backup, and its receipts prove that it was held"
    )?;
    for record in records.evidence_in(EvidenceState::Receiving).await.context("the records cannot be read")? {
        let (bundle, by) = (record.view.bundle, &record.view.brought_by);
        writeln!(
            err,
            "note: bundle {bundle} was on its way: {by} may still hold what comes after byte {}",
            record.offset
        )?;
    }
    Ok(())
}
