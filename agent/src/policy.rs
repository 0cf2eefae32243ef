//! What this host lets others order: `policy.toml`, read on the host and never supplied by a server.
//!
//! The name of a profile is what the order's signer says; what the profile may do is bound by `collectors_denied`,
//! `sensitive` and the ceilings, whatever it is called.

mod automation;
mod contain;

pub use automation::Automation;
pub use contain::Contain;

use bundle::encryption::{BadRecipient, RECIPIENTS_MAX, Recipient};
use serde::Deserialize;
use wire::ByteSize;
use wire::containment::Action;
use wire::order::{Order, VALID_SECS_MAX};
use wire::profile::{Limits, Sensitive, did_you_mean};

use crate::collect::{COLLECTORS, Collector};
use crate::orders::Ordered as _;

/// A policy is at most this long.
pub const TEXT_BYTES_MAX: u64 = 64 << 10;

/// The policy. Without a file: collection for the listed signers, nothing sensitive, no containment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// What may be ordered without anybody's decision.
    pub automation: Automation,
    /// What may be collected.
    pub collect: Collect,
    /// What may be done to this host.
    pub contain: Contain,
    /// To whom bundles are encrypted.
    pub encryption: Encryption,
    /// Which orders are taken.
    pub orders: Orders,
    /// What may wait on this host while the server is away.
    pub spool: Spool,
}

/// `[collect]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// Names of the profiles that may be ordered; `*` at the end stands for anything.
    pub profiles: Vec<String>,
    /// Collectors that no order may run.
    pub collectors_denied: Vec<String>,
    /// Sensitive classes whose content an order may approve.
    pub sensitive: Vec<Sensitive>,
    /// The most content that one order may store.
    pub bytes_max: Option<ByteSize>,
    /// The longest that one order may run.
    pub wall_secs_max: Option<u64>,
}

/// `[encryption]`: holds for whatever is collected on this host, ordered or not. No order and no server says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Encryption {
    /// Public keys: `age1…` or `ssh-ed25519 AAAA…`. Nobody else can read the bundles then, this host included.
    recipients: Vec<String>,
}

impl Encryption {
    /// Who can read what is collected; nobody, where it is not encrypted.
    pub fn recipients(&self) -> Vec<Recipient> {
        self.recipients.iter().filter_map(|line| line.parse().ok()).collect()
    }

    fn check(&self) -> Result<(), BadRecipient> {
        if self.recipients.len() > RECIPIENTS_MAX {
            return Err(BadRecipient::TooMany);
        }
        self.recipients.iter().try_for_each(|line| line.parse::<Recipient>().map(|_| ()))
    }
}

/// `[orders]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Orders {
    /// The longest time between an order's issue and its expiry.
    pub valid_secs_max: u64,
    /// The host's clock is believed while it is within this of the server's.
    pub clock_skew_secs_max: u64,
}

/// `[spool]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// The most that waits, of all runs; without it 2 GiB, or a tenth of what is free where that is less.
    pub bytes_max: Option<ByteSize>,
    /// The longest that anything waits.
    pub age_secs_max: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self { bytes_max: None, age_secs_max: 7 * 24 * 3600 }
    }
}

impl Default for Collect {
    fn default() -> Self {
        let profiles = vec!["*".to_owned()];
        Self { profiles, collectors_denied: Vec::new(), sensitive: Vec::new(), bytes_max: None, wall_secs_max: None }
    }
}

impl Default for Orders {
    fn default() -> Self {
        Self { valid_secs_max: VALID_SECS_MAX, clock_skew_secs_max: 300 }
    }
}

/// A policy that cannot be read. Half a policy is none: nothing is ordered under it.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, or a key or value that there is none of.
    #[error("the policy cannot be read: {0}")]
    Toml(#[from] toml::de::Error),
    /// It denies a collector that does not exist: a slip of the pen that would deny nothing.
    #[error("the policy denies the collector `{name}`, which there is none of\n  hint: {hint}")]
    Collector {
        /// The name.
        name: String,
        /// The nearest one.
        hint: String,
    },
    /// It names an action that there is none of, or a number that is none.
    #[error("the policy's [{section}]: {what}\n  hint: {hint}")]
    Value {
        /// `contain` or `automation`.
        section: &'static str,
        /// What is wrong.
        what: String,
        /// What is right.
        hint: String,
    },
    /// It encrypts to somebody who does not exist: evidence would go out that they cannot read.
    #[error("the policy's recipients: {0}")]
    Recipient(#[from] BadRecipient),
}

impl Policy {
    /// Reads the text of a policy.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(text)?;
        policy.encryption.check()?;
        policy.contain.check()?;
        policy.automation.check()?;
        for name in &policy.collect.collectors_denied {
            if Collector::named(name).is_none() {
                let hint = did_you_mean(name, COLLECTORS.iter().map(|collector| collector.name));
                return Err(PolicyError::Collector { name: name.clone(), hint });
            }
        }
        Ok(policy)
    }

    /// The limits that the order runs under, when the policy lets it: its own, or the policy's ceilings where it has
    /// none.
    ///
    /// # Errors
    /// What the policy forbids, in a sentence.
    pub fn permit(&self, order: &Order) -> Result<Limits, String> {
        let Collect { profiles, collectors_denied, sensitive, bytes_max, wall_secs_max } = &self.collect;
        let name = &order.profile.name;
        if !profiles.iter().any(|pattern| matches(pattern, name)) {
            return Err(format!("the profile `{name}` is not among those that may be ordered"));
        }
        if let Some(step) = order.profile.collect.iter().find(|step| collectors_denied.contains(&step.collect)) {
            return Err(format!("the collector `{}` is denied", step.collect));
        }
        if let Some(class) = order.approved_sensitive.iter().find(|class| !sensitive.contains(class)) {
            return Err(format!("no order may approve content of the class `{}`", class.name()));
        }
        let secs = order.common().valid_secs();
        if u64::try_from(secs).is_ok_and(|secs| secs > self.orders.valid_secs_max) {
            return Err(format!("it is valid for {secs} s, of which {} are allowed", self.orders.valid_secs_max));
        }
        let own = order.profile.limits;
        Ok(Limits {
            bytes_max: within("bytes_max", own.bytes_max, *bytes_max)?,
            wall_secs_max: within("wall_secs_max", own.wall_secs_max, *wall_secs_max)?,
            ..own
        })
    }
}

