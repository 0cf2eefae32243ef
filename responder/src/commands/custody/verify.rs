//! `holdfast custody verify`: nobody changed, removed or added an entry, by the server's own signature, and by what
//! this machine and others have seen of the log before.

use std::io::{BufReader, Read};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use bundle::checkpoint::to_sorted_json;
use bundle::custody_log::{CustodyError, VerifiedLog, verify_export};
use bundle::sign::fingerprint;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use ssh_key::PublicKey;
use wire::Instant;
use wire::custody::HeadPoint;

use super::earlier::{self, Before, Witness};
use crate::api::Api;
use crate::commands::{Failure, INPUT, IO, UNAVAILABLE};
use crate::config::Config;
use crate::escape::shown;
use crate::server_key::server_key;
use crate::show::{print, time};

/// The file in the configuration's folder that holds the last head that was seen.
const SEEN_FILE: &str = "custody_head.json";
/// The log is consistent, but nobody here vouches for the key that signed it.
const UNKNOWN_KEY: u8 = 4;

/// Prove that nobody rewrote the custody log.
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 it holds, 1 it was tampered with, 4 consistent but nobody here vouches for the \
    key, 65 no log, 69 the server is not available, 74 reading failed.")]
pub struct Verify {
    /// An export of the log, or `-` for standard input; without one, the server is asked.
    file: Option<PathBuf>,
    /// A state of the log that somebody kept: a signed head, an earlier export, or the receipts of a bundle.
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// All the signed heads that a witness kept: the file or the folder of `holdfast-server serve --heads-to`.
    #[arg(long, value_name = "FILE|DIR")]
    heads: Option<PathBuf>,
    /// A bundle, which names the last receipt that its agent had; may be repeated.
    #[arg(long = "bundle", value_name = "FILE")]
    bundles: Vec<PathBuf>,
    /// The server's key, or a file that holds it; by default that of your login.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What this machine has seen of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    #[serde(flatten)]
    point: HeadPoint,
    /// The key that had signed it, `ssh-ed25519 AAAA…`.
    signer: String,
    /// When it was signed.
    time: Instant,
}

impl From<Seen> for Before {
    fn from(seen: Seen) -> Self {
        let what = format!("as seen here on {}", time(seen.time));
        Self { point: seen.point, signed: seen.time, what, is_seen_here: true }
    }
}

/// What is printed.
struct Outcome {
    log: VerifiedLog,
    /// Entries that were seen here before, when an export ends earlier.
    older_than: Option<u64>,
    /// The earlier states that are on the way to this one.
    unchanged: Vec<Before>,
    /// Whose heads are all on the way to this one.
    witness: Option<Witness>,
}

impl Verify {
    /// Verifies. Returns the exit code.
    pub fn run(self, config: &Config) -> Result<u8, Failure> {
        let key = server_key(self.key.as_deref())?;
        let seen = seen(config)?.filter(|seen| key.as_ref().is_some_and(|key| line_of(key) == seen.signer));
        let seen_size = seen.as_ref().map_or(0, |seen| seen.point.size);
        let key_given = key.as_ref();
        let mut given: Vec<Before> =
            self.head.iter().map(|path| earlier::last_of(path, key_given)).collect::<Result<_, _>>()?;
        for path in &self.bundles {
            given.push(earlier::of_bundle(path, key_given)?);
        }
        given.extend(seen.map(Before::from));
        let witness = self.heads.as_deref().map(|path| Witness::read(path, key_given)).transpose()?;
        let result = self.verify(config, key_given, given, witness)?;
        // Only a log whose key is known is a measure for later ones.
        if key.is_some() && result.log.head.point.size >= seen_size {
            let head = &result.log.head;
            let now = Seen { point: head.point, signer: line_of(&result.log.signer), time: head.time };
            config.write(SEEN_FILE, &format!("{}\n", to_sorted_json(&now)))?;
        }
        if self.json {
            print(&format!("{}\n", as_json(&result, key.is_some())))?;
        } else {
            print(&text(&result, key.is_some()))?;
        }
        Ok(if key.is_some() { 0 } else { UNKNOWN_KEY })
    }

