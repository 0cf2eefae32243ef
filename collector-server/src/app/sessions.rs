//! Sessions of browsers: opened with a token, held by a cookie, ended with either.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Map;
use wire::{Instant, Sha256};

use super::{Actor, App, Problem, ProblemKind, random};
use crate::store::{Change, NewLeaf, SessionRecord};

/// A session lasts for so long.
pub const SESSION_SECS: u64 = 12 * 3600;

/// A session that was just opened.
pub struct NewSession {
    /// Who opened it.
    pub actor: Actor,
    /// The cookie's value: 256 random bits, of which the server keeps the digest.
    pub secret: String,
}

impl App {
    /// Opens a session with a token.
    ///
    /// # Errors
    /// As [`App::holder`]; [`ProblemKind::Forbidden`] for a token that may read nothing.
    pub async fn open_session(&self, token: &str) -> Result<NewSession, Problem> {
        let actor = self.holder(token).await?;
        let Actor::User { role, token, .. } = &actor else { return Err(not_signed_in()) };
        if *role == wire::api::Role::Source {
            return Err(Problem::new(ProblemKind::Forbidden, "this token only sends alerts: it shows nothing")
                .hint("sign in with the token of an analyst or a responder"));
        }
        let now = self.now();
        let secret = BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?);
        let session = Sha256::of(secret.as_bytes());
        let expires = Instant(now.0 + i128::from(SESSION_SECS) * 1_000_000_000);
        let record = SessionRecord { expires, session, token: token.clone() };
        let leaf = NewLeaf {
            actor: actor.to_string(),
            details: Map::new(),
            event: "signed_in",
            incident: None,
            subject: format!("token:{token}"),
            time: now,
        };
        self.store.commit(vec![Change::AddSession(record)], vec![leaf]).await?;
        Ok(NewSession { actor, secret })
    }

    /// Whose session this is.
    ///
    /// # Errors
    /// [`ProblemKind::Credentials`].
    pub async fn session_holder(&self, secret: &str) -> Result<Actor, Problem> {
        let session = self.store.session(Sha256::of(secret.as_bytes())).await?.ok_or_else(not_signed_in)?;
        if session.expires <= self.now() {
            return Err(not_signed_in());
        }
        let record = self.store.token(&session.token).await?.ok_or_else(not_signed_in)?;
        self.holder_of(record)
    }

    /// Ends a session, if it is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_session(&self, secret: &str) -> Result<(), Problem> {
        self.store.commit(vec![Change::EndSession(Sha256::of(secret.as_bytes()))], Vec::new()).await?;
        Ok(())
    }
}

fn not_signed_in() -> Problem {
    Problem::new(ProblemKind::Credentials, "this browser is not signed in, or was for more than 12 hours")
        .hint("sign in again with a token")
}
