//! What a step may do with content, beyond how many bytes: from the profile's step and from the order.

use wire::profile::Sensitive;

/// The rules of one step.
#[derive(Clone, Debug, Default)]
pub struct ContentRules {
    /// The class of sensitive content that all files of this step are said to hold (`sensitive:` of the profile).
    pub sensitive: Option<Sensitive>,
    /// The classes whose content the order lets through.
    pub approved: Vec<Sensitive>,
    /// Bytes of one file (`limits.file_bytes_max` of the profile).
    pub file_bytes_max: Option<u64>,
}

impl ContentRules {
    /// True when content of this class stays on the host.
    pub fn withhold(&self, class: Sensitive) -> bool {
        !self.approved.contains(&class)
    }
}
