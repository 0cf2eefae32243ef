//! Sources that sign their requests instead of bringing a token: HMAC-SHA256 over the exact body, checked in constant
//! time before any of it is parsed.
//!
//! | scheme | headers | what is signed |
//! |---|---|---|
//! | `github` | `X-Hub-Signature-256: sha256=HEX` | the body |
//! | `standard-webhooks` | `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,BASE64 …` | `id.timestamp.body` |
//! | `slack` | `X-Slack-Request-Timestamp`, `X-Slack-Signature: v0=HEX` | `v0:timestamp:body` |
//! | `hex:HEADER` | `HEADER: HEX`, also after `sha256=` | the body |
//!
//! Sources: docs.github.com (validating webhook deliveries), standardwebhooks.com, docs.slack.dev (verifying requests).
//! Where the time is signed, a request is good for five minutes and once. Where it is not, a request that is sent again
//! brings alerts that are duplicates, and nothing changes.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256 as HashSha256;
use wire::{Instant, Sha256};

use super::{Actor, App, Problem, ProblemKind};

/// How far the sender's clock may be off, and how long a request is good for.
const TOLERANCE_SECS: i128 = 300;
/// Signatures in one header, where a sender changes keys.
const SIGNATURES_MAX: usize = 4;
/// Requests that are remembered, so that none is taken twice.
const SEEN_MAX: usize = 1 << 16;
/// A key has at least the strength of 128 bits, and no more than a block of the hash needs.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=1024;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// GitHub's.
    Github,
    /// Standard Webhooks.
    StandardWebhooks,
    /// Slack's.
    Slack,
    /// Hex digits in a header of this name, in lower case.
    Hex(String),
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "github" => Ok(Self::Github),
            "standard-webhooks" => Ok(Self::StandardWebhooks),
            "slack" => Ok(Self::Slack),
            other => {
                let header = other.strip_prefix("hex:").map(str::to_ascii_lowercase);
                let is_name = |name: &String| {
                    (1..=64).contains(&name.len())
                        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                };
                let header = header.filter(is_name);
                header
                    .map(Self::Hex)
                    .ok_or_else(|| "github, standard-webhooks, slack or hex:HEADER is wanted".to_owned())
            }
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Github => f.write_str("github"),
            Self::StandardWebhooks => f.write_str("standard-webhooks"),
            Self::Slack => f.write_str("slack"),
            Self::Hex(header) => write!(f, "hex:{header}"),
        }
    }
}

/// Why a signature is not believed: a word for the log and the counters.
type Refused = &'static str;

impl Scheme {
    /// The key that a text stands for, as the source's console shows it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn key(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        let text = text.strip_suffix(b"\n").map_or(text, |line| line.strip_suffix(b"\r").unwrap_or(line));
        let key = match (self, text.strip_prefix(b"whsec_")) {
            (Self::StandardWebhooks, Some(encoded)) => {
                BASE64_STANDARD.decode(encoded).map_err(|_| "what follows whsec_ is no base64".to_owned())?
            }
            _ => text.to_vec(),
        };
        if KEY_BYTES.contains(&key.len()) {
            Ok(key)
        } else {
            Err(format!("a key has {} to {} bytes, this one {}", KEY_BYTES.start(), KEY_BYTES.end(), key.len()))
        }
    }

    /// Checks a request. The answer is the digest under which it is remembered, where it may come once only.
    fn check<'a>(
        &self,
        key: &[u8],
        header: &(dyn Fn(&str) -> Option<&'a str> + Sync),
        body: &[u8],
        now: Instant,
    ) -> Result<Option<Sha256>, Refused> {
        let keyed = Hmac::<HashSha256>::new_from_slice(key).map_err(|_| "key")?;
        let mac = |parts: &[&[u8]]| {
            let mut mac = keyed.clone();
            for part in parts {
                mac.update(part);
            }
            mac
        };
        let hex_of = |name: &str, prefix: &str| {
            let value = header(name).ok_or("no_signature")?;
            unhex(value.strip_prefix(prefix).unwrap_or(value)).ok_or("malformed")
        };
        // In constant time.
        let is_of = |mac: &Hmac<HashSha256>, given: &[u8]| mac.clone().verify_slice(given).is_ok();
        let digest = |mac: Hmac<HashSha256>| Sha256::of(&mac.finalize().into_bytes());
        match self {
            Self::Github | Self::Hex(_) => {
                let name = if let Self::Hex(header) = self { header } else { "x-hub-signature-256" };
                let given = hex_of(name, "sha256=")?;
                if is_of(&mac(&[body]), &given) { Ok(None) } else { Err("wrong") }
            }
            Self::Slack => {
                let at = fresh(header("x-slack-request-timestamp"), now)?;
                let given = hex_of("x-slack-signature", "v0=")?;
                let tag = mac(&[b"v0:", at.as_bytes(), b":", body]);
                if is_of(&tag, &given) { Ok(Some(digest(tag))) } else { Err("wrong") }
            }
            Self::StandardWebhooks => {
                let at = fresh(header("webhook-timestamp"), now)?;
                let id = header("webhook-id").ok_or("no_id")?;
                let tag = mac(&[id.as_bytes(), b".", at.as_bytes(), b".", body]);
                let given = header("webhook-signature").ok_or("no_signature")?.split(' ').take(SIGNATURES_MAX);
                let mut given = given.filter_map(|one| BASE64_STANDARD.decode(one.strip_prefix("v1,")?).ok());
                if given.any(|given| is_of(&tag, &given)) { Ok(Some(digest(tag))) } else { Err("wrong") }
            }
        }
    }
}

