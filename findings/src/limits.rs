//! What is taken into memory at most. A bundle is as hostile as the host that it came from.

/// One row; a longer one is not looked at, and counted.
pub const ROW_BYTES_MAX: usize = 4 << 20;
/// What all joins keep together, as JSON.
pub const JOINED_BYTES_MAX: usize = 96 << 20;
/// Rows that one join keeps under one key.
pub const JOINED_PER_KEY_MAX: usize = 16;
/// Rows that one join puts into a row.
pub const JOINED_INTO_MAX: usize = 64;
/// Rows that are kept of one finding; the rest is counted.
pub const FOUND_ROWS_MAX: usize = 50;
/// Characters of one shown value.
pub const SHOWN_CHARACTERS_MAX: usize = 240;
/// Elements of one shown list.
pub const SHOWN_ELEMENTS_MAX: usize = 8;
/// Rules together, shipped and of the site.
pub const RULES_MAX: usize = 2_000;
/// Documents in one file of rules.
pub const DOCUMENTS_MAX: usize = 500;
/// A compiled regular expression.
pub const REGEX_BYTES_MAX: usize = 1 << 20;
/// A pattern's text.
pub const PATTERN_BYTES_MAX: usize = 4 << 10;
/// How deep a condition may nest.
pub const CONDITION_DEPTH_MAX: usize = 32;
