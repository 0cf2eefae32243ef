//! Ids that people and machines exchange. Each is valid by construction.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::Sha256;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
        )]
        #[serde(transparent)]
        #[schemars(with = "String", extend("format" = "uuid"))]
        pub struct $name(Uuid);

        impl $name {
            /// Makes an id from milliseconds since the epoch and ten random bytes (UUIDv7, RFC 9562): ids sort by time.
            pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
            }

            /// When it was made, in milliseconds since the epoch; anything, when it comes from somebody else.
            pub fn unix_ms(&self) -> u64 {
                u64::try_from(self.0.as_u128() >> 80).unwrap_or(u64::MAX)
            }

            /// The last eight hex digits. They are random; the first eight come from the clock, and two ids made within
            /// 65 seconds share them.
            pub fn short(&self) -> String {
                self.0.simple().to_string()[24..].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// The id of one bundle.
    BundleId
);
uuid_id!(
    /// The id of one order.
    OrderId
);
uuid_id!(
    /// The id of one alert as it was received.
    AlertId
);
uuid_id!(
    /// The id of one upload.
    UploadId
);
uuid_id!(
    /// The id of one change of which alerts belong to which incident.
    EditId
);
uuid_id!(
    /// The id of one hunt: one profile over many hosts.
    HuntId
);
uuid_id!(
    /// The id of one page: a person is told of an incident over one channel.
    PageId
);
uuid_id!(
    /// The id of a request whose alerts could not be taken in.
    LetterId
);

/// An id that does not have the form its kind asks for.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not {kind}: {wants}")]
pub struct NotAnId {
    text: String,
    kind: &'static str,
    wants: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $wants:literal, $pattern:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
        #[serde(transparent)]
        #[schemars(extend("pattern" = $pattern))]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let allowed: fn(u8) -> bool = $allowed;
                if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NotAnId { text: text.chars().take(80).collect(), kind: $kind, wants: $wants })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// The id of an agent: `[a-z0-9-]{1,64}`. Host names collide, so it also carries part of the key's fingerprint.
    AgentId, "an agent id", "1 to 64 of a-z, 0-9 and '-'", "^[a-z0-9-]{1,64}$",
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
);

text_id!(
    /// The id of an incident, for instance `INC-2026-0007`: `[A-Za-z0-9._-]{1,64}`.
    IncidentId, "an incident id", "1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', as in INC-2026-0007",
    "^[A-Za-z0-9._-]{1,64}$",
    |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
);

impl AgentId {
    /// The host's name made plain, and eight hex digits of its key's digest: host names collide, keys do not.
    pub fn of_host(host_name: &str, key: Sha256) -> Self {
        let mut id: String = host_name
            .chars()
            .take(48)
            .map(|c| c.to_ascii_lowercase())
            .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
            .collect();
        id = id.trim_matches('-').to_owned();
        if !id.is_empty() {
            id.push('-');
        }
        id.push_str(&key.to_string()[..8]);
        Self(id)
    }

    /// The name under which the agent's key signs: `agent:<id>`.
    pub fn principal(&self) -> String {
        format!("agent:{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bounded_and_plain() {
        assert!("web-1-0a1b2c".parse::<AgentId>().is_ok());
        for bad in ["", "Web", "a b", "../x", &"a".repeat(65)] {
            assert!(bad.parse::<AgentId>().is_err(), "{bad:?}");
        }
        let key = Sha256::of(b"");
        assert_eq!(AgentId::of_host("Web_1.", key).as_str(), "web-1-e3b0c442");
        assert_eq!(AgentId::of_host("...", key).as_str(), "e3b0c442");
        assert!(AgentId::of_host(&"x".repeat(300), key).as_str().parse::<AgentId>().is_ok());
        assert!("INC-2026-0007".parse::<IncidentId>().is_ok());
        assert!("INC 1".parse::<IncidentId>().is_err());
        assert!(serde_json::from_str::<AgentId>("\"a\\nb\"").is_err());
    }

    #[test]
    fn bundle_ids_sort_by_time() {
        let early = BundleId::new(1_000, [255; 10]);
        let late = BundleId::new(1_001, [0; 10]);
        assert!(early < late);
        assert_eq!(early.to_string().as_bytes()[14], b'7');
    }
}