    /// The log, held against each earlier state.
    fn verify(
        &self,
        config: &Config,
        key: Option<&PublicKey>,
        given: Vec<Before>,
        witness: Option<Witness>,
    ) -> Result<Outcome, Failure> {
        let witnessed = witness.iter().flat_map(|witness| &witness.heads);
        let sizes = given.iter().chain(witnessed.clone()).map(|before| before.point.size);
        let log = self.check(config, key, sizes).map_err(|error| self.failed(error, None))?;
        let mut older_than = None;
        for before in given.iter().chain(witnessed) {
            match log.continues(&before.point) {
                Ok(()) => {}
                // An export that was made before is no forgery; from the server it would be one, and so it is when the
                // server signed it after it had signed for more.
                Err(CustodyError::Shortened { before: size, .. })
                    if self.file.is_some() && (before.is_seen_here || log.head.time < before.signed) =>
                {
                    older_than = older_than.max(Some(size));
                }
                Err(error) => return Err(self.failed(Checked::Log(error), Some(before))),
            }
        }
        let unchanged = given.into_iter().filter(|before| before.point.size <= log.head.point.size).collect();
        Ok(Outcome { log, older_than, unchanged, witness })
    }

    fn check(
        &self,
        config: &Config,
        key: Option<&PublicKey>,
        sizes: impl Iterator<Item = u64>,
    ) -> Result<VerifiedLog, Checked> {
        let verify = |source: &mut dyn Read| verify_export(BufReader::new(source), key, sizes).map_err(Checked::Log);
        match self.file.as_deref() {
            Some(path) if path.as_os_str() == "-" => verify(&mut std::io::stdin().lock()),
            Some(path) => verify(&mut earlier::open(path)?),
            None => {
                let api = Api::of(config)?;
                verify(&mut api.send(api.request(Method::GET, "/api/v1/custody/export"))?)
            }
        }
    }

    fn failed(&self, error: Checked, before: Option<&Before>) -> Failure {
        let error = match error {
            Checked::Failure(failure) => return failure,
            Checked::Log(error) => error,
        };
        let code = match &error {
            CustodyError::Read(_) if self.file.is_none() => UNAVAILABLE,
            CustodyError::Read(_) => IO,
            CustodyError::LineBad(1, _)
            | CustodyError::LineTooLong(_)
            | CustodyError::TooManyLeaves
            | CustodyError::VersionUnknown { .. }
            | CustodyError::HeadMissing => INPUT,
            _ => 1,
        };
        let hint = match &error {
            CustodyError::Rewritten(_) | CustodyError::Shortened { .. } => {
                "keep this log and the head that you hold: together they prove it. Whom else has the server given heads to?"
            }
            CustodyError::HeadByAnother => "was the server set up anew? then log in again; otherwise keep this log",
            CustodyError::VersionUnknown { .. } => "a newer holdfast may read it",
            CustodyError::HeadMissing => "was the download cut off? get it again",
            _ if code == 1 => "keep this copy: it is evidence itself. Then compare it with other exports",
            _ => "holdfast custody export writes one",
        };
        // The texts of the crate carry their own hints, which are told here.
        let message = error.to_string();
        let message = message.split("\n  hint: ").next().unwrap_or_default().to_owned();
        let name = self.file.as_deref().map_or("the server's log", |path| path.to_str().unwrap_or("the log"));
        // Against which of the states that were given.
        let against = before.map(|before| format!(" ({} entries, {})", before.point.size, before.what));
        Failure::new(code, anyhow!("{name}: {message}{}", against.unwrap_or_default())).hint(hint)
    }
}

/// What ends a check.
enum Checked {
    Failure(Failure),
    Log(CustodyError),
}

