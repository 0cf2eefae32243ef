//! Where a bundle goes: a file, a folder or standard output; or the server, while it is being written.

pub mod backoff;
pub mod client;
pub mod output;
pub mod proxy;
pub mod queue;
pub mod receipts;
pub mod sending;
pub mod spool;
#[cfg(test)]
pub(crate) mod testing;
pub mod upload;
