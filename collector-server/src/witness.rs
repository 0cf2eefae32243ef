//! Custody heads leave the server: whoever has this machine can write another log and sign it, but cannot change what
//! lies elsewhere by then.
//!
//! Each minute in which the log grew its signed head is appended to a file of the data directory and, where the operator
//! names one, to a file elsewhere (another machine's share, a medium that is written once). Once a day, and at the stop,
//! a time-stamping authority (RFC 3161) is asked to sign that the head was there. What fails is tried again, and is said
//! in `/readyz` and in the metrics; the server goes on without it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bundle::timestamp::{Response, request};
use reqwest::Url;
use tokio::time::{Instant, timeout};
use wire::Sha256;
use wire::custody::HeadPoint;

use crate::app::App;
use crate::app::escalation::outgoing::Outgoing;

/// How often the signed head is written down.
const HEADS_SECS: u64 = 60;
/// How often it is stamped.
const STAMP_SECS: u64 = 24 * 3600;
/// A file elsewhere may hang; an authority too.
const WAIT: Duration = Duration::from_secs(20);
/// After a failure the authority is asked again after a minute, and after twice as long each time, up to an hour.
const ASK_AGAIN_SECS: u64 = 60;
const ASK_AGAIN_SECS_MAX: u64 = 3600;
/// The longest answer of an authority: a token with a chain of certificates has some 10 KB.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const HEADS_FILE: &str = "custody-heads.jsonl";

/// What did not go well lately, in words, by where it went.
#[derive(Debug, Default)]
pub struct Standing(Mutex<BTreeMap<&'static str, String>>);

impl Standing {
    /// One line for each.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.iter().map(|(to, why)| format!("custody heads do not leave to {to}: {why}")).collect()
    }

    fn note(&self, to: &'static str, outcome: &Result<(), String>) {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => {
                warnings.remove(to);
                metrics::gauge!("holdfast_custody_heads_failing", "to" => to).set(0.0);
                metrics::counter!("holdfast_custody_heads_total", "to" => to).increment(1);
            }
            Err(why) => {
                tracing::error!(to, why, "the custody head was not written down");
                metrics::gauge!("holdfast_custody_heads_failing", "to" => to).set(1.0);
                metrics::counter!("holdfast_custody_heads_failed_total", "to" => to).increment(1);
                warnings.insert(to, why.clone());
            }
        }
    }
}

/// Where heads go.
#[derive(Clone, Debug, Default)]
pub struct To {
    /// A file elsewhere, or a folder.
    pub elsewhere: Option<PathBuf>,
    /// The address of a time-stamping authority.
    pub authority: Option<Url>,
}

/// See the module.
pub struct Witness {
    /// Files, by what they are called; each with the root that was last written there.
    files: Vec<(&'static str, PathBuf, Option<Sha256>)>,
    authority: Option<Authority>,
    /// Where heads and their stamps are kept.
    folders: Vec<PathBuf>,
}

struct Authority {
    outgoing: Outgoing,
    url: Url,
    stamped: Option<Sha256>,
    /// When it is to be asked next.
    due: Instant,
    failures: u32,
}

impl Witness {
    /// Heads go to `own`, and where `to` says; stamps are kept in `stamps`.
    ///
    /// # Errors
    /// In words, when there can be no TLS, or when the folder elsewhere is not there.
    pub fn new(own: PathBuf, stamps: PathBuf, to: To) -> Result<Self, String> {
        let mut files = vec![("the data directory", own, None)];
        let mut folders = vec![stamps];
        if let Some(path) = to.elsewhere {
            if path.is_dir() {
                files.push(("elsewhere", path.join(HEADS_FILE), None));
                folders.push(path);
            } else if path.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir()) {
                files.push(("elsewhere", path, None));
            } else {
                return Err(format!("{} is in no folder that is there", path.display()));
            }
        }
        let authority = match to.authority {
            Some(url) => Some(Authority {
                outgoing: Outgoing::new(None, WAIT)?,
                url,
                stamped: None,
                due: Instant::now()
                    + since_last_stamp(&folders).map_or(Duration::ZERO, |since| day().saturating_sub(since)),
                failures: 0,
            }),
            None => None,
        };
        Ok(Self { files, authority, folders })
    }

    /// Writes heads down until the server stops. The last one is for [`Self::round`], when all else has ended.
    pub async fn run(mut self, app: Arc<App>) -> Self {
        let mut every = tokio::time::interval(Duration::from_secs(HEADS_SECS));
        loop {
            tokio::select! {
                () = app.stop.cancelled() => return self,
                // Of servers that share the records, the leader.
                _ = every.tick() => if app.peers.leads() {
                    self.round(&app, false).await;
                },
            }
        }
    }

    /// Whether this head is wherever it should be by now.
    fn has(&self, point: HeadPoint, is_last: bool) -> bool {
        let is_stamped = self.authority.as_ref().is_none_or(|authority| !authority.is_due(point, is_last));
        is_stamped && self.files.iter().all(|(_, _, written)| *written == Some(point.root))
    }

