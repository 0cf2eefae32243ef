//! The Holdfast agent: takes the evidence of a Linux host, the most volatile first, into a sealed bundle.
//!
//! The way of the data: [`profiles`] → [`run`] (steps in the order of volatility) → [`collect`] (one file each, through
//! [`host`]) → the `bundle` crate → [`transport`].

pub mod beat;
pub mod causes;
pub mod collect;
pub mod collection;
pub mod commands;
pub mod contain;
pub mod daemon;
pub mod enrolment;
pub mod files;
pub mod host;
pub mod log;
pub mod orders;
pub mod policy;
pub mod profiles;
pub mod protection;
pub mod relay;
pub mod run;
pub mod state;
pub mod transport;
pub mod trust;
pub mod uploading;
