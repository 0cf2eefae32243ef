//! Orders on their way into this host: [`check`] says whether one is taken, the [`journal`] that none is run twice.

pub mod check;
pub mod journal;
