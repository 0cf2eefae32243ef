//! The doors: TLS, credentials, limits, routes.

pub mod credential;
pub mod error;
pub mod tls;
