//! How people are told: one file each, and one line in [`KINDS`].

pub mod pagerduty;
pub mod slack;
pub mod smtp;
pub mod webhook;

use async_trait::async_trait;
use serde_json::Value;

use super::contacts::Reader;
use super::message::Message;

/// A way to one contact.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Hands the message over, once. Bounded in time.
    ///
    /// # Errors
    /// [`NotSent`].
    async fn send(&self, message: &Message) -> Result<(), NotSent>;
}

/// A kind of channel.
pub struct Kind {
    /// Under which a contact names it.
    pub name: &'static str,
    /// Reads what the contact says of it, at this path of the file. `None` when that is a mistake, which the reader keeps.
    pub read: fn(Value, &str, &mut Reader<'_>) -> Option<Box<dyn Channel>>,
    /// True where the other side is told that a page was answered, and that its incident is over.
    pub hears_the_end: bool,
}

/// All kinds.
pub static KINDS: &[Kind] = &[pagerduty::KIND, slack::KIND, smtp::KIND, webhook::KIND];

/// Why a message did not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent {
    /// True when the same again would not get through either.
    pub is_final: bool,
    /// In words, without secrets and addresses.
    pub why: String,
}

impl NotSent {
    /// It may get through another time.
    pub fn for_now(why: impl Into<String>) -> Self {
        Self { is_final: false, why: why.into() }
    }

    /// It will not get through.
    pub fn for_good(why: impl Into<String>) -> Self {
        Self { is_final: true, why: why.into() }
    }
}