impl From<Failure> for Checked {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

fn seen(config: &Config) -> Result<Option<Seen>, Failure> {
    let Some(text) = config.read(SEEN_FILE)? else { return Ok(None) };
    let path = config.path(SEEN_FILE);
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} cannot be read", path.display())).map_err(
        |error| Failure::new(INPUT, error).hint("it tells of a rewritten log: restore it rather than remove it"),
    )
}

fn line_of(key: &PublicKey) -> String {
    let mut key = key.clone();
    key.set_comment("");
    key.to_openssh().unwrap_or_default().trim_end().to_owned()
}

fn text(outcome: &Outcome, is_known: bool) -> String {
    let Outcome { log, older_than, unchanged, witness } = outcome;
    let point = log.head.point;
    let mut lines = vec![format!("custody:     holds: no entry of {} was changed, removed or added", point.size)];
    if let (Some(first), Some(last)) = (log.first, log.last) {
        lines.push(format!("entries:     from {} to {}", time(first), time(last)));
    }
    let vouched = if is_known { "the server's" } else { "which nobody here vouches for: give --key" };
    lines.push(format!("signed by:   key {}, {vouched}, on {}", fingerprint(&log.signer), time(log.head.time)));
    lines.push(format!("root:        {}", point.root));
    for Before { point, what, .. } in unchanged {
        lines.push(format!("unchanged:   the first {}, {what}", point.size));
    }
    if let Some((witness, last)) = witness.as_ref().and_then(|witness| Some((witness, witness.farthest()?))) {
        lines.push(witnessed(witness, last, point.size));
        lines.extend(stamped(witness));
    }
    if unchanged.is_empty() && older_than.is_none() && witness.is_none() {
        lines.push("unchanged:   nobody knows: no earlier state was at hand".to_owned());
    }
    if let Some(seen) = older_than {
        lines.push(format!("older:       {seen} entries were seen here before; this export ends earlier"));
    }
    if let Some(back) = log.clock_back {
        let seconds = back.by_ns / 1_000_000_000;
        lines.push(format!("clock:       went back by {seconds} s before entry {}", back.seq));
    }
    lines.push("not proven:  that the server wrote down all that it did".to_owned());
    lines.iter().map(|line| shown(line) + "\n").collect()
}

/// Whose heads they are, how many, and how far they reach.
fn witnessed(witness: &Witness, last: &Before, entries: u64) -> String {
    let reach = match (last.point.size, entries) {
        (ahead, now) if ahead > now => format!("it is {} entries ahead of this older export", ahead - now),
        (same, now) if same == now => "it is up to date".to_owned(),
        (behind, now) => format!("it is {} entries behind", now - behind),
    };
    format!(
        "witness:     {} heads in {}, the last of {} entries, {}: {reach}",
        witness.heads.len(),
        witness.path.display(),
        last.point.size,
        last.what
    )
}

fn stamped(witness: &Witness) -> Option<String> {
    let last = witness.stamps.last()?;
    Some(format!(
        "time stamps: {}, the last of {}; whose, says openssl ts -verify -in {} -data {} -CAfile FILE",
        witness.stamps.len(),
        last.at,
        last.token.display(),
        last.token.with_extension("json").display()
    ))
}

fn as_json(outcome: &Outcome, is_known: bool) -> serde_json::Value {
    let log = &outcome.log;
    let points: Vec<_> = outcome.unchanged.iter().map(|before| before.point).collect();
    json!({
        "clock_back": log.clock_back.map(|back| json!({"by_ns": back.by_ns.to_string(), "seq": back.seq})),
        "first": log.first,
        "head": log.head,
        "key": fingerprint(&log.signer),
        "last": log.last,
        "not_proven": "that the server wrote down all that it did",
        "trusted": is_known,
        "time_stamps": outcome.witness.as_ref().map(|witness| witness.stamps.iter().map(|stamp| &stamp.at).collect::<Vec<_>>()),
        "unchanged_since": points,
        "v": 1,
        "witness": outcome.witness.as_ref().and_then(Witness::farthest).map(|last| last.point),
    })
}

