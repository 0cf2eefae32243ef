//! Whom the site can tell of incidents: `contacts.yaml` in its folder. `packaging/site/contacts.yaml` is an example.
//!
//! Strict: what is not understood is refused, each mistake with file and line. Secrets stand in files of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::api::ContactView;
use wire::profile::{Lines, Mistake, Mistakes, Text, arguments, did_you_mean, document, line_of};

use super::channels::smtp::{self, Relay};
use super::channels::{Channel, KINDS, Kind};
use super::outgoing::Outgoing;
use super::secret::Secret;

/// The file's name.
pub const FILE: &str = "contacts.yaml";
/// Contacts of a site, and channels of a contact.
const CONTACTS_MAX: usize = 256;
const CHANNELS_MAX: usize = 8;
const NAME_CHARS_MAX: usize = 128;

/// See the module.
#[derive(Default)]
pub struct Contacts {
    /// In the order of the file.
    pub contacts: Vec<Contact>,
    /// How many pages are sent one by one.
    pub limits: Limits,
    /// Where people reach the server's pages, without a slash at the end; when absent, where hosts do.
    pub link: Option<String>,
}

/// Somebody who can be told.
pub struct Contact {
    /// In the order in which they are used: the next one when one fails.
    pub channels: Vec<(&'static Kind, Box<dyn Channel>)>,
    /// By the site's name.
    pub name: String,
    /// The roles that this contact stands for.
    pub roles: Vec<String>,
}

/// How long the other side has, and how many pages are sent one by one. Those beyond go out together, in a digest.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// For one request, from the look-up of the name to the last byte of the answer; a mail may take twice as long.
    pub answer_seconds: u32,
    /// A contact gets a digest at most so often.
    pub digest_minutes: u32,
    /// To one contact, within an hour.
    pub pages_per_contact_per_hour: u32,
    /// To all, within an hour.
    pub pages_per_hour: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { answer_seconds: 10, digest_minutes: 5, pages_per_contact_per_hour: 20, pages_per_hour: 200 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    ca_file: Option<PathBuf>,
    contacts: Vec<SourceContact>,
    #[serde(default)]
    limits: Limits,
    link: Option<String>,
    smtp: Option<smtp::Source>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceContact {
    channels: Vec<BTreeMap<String, Value>>,
    name: String,
    roles: Vec<String>,
}

impl Contacts {
    /// The contacts in `folder`; none when it has no such file.
    ///
    /// # Errors
    /// All mistakes that were found.
    pub fn load(folder: &Path) -> Result<Self, Mistakes> {
        let whole = |message: String| Mistakes(vec![Mistake { file: FILE.to_owned(), line: 0, message, hint: None }]);
        let yaml = match std::fs::read_to_string(folder.join(FILE)) {
            Ok(yaml) => yaml,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(whole(format!("it cannot be read: {error}"))),
        };
        let (source, lines) =
            document::<Source>(&Text { file: FILE.to_owned(), yaml }).map_err(|one| Mistakes(vec![one]))?;
        let mut reader = Reader { folder, lines, mistakes: Vec::new(), outgoing: None, relay: None };
        let limits = reader.limits(source.limits);
        let wait = Duration::from_secs(limits.answer_seconds.into());
        let outgoing = Outgoing::new(reader.ca(source.ca_file.as_deref()).as_deref(), wait);
        reader.outgoing = Some(Arc::new(outgoing.map_err(|error| whole(format!("TLS cannot be set up: {error}")))?));
        if let Some(relay) = source.smtp {
            reader.relay = relay.read(&mut reader).map(Arc::new);
        }
        let contacts = Self {
            contacts: reader.contacts(source.contacts),
            limits,
            link: source.link.and_then(|link| reader.url(&link, false, "link")).as_ref().map(without_slash),
        };
        if reader.mistakes.is_empty() { Ok(contacts) } else { Err(Mistakes(reader.mistakes)) }
    }

    /// The contact of this name.
    pub fn get(&self, name: &str) -> Option<&Contact> {
        self.contacts.iter().find(|contact| contact.name == name)
    }

    /// Who stands for a role.
    pub fn of_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Contact> {
        self.contacts.iter().filter(move |contact| contact.stands_for(role))
    }
}

impl Contact {
    /// True when this is one of the contact's roles, in capitals or not.
    pub fn stands_for(&self, role: &str) -> bool {
        self.roles.iter().any(|one| one.eq_ignore_ascii_case(role))
    }

    /// As people are shown it: no address, no secret.
    pub fn view(&self) -> ContactView {
        ContactView {
            channels: self.channels.iter().map(|(kind, _)| kind.name.to_owned()).collect(),
            contact: self.name.clone(),
            roles: self.roles.clone(),
        }
    }
}

fn without_slash(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Reads the parts of the file; keeps the mistakes.
pub struct Reader<'a> {
    folder: &'a Path,
    lines: Lines,
    mistakes: Vec<Mistake>,
    outgoing: Option<Arc<Outgoing>>,
    relay: Option<Arc<Relay>>,
}

impl Reader<'_> {
    /// Remembers a mistake in what stands at this path of the file.
    pub fn mistake(&mut self, at: &str, message: impl Into<String>, hint: impl Into<String>) {
        let line = line_of(&self.lines, at);
        self.mistakes.push(Mistake { file: FILE.to_owned(), line, message: message.into(), hint: Some(hint.into()) });
    }

    /// How HTTP goes out.
    pub fn outgoing(&self) -> Option<Arc<Outgoing>> {
        self.outgoing.clone()
    }

    /// How mail goes out, where the site says it.
    pub fn relay(&self) -> Option<Arc<Relay>> {
        self.relay.clone()
    }

    /// The value at this path, as a `T`.
    pub fn parsed<T: DeserializeOwned>(&mut self, value: Value, at: &str) -> Option<T> {
        let error = match arguments(value) {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        let line = line_of(&self.lines, &format!("{at}.{}", error.path));
        self.mistakes.push(Mistake { file: FILE.to_owned(), line, message: error.message, hint: error.hint });
        None
    }

    /// The secret in a file, whose name counts from the site's folder.
    pub fn secret(&mut self, file: &Path, at: &str) -> Option<Secret> {
        let read = Secret::read(&self.folder.join(file));
        read.map_err(|(message, hint)| self.mistake(at, message, hint)).ok()
    }

    /// An address: https, or http to this host; to others only where the site insists.
    pub fn url(&mut self, text: &str, insecure: bool, at: &str) -> Option<Url> {
        // Nothing of the text is told: an address may be a secret.
        let Ok(url) = text.parse::<Url>() else {
            self.mistake(at, "this is no address", "write https://HOST/PATH");
            return None;
        };
        let is_safe = match url.scheme() {
            "https" => true,
            "http" => insecure || url.host_str().is_some_and(is_loopback),
            _ => false,
        };
        if !is_safe || !url.username().is_empty() || url.password().is_some() {
            self.mistake(at, "only https without a password in it is used", "plain http goes to this host only");
            return None;
        }
        Some(url)
    }

    fn ca(&mut self, file: Option<&Path>) -> Option<Vec<u8>> {
        let path = self.folder.join(file?);
        let read = std::fs::read(&path);
        read.map_err(|error| self.mistake("ca_file", format!("{} cannot be read: {error}", path.display()), "PEM")).ok()
    }

    fn limits(&mut self, limits: Limits) -> Limits {
        let Limits { answer_seconds, digest_minutes, pages_per_contact_per_hour, pages_per_hour } = limits;
        for (name, number, max) in [
            ("answer_seconds", answer_seconds, 60),
            ("digest_minutes", digest_minutes, 60),
            ("pages_per_contact_per_hour", pages_per_contact_per_hour, 10_000),
            ("pages_per_hour", pages_per_hour, 10_000),
        ] {
            if number == 0 || number > max {
                self.mistake(&format!("limits.{name}"), format!("{name} cannot be {number}"), format!("1 to {max}"));
            }
        }
        limits
    }

    fn contacts(&mut self, sources: Vec<SourceContact>) -> Vec<Contact> {
        if sources.len() > CONTACTS_MAX {
            self.mistake("contacts", format!("{} contacts", sources.len()), format!("at most {CONTACTS_MAX}"));
        }
        let (mut contacts, mut names) = (Vec::new(), BTreeSet::new());
        for (n, source) in sources.into_iter().enumerate() {
            let at = format!("contacts[{n}]");
            for (what, name) in
                std::iter::once(("name", &source.name)).chain(source.roles.iter().map(|role| ("roles", role)))
            {
                if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control)
                {
                    let hint = format!("1 to {NAME_CHARS_MAX} characters");
                    self.mistake(&format!("{at}.{what}"), "this is no name", hint);
                }
            }
            if !names.insert(source.name.clone()) {
                self.mistake(
                    &format!("{at}.name"),
                    format!("two contacts are called {:?}", source.name),
                    "give one another name",
                );
            }
            let channels = self.channels(source.channels, &at);
            contacts.push(Contact { channels, name: source.name, roles: source.roles });
        }
        contacts
    }

    fn channels(&mut self, sources: Vec<BTreeMap<String, Value>>, at: &str) -> Vec<(&'static Kind, Box<dyn Channel>)> {
        if sources.is_empty() || sources.len() > CHANNELS_MAX {
            let hint = format!("1 to {CHANNELS_MAX}, in the order in which they are used");
            self.mistake(&format!("{at}.channels"), format!("{} channels", sources.len()), hint);
        }
        let mut channels = Vec::new();
        for (n, source) in sources.into_iter().enumerate() {
            let at = format!("{at}.channels[{n}]");
            if source.len() != 1 {
                self.mistake(
                    &at,
                    "a channel is one kind and what it takes",
                    "as in: - webhook: {url: …, secret_file: …}",
                );
            }
            for (name, value) in source {
                let at = format!("{at}.{name}");
                let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
                    let hint = did_you_mean(&name, KINDS.iter().map(|kind| kind.name));
                    self.mistake(&at, format!("there is no channel `{name}`"), hint);
                    continue;
                };
                channels.extend((kind.read)(value, &at, self).map(|channel| (kind, channel)));
            }
        }
        channels
    }
}

/// True for a name or an address of this host.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
