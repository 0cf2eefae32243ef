//! Tokens of people and programs: `hf_<id>_<secret>`, 16 hex digits and 43 characters of base64url.
//!
//! The server keeps an argon2id hash. A token that was verified within the last hours is known by its digest, so that a
//! busy caller costs no hashes, and that strangers who try its id do not keep its holder out; its record is read each
//! time, so that a withdrawn token ends at once, whoever withdrew it. Only wrong secrets for an id that exists are counted: guessing 64 random bits of an id, let alone 256 of
//! a secret, is not what is feared here, but hashing for strangers without end is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use wire::api::Role;
use wire::{Instant, Sha256};

use super::{Actor, App, Problem, ProblemKind, random};
use crate::store::{Change, NewLeaf, SourceSignature, Store, TokenRecord};

/// What a token begins with, so that scanners for leaked secrets find it.
pub const PREFIX: &str = "hf_";
const ID_CHARS: usize = 16;
const SECRET_CHARS: usize = 43;
const NAME_BYTES_MAX: usize = 64;
const VALID_DAYS_MAX: u32 = 3650;

/// A verified token is believed for so long without another hash.
const VERIFIED_NS: u64 = 12 * 3_600_000_000_000;
const VERIFIED_MAX: usize = 1024;
/// Wrong secrets for one id within [`FAILED_NS`], after which the id must wait.
const FAILED_MAX: u32 = 5;
const FAILED_NS: u64 = 60_000_000_000;
/// Hashes at a time: each takes [`HASH_KIB`] of memory.
const HASHES_MAX: usize = 2;
/// How long a token waits to be hashed.
const HASH_WAIT: Duration = Duration::from_secs(10);
/// RFC 9106 asks for more where the secret is a word; this one has 256 random bits.
const HASH_KIB: u32 = 19 << 10;
const HASH_PASSES: u32 = 2;

/// What is remembered of tokens, in memory only.
#[derive(Debug)]
pub struct Tokens {
    hashing: Semaphore,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By digest of the whole token: the hash that it was verified against, and until when that holds (boot time).
    verified: HashMap<Sha256, (String, u64)>,
    /// By id: wrong secrets, and until when they count.
    failed: HashMap<String, (u32, u64)>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { hashing: Semaphore::new(HASHES_MAX), seen: Mutex::default() }
    }
}

impl Tokens {
    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Seen {
    fn is_verified(&self, digest: &Sha256, hash: &str, now: u64) -> bool {
        self.verified.get(digest).is_some_and(|(verified, until)| verified == hash && now < *until)
    }

    fn must_wait(&mut self, id: &str, now: u64) -> bool {
        self.failed.retain(|_, (_, until)| now < *until);
        self.failed.get(id).is_some_and(|(failures, _)| *failures >= FAILED_MAX)
    }

    fn succeeded(&mut self, digest: Sha256, hash: String, now: u64) {
        self.verified.retain(|_, (_, until)| now < *until);
        if self.verified.len() < VERIFIED_MAX {
            self.verified.insert(digest, (hash, now + VERIFIED_NS));
        }
    }

    fn failed(&mut self, id: &str, now: u64) {
        self.failed.entry(id.to_owned()).or_insert((0, now + FAILED_NS)).0 += 1;
    }
}

/// A token taken apart. It says nothing about whether it is good.
struct Presented<'a> {
    id: &'a str,
    secret: &'a str,
}

fn parse(token: &str) -> Option<Presented<'_>> {
    let rest = token.strip_prefix(PREFIX)?;
    let (id, secret) = rest.split_at_checked(ID_CHARS)?;
    let secret = secret.strip_prefix('_')?;
    let is_secret = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (is_id(id) && secret.len() == SECRET_CHARS && secret.bytes().all(is_secret)).then_some(Presented { id, secret })
}