    /// Writes the head of now down, wherever it is not yet, and has it stamped when that is due.
    pub async fn round(&mut self, app: &App, is_last: bool) {
        let signed = async {
            let point = app.store.head().await.map_err(|error| format!("{error:?}"))?;
            if point.size == 0 || self.has(point, is_last) {
                return Ok(None);
            }
            let head = app.signed_head(point).map_err(|problem| format!("{}: {:?}", problem.message, problem.cause))?;
            let mut line = serde_json::to_vec(&head).map_err(|error| error.to_string())?;
            line.push(b'\n');
            Ok(Some((point, line)))
        };
        let (point, line) = match signed.await {
            Ok(None) => return,
            Ok(Some(signed)) => signed,
            Err(why) => return app.witness.note("the data directory", &Err(why)),
        };
        for (to, path, written) in &mut self.files {
            if *written == Some(point.root) {
                continue;
            }
            let (path, line) = (path.clone(), line.clone());
            let outcome = bounded(move || append(&path, &line)).await;
            if outcome.is_ok() {
                *written = Some(point.root);
            }
            app.witness.note(to, &outcome);
        }
        if let Some(authority) = &mut self.authority {
            authority.stamp(app, &self.folders, (point, line), is_last).await;
        }
    }
}

impl Authority {
    fn is_due(&self, point: HeadPoint, is_last: bool) -> bool {
        (is_last || Instant::now() >= self.due) && self.stamped != Some(point.root)
    }

    async fn stamp(&mut self, app: &App, folders: &[PathBuf], (point, line): (HeadPoint, Vec<u8>), is_last: bool) {
        if !self.is_due(point, is_last) {
            return;
        }
        let asked = self.ask(&line).await;
        let outcome = match asked {
            Ok(token) => {
                let (folders, name) = (folders.to_vec(), format!("custody-head-{:012}", point.size));
                bounded(move || folders.iter().try_for_each(|folder| keep(folder, &name, &line, &token))).await
            }
            Err(why) => Err(why),
        };
        if outcome.is_ok() {
            (self.stamped, self.failures, self.due) = (Some(point.root), 0, Instant::now() + day());
        } else {
            let secs = (ASK_AGAIN_SECS << self.failures.min(6)).min(ASK_AGAIN_SECS_MAX);
            (self.failures, self.due) = (self.failures.saturating_add(1), Instant::now() + Duration::from_secs(secs));
        }
        app.witness.note("the time-stamping authority", &outcome);
    }

    /// A token for these bytes.
    async fn ask(&self, line: &[u8]) -> Result<Vec<u8>, String> {
        let imprint = Sha256::of(line);
        let nonce = crate::app::random::<8>().map_err(|problem| problem.message)?;
        let (query, reply) = ("application/timestamp-query", "application/timestamp-reply");
        let answer = self.outgoing.exchange(&self.url, (query, reply), request(imprint, nonce), ANSWER_BYTES_MAX);
        let answer = answer.await.map_err(|not_sent| not_sent.why)?;
        let token = Response::parse(&answer).and_then(|response| response.answers(imprint, nonce));
        let token = token.map_err(|bad| bad.to_string())?;
        tracing::info!(at = token.time, "the custody head was stamped");
        Ok(answer)
    }
}

fn day() -> Duration {
    Duration::from_secs(STAMP_SECS)
}

/// How long ago a head was stamped, by the files that are there.
fn since_last_stamp(folders: &[PathBuf]) -> Option<Duration> {
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().filter_map(Result::ok);
    let stamps = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "tsr"));
    let last = stamps.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()?;
    Some(SystemTime::now().duration_since(last).unwrap_or_default())
}

/// On a thread that may hang, for as long as it is waited for.
async fn bounded(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), String> {
    match timeout(WAIT, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("nothing came back within {} seconds", WAIT.as_secs())),
    }
}

/// Appends a line. What a power cut left of the one before it is ended first.
fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(path)?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let whole = if last == [b'\n'] { line.to_vec() } else { [b"\n", line].concat() };
    file.write_all(&whole)?;
    file.sync_all()
}

/// The head that was stamped, and the authority's answer beside it, as `openssl ts -verify` takes them. The answer last:
/// with it the stamp is there.
fn keep(folder: &Path, name: &str, head: &[u8], answer: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    for (extension, bytes) in [("json", head), ("tsr", answer)] {
        let (path, new) = (folder.join(format!("{name}.{extension}")), folder.join(format!(".{name}.{extension}.new")));
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
    }
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_does_not_take_the_next_one_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads");
        append(&path, b"one\n").unwrap();
        fs::write(&path, "one\ntw").unwrap();
        append(&path, b"three\n").unwrap();
        append(&path, b"four\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntw\nthree\nfour\n");
    }
}
