//! What to collect for an incident of a type, where there is no alert: somebody calls and says "ransomware".

use wire::assessment::{ForensicsPlan, Severity};
use wire::profile::{did_you_mean, shipped};

use crate::Context;

/// A word that is no incident type, nor another word for one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no incident type")]
pub struct UnknownType {
    /// The type that was meant, or all that there are.
    pub hint: String,
    /// As it was given.
    pub word: String,
}

/// The plan for `incident_type` (its name, or another word for it) on the host `target`; at the type's own severity
/// unless `severity` is known.
///
/// # Errors
/// [`UnknownType`].
pub fn collect_forensics(
    incident_type: &str,
    target: Option<&str>,
    severity: Option<Severity>,
    context: &Context,
) -> Result<ForensicsPlan, UnknownType> {
    let rules = context.rules;
    let meant = rules.taxonomy.meant(incident_type).ok_or_else(|| UnknownType {
        hint: did_you_mean(incident_type, rules.taxonomy.types.iter().map(|one| one.name.as_str())),
        word: crate::fields::capped(incident_type).to_owned(),
    })?;
    let rated = severity.unwrap_or(meant.severity);
    // `web_shell` is malware, and has a profile of its own.
    let word = incident_type.trim().to_lowercase().replace([' ', '-'], "_");
    let has_its_own = rules.evidence.profiles.iter().any(|one| one.profile == word);
    let profile = if has_its_own { &word } else { &meant.profile };
    let plan = rules.evidence.plan_as(profile, meant, rated);
    let target = target.map(|name| crate::fields::capped(name.trim()).to_owned()).filter(|name| !name.is_empty());
    let host = target.as_deref().unwrap_or("HOST");
    let dispatch = ["holdfast", "dispatch", "INCIDENT", "--host", host, "--profile", &plan.profile];
    let collectors = shipped::find(&plan.profile).and_then(Result::ok).map(|profile| {
        let mut collectors: Vec<String> = Vec::new();
        for step in profile.collect {
            if !collectors.contains(&step.collect) {
                collectors.push(step.collect);
            }
        }
        collectors
    });
    Ok(ForensicsPlan {
        collectors: collectors.unwrap_or_default(),
        custody: rules.evidence.custody.clone(),
        dispatch: dispatch.map(str::to_owned).to_vec(),
        estimated_seconds: plan.estimated_seconds,
        incident_type: meant.name.clone(),
        order: plan.order,
        profile: plan.profile,
        severity: rated,
        severity_assumed: severity.is_none(),
        target,
        tiers: plan.tiers,
    })
}

#[cfg(test)]
mod tests {
    use wire::tier::Tier;

    use super::*;

    #[test]
    fn a_plan_by_type_and_host() {
        let context = Context::shipped().unwrap();
        let plan = collect_forensics("Ransomware", Some("web-app-02"), None, &context).unwrap();
        assert_eq!((plan.incident_type.as_str(), plan.severity), ("ransomware", Severity::Sev1));
        assert!(plan.severity_assumed && plan.estimated_seconds > 0 && plan.tiers.contains(&Tier::Volatile));
        assert!(plan.order[0].contains("encrypting process"), "{:?}", plan.order);
        assert!(plan.collectors.iter().any(|name| name == "processes"), "{:?}", plan.collectors);
        let line = format!("holdfast dispatch INCIDENT --host web-app-02 --profile {}", plan.profile);
        assert_eq!(plan.dispatch_line(), line);
        let low = collect_forensics("ransomware", None, Some(Severity::Sev3), &context).unwrap();
        assert!(!low.severity_assumed && low.severity == Severity::Sev3 && low.target.is_none());
    }

    #[test]
    fn other_words_for_a_type_count_and_unknown_ones_are_told() {
        let context = Context::shipped().unwrap();
        let plan = collect_forensics("brute-force", Some(" "), None, &context).unwrap();
        assert_eq!((plan.incident_type.as_str(), plan.target), ("credential_compromise", None));
        let unknown = collect_forensics("ransomwear", None, None, &context).unwrap_err();
        assert_eq!(unknown.hint, "did you mean `ransomware`?");
    }

    #[test]
    fn a_host_cannot_say_more_than_its_name_to_a_shell() {
        let context = Context::shipped().unwrap();
        let plan = collect_forensics("apt", Some("web'; rm -rf /; '"), None, &context).unwrap();
        assert!(
            plan.dispatch_line().contains(r"--host 'web'\''; rm -rf /; '\''' --profile"),
            "{}",
            plan.dispatch_line()
        );
    }
}
