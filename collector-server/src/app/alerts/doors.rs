//! Who may bring alerts at this moment: so many requests and bytes in all, a share of them for each source, and a rate.
//!
//! Room is taken before a request's body is read, and given back when it was answered: two thousand senders at once take
//! no more memory than the bounds. Who finds none is told when to come again; nothing is dropped in silence.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::limits::Limits;
use super::super::{Problem, ProblemKind};

/// One source holds at most this part of the room, so that the others find some.
const SHARE: usize = 4;
/// Seconds of its rate that a source may use up at once.
const BURST_SECS: u64 = 10;
const SECOND_NS: u64 = 1_000_000_000;

/// See the module. Clones are the same doors.
#[derive(Clone, Debug, Default)]
pub struct Doors(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    held: Held,
    sources: HashMap<String, Source>,
}

/// What is held of the room.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    bytes: usize,
    requests: usize,
}

#[derive(Debug, Default)]
struct Source {
    held: Held,
    /// When its last request would have been due, had they come evenly (the generic cell rate algorithm), boot time.
    due_ns: u64,
}

impl Held {
    /// Whether this is too much for one part of the room.
    fn is_beyond(self, limits: &Limits, part: usize) -> bool {
        self.bytes > limits.alert_bytes_max / part || self.requests > limits.alert_requests_max / part
    }

    fn with(self, bytes: usize) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), requests: self.requests + 1 }
    }

    fn without(self, bytes: usize) -> Self {
        Self { bytes: self.bytes.saturating_sub(bytes), requests: self.requests.saturating_sub(1) }
    }
}

/// Room for one request; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    bytes: usize,
    doors: Doors,
    /// Whose it is: the id of its token, or its name.
    pub source: String,
}

impl Doors {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a request of this source with a body of so many bytes. `now_ns` is boot time.
    ///
    /// # Errors
    /// [`ProblemKind::TooMany`] when this source sends too much, [`ProblemKind::Unavailable`] when all do.
    pub fn enter(&self, limits: &Limits, source: &str, bytes: usize, now_ns: u64) -> Result<Room, Problem> {
        let mut inside = self.inside();
        let Inside { held, sources } = &mut *inside;
        sources.retain(|_, source| source.held.requests > 0 || source.due_ns > now_ns);
        let mut fresh = Source::default();
        let of_source = sources.get_mut(source).unwrap_or(&mut fresh);
        let every_ns = SECOND_NS / u64::from(limits.alert_requests_of_source_per_sec.max(1));
        let early_ns = of_source.due_ns.saturating_sub(now_ns.saturating_add(BURST_SECS * SECOND_NS));
        let refused = if early_ns > 0 {
            Some(("rate", ProblemKind::TooMany, "this source sends faster than it may", early_ns.div_ceil(SECOND_NS)))
        } else if of_source.held.with(bytes).is_beyond(limits, SHARE) {
            Some(("share", ProblemKind::TooMany, "too many requests of this source are under way", 1))
        } else if held.with(bytes).is_beyond(limits, 1) {
            Some(("room", ProblemKind::Unavailable, "too many alerts are on their way in", 1))
        } else {
            None
        };
        if let Some((why, kind, message, secs)) = refused {
            metrics::counter!("holdfast_alert_requests_refused_total", "why" => why).increment(1);
            return Err(Problem::new(kind, message)
                .hint("nothing of it was taken; send it again, after as many seconds as Retry-After says")
                .retry(u32::try_from(secs).unwrap_or(u32::MAX)));
        }
        *held = held.with(bytes);
        of_source.held = of_source.held.with(bytes);
        of_source.due_ns = of_source.due_ns.max(now_ns).saturating_add(every_ns);
        if !sources.contains_key(source) {
            sources.insert(source.to_owned(), fresh);
        }
        Ok(Room { bytes, doors: self.clone(), source: source.to_owned() })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut inside = self.doors.inside();
        inside.held = inside.held.without(self.bytes);
        if let Some(source) = inside.sources.get_mut(&self.source) {
            source.held = source.held.without(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: fn() -> Limits = || Limits {
        alert_bytes_max: 4000,
        alert_requests_max: 16,
        alert_requests_of_source_per_sec: 2,
        ..Limits::default()
    };

    fn kind(entered: Result<Room, Problem>) -> Option<(ProblemKind, Option<u32>)> {
        entered.err().map(|problem| (problem.kind, problem.retry_secs))
    }

    #[test]
    fn a_source_has_its_share_and_the_others_theirs() {
        let (doors, limits) = (Doors::default(), LIMITS());
        let enter = |source: &str, bytes| doors.enter(&limits, source, bytes, 0);
        let held: Vec<Room> = (0..4).map(|_| enter("flood", 10).unwrap()).collect();
        assert_eq!(kind(enter("flood", 10)), Some((ProblemKind::TooMany, Some(1))));
        assert_eq!(kind(enter("quiet", 1001)), Some((ProblemKind::TooMany, Some(1))));
        drop(enter("quiet", 1000).unwrap());
        let others: Vec<Room> = (0..12).map(|n| enter(&format!("source {n}"), 10).unwrap()).collect();
        assert_eq!(kind(enter("quiet", 10)), Some((ProblemKind::Unavailable, Some(1))));
        drop((held, others));
        drop(enter("quiet", 10).unwrap());
        let inside = doors.inside();
        assert_eq!((inside.held.bytes, inside.held.requests), (0, 0));
    }

    #[test]
    fn a_source_has_a_rate_and_what_is_forgotten_is_even() {
        let (doors, limits) = (Doors::default(), LIMITS());
        let at = |secs: u64| doors.enter(&limits, "one", 1, secs * SECOND_NS).map(drop);
        let most = 2 * u32::try_from(BURST_SECS).unwrap() + 1;
        for _ in 0..most {
            at(5).unwrap();
        }
        let refused = at(5).unwrap_err();
        assert_eq!((refused.kind, refused.retry_secs), (ProblemKind::TooMany, Some(1)));
        doors.enter(&limits, "another", 1, 5 * SECOND_NS).unwrap();
        at(6).unwrap();
        at(6).unwrap();
        at(6).unwrap_err();
        // The other one is even by now.
        assert_eq!(doors.inside().sources.len(), 1);
    }
}
