//! What the rules make of a bundle: findings, each with the rows that it stands on.
//!
//! A finding is an opinion about evidence, not evidence: it says which rule thought so, and what else it may be.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::assessment::Technique;
use crate::{BundleId, Instant, Sha256};

/// How much a finding weighs, as Sigma rules say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Informational,
    /// Rarely of interest alone.
    Low,
    /// Worth a look.
    Medium,
    /// Should be looked at.
    High,
    /// Is an intrusion until somebody shows otherwise.
    Critical,
}

impl Level {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What all rules made of one bundle. Texts in it may come from the host: escape them before a screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingsReport {
    /// The bundle.
    pub bundle: BundleId,
    /// The worst first, then by rule.
    pub findings: Vec<Finding>,
    /// What was not looked at, and why: rows past a limit, rows that are no JSON. Empty when every row was.
    pub left_out: Vec<String>,
    /// True when the bundle ends before its seal: that something was not found in it proves nothing.
    pub partial: bool,
    /// Rows that were looked at.
    pub rows: u64,
    /// Rules that were applied.
    pub rules: u32,
    /// Digest of the rules' texts: two reports with the same one are of the same rules.
    pub rules_sha256: Sha256,
    /// 1.
    pub v: u32,
}

/// What was found in a bundle, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// When the rules were applied.
    pub evaluated: Instant,
    /// Findings of each level that there are any of.
    pub levels: BTreeMap<Level, u64>,
}

impl FindingsReport {
    /// Findings of each level that there are any of.
    pub fn levels(&self) -> BTreeMap<Level, u64> {
        let mut levels = BTreeMap::new();
        for finding in &self.findings {
            *levels.entry(finding.level).or_default() += 1;
        }
        levels
    }
}

impl Found {
    /// `1 critical, 2 high`; `none`.
    pub fn words(&self) -> String {
        let words: Vec<String> =
            self.levels.iter().rev().map(|(level, count)| format!("{count} {}", level.name())).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }
}

/// What one rule found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Rows that the rule holds for; of them the first are in `rows`.
    pub count: u64,
    /// What it means, and what to do next.
    pub description: String,
    /// What else it may be.
    pub false_positives: Vec<String>,
    /// How much it weighs.
    pub level: Level,
    /// The rows that it stands on, in the order of the bundle.
    pub rows: Vec<FoundRow>,
    /// The rule's name.
    pub rule: String,
    /// ATT&CK techniques.
    pub techniques: Vec<Technique>,
    /// One line.
    pub title: String,
}

/// A row of the bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FoundRow {
    /// The columns that the rule shows. Long values are cut.
    pub columns: Map<String, Value>,
    /// The entry of the bundle, `data/volatile/processes.jsonl`.
    pub file: String,
    /// From 1.
    pub line: u64,
}
