//! `holdfast findings`: what the rules make of a bundle. Needs no server for a bundle that lies here.
//!
//! Nothing is judged before it is verified. Exit codes: 0 nothing found; 10 findings; 20 one of them high or critical; 1
//! tampered with, so no findings; 3 nothing found in a partial bundle, which proves nothing; 64 usage; 65 no bundle, or
//! mistakes in the rules; 74 reading failed.

mod show;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use bundle::verify::{Against, NotVerified, Report, Trust, Verified, check};
use findings::Rules;
use wire::BundleId;
use wire::finding::{FindingsReport, Level};

use super::verify::{beside, open, read_sidecar, read_signers, refused};
use super::{Failure, INPUT, IO, USAGE};
use crate::api::{self, Api};
use crate::config::Config;
use crate::rules;
use crate::show::{Look, print};

/// Say what the rules make of an evidence bundle.
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 nothing found, 10 findings, 20 one of them high or critical, 1 tampered with, \
    3 nothing found but the bundle is partial, 64 usage, 65 no bundle or mistakes in the rules, 74 input failed.")]
pub struct Findings {
    /// The bundle: a file here, or the id of one on the server.
    bundle: PathBuf,
    /// Your own rules: Sigma rules, which go over the shipped ones by name.
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// Keys that you trust: an OpenSSH allowed_signers file.
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
    /// The transport checkpoints; by default BUNDLE.stream.jsonl, where it exists.
    #[arg(long, value_name = "FILE")]
    stream: Option<PathBuf>,
    /// Of a bundle on the server: have its rules applied once more, as they are now.
    #[arg(long)]
    again: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Findings {
    /// Verifies, applies the rules, prints. Returns the exit code.
    pub fn run(&self) -> Result<u8, Failure> {
        let id = self.bundle.to_str().and_then(|text| text.parse::<BundleId>().ok());
        match id.filter(|_| !self.bundle.exists()) {
            Some(id) => self.on_server(id),
            None if self.again => Err(Failure::new(USAGE, anyhow!("--again is for a bundle on the server"))
                .hint("give its id; rules are always applied anew to a bundle that lies here")),
            None => self.here(),
        }
    }

    fn here(&self) -> Result<u8, Failure> {
        let rules = rules_of(self.rules.as_deref())?;
        let signers = self.signers.as_deref().map(read_signers).transpose()?;
        let stream = self.stream.clone().or_else(|| beside(&self.bundle).filter(|path| path.exists()));
        let sidecar = stream.as_deref().map(read_sidecar).transpose()?;
        let against = Against { signers: signers.as_ref(), sidecar: sidecar.as_ref() };
        let verified = match check(open(&self.bundle)?, against) {
            Ok(verified) => verified,
            Err(NotVerified::Rejected(report)) => return Err(self.tampered(&report)),
            Err(NotVerified::Unverified(_)) => {
                let error = anyhow!("{} ends before anything in it is signed", self.bundle.display());
                return Err(Failure::new(INPUT, error).hint("there is nothing in it that could be believed"));
            }
            Err(other) => return Err(refused(&self.bundle, other)),
        };
        let read = || std::fs::File::open(&self.bundle);
        let report = findings::of_bundle(&rules, &verified, read).map_err(|error| match error {
            error @ bundle::verify::ReadError::Changed(_) => {
                Failure::new(1, error).hint("somebody writes to it: copy the bundle, and verify the copy")
            }
            error @ bundle::verify::ReadError::Io(_) => Failure::new(IO, error),
        })?;
        self.told(&report, Some(&verified))
    }

    fn tampered(&self, report: &Report) -> Failure {
        let first = report.findings.kept().first().map(|finding| format!(": {} ({})", finding.message, finding.code));
        let name = self.bundle.display();
        let error = anyhow!("{name} was changed after it was signed{}: no findings", first.unwrap_or_default());
        Failure::new(1, error).hint(format!("holdfast verify {name} says what was changed"))
    }

    fn on_server(&self, bundle: BundleId) -> Result<u8, Failure> {
        if self.rules.is_some() || self.signers.is_some() || self.stream.is_some() {
            return Err(Failure::new(USAGE, anyhow!("the server has its own rules, and verified the bundle itself"))
                .hint(format!("holdfast evidence get {bundle}, then holdfast findings FILE")));
        }
        let config = Config::load()?;
        let api = Api::of(&config)?;
        let path = format!("/api/v1/evidence/{bundle}/findings");
        let answer = if self.again { api.post(&path, "application/json", b"{}".to_vec())? } else { api.get(&path)? };
        if self.json {
            let report: FindingsReport = api::read(api.server(), answer.clone())?;
            return print(&format!("{answer}\n")).map(|()| code(&report));
        }
        let report = api::read(api.server(), answer)?;
        self.told(&report, None)
    }

    fn told(&self, report: &FindingsReport, verified: Option<&Verified>) -> Result<u8, Failure> {
        let trusted = verified.map(|verified| matches!(verified.trust(), Trust::Trusted { .. }));
        if self.json {
            print(&show::json(report, trusted))?;
        } else {
            let host = verified.map(|verified| verified.header().host.as_str());
            print(&show::text(report, host, trusted, Look::of_stdout()))?;
        }
        Ok(code(report))
    }
}

fn code(report: &FindingsReport) -> u8 {
    match report.findings.iter().map(|finding| finding.level).max() {
        Some(Level::High | Level::Critical) => 20,
        Some(_) => 10,
        None if report.partial => 3,
        None => 0,
    }
}

/// The shipped rules, with those of the folder over them.
fn rules_of(folder: Option<&Path>) -> Result<Rules, Failure> {
    let site = folder.map(rules::files).transpose()?.unwrap_or_default();
    let texts: Vec<_> = site.into_iter().map(|file| file.text).collect();
    Rules::with_site(&texts).map_err(|mistakes| {
        let texts: Vec<String> = mistakes.0.iter().map(|one| one.to_string().replace("\n  hint: ", " — ")).collect();
        Failure::new(INPUT, anyhow!("{}", texts.join("; ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_in_rules_of_ones_own_name_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ours.yml"), "title: T\nname: n\n").unwrap();
        let failure = rules_of(Some(folder.path())).unwrap_err();
        let told = failure.error.to_string();
        assert_eq!(failure.code, INPUT);
        assert!(told.contains("ours.yml:1: missing field"), "{told}");
    }
}
