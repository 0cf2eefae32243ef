//! Writes `bundle/vectors/`: `cargo run -p bundle --example vectors`. A test checks that doing so changes nothing.
#![allow(missing_docs, clippy::unwrap_used, reason = "a tool for tests")]

#[path = "../tests/compose/mod.rs"]
mod compose;

fn main() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    for (name, bytes) in compose::files::all() {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}
