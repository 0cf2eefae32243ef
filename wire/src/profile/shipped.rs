//! The profiles that are compiled in, so that one file is enough on a host, and a responder needs no copy of them.

use super::{Library, Mistakes, Profile, Text, read};

/// The shipped profiles: name and text.
pub const PROFILES: &[(&str, &str)] = &[
    ("cloud_credential", include_str!("../../../profiles/cloud_credential.yaml")),
    ("container_escape", include_str!("../../../profiles/container_escape.yaml")),
    ("credential_compromise", include_str!("../../../profiles/credential_compromise.yaml")),
    ("cryptomining", include_str!("../../../profiles/cryptomining.yaml")),
    ("data_exfiltration", include_str!("../../../profiles/data_exfiltration.yaml")),
    ("dos", include_str!("../../../profiles/dos.yaml")),
    ("full", include_str!("../../../profiles/full.yaml")),
    ("insider", include_str!("../../../profiles/insider.yaml")),
    ("intrusion", include_str!("../../../profiles/intrusion.yaml")),
    ("lateral_movement", include_str!("../../../profiles/lateral_movement.yaml")),
    ("malware", include_str!("../../../profiles/malware.yaml")),
    ("memory", include_str!("../../../profiles/memory.yaml")),
    ("phishing", include_str!("../../../profiles/phishing.yaml")),
    ("privilege_escalation", include_str!("../../../profiles/privilege_escalation.yaml")),
    ("ransomware", include_str!("../../../profiles/ransomware.yaml")),
    ("rootkit", include_str!("../../../profiles/rootkit.yaml")),
    ("supply_chain", include_str!("../../../profiles/supply_chain.yaml")),
    ("triage", include_str!("../../../profiles/triage.yaml")),
    ("unauthorized_access", include_str!("../../../profiles/unauthorized_access.yaml")),
    ("web_shell", include_str!("../../../profiles/web_shell.yaml")),
];

/// The shipped parts, which profiles include.
pub const PARTS: &[(&str, &str)] = &[
    ("accounts", include_str!("../../../profiles/parts/accounts.yaml")),
    ("applications", include_str!("../../../profiles/parts/applications.yaml")),
    ("browsers", include_str!("../../../profiles/parts/browsers.yaml")),
    ("build", include_str!("../../../profiles/parts/build.yaml")),
    ("cloud", include_str!("../../../profiles/parts/cloud.yaml")),
    ("containers", include_str!("../../../profiles/parts/containers.yaml")),
    ("executables", include_str!("../../../profiles/parts/executables.yaml")),
    ("images", include_str!("../../../profiles/parts/images.yaml")),
    ("kernel_symbols_view", include_str!("../../../profiles/parts/kernel_symbols_view.yaml")),
    ("logs", include_str!("../../../profiles/parts/logs.yaml")),
    ("named", include_str!("../../../profiles/parts/named.yaml")),
    ("packages", include_str!("../../../profiles/parts/packages.yaml")),
    ("persistence", include_str!("../../../profiles/parts/persistence.yaml")),
    ("recent", include_str!("../../../profiles/parts/recent.yaml")),
    ("suspect_memory", include_str!("../../../profiles/parts/suspect_memory.yaml")),
    ("symbols", include_str!("../../../profiles/parts/symbols.yaml")),
    ("system", include_str!("../../../profiles/parts/system.yaml")),
    ("temporary", include_str!("../../../profiles/parts/temporary.yaml")),
    ("user_activity", include_str!("../../../profiles/parts/user_activity.yaml")),
    ("volatile", include_str!("../../../profiles/parts/volatile.yaml")),
    ("web", include_str!("../../../profiles/parts/web.yaml")),
];

/// The shipped parts, and no definition of ForensicArtifacts: nothing that is shipped names one.
pub struct Shipped;

impl Library for Shipped {
    fn part(&self, name: &str) -> Result<Text, Vec<String>> {
        let found = PARTS.iter().find(|(part, _)| *part == name);
        found
            .map(|(_, yaml)| Text { file: format!("profiles/parts/{name}.yaml"), yaml: (*yaml).to_owned() })
            .ok_or_else(|| PARTS.iter().map(|(name, _)| (*name).to_owned()).collect())
    }

    fn artifact(&self, _name: &str) -> Result<Text, Vec<String>> {
        Err(Vec::new())
    }
}

/// The shipped profile of this name, its includes resolved; `None` when there is none.
///
/// # Errors
/// [`Mistakes`]: never for what is shipped, which a test reads.
pub fn find(name: &str) -> Option<Result<Profile, Mistakes>> {
    let (_, yaml) = PROFILES.iter().find(|(profile, _)| *profile == name)?;
    Some(read(&Text { file: format!("profiles/{name}.yaml"), yaml: (*yaml).to_owned() }, &Shipped))
}
