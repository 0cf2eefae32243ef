//! From an alert to an assessment that explains itself.