fn is_id(id: &str) -> bool {
    id.len() == ID_CHARS && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn not_let_in() -> Problem {
    Problem::new(ProblemKind::Credentials, "this token lets nobody in").hint(
        "check that it was copied in full; the operator makes one with: holdfast-server token add NAME --role ROLE --data DIR",
    )
}

impl App {
    /// Whose token this is.
    ///
    /// # Errors
    /// [`ProblemKind::Credentials`]; [`ProblemKind::TooMany`] after too many wrong ones.
    pub async fn holder(&self, token: &str) -> Result<Actor, Problem> {
        let presented = parse(token).ok_or_else(not_let_in)?;
        let record = self.store.token(presented.id).await?;
        // Whoever signs has no secret.
        let record = record.filter(|record| !record.hash.is_empty()).ok_or_else(not_let_in)?;
        let digest = Sha256::of(token.as_bytes());
        let now = self.clock.boottime_ns();
        if !self.tokens.seen(|seen| seen.is_verified(&digest, &record.hash, now)) {
            self.check_secret(&record, presented.secret, digest, now).await?;
        }
        self.holder_of(record)
    }

    /// The token of this id, if its holder signs.
    pub(super) async fn signing_token(&self, id: &str) -> Result<Option<TokenRecord>, Problem> {
        let record = if is_id(id) { self.store.token(id).await? } else { None };
        Ok(record.filter(|record| record.signature.is_some()))
    }

    /// Whose record it is, when it still lets in.
    pub(super) fn holder_of(&self, record: TokenRecord) -> Result<Actor, Problem> {
        let ended = |how: &str| {
            Problem::new(ProblemKind::Credentials, format!("the token of {} {how}", record.name))
                .hint("the operator makes another with: holdfast-server token add NAME --role ROLE --data DIR")
        };
        match (record.revoked, record.expires) {
            (Some(_), _) => Err(ended("was withdrawn")),
            (None, Some(expires)) if expires <= self.now() => Err(ended("has ended"))?,
            _ => Ok(Actor::User { name: record.name, role: record.role, token: record.token }),
        }
    }

    /// Whether somebody who was let in still would be: the token may have been withdrawn, or have ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_welcome(&self, by: &Actor) -> Result<bool, Problem> {
        let Actor::User { token, .. } = by else { return Ok(true) };
        Ok(self.store.token(token).await?.is_some_and(|record| self.holder_of(record).is_ok()))
    }

    async fn check_secret(&self, record: &TokenRecord, secret: &str, digest: Sha256, now: u64) -> Result<(), Problem> {
        let _one_of_few = timeout(HASH_WAIT, self.tokens.hashing.acquire()).await.map_err(|_| {
            Problem::new(ProblemKind::Unavailable, "too many tokens are being checked")
                .hint("try again in a minute")
                .retry(10)
        })?;
        // A thousand requests with one token wait for one hash, not for a thousand.
        if self.tokens.seen(|seen| seen.is_verified(&digest, &record.hash, now)) {
            return Ok(());
        }
        // Asked in turn, behind those that came before: many at once are counted like one after the other.
        if self.tokens.seen(|seen| seen.must_wait(&record.token, now)) {
            return Err(Problem::new(ProblemKind::TooMany, "this token was given wrongly too often")
                .hint("wait a minute, then try again")
                .retry(60));
        }
        if !self.is_secret_of(record, secret).await? {
            self.tokens.seen(|seen| seen.failed(&record.token, now));
            return Err(not_let_in());
        }
        self.tokens.seen(|seen| seen.succeeded(digest, record.hash.clone(), now));
        Ok(())
    }

    async fn is_secret_of(&self, record: &TokenRecord, secret: &str) -> Result<bool, Problem> {
        let internal = || Problem::new(ProblemKind::Internal, "the server could not check a token");
        let (hash, secret) = (record.hash.clone(), secret.to_owned());
        let verified = tokio::task::spawn_blocking(move || {
            let hash = PasswordHash::new(&hash)?;
            // Compares in constant time, with the parameters that stand in the hash.
            Ok::<_, argon2::password_hash::phc::Error>(
                Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok(),
            )
        });
        verified.await.map_err(|ended| internal().cause(ended))?.map_err(|error| internal().cause(error))
    }
}

