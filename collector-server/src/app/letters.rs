//! Dead letters: requests whose alerts could not be taken in, kept as they came, to be replayed when the cause is gone.
//!
//! The bytes are put first and the record after them, so that also what came while the records could not be written is
//! kept: [`App::adopt_letters`] finds it later. The list is bounded; when it is full the oldest that was replayed makes
//! room, and when none was, the sender is told that nothing was kept.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use serde_json::json;
use tokio::sync::Mutex;
use wire::api::{AlertsReply, DeadLetter, Page};
use wire::{Instant, LetterId, Sha256};

use super::alerts::{ALERTS_BYTES_MAX, Delivery};
use super::{Actor, App, Problem, ProblemKind, details, page_of, random};
use crate::objects::letter_path;
use crate::store::{Change, LetterRecord, NewLeaf};

/// The most that are kept.
const LETTERS_MAX: u32 = 1000;
/// The most that they hold together.
const BYTES_MAX: u64 = 64 << 20;
/// Another server has written its letter's record by then, or never will.
const LEFT_BEHIND_NS: i128 = 120 * 1_000_000_000;
/// What was wrong, as it is kept.
const REASON_CHARS_MAX: usize = 500;

/// One letter after the other is put, adopted or replayed.
#[derive(Debug)]
pub struct Letters {
    /// Letters whose record could not be written yet, by their id.
    unwritten: Mutex<HashMap<LetterId, LetterRecord>>,
    /// Whether there may be letters without a record: always at the start.
    may_be_orphans: AtomicBool,
}

impl Default for Letters {
    fn default() -> Self {
        Self { unwritten: Mutex::default(), may_be_orphans: AtomicBool::new(true) }
    }
}

/// What a sender brought, as much of it as is kept.
pub(super) struct Undelivered {
    pub ingest_token: Option<String>,
    pub raw: Bytes,
    pub sent_by: String,
    pub source: Option<String>,
}

impl App {
    /// Keeps a request that failed, and says so in the answer.
    pub(super) async fn keep_letter(&self, undelivered: Undelivered, why: Problem) -> Problem {
        let reason: String = match &why.cause {
            Some(cause) => format!("{}: {cause}", why.message),
            None => why.message.clone(),
        };
        let reason = reason.chars().take(REASON_CHARS_MAX).collect();
        let hint = match self.try_keep_letter(undelivered, reason).await {
            Ok(letter) => {
                metrics::counter!("holdfast_dead_letters_total").increment(1);
                format!(
                    "it was kept as it came; a responder takes it in later with: holdfast alert dead-letters replay {letter}"
                )
            }
            Err(not_kept) => {
                tracing::error!(message = not_kept.message, cause = not_kept.cause, "a dead letter was not kept");
                format!("it was NOT kept ({}); send it again later", not_kept.message)
            }
        };
        Problem { hint: Some(hint), ..why }
    }

    async fn try_keep_letter(&self, undelivered: Undelivered, reason: String) -> Result<LetterId, Problem> {
        let Undelivered { ingest_token, raw, sent_by, source } = undelivered;
        let mut unwritten = self.letters.unwritten.lock().await;
        let (now, sha256, bytes) = (self.now(), Sha256::of(&raw), raw.len() as u64);
        // Without the records nobody knows what is there; then only what this process has put is counted.
        let known = self.store.letters(None, LETTERS_MAX).await.unwrap_or_default();
        let is_same = |letter: &&LetterRecord| {
            letter.view.sha256 == sha256 && letter.view.sent_by == sent_by && letter.view.replayed.is_none()
        };
        if let Some(there) = known.iter().chain(unwritten.values()).find(is_same) {
            return Ok(there.view.letter);
        }
        self.make_room(&known, unwritten.values().map(|letter| letter.view.bytes).collect(), bytes).await?;
        let letter = LetterId::new(u64::try_from(now.0 / 1_000_000).unwrap_or(0), random()?);
        self.objects.put_new(&letter_path(letter), raw).await?;
        let view = DeadLetter { bytes, letter, reason, received: now, replayed: None, sent_by, sha256, source };
        let record = LetterRecord { ingest_token, view };
        if let Err(problem) = self.write_letter(&record).await {
            tracing::error!(message = problem.message, cause = problem.cause, %letter, "a dead letter has no record yet");
            unwritten.insert(letter, record);
            self.letters.may_be_orphans.store(true, Ordering::Relaxed);
        }
        Ok(letter)
    }

    async fn write_letter(&self, record: &LetterRecord) -> Result<(), Problem> {
        let DeadLetter { bytes, reason, sent_by, sha256, .. } = &record.view;
        let details = details([("bytes", json!(bytes)), ("reason", json!(reason)), ("sha256", json!(sha256))]);
        let leaf = self.letter_leaf(sent_by.clone(), "dead_letter_kept", record.view.letter, details);
        self.store.commit(vec![Change::AddLetter(Box::new(record.clone()))], vec![leaf]).await?;
        Ok(())
    }

