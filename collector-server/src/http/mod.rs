//! The doors: TLS, credentials, limits, routes.

pub mod error;