#[cfg(test)]
mod tests {
    use bundle::custody_log::sign_head;
    use bundle::merkle::Tree;
    use bundle::sign::SigningKey;
    use wire::api::CustodyLine;
    use wire::custody::Leaf;

    use super::*;

    fn leaf(seq: u64, actor: &str) -> String {
        let leaf = Leaf {
            actor: actor.into(),
            details: serde_json::Map::new(),
            event: "alert_received".into(),
            incident: None,
            seq,
            subject: "alert:1".into(),
            time: Instant(i128::from(seq) * 1_000_000_000),
            v: 1,
        };
        to_sorted_json(&leaf)
    }

    fn export(leaves: &[String]) -> String {
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.push(leaf.as_bytes());
        }
        let point = HeadPoint { root: tree.root(), size: tree.size() };
        let head = CustodyLine::Head(sign_head(&SigningKey::from_seed(&[9; 32]), point, Instant(0)).unwrap());
        let lines =
            leaves.iter().map(|leaf| to_sorted_json(&CustodyLine::Leaf(leaf.clone()))).chain([to_sorted_json(&head)]);
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }

    struct Case {
        dir: tempfile::TempDir,
    }

    impl Case {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn verify(&self, log: &str, head: Option<PathBuf>) -> Result<u8, Failure> {
            let config = Config::at(self.dir.path().join("c")).unwrap();
            let key = Some(SigningKey::from_seed(&[9; 32]).public_line());
            let (heads, bundles) = (None, Vec::new());
            Verify { file: Some(self.write("log", log)), head, heads, bundles, key, json: true }.run(&config)
        }
    }

    #[test]
    fn a_log_that_is_signed_again_is_told_by_what_was_seen() {
        let case = Case { dir: tempfile::tempdir().unwrap() };
        let leaves: Vec<String> = (0..5).map(|seq| leaf(seq, "user:ada")).collect();
        assert_eq!(case.verify(&export(&leaves[..3]), None).unwrap(), 0);
        assert_eq!(case.verify(&export(&leaves), None).unwrap(), 0, "it grew");
        assert_eq!(case.verify(&export(&leaves[..3]), None).unwrap(), 0, "an older export is no forgery");
        let mut rewritten = leaves.clone();
        rewritten[1] = leaf(1, "user:eve");
        let failure = case.verify(&export(&rewritten), None).unwrap_err();
        assert_eq!(failure.code, 1);
        assert!(failure.error.to_string().contains("the log was rewritten, and signed again"), "{}", failure.error);
        assert!(failure.hint.unwrap().starts_with("keep this log"));
        let failure = case.verify("{}\n", None).unwrap_err();
        assert_eq!((failure.code, failure.hint.as_deref()), (INPUT, Some("holdfast custody export writes one")));
    }

    #[test]
    fn a_head_that_others_kept_is_as_good() {
        let leaves: Vec<String> = (0..5).map(|seq| leaf(seq, "user:ada")).collect();
        let mut rewritten = leaves.clone();
        rewritten[1] = leaf(1, "user:eve");
        let case = Case { dir: tempfile::tempdir().unwrap() };
        let kept = case.write("kept", &export(&leaves[..2]));
        assert_eq!(case.verify(&export(&leaves), Some(kept.clone())).unwrap(), 0);
        let fresh = Case { dir: tempfile::tempdir().unwrap() };
        assert_eq!(fresh.verify(&export(&rewritten), Some(kept)).unwrap_err().code, 1);
        let foreign = sign_head(
            &SigningKey::from_seed(&[8; 32]),
            HeadPoint { root: Tree::default().root(), size: 0 },
            Instant(0),
        );
        let foreign = fresh.write("foreign", &to_sorted_json(&foreign.unwrap()));
        assert_eq!(fresh.verify(&export(&leaves), Some(foreign)).unwrap_err().code, INPUT);
    }
}
