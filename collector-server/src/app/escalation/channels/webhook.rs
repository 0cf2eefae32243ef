//! A signed webhook, after the Standard Webhooks specification
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<body>`. The id is
//! the page's, and the same at each try: a receiver that has seen it need not take it again. The secret stands in its file
//! as `whsec_` and base64 of 24 to 64 random bytes.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::contacts::Reader;
use super::super::message::{Brief, Message};
use super::super::outgoing::Outgoing;
use super::super::secret::Secret;
use super::{Channel, Kind, NotSent};

const SECRET_PREFIX: &str = "whsec_";
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// See the module.
pub const KIND: Kind = Kind { name: "webhook", read, hears_the_end: false };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[serde(default)]
    insecure: bool,
    secret_file: PathBuf,
    url: String,
}

struct Webhook {
    outgoing: Arc<Outgoing>,
    secret: Secret,
    url: Url,
}

fn read(value: Value, at: &str, reader: &mut Reader<'_>) -> Option<Box<dyn Channel>> {
    let source: Source = reader.parsed(value, at)?;
    let secret = reader.secret(&source.secret_file, &format!("{at}.secret_file"));
    let url = reader.url(&source.url, source.insecure, &format!("{at}.url"));
    let secret = secret?;
    if key(&secret).is_none() {
        let hint = "it is whsec_ and base64 of 24 to 64 random bytes; make one: \
                    (printf whsec_; head -c 32 /dev/urandom | base64) > FILE";
        reader.mistake(&format!("{at}.secret_file"), "the file holds no webhook secret", hint);
        return None;
    }
    Some(Box::new(Webhook { outgoing: reader.outgoing()?, secret, url: url? }))
}

fn key(secret: &Secret) -> Option<Vec<u8>> {
    let key = BASE64_STANDARD.decode(secret.reveal().strip_prefix(SECRET_PREFIX)?).ok()?;
    KEY_BYTES.contains(&key.len()).then_some(key)
}

fn incident(brief: &Brief) -> Value {
    json!({
        "incident": brief.incident,
        "incident_type": brief.incident_type,
        "link": brief.link,
        "next_action": brief.next_action,
        "severity": brief.severity,
        "title": brief.title,
        "victims": brief.victims,
    })
}

fn body(message: &Message) -> Value {
    let kind = match message.incidents.len() {
        0 => "page.test",
        1 => "page.incident",
        _ => "page.digest",
    };
    json!({
        "type": kind,
        "timestamp": message.now,
        "data": {
            "contact": message.contact,
            "incidents": message.named().iter().map(incident).collect::<Vec<_>>(),
            "incidents_count": message.incidents.len(),
            "page": message.page,
            "purpose": message.purpose,
            "role": message.role,
            "step": message.step,
            "text": message.headline(),
        },
    })
}

#[async_trait]
impl Channel for Webhook {
    async fn send(&self, message: &Message) -> Result<(), NotSent> {
        let unsigned = |_| NotSent::for_good("it could not be signed");
        let (id, timestamp) = (message.page.to_string(), message.now.unix_seconds().to_string());
        let body = body(message).to_string();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key(&self.secret).unwrap_or_default()).map_err(unsigned)?;
        for part in [&id, ".", &timestamp, ".", &body] {
            mac.update(part.as_bytes());
        }
        let signature = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        let mut headers = HeaderMap::new();
        for (name, text) in [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)] {
            let value = HeaderValue::from_str(&text).map_err(|_| NotSent::for_good("it could not be signed"))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        self.outgoing.post(&self.url, headers, body.into_bytes(), self.secret.reveal()).await
    }
}
