//! The collector server.
fn main() {}
