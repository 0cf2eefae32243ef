//! `holdfast-server token`: who may ask the server for anything. It works on the records, also while the server runs:
//! both databases let several processes write, and a token is read again with each request.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bundle::time::Clock;
use clap::{Subcommand, ValueEnum};
use wire::api::Role;

use super::Failure;
use super::records::Records;
use crate::app::signatures::Scheme;
use crate::app::{Actor, Problem, ProblemKind, tokens};
use crate::store::sql::Database;
use crate::store::{SharedKey, SourceSignature, Store, TokenRecord};

/// How long the first start of a server may take to make its records.
const MADE_WITHIN: Duration = Duration::from_secs(5);
/// A key and its line end, and more than a key may have.
const KEY_FILE_BYTES_MAX: u64 = 4 << 10;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What can be done to tokens.
#[derive(Subcommand)]
pub enum Token {
    /// Make a token and print it, once
    Add {
        /// Who it is for: custody names its holder so
        name: String,
        /// What its holder may do
        #[arg(long, value_enum)]
        role: RoleName,
        /// Days until it ends; without end when absent
        #[arg(long)]
        days: Option<u32>,
        /// The file with the key that the source signs with, or `-` for standard input: it gets an address, and no token
        #[arg(long, value_name = "FILE", requires = "signature")]
        hmac_key: Option<PathBuf>,
        /// How the source signs: github, standard-webhooks, slack or hex:HEADER
        #[arg(long, value_name = "SCHEME", requires = "hmac_key")]
        signature: Option<Scheme>,
        /// See [`At`].
        #[command(flatten)]
        at: At,
    },
    /// List all tokens
    List {
        /// See [`At`].
        #[command(flatten)]
        at: At,
        /// JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Make another token for the holder of one and print it, once; the old one is withdrawn
    Rotate {
        /// Its id: the 16 hex digits after hf_
        id: String,
        /// See [`At`].
        #[command(flatten)]
        at: At,
    },
    /// Withdraw a token; its sessions and streams end with it
    Revoke {
        /// Its id: the 16 hex digits after hf_
        id: String,
        /// See [`At`].
        #[command(flatten)]
        at: At,
    },
}

/// Where the server keeps its data.
#[derive(clap::Args)]
pub struct At {
    /// The server's data directory
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// See [`Records`].
    #[command(flatten)]
    records: Records,
}

/// [`Role`], on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub enum RoleName {
    /// Send alerts; read nothing
    Source,
    /// Read incidents and evidence
    Analyst,
    /// Send alerts, dispatch collections, enrol hosts, add evidence
    Responder,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Source => Self::Source,
            RoleName::Analyst => Self::Analyst,
            RoleName::Responder => Self::Responder,
        }
    }
}

impl Token {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self, clock: &dyn Clock) -> Result<(), Failure> {
        let mut out = std::io::stdout();
        match self {
            Self::Add { name, role, days, hmac_key: Some(file), signature: Some(scheme), at } => {
                let signature = signature(&file, &scheme, role)?;
                let store = open(&at, MADE_WITHIN).await?;
                let now = clock.realtime();
                let made = tokens::add_signing(&store, now, &Actor::Server, &name, days, signature).await;
                store.close().await;
                writeln!(out, "/api/v1/sources/{}/alerts", made.map_err(in_words)?.token)?;
            }
            Self::Add { name, role, days, at, .. } => {
                let store = open(&at, MADE_WITHIN).await?;
                let made = tokens::add(&store, clock.realtime(), &Actor::Server, &name, role.into(), days).await;
                store.close().await;
                writeln!(out, "{}", made.map_err(in_words)?.text)?;
            }
            Self::List { at, json } => {
                let store = open(&at, Duration::ZERO).await?;
                let tokens = store.tokens().await;
                store.close().await;
                for token in tokens.context("the tokens cannot be read")? {
                    writeln!(out, "{}", if json { as_json(&token) } else { as_line(&token) })?;
                }
            }
            Self::Rotate { id, at } => {
                let store = open(&at, Duration::ZERO).await?;
                let rotated = tokens::rotate(&store, clock.realtime(), &Actor::Server, id_in(&id)).await;
                store.close().await;
                writeln!(out, "{}", rotated.map_err(in_words)?.text)?;
            }
            Self::Revoke { id, at } => {
                let store = open(&at, Duration::ZERO).await?;
                let revoked = tokens::revoke(&store, clock.realtime(), &Actor::Server, id_in(&id)).await;
                store.close().await;
                writeln!(out, "{}", as_line(&revoked.map_err(in_words)?))?;
            }
        }
        Ok(())
    }
}

