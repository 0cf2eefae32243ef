//! The sealed evidence bundle, `holdfast-bundle/1`: see FORMAT.md.
pub mod item;
pub mod time;
pub mod timeline;