/// A token that was just made.
pub struct NewToken {
    /// What is kept of it.
    pub record: TokenRecord,
    /// The token: shown once, and never written down by the server.
    pub text: String,
}

/// Makes a token, valid for so many days, or without end.
///
/// # Errors
/// [`ProblemKind::Input`] for a name or a number of days that cannot be.
pub async fn add(
    store: &dyn Store,
    now: Instant,
    by: &Actor,
    name: &str,
    role: Role,
    days: Option<u32>,
) -> Result<NewToken, Problem> {
    let new = made(now, name, role, ends(name, now, days)?)?;
    put(store, by, &new.record).await?;
    Ok(new)
}

fn made(now: Instant, name: &str, role: Role, expires: Option<Instant>) -> Result<NewToken, Problem> {
    let id = format!("{:016x}", u64::from_be_bytes(random()?));
    let secret = BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?);
    let text = format!("{PREFIX}{id}_{secret}");
    let record = TokenRecord {
        created: now,
        expires,
        hash: hash(&secret)?,
        name: name.to_owned(),
        revoked: None,
        role,
        signature: None,
        token: id,
    };
    Ok(NewToken { record, text })
}

/// Makes a token of a source that signs its requests: it has no secret but the key.
///
/// # Errors
/// As [`add`].
pub async fn add_signing(
    store: &dyn Store,
    now: Instant,
    by: &Actor,
    name: &str,
    days: Option<u32>,
    signature: SourceSignature,
) -> Result<TokenRecord, Problem> {
    let record = TokenRecord {
        created: now,
        expires: ends(name, now, days)?,
        hash: String::new(),
        name: name.to_owned(),
        revoked: None,
        role: Role::Source,
        signature: Some(signature),
        token: format!("{:016x}", u64::from_be_bytes(random()?)),
    };
    put(store, by, &record).await?;
    Ok(record)
}

/// When a new token ends, after a look at what was asked for.
fn ends(name: &str, now: Instant, days: Option<u32>) -> Result<Option<Instant>, Problem> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name) {
        return Err(Problem::new(ProblemKind::Input, format!("{name:?} is no name for a token"))
            .hint("1 to 64 of A-Z, a-z, 0-9, '.', '_', '@' and '-': it is how custody names its holder"));
    }
    if days.is_some_and(|days| days == 0 || days > VALID_DAYS_MAX) {
        return Err(Problem::new(ProblemKind::Input, format!("a token is valid for 1 to {VALID_DAYS_MAX} days")));
    }
    Ok(days.map(|days| Instant(now.0 + i128::from(days) * 86_400_000_000_000)))
}

async fn put(store: &dyn Store, by: &Actor, record: &TokenRecord) -> Result<(), Problem> {
    store.commit(vec![Change::AddToken(Box::new(record.clone()))], vec![added(by, record)]).await?;
    Ok(())
}

fn added(by: &Actor, record: &TokenRecord) -> NewLeaf {
    let mut details = Map::new();
    details.insert("expires".to_owned(), json!(record.expires));
    details.insert("name".to_owned(), json!(record.name));
    details.insert("role".to_owned(), json!(record.role));
    if let Some(signature) = &record.signature {
        details.insert("signature".to_owned(), json!(signature.scheme));
    }
    leaf(record.created, by, "token_added", &record.token, details)
}

fn withdrawn(by: &Actor, record: &TokenRecord, now: Instant) -> NewLeaf {
    let mut details = Map::new();
    details.insert("name".to_owned(), json!(record.name));
    leaf(now, by, "token_revoked", &record.token, details)
}

/// Withdraws a token; its sessions end with it.
///
/// # Errors
/// [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] when it was withdrawn before.
pub async fn revoke(store: &dyn Store, now: Instant, by: &Actor, id: &str) -> Result<TokenRecord, Problem> {
    let record = to_withdraw(store, id).await?;
    store.commit(vec![Change::RevokeToken(id.to_owned(), now)], vec![withdrawn(by, &record, now)]).await?;
    Ok(TokenRecord { revoked: Some(now), ..record })
}