/// A whole token is taken for its id, so that one found in a log can be pasted; it is not shown again.
fn id_in(text: &str) -> &str {
    let id = text.strip_prefix(tokens::PREFIX).unwrap_or(text);
    id.split_once('_').map_or(id, |(id, _)| id)
}

/// The key is read from a file, for a command line is seen by everybody on the host.
fn signature(file: &Path, scheme: &Scheme, role: RoleName) -> Result<SourceSignature, Failure> {
    if !matches!(role, RoleName::Source) {
        let error = anyhow!("only a source can sign its requests");
        return Err(Failure { code: super::USAGE, error, hint: Some("--role source".to_owned()) });
    }
    let mut text = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(KEY_FILE_BYTES_MAX).read_to_end(&mut text)
    } else {
        File::open(file).and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut text))
    }
    .with_context(|| format!("the key in {} cannot be read", file.display()))?;
    let key = scheme.key(&text).map_err(|wrong| Failure {
        code: super::INPUT,
        error: anyhow!("{} holds no key: {wrong}", file.display()),
        hint: Some("the key alone, as the source's console shows it".to_owned()),
    })?;
    Ok(SourceSignature { key: SharedKey(key), scheme: scheme.to_string() })
}

/// What the operator is told at the start of a server on which nobody may do anything yet.
///
/// # Errors
/// When the store fails.
pub async fn hint_without_tokens(store: &dyn Store, data: &Path) -> Result<Option<String>, crate::store::StoreError> {
    let is_none = store.tokens().await?.is_empty();
    Ok(is_none.then(|| {
        format!("nobody may use this server yet; make a token with: holdfast-server token add NAME --role responder --data {}", data.display())
    }))
}

/// Only the server makes its records: in a wrong folder a token would be good for nothing. A server that was just started
/// may be about to make them, and so long they are waited for.
pub async fn open(at: &At, made_within: Duration) -> Result<Database, Failure> {
    if let Some(address) = at.records.address()? {
        return Ok(Database::at(&address).await.context("the records cannot be used")?);
    }
    let data = &at.data;
    let (path, deadline) = (data.join("holdfast.db"), Instant::now() + made_within);
    while !path.exists() {
        if !data.exists() || Instant::now() >= deadline {
            return Err(Failure {
                code: super::UNAVAILABLE,
                error: anyhow!("{} is not there", path.display()),
                hint: Some(
                    "--data names the directory that the server was started with; its first start makes it".to_owned(),
                ),
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let store = Database::in_file(&path).await;
    Ok(store.with_context(|| format!("the records in {} cannot be used", data.display()))?)
}

fn in_words(problem: Problem) -> Failure {
    let cause = problem.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    let code = match problem.kind {
        ProblemKind::Input | ProblemKind::NotFound | ProblemKind::Conflict => super::INPUT,
        _ => super::UNAVAILABLE,
    };
    Failure { code, error: anyhow!("{}{cause}", problem.message), hint: problem.hint }
}

fn as_line(token: &TokenRecord) -> String {
    let state = match (token.revoked, token.expires) {
        (Some(revoked), _) => format!("withdrawn {revoked}"),
        (None, Some(expires)) => format!("until {expires}"),
        (None, None) => "without end".to_owned(),
    };
    let signs = token.signature.as_ref().map(|one| format!("  signs as {}", one.scheme)).unwrap_or_default();
    let TokenRecord { created, name, role, token, .. } = token;
    format!("{token}  {:<9}  {name:<24}  made {created}  {state}{signs}", role_name(*role))
}

fn as_json(token: &TokenRecord) -> String {
    let TokenRecord { created, expires, name, revoked, role, signature, token, .. } = token;
    let signature = signature.as_ref().map(|one| &one.scheme);
    serde_json::json!({
        "created": created, "expires": expires, "name": name, "revoked": revoked, "role": role, "signature": signature,
        "token": token,
    })
    .to_string()
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Source => "source",
        Role::Analyst => "analyst",
        Role::Responder => "responder",
    }
}