fn within<T: Ord + Copy + std::fmt::Display>(
    name: &str,
    own: Option<T>,
    ceiling: Option<T>,
) -> Result<Option<T>, String> {
    match (own, ceiling) {
        (Some(own), Some(ceiling)) if own > ceiling => {
            Err(format!("its {name} of {own} is beyond the ceiling of {ceiling}"))
        }
        _ => Ok(own.or(ceiling)),
    }
}

/// That each name is an action's.
fn actions(section: &'static str, names: impl Iterator<Item = impl AsRef<str>>) -> Result<(), PolicyError> {
    for name in names {
        let name = name.as_ref();
        if !Action::NAMES.contains(&name) {
            let hint = did_you_mean(name, Action::NAMES.into_iter());
            return Err(PolicyError::Value { section, what: format!("there is no action `{name}`"), hint });
        }
    }
    Ok(())
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_whole_or_not_at_all() {
        let policy = Policy::parse(
            "[collect]\nprofiles = [\"intrusion\", \"site-*\"]\nsensitive = [\"private_keys\"]\nbytes_max = \"1GiB\"\n[orders]\nvalid_secs_max = 3600\n",
        )
        .unwrap();
        assert_eq!(policy.collect.bytes_max, Some(ByteSize(1 << 30)));
        assert_eq!((policy.orders.valid_secs_max, policy.orders.clock_skew_secs_max), (3600, 300));
        assert_eq!(Policy::parse("").unwrap(), Policy::default());
        let spool = Policy::parse("[spool]\nbytes_max = \"64MiB\"\n").unwrap().spool;
        assert_eq!((spool.bytes_max, spool.age_secs_max), (Some(ByteSize(64 << 20)), 7 * 24 * 3600));
        let team = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
        let policy = Policy::parse(&format!("[encryption]\nrecipients = [\"{team}\"]\n")).unwrap();
        assert_eq!(policy.encryption.recipients(), [team.parse().unwrap()]);
        for (bad, wanted) in [
            ("[collect]\nprofile = []\n", "unknown field `profile`"),
            ("[contain]\nactoins = []\n", "unknown field `actoins`"),
            ("[contain]\nactions = [\"isolate_netwrk\"]\n", "did you mean `isolate_network`?"),
            ("[contain]\napprovals = { reboot = 2 }\n", "there is no action `reboot`"),
            ("[contain]\napprovals = { kill_process = 0 }\n", "1 to 9"),
            ("[contain]\nlease_secs_max = 86400\n", "at most 14400"),
            ("[contain]\nallow = [\"web-1\"]\n", "neither IPv4 nor IPv6"),
            ("[contain]\non_lease_end = \"open\"\n", "unknown variant `open`"),
            ("[automation]\nactions = [\"*\"]\n", "there is no action `*`"),
            ("[automation]\nenvironment = [\"PATH=\"]\n", "no name of a variable"),
            ("[automation]\nprincipal = []\n", "unknown field `principal`"),
            ("[collect]\nsensitive = [\"keys\"]\n", "unknown variant `keys`"),
            ("[collect]\nbytes_max = \"8GB\"\n", "is not a size"),
            ("[collect]\ncollectors_denied = [\"proceses\"]\n", "did you mean `processes`?"),
            ("[collect\n", "line 1"),
            ("[encryption]\nrecipient = []\n", "unknown field `recipient`"),
            ("[encryption]\nrecipients = [\"ssh-rsa AAAA\"]\n", "is an `ssh-rsa` key"),
            ("[encryption]\nrecipients = [\"\"]\n", "neither an age public key"),
        ] {
            let error = Policy::parse(bad).unwrap_err().to_string();
            assert!(error.contains(wanted), "{bad:?} gave {error:?}");
        }
    }
}
