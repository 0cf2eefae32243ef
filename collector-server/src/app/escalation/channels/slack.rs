//! A Slack incoming webhook, or whatever understands its payload
//! (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).
//!
//! The address itself is the secret. `&`, `<` and `>` are escaped, so that no title can mention people or hide a link
//! behind a text, and `verbatim` keeps addresses in titles from becoming links at all.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::contacts::Reader;
use super::super::message::{Brief, Message};
use super::super::outgoing::Outgoing;
use super::{Channel, Kind, NotSent};

/// Slack's own bounds: a header, and a section's text.
const HEADER_CHARS_MAX: usize = 150;
const SECTION_CHARS_MAX: usize = 3000;

/// See the module.
pub const KIND: Kind = Kind { name: "slack", read, hears_the_end: false };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[serde(default)]
    insecure: bool,
    url_file: PathBuf,
}

struct Slack {
    outgoing: Arc<Outgoing>,
    url: Url,
}

fn read(value: Value, at: &str, reader: &mut Reader<'_>) -> Option<Box<dyn Channel>> {
    let source: Source = reader.parsed(value, at)?;
    let at = format!("{at}.url_file");
    let secret = reader.secret(&source.url_file, &at)?;
    let url = reader.url(secret.reveal(), source.insecure, &at)?;
    Some(Box::new(Slack { outgoing: reader.outgoing()?, url }))
}

/// Whole characters of at most so many once they are escaped.
fn escaped(text: &str, chars_max: usize) -> String {
    let (mut escaped, mut chars) = (String::new(), 0);
    for c in text.chars() {
        let one = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        chars += one.len().max(1);
        if chars > chars_max {
            break;
        }
        if one.is_empty() { escaped.push(c) } else { escaped.push_str(one) }
    }
    escaped
}

fn section(text: &str) -> Value {
    let text = escaped(text, SECTION_CHARS_MAX);
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } })
}

fn incident(brief: &Brief) -> Value {
    let facts = brief.facts().map(|(name, text)| format!("*{name}* {text}")).join("\n");
    section(&format!("{}\n{facts}", brief.headline()))
}

fn payload(message: &Message) -> Value {
    let headline = escaped(&message.headline(), HEADER_CHARS_MAX);
    let mut blocks = vec![
        json!({ "type": "header", "text": { "type": "plain_text", "text": headline, "emoji": false } }),
        section(&message.reason()),
    ];
    blocks.extend(message.named().iter().map(incident));
    json!({ "text": headline, "blocks": blocks })
}

#[async_trait]
impl Channel for Slack {
    async fn send(&self, message: &Message) -> Result<(), NotSent> {
        let body = payload(message).to_string().into_bytes();
        self.outgoing.post(&self.url, HeaderMap::new(), body, self.url.path()).await
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nobody_is_mentioned_and_nothing_is_cut_in_half() {
        assert_eq!(escaped("<!channel> a&b", 99), "&lt;!channel&gt; a&amp;b");
        assert_eq!((escaped("a<", 5), escaped("a<", 4)), ("a&lt;".into(), "a".into()));
    }
}
