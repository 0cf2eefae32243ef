//! The server's clock against the host's, and how much is known of it.
//!
//! An answer to a long poll says what time it was when the server wrote it; whoever can hold it up, or keeps it and gives
//! it again, can make the host's clock look ahead. So where the two seem far apart the server is asked anew, with a nonce
//! of this agent's own that comes back in the answer: that one was written after the question left, and the time between
//! the two bounds the error.

use std::time::{Duration, Instant as Monotonic};

use bundle::time::Clock as _;
use wire::Instant;
use wire::agent_api::OrdersReply;

use crate::host::SystemClock;

/// An answer that took longer than this does not say what time it is.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);
const NONCE_BYTES: usize = 16;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerClock {
    /// The server's clock minus the host's.
    pub offset_ns: i128,
    /// True when the server answered a nonce of ours in good time.
    pub is_fresh: bool,
}

impl ServerClock {
    /// As an answer says that came now, whenever it was written.
    pub fn told(server_time: Instant, now: Instant) -> Self {
        Self { offset_ns: server_time.0.saturating_sub(now.0), is_fresh: false }
    }
}

/// True when the clocks are further apart than this host's policy lets them be (`clock_skew_secs_max`).
pub fn is_skewed(server_offset_ns: i128, secs_max: u64) -> bool {
    server_offset_ns.unsigned_abs() > u128::from(secs_max) * 1_000_000_000
}

/// A question with a nonce, from the moment that it is asked.
#[derive(Debug)]
pub struct Question {
    /// Hex, for the query.
    pub nonce: String,
    asked: Instant,
    since: Monotonic,
}

impl Question {
    /// One that is asked now; `None` where the kernel gives no random bytes.
    pub fn ask() -> Option<Self> {
        use std::fmt::Write as _;
        let mut bytes = [0; NONCE_BYTES];
        getrandom::fill(&mut bytes).ok()?;
        let mut nonce = String::new();
        for byte in bytes {
            let _ = write!(nonce, "{byte:02x}");
        }
        Some(Self { nonce, asked: SystemClock.realtime(), since: Monotonic::now() })
    }

    /// What the answer, which has just come, says of the server's clock.
    pub fn answered(&self, reply: &OrdersReply) -> ServerClock {
        self.measured(reply, self.since.elapsed())
    }

    /// The server wrote the answer between question and answer: the middle is taken, and is wrong by half of it at most.
    fn measured(&self, reply: &OrdersReply, took: Duration) -> ServerClock {
        let took_ns = i128::try_from(took.as_nanos()).unwrap_or(i128::MAX);
        let middle = self.asked.0.saturating_add(took_ns / 2);
        let is_ours = reply.nonce.as_ref().is_some_and(|nonce| *nonce == self.nonce);
        ServerClock {
            offset_ns: reply.server_time.0.saturating_sub(middle),
            is_fresh: is_ours && took <= ROUND_TRIP_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    #[test]
    fn an_answer_is_fresh_with_our_nonce_and_in_good_time_only() {
        let question = Question::ask().unwrap();
        assert_eq!(question.nonce.len(), 2 * NONCE_BYTES);
        assert_ne!(question.nonce, Question::ask().unwrap().nonce);
        let server_time = Instant(question.asked.0 + 600 * SECOND);
        let reply = |nonce: Option<&str>| OrdersReply {
            cas: Vec::new(),
            nonce: nonce.map(str::to_owned),
            orders: Vec::new(),
            server_time,
            spool_recipient: None,
        };
        let ours = reply(Some(&question.nonce));
        let clock = question.measured(&ours, Duration::from_secs(4));
        assert_eq!(clock, ServerClock { offset_ns: 598 * SECOND, is_fresh: true });
        assert!(!question.measured(&ours, ROUND_TRIP_MAX + Duration::from_nanos(1)).is_fresh);
        for other in [None, Some(""), Some("00112233445566778899aabbccddeeff")] {
            assert!(!question.measured(&reply(other), Duration::ZERO).is_fresh, "{other:?}");
        }
    }

    #[test]
    fn skewed_is_beyond_what_the_policy_allows_on_either_side() {
        for (secs, expected) in [(300, false), (-300, false), (301, true), (-301, true)] {
            assert_eq!(is_skewed(secs * SECOND, 300), expected, "{secs}");
        }
        assert!(is_skewed(1, 0) && is_skewed(i128::MIN, u64::MAX));
    }
}