    /// Takes away the oldest that were replayed, as many as must go for one of so many bytes.
    async fn make_room(&self, known: &[LetterRecord], unwritten: Vec<u64>, bytes: u64) -> Result<(), Problem> {
        let mut count = known.len() + unwritten.len() + 1;
        let mut held = known.iter().map(|letter| letter.view.bytes).chain(unwritten).sum::<u64>() + bytes;
        for letter in known.iter().rev().filter(|letter| letter.view.replayed.is_some()) {
            if count <= LETTERS_MAX as usize && held <= BYTES_MAX {
                break;
            }
            let id = letter.view.letter;
            // The bytes first: without its record a letter would be found again.
            self.objects.remove_letter(id).await?;
            let details = details([("sha256", json!(letter.view.sha256))]);
            let leaf = self.letter_leaf(Actor::Server.to_string(), "dead_letter_removed", id, details);
            self.store.commit(vec![Change::RemoveLetter(id)], vec![leaf]).await?;
            count -= 1;
            held -= letter.view.bytes;
        }
        if count > LETTERS_MAX as usize || held > BYTES_MAX {
            return Err(Problem::new(ProblemKind::Full, "the list of dead letters is full"));
        }
        Ok(())
    }

    fn letter_leaf(
        &self,
        actor: String,
        event: &'static str,
        letter: LetterId,
        details: serde_json::Map<String, serde_json::Value>,
    ) -> NewLeaf {
        NewLeaf { actor, details, event, incident: None, subject: format!("dead_letter:{letter}"), time: self.now() }
    }

    /// Writes the records of letters that have none: of this process, or of one that ended before it could. Of servers
    /// that share the records, the leader looks for what others left.
    ///
    /// # Errors
    /// When the store or the object store fails: it is tried again.
    pub async fn adopt_letters(&self) -> Result<(), Problem> {
        if !self.letters.may_be_orphans.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let adopted = self.adopt_all().await;
        if !matches!(adopted, Ok(true)) {
            self.letters.may_be_orphans.store(true, Ordering::Relaxed);
        }
        adopted.map(|_| ())
    }

    /// False when some may have to be looked at again.
    async fn adopt_all(&self) -> Result<bool, Problem> {
        let mut unwritten = self.letters.unwritten.lock().await;
        let known = self.store.letters(None, LETTERS_MAX).await?;
        let known: HashSet<LetterId> = known.into_iter().map(|letter| letter.view.letter).collect();
        let mut is_all = true;
        let there: Vec<(String, u64)> = self.objects.list("dead-letters").try_collect().await?;
        for (path, bytes) in there {
            let letter = path.rsplit('/').next().and_then(|id| id.parse::<LetterId>().ok());
            let Some(letter) = letter.filter(|letter| !known.contains(letter)) else { continue };
            let record = match unwritten.get(&letter) {
                Some(record) => record.clone(),
                None if !self.is_left_behind(letter) => {
                    is_all = false;
                    continue;
                }
                None => {
                    let raw = self.objects.read(&path, ALERTS_BYTES_MAX as u64).await?;
                    let view = DeadLetter {
                        bytes,
                        letter,
                        reason: "the server ended before it could write this down".to_owned(),
                        received: self.now(),
                        replayed: None,
                        sent_by: "unknown".to_owned(),
                        sha256: Sha256::of(&raw),
                        source: None,
                    };
                    LetterRecord { ingest_token: None, view }
                }
            };
            self.write_letter(&record).await?;
            unwritten.remove(&letter);
        }
        Ok(is_all)
    }

    /// True when nobody is about to write its record: another server puts the bytes first, too.
    fn is_left_behind(&self, letter: LetterId) -> bool {
        let age_ns = self.now().0 - i128::from(letter.unix_ms()) * 1_000_000;
        !self.peers.has_others() || (self.peers.leads() && age_ns > LEFT_BEHIND_NS)
    }

    /// Dead letters, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dead_letters(&self, after: Option<LetterId>, limit: u32) -> Result<Page<DeadLetter>, Problem> {
        let letters = self.store.letters(after, limit + 1).await?;
        Ok(page_of(letters.into_iter().map(|letter| letter.view).collect(), limit, |letter| letter.letter.to_string()))
    }

    /// Takes the alerts of a dead letter in, as its sender's.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] when it was replayed before; what [`App::take_in`] says when
    /// it still cannot be taken in.
    pub async fn replay_letter(self: &Arc<Self>, by: &Actor, letter: LetterId) -> Result<AlertsReply, Problem> {
        let record = self.store.letter(letter).await?;
        let record = record.ok_or_else(|| {
            Problem::new(ProblemKind::NotFound, format!("there is no dead letter {letter}"))
                .hint("the ids are in: holdfast alert dead-letters")
        })?;
        if let Some(replayed) = record.view.replayed {
            return Err(Problem::new(
                ProblemKind::Conflict,
                format!("dead letter {letter} was replayed at {replayed}"),
            ));
        }
        let raw = self.objects.read(&letter_path(letter), ALERTS_BYTES_MAX as u64).await?;
        if Sha256::of(&raw) != record.view.sha256 {
            return Err(Problem::new(ProblemKind::Internal, format!("the bytes of {letter} are not those that came"))
                .hint("tell the operator: an object was changed behind the server's back"));
        }
        let room = self.room_for(by, raw.len())?;
        let DeadLetter { sent_by, source, .. } = record.view;
        let delivery = Delivery { product: source, raw, room, sent_by, token: record.ingest_token };
        let reply = self.take_in_all(delivery).await?;
        let alerts: Vec<_> = reply.alerts.iter().map(|alert| alert.alert).collect();
        let details = details([("alerts", json!(alerts.len())), ("first", json!(alerts.first()))]);
        let leaf = self.letter_leaf(by.to_string(), "dead_letter_replayed", letter, details);
        let at: Instant = self.now();
        self.store.commit(vec![Change::LetterReplayed(letter, at)], vec![leaf]).await?;
        Ok(reply)
    }
}
