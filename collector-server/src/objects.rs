//! The object store: what never changes once it is written. Evidence in segments, alerts as they came.

/// See the module.
pub struct Objects;
