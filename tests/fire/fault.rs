//! What fails: one line of [`KINDS`] each.

use std::fmt;

use harness::Random;

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL for the agent.
    AgentKilled,
    /// SIGKILL for the server.
    ServerKilled,
    /// SIGKILL for both at once.
    BothKilled,
    /// All connections break, and no new ones come about.
    Cut,
    /// 5 % of all packets are lost, and 200 ms are added to each round trip.
    Loss,
    /// Connections stay, and nothing comes through.
    Silence,
    /// No room for records or objects.
    ServerDiskFull,
    /// No room for the agent's journal.
    HostDiskFull,
    /// The database goes away and comes back.
    DatabaseRestarted,
    /// Objects cannot be put.
    ObjectsFail,
    /// After a restart the clocks that count from the boot are elsewhere.
    ClockJump,
    /// The line is narrow, and somebody reads evidence a few bytes at a time.
    SlowReader,
}

/// All of them.
pub const KINDS: [Kind; 12] = [
    Kind::AgentKilled,
    Kind::ServerKilled,
    Kind::BothKilled,
    Kind::Cut,
    Kind::Loss,
    Kind::Silence,
    Kind::ServerDiskFull,
    Kind::HostDiskFull,
    Kind::DatabaseRestarted,
    Kind::ObjectsFail,
    Kind::ClockJump,
    Kind::SlowReader,
];

impl Kind {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgentKilled => "agent killed",
            Self::ServerKilled => "server killed",
            Self::BothKilled => "both killed",
            Self::Cut => "cut",
            Self::Loss => "5 % loss and 200 ms",
            Self::Silence => "silence",
            Self::ServerDiskFull => "server's disk full",
            Self::HostDiskFull => "host's disk full",
            Self::DatabaseRestarted => "database restarted",
            Self::ObjectsFail => "objects fail",
            Self::ClockJump => "clock jump",
            Self::SlowReader => "slow reader",
        }
    }

    /// True when it can be tried: SQLite is a part of the server, and goes away with it, which is another kind.
    pub const fn is_possible(self, on_postgres: bool) -> bool {
        on_postgres || !matches!(self, Self::DatabaseRestarted)
    }
}

/// A failure in a round: times in milliseconds from the dispatch.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What fails.
    pub kind: Kind,
    /// When.
    pub at: u64,
    /// When it is over.
    pub until: u64,
    /// Chance of its own: which process, how far.
    pub number: u64,
}

impl Fault {
    /// A failure of this kind, or of another one where this cannot be tried.
    pub fn draw(kind: Kind, on_postgres: bool, random: &mut Random) -> Self {
        let mut kind = kind;
        while !kind.is_possible(on_postgres) {
            kind = KINDS[usize::try_from(random.below(KINDS.len() as u64)).unwrap()];
        }
        let at = random.below(4_000);
        let until = at + 100 + random.below(2_500);
        Self { kind, at, until, number: random.number() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{} ms", self.kind.name(), self.at, self.until)
    }
}