/// The token of this id, which was not withdrawn.
async fn to_withdraw(store: &dyn Store, id: &str) -> Result<TokenRecord, Problem> {
    let record = if is_id(id) { store.token(id).await? } else { None };
    let record = record.ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, format!("there is no token {id:?}"))
            .hint("the ids are in: holdfast-server token list")
    })?;
    match record.revoked {
        Some(revoked) => Err(Problem::new(ProblemKind::Conflict, format!("the token {id} was withdrawn at {revoked}"))),
        None => Ok(record),
    }
}

/// Makes another token for the same holder, with the same role and end, and withdraws this one: in one step, so that one
/// of the two always lets in.
///
/// # Errors
/// [`ProblemKind::NotFound`]; [`ProblemKind::Conflict`] when it was withdrawn before, or its holder signs.
pub async fn rotate(store: &dyn Store, now: Instant, by: &Actor, id: &str) -> Result<NewToken, Problem> {
    let old = to_withdraw(store, id).await?;
    if old.signature.is_some() {
        return Err(Problem::new(ProblemKind::Conflict, format!("the holder of {id} signs, and has no token"))
            .hint("add the source again with its new key, then revoke this one"));
    }
    let new = made(now, &old.name, old.role, old.expires)?;
    let leaves = vec![added(by, &new.record), withdrawn(by, &old, now)];
    let changes = vec![Change::AddToken(Box::new(new.record.clone())), Change::RevokeToken(id.to_owned(), now)];
    store.commit(changes, leaves).await?;
    Ok(new)
}

fn hash(secret: &str) -> Result<String, Problem> {
    let internal = |error: &dyn std::fmt::Display| {
        Problem::new(ProblemKind::Internal, "the token could not be hashed").cause(error)
    };
    let params = Params::new(HASH_KIB, HASH_PASSES, 1, None).map_err(|error| internal(&error))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = random::<16>()?;
    let hash = argon2.hash_password_with_salt(secret.as_bytes(), &salt).map_err(|error| internal(&error))?;
    Ok(hash.to_string())
}

fn leaf(time: Instant, by: &Actor, event: &'static str, id: &str, details: Map<String, serde_json::Value>) -> NewLeaf {
    NewLeaf { actor: by.to_string(), details, event, incident: None, subject: format!("token:{id}"), time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_form() {
        let secret = "A-_".repeat(14) + "z";
        let good = format!("hf_0123456789abcdef_{secret}");
        let presented = parse(&good).unwrap();
        assert_eq!((presented.id, presented.secret), ("0123456789abcdef", secret.as_str()));
        for bad in ["", "hf_", "hf_0123456789abcdef", &good[1..], &good[..good.len() - 1], &good.to_uppercase(), "hf_é"]
        {
            assert!(parse(bad).is_none(), "{bad}");
        }
        assert!(parse(&format!("{good}x")).is_none());
    }

    #[test]
    fn what_is_remembered_ends_and_is_bounded() {
        let mut seen = Seen::default();
        let digest = Sha256::of(b"token");
        seen.succeeded(digest, "hash".into(), 10);
        assert!(seen.is_verified(&digest, "hash", 10 + VERIFIED_NS - 1));
        assert!(!seen.is_verified(&digest, "hash", 10 + VERIFIED_NS));
        assert!(!seen.is_verified(&digest, "another", 11));
        for n in 0..2 * VERIFIED_MAX {
            seen.succeeded(Sha256::of(&n.to_le_bytes()), String::new(), 11);
        }
        assert_eq!(seen.verified.len(), VERIFIED_MAX);
        for _ in 0..FAILED_MAX {
            assert!(!seen.must_wait("id", 0));
            seen.failed("id", 0);
        }
        assert!(seen.must_wait("id", FAILED_NS - 1));
        assert!(!seen.must_wait("other", 0));
        assert!(!seen.must_wait("id", FAILED_NS));
    }
}