/// The text of a time in seconds since the epoch that is not long ago.
fn fresh(at: Option<&str>, now: Instant) -> Result<&str, Refused> {
    let at = at.ok_or("no_time")?;
    let secs: i64 = at.parse().map_err(|_| "malformed")?;
    let off = i128::from(secs) - now.0 / 1_000_000_000;
    if off.abs() <= TOLERANCE_SECS { Ok(at) } else { Err("not_now") }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 64 {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Requests that were taken a moment ago, by the digest of their signature, and until when that matters (boot time).
#[derive(Debug, Default)]
pub struct Seen(Mutex<HashMap<Sha256, u64>>);

impl Seen {
    /// False when it was there.
    fn insert(&self, request: Sha256, now_ns: u64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= SEEN_MAX {
            seen.retain(|_, until| now_ns < *until);
        }
        if seen.get(&request).is_some_and(|until| now_ns < *until) {
            return false;
        }
        // Full of requests that are good: then this one can come again, and its alerts are duplicates.
        if seen.len() < SEEN_MAX {
            // A time that is ahead by as much as may be is good for twice as long.
            let secs = 2 * u64::try_from(TOLERANCE_SECS).unwrap_or(0) + 1;
            seen.insert(request, now_ns.saturating_add(secs * 1_000_000_000));
        }
        true
    }

    /// It was not taken in after all, and may come again.
    pub fn forget(&self, request: Option<Sha256>) {
        if let Some(request) = request {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&request);
        }
    }
}

impl App {
    /// Whose request this is, by the signature over its body; and what to [`Seen::forget`] when it is not taken in.
    ///
    /// # Errors
    /// [`ProblemKind::Credentials`], the same for a token that is not there and for a signature that is wrong;
    /// [`ProblemKind::Conflict`] for a request that came before.
    pub async fn signer_of<'a>(
        &self,
        token: &str,
        header: &(dyn Fn(&str) -> Option<&'a str> + Sync),
        body: &[u8],
    ) -> Result<(Actor, Option<Sha256>), Problem> {
        let refused = |why: Refused| {
            metrics::counter!("holdfast_signatures_refused_total", "why" => why).increment(1);
            Problem::new(ProblemKind::Credentials, "this request is not signed by a source that the server knows")
                .hint("check the address, the key, the way of signing and the sender's clock (5 minutes)")
                .cause(why)
        };
        let record = self.signing_token(token).await?.ok_or_else(|| refused("unknown"))?;
        let signature = record.signature.as_ref().ok_or_else(|| refused("unknown"))?;
        let scheme: Scheme = signature.scheme.parse().map_err(|error: String| {
            Problem::new(ProblemKind::Internal, "the server cannot read how this source signs").cause(error)
        })?;
        let once = scheme.check(&signature.key.0, header, body, self.now()).map_err(refused)?;
        // Which source signed is part of what is remembered: two may share a key.
        let once = once.map(|digest| Sha256::of(format!("{token}:{digest}").as_bytes()));
        let actor = self.holder_of(record)?;
        if let Some(request) = once
            && !self.intake.seen.insert(request, self.clock.boottime_ns())
        {
            return Err(Problem::new(ProblemKind::Conflict, "this very request was taken in before")
                .hint("sign it anew to send it again; its alerts would be duplicates"));
        }
        Ok((actor, once))
    }
}
