//! Mail, by the site's relay (RFC 5321, RFC 8314, RFC 3207). Plain text.
//!
//! Known limit: the lines that the relay answers are bounded in time, not in bytes; it is the site's own.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use serde::Deserialize;
use serde_json::Value;

use super::super::contacts::{Reader, is_loopback};
use super::super::message::Message;
use super::super::outgoing::with_causes;
use super::{Channel, Kind, NotSent};

/// A whole delivery may take as long as so many answers: greeting, TLS, authentication and the message are one each.
const ANSWERS: u32 = 2;

/// See the module.
pub const KIND: Kind = Kind { name: "smtp", read, hears_the_end: false };

/// The site's relay, as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    from: String,
    host: String,
    password_file: Option<PathBuf>,
    port: Option<u16>,
    tls: TlsUse,
    user: Option<String>,
}

/// How the relay is spoken to.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum TlsUse {
    /// From the first byte.
    Required,
    /// After STARTTLS; without it, nothing is sent.
    Starttls,
    /// Not at all, to a relay on this host.
    NoneOnLoopbackOnly,
}

/// The site's relay.
pub struct Relay {
    from: Mailbox,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    whole: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    to: String,
}

struct Smtp {
    relay: Arc<Relay>,
    to: Mailbox,
}

impl Source {
    /// The relay.
    pub fn read(self, reader: &mut Reader<'_>) -> Option<Relay> {
        let from = mailbox(&self.from, "smtp.from", reader);
        let password = self.password_file.map(|file| reader.secret(&file, "smtp.password_file"));
        let credentials = match (self.user, password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some(Credentials::new(user, password?.reveal().to_owned())),
            _ => {
                reader.mistake("smtp", "user and password_file belong together", "give both, or neither");
                return None;
            }
        };
        let tls = match self.tls {
            TlsUse::NoneOnLoopbackOnly if !is_loopback(&self.host) => {
                let hint = "a relay elsewhere needs tls: required or tls: starttls";
                reader.mistake("smtp.tls", "mail without TLS goes to a relay on this host only", hint);
                return None;
            }
            TlsUse::NoneOnLoopbackOnly => Tls::None,
            wanted => {
                let parameters = parameters(&self.host, reader)
                    .map_err(|error| reader.mistake("smtp.host", error, "a host name, and PEM in ca_file"))
                    .ok()?;
                if wanted == TlsUse::Required { Tls::Wrapper(parameters) } else { Tls::Required(parameters) }
            }
        };
        let port = self.port.unwrap_or(match self.tls {
            TlsUse::Required => 465,
            TlsUse::Starttls => 587,
            TlsUse::NoneOnLoopbackOnly => 25,
        });
        let (from, wait) = (from?, reader.outgoing()?.wait);
        let domain = from.email.domain().to_owned();
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host)
            .port(port)
            .tls(tls)
            // Not this host's name, which is nobody's business; relays want a whole one.
            .hello_name(ClientId::Domain(domain))
            .timeout(Some(wait));
        if let Some(credentials) = credentials {
            builder = builder.credentials(credentials);
        }
        Some(Relay { from, transport: builder.build(), whole: wait * ANSWERS })
    }
}

fn parameters(host: &str, reader: &Reader<'_>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    let ca = reader.outgoing().and_then(|outgoing| outgoing.ca_pem.clone());
    if let Some(pem) = ca {
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| error.to_string())?);
    }
    builder.build_rustls().map_err(|error| error.to_string())
}

fn mailbox(text: &str, at: &str, reader: &mut Reader<'_>) -> Option<Mailbox> {
    let hint = "write it as name@example.org or Name <name@example.org>";
    text.parse().map_err(|_| reader.mistake(at, "this is no mail address", hint)).ok()
}

fn read(value: Value, at: &str, reader: &mut Reader<'_>) -> Option<Box<dyn Channel>> {
    let To { to } = reader.parsed(value, at)?;
    let to = mailbox(&to, &format!("{at}.to"), reader);
    let Some(relay) = reader.relay() else {
        reader.mistake(at, "there is no relay", "`smtp: {host, from, tls}` at the top of the file says which");
        return None;
    };
    Some(Box::new(Smtp { relay, to: to? }))
}

fn text(message: &Message) -> String {
    let mut text = format!("{}\n", message.reason());
    for brief in message.named() {
        let _ = write!(text, "\n{}\n", brief.headline());
        for (name, fact) in brief.facts() {
            let _ = writeln!(text, "{name:<9} {fact}");
        }
    }
    let more = message.incidents.len() - message.named().len();
    if more > 0 {
        let _ = writeln!(text, "\nand {more} more");
    }
    if !message.incidents.is_empty() {
        text.push_str("\nAcknowledge on the incident's page; until somebody does, the next in line is paged.\n");
    }
    text
}

#[async_trait]
impl Channel for Smtp {
    async fn send(&self, message: &Message) -> Result<(), NotSent> {
        let mail = lettre::Message::builder()
            .from(self.relay.from.clone())
            .to(self.to.clone())
            .subject(message.headline())
            // Whoever gets it twice shows it once.
            .message_id(Some(format!("<{}@holdfast>", message.page)))
            .header(ContentType::TEXT_PLAIN)
            .body(text(message))
            .map_err(|error| NotSent::for_good(format!("the mail could not be written: {error}")))?;
        match tokio::time::timeout(self.relay.whole, self.relay.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                // Relays repeat whom the mail was for.
                let why = with_causes(&error).replace(self.to.email.to_string().as_str(), "***");
                Err(NotSent { is_final: error.is_permanent(), why })
            }
            Err(_) => {
                Err(NotSent::for_now(format!("the relay took longer than {} seconds", self.relay.whole.as_secs())))
            }
        }
    }
}
