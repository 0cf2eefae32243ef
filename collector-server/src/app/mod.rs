//! What the server does, whoever asks: decisions over the store and the object store, each recorded in custody.
//!
//! Architecture invariant: nothing here knows HTTP. Whoever calls has authenticated the [`Actor`].

pub mod alerts;
pub mod cases;
pub mod containment;
pub mod custody;
pub mod dispatch;
pub mod enrollment;
pub mod escalation;
pub mod evidence;
pub mod findings;
pub mod hosts;
pub mod hub;
pub mod hunts;
pub mod identity;
pub mod incidents;
pub mod ingest;
pub mod inside;
pub mod letters;
pub mod limits;
pub mod live;
pub mod marks;
pub mod orders;
pub mod others;
pub mod reports;
pub mod sessions;
pub mod signatures;
pub mod silence;
pub mod tickets;
pub mod tokens;
pub mod triage;
pub mod upkeep;
pub mod uploads;

use std::sync::Arc;

use bundle::sign::SigningKey;
use bundle::time::Clock;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use wire::api::Page;
use wire::{AgentId, Instant, Sha256};

use crate::authority::Authorities;
use crate::objects::{ObjectError, Objects};
use crate::site::Site;
use crate::spool_key::SpoolKey;
use crate::store::sql::peers::Peers;
use crate::store::{Store, StoreError};
use crate::witness::Standing;

/// Everything that the server's decisions stand on.
pub struct App {
    /// Alerts wait for each other here.
    pub alerts: alerts::Turn,
    /// Give agents their certificates; without one, no host can enrol.
    pub authorities: Authorities,
    /// Signs what nobody decided; without one, nothing is done by itself.
    pub automation: Option<SigningKey>,
    /// Where the time comes from.
    pub clock: Box<dyn Clock + Send + Sync>,
    /// Wakes those who look after pages.
    pub escalation: escalation::Escalation,
    /// Rules are applied to bundles.
    pub findings: findings::Evaluations,
    /// Held while the record of a host is read and written again.
    host_writes: tokio::sync::Mutex<()>,
    /// Which agents wait for orders.
    pub hub: hub::Hub,
    /// Bundles that are to be verified.
    pub ingest: ingest::Queue,
    /// Alerts that come in.
    pub intake: alerts::Intake,
    /// Requests whose alerts could not be taken in.
    pub letters: letters::Letters,
    /// How much is taken.
    pub limits: limits::Limits,
    /// Tells of what happens, as it happens.
    pub live: live::Live,
    /// What people have set about hosts, for triage.
    pub marks: marks::Marks,
    /// How many look into bundles now.
    pub looks: inside::Looks,
    /// What never changes.
    pub objects: Objects,
    /// The servers that share the records.
    pub peers: Peers,
    /// How others find this server, and know it: it stands in tickets.
    pub reach: Reach,
    /// Past incidents are assessed anew.
    pub replaying: triage::Replaying,
    /// Signs receipts and custody heads.
    pub signer: SigningKey,
    /// What the site says.
    pub site: Site,
    /// Opens what waited on hosts while this server was away; without one, no host has a spool.
    pub spool: Option<SpoolKey>,
    /// Cancelled when the server stops: whoever waits for something answers at once.
    pub stop: CancellationToken,
    /// What changes.
    pub store: Arc<dyn Store>,
    /// Tokens that were verified a moment ago, and those that failed.
    pub tokens: tokens::Tokens,
    /// Uploads that somebody worked on a moment ago.
    pub uploads: uploads::Uploads,
    /// Whether custody heads leave.
    pub witness: Standing,
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
        Self {
            alerts: alerts::Turn::default(),
            authorities: Authorities::default(),
            automation: None,
            clock,
            escalation: escalation::Escalation::default(),
            findings: findings::Evaluations::default(),
            host_writes: tokio::sync::Mutex::default(),
            hub: hub::Hub::default(),
            letters: letters::Letters::default(),
            limits: limits::Limits::default(),
            ingest: ingest::Queue::default(),
            intake: alerts::Intake::default(),
            live: live::Live::default(),
            marks: marks::Marks::default(),
            looks: inside::Looks::default(),
            objects,
            peers: Peers::default(),
            reach,
            replaying: triage::Replaying::default(),
            signer,
            site: Site::default(),
            spool: None,
            stop: CancellationToken::new(),
            store,
            tokens: tokens::Tokens::default(),
            uploads: uploads::Uploads::default(),
            witness: Standing::default(),
        }
    }

    /// Digest of the CA by which the server is to be known from now on.
    pub fn ca_sha256(&self) -> Sha256 {
        self.authorities.get().map_or(self.reach.ca_sha256, |in_force| in_force.issuing.sha256())
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.clock.realtime()
    }
}

/// The details of a custody leaf.
pub fn details<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
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

/// What a panic said. It is for the log: it may hold anything.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words")
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
    /// Wait until the other request has ended.
    Locked,
    /// Make room first.
    Full,
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
    /// Seconds after which the same request may go well.
    pub retry_secs: Option<u32>,
}

impl Problem {
    /// A problem without hint and cause.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { cause: None, hint: None, kind, message: message.into(), retry_secs: None }
    }

    /// The same, with the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, which may go well after so many seconds.
    #[must_use]
    pub fn retry(mut self, secs: u32) -> Self {
        self.retry_secs = Some(secs);
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
