//! What the server does, whoever asks: decisions over the store and the object store, each recorded in custody.
//!
//! Architecture invariant: nothing here knows HTTP. Whoever calls has authenticated the [`Actor`].

pub mod alerts;
pub mod custody;
pub mod dispatch;
pub mod evidence;
pub mod hosts;
pub mod hub;
pub mod incidents;
pub mod inside;
pub mod live;
pub mod sessions;
pub mod tickets;
pub mod tokens;

use std::sync::Arc;

use bundle::sign::SigningKey;
use bundle::time::Clock;
use wire::api::Page;
use wire::{AgentId, Instant, Sha256};

use crate::objects::{ObjectError, Objects};
use crate::store::{Store, StoreError};

/// Everything that the server's decisions stand on.
pub struct App {
    /// Alerts wait for each other here.
    pub alerts: alerts::Turn,
    /// Where the time comes from.
    pub clock: Box<dyn Clock + Send + Sync>,
    /// Which agents wait for orders.
    pub hub: hub::Hub,
    /// Tells of what happens, as it happens.
    pub live: live::Live,
    /// How many look into bundles now.
    pub looks: inside::Looks,
    /// What never changes.
    pub objects: Objects,
    /// How others find this server, and know it: it stands in tickets.
    pub reach: Reach,
    /// Signs receipts and custody heads.
    pub signer: SigningKey,
    /// What changes.
    pub store: Arc<dyn Store>,
    /// Tokens that were verified a moment ago, and those that failed.
    pub tokens: tokens::Tokens,
}

/// How others find the server, and know it.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Digest of the DER of the CA's certificate.
    pub ca_sha256: Sha256,
    /// `https://host:port`, the best first.
    pub servers: Vec<String>,
}

impl App {
    /// A server over these, of which nobody has asked anything yet.
    pub fn new(
        clock: Box<dyn Clock + Send + Sync>,
        objects: Objects,
        reach: Reach,
        signer: SigningKey,
        store: Arc<dyn Store>,
    ) -> Self {
        let (hub, live, tokens) = (hub::Hub::default(), live::Live::default(), tokens::Tokens::default());
        let (alerts, looks) = (alerts::Turn::default(), inside::Looks::default());
        Self { alerts, clock, hub, live, looks, objects, reach, signer, store, tokens }
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.clock.realtime()
    }
}

/// A page of at most `limit` of these records, of which one more than that were asked for.
fn page_of<T>(mut records: Vec<T>, limit: u32, id: impl Fn(&T) -> String) -> Page<T> {
    let limit = limit as usize;
    let is_more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| is_more).map(id);
    Page { items: records, next }
}

/// Random bytes from the system, for ids and secrets.
///
/// # Errors
/// [`ProblemKind::Internal`].
pub fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Problem::new(ProblemKind::Internal, "the system gives no random numbers").cause(error))?;
    Ok(bytes)
}

/// Who asks. Shown in custody as `user:<name>`, `agent:<id>`, `source:<name>`, `ticket:<id>` or `server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person or a program with a token.
    User {
        /// Its name.
        name: String,
        /// What it may do.
        role: wire::api::Role,
        /// The id of its token.
        token: String,
    },
    /// An enrolled agent, by its certificate.
    Agent {
        /// Its id.
        agent: AgentId,
        /// Serial number of the certificate, lower-case hex.
        serial: String,
    },
    /// The holder of an upload ticket.
    Ticket {
        /// The ticket's id.
        ticket: String,
    },
    /// The server itself.
    Server,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User { name, role: wire::api::Role::Source, .. } => write!(f, "source:{name}"),
            Self::User { name, .. } => write!(f, "user:{name}"),
            Self::Agent { agent, .. } => write!(f, "agent:{agent}"),
            Self::Ticket { ticket } => write!(f, "ticket:{ticket}"),
            Self::Server => f.write_str("server"),
        }
    }
}

/// What a caller can do about a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Mend the request.
    Input,
    /// Bring a credential.
    Credentials,
    /// Ask somebody who may.
    Forbidden,
    /// Look elsewhere.
    NotFound,
    /// Look at what is there first.
    Conflict,
    /// Send less.
    TooLarge,
    /// Send it in another form.
    MediaType,
    /// Ask for bytes that are there.
    Range,
    /// Wait a minute.
    TooMany,
    /// Come back later.
    Unavailable,
    /// Tell the operator.
    Internal,
}

/// Why a request failed: the message and hint are for the caller, the cause is for the log.
#[derive(Debug)]
pub struct Problem {
    /// For the log only.
    pub cause: Option<String>,
    /// The next step.
    pub hint: Option<String>,
    /// What the caller can do about it.
    pub kind: ProblemKind,
    /// The subject and what is wrong with it.
    pub message: String,
}

impl Problem {
    /// A problem without hint and cause.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { cause: None, hint: None, kind, message: message.into() }
    }

    /// The same, with the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with a text for the log.
    #[must_use]
    pub fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(what) => Self::new(ProblemKind::Conflict, what),
            StoreError::Backend(_) => {
                Self::new(ProblemKind::Internal, "the server could not read or write its records")
                    .hint("try again; the operator finds the cause in the server's log")
                    .cause(format!("{error:?}"))
            }
        }
    }
}

impl From<ObjectError> for Problem {
    fn from(error: ObjectError) -> Self {
        Self::new(ProblemKind::Internal, "the server could not read or write its evidence")
            .hint("try again; the operator finds the cause in the server's log")
            .cause(format!("{error:?}"))
    }
}
