//! The collector server: takes alerts, dispatches orders, receives and verifies evidence, keeps custody of all of it.
//!
//! `http/ → app/ → store/`: requests are parsed and authenticated in `http/`, decided in `app/`, kept in `store/`. Nothing
//! in `store/` knows `app/`, and nothing in `app/` knows HTTP. `ui/` turns the answers of `app/` into pages.

pub mod app;
pub mod authority;
pub mod commands;
pub mod data_dir;
pub mod holdings;
pub mod http;
pub mod objects;
pub mod process;
pub mod site;
pub mod spool_key;
pub mod store;
pub mod ui;
pub mod witness;
