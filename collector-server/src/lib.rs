//! The collector server.
