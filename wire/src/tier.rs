//! The order of volatility (RFC 3227, section 2.1): what disappears first is taken first.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A tier of evidence. Tiers are collected in this order, whatever a profile says; each collector belongs to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Clock, processes, sockets, maps, live sessions, kernel state. Reads no cold file.
    Volatile,
    /// Running images (deleted ones first), memory of processes, physical memory.
    Memory,
    /// Mounts, containers, persistence, accounts.
    System,
    /// Login records, journals, text logs.
    Logs,
    /// File-system timeline, files, packages, user activity.
    Files,
}

impl Tier {
    /// All tiers, in the order of volatility.
    pub const ALL: [Self; 5] = [Self::Volatile, Self::Memory, Self::System, Self::Logs, Self::Files];

    /// The name that stands in paths and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Volatile => "volatile",
            Self::Memory => "memory",
            Self::System => "system",
            Self::Logs => "logs",
            Self::Files => "files",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where a bundle stands: before the tiers, in one of them, or at the seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The bundle was begun; nothing is collected.
    Start,
    /// See [`Tier::Volatile`].
    Volatile,
    /// See [`Tier::Memory`].
    Memory,
    /// See [`Tier::System`].
    System,
    /// See [`Tier::Logs`].
    Logs,
    /// See [`Tier::Files`].
    Files,
    /// The seal.
    Final,
}

impl From<Tier> for Phase {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Volatile => Self::Volatile,
            Tier::Memory => Self::Memory,
            Tier::System => Self::System,
            Tier::Logs => Self::Logs,
            Tier::Files => Self::Files,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Start => "start",
            Self::Volatile => "volatile",
            Self::Memory => "memory",
            Self::System => "system",
            Self::Logs => "logs",
            Self::Files => "files",
            Self::Final => "final",
        })
    }
}
